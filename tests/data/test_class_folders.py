"""A folder for each class, a file for each row: which layouts are one, what its rows are, what is refused."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from microtune.data.class_folders import class_rows, classes_in, document_rows, is_classes, left_out, parts_in
from microtune.errors import InputError, LimitError
from microtune.recipe import Limits
from microtune.run.hashes import file_hash

FILES = {"neg/2.txt": "bad\nand long\n", "neg/10.txt": "  worse", "pos/1.txt": "good \r\n"}


def lay(folder: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def refused(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        list(class_rows(folder))
    return str(caught.value).replace(f"{folder}/", "")


def test_a_row_a_file_with_the_name_of_its_folder(tmp_path: Path) -> None:
    folder = lay(tmp_path, {**FILES, "neg/.hidden": "x", ".git/1.txt": "x", "README.txt": "about"})
    rows = list(class_rows(folder))
    assert [row.data for row in rows] == [
        {"text": "worse", "label": "neg", "file": "neg/10.txt"},
        {"text": "bad\nand long", "label": "neg", "file": "neg/2.txt"},
        {"text": "good", "label": "pos", "file": "pos/1.txt"},
    ]
    assert [(row.path, row.line) for row in rows] == [(str(folder / row.data["file"]), 1) for row in rows]
    assert left_out(folder) == []
    named = next(class_rows(str(folder), names=("review", "stars")))
    assert named.data == {"review": "worse", "stars": "neg", "file": "neg/10.txt"}


def test_files_without_a_known_ending_packed_ones_and_other_encodings(tmp_path: Path) -> None:
    """As the newsgroups come: names that are numbers, Latin 1."""
    packed = gzip.compress("二".encode("gb18030") * 3 + "的评论很好看".encode("gb18030"))
    files = {"alt.atheism/49960": "one", "sci.med/58.a9": "two", "sci.med/x.txt.gz": packed, "wide/2.gz": packed}
    folder = lay(tmp_path, {**files, "wide/1": "三的".encode("utf-16")})
    found = {row.data["file"]: row.data["text"] for row in class_rows(folder)}
    assert found == {
        "alt.atheism/49960": "one",
        "sci.med/58.a9": "two",
        "sci.med/x.txt.gz": "二二二的评论很好看",
        "wide/1": "三的",
        "wide/2.gz": "二二二的评论很好看",
    }
    (tmp_path / "sci.med" / "y").write_bytes("caf\xe9".encode("latin-1"))
    assert "sci.med/y, line 1: " in refused(folder)
    assert "caf\xe9" in [row.data["text"] for row in class_rows(folder, encoding="latin-1")]


def test_splits_below_one_folder(tmp_path: Path) -> None:
    folder = lay(tmp_path / "a", {f"{part}/{name}": text for part in ("train", "dev") for name, text in FILES.items()})
    assert parts_in(folder) == {"train": str(folder / "train"), "validation": str(folder / "dev")}
    assert is_classes(folder)
    assert [row.data["file"] for row in class_rows(folder)][:2] == ["dev/neg/10.txt", "dev/neg/2.txt"]
    news = lay(tmp_path / "b", {f"20news-bydate-{p}/{n}": t for p in ("train", "test") for n, t in FILES.items()})
    assert list(parts_in(news)) == ["test", "train"]
    assert classes_in(news) == {}
    lay(folder, {"extra/pos/1.txt": "x"})
    assert not is_classes(folder)
    assert parts_in(lay(tmp_path / "c", {"test/pos/1.txt": "a", "test/neg/1.txt": "b"})) == {}


@pytest.mark.parametrize(
    "files",
    [
        {"pos/1.txt": "a"},
        {"1.txt": "a", "2.txt": "b"},
        {"pos/1.txt": "a", "neg/1.csv": "text,label\n"},
        {"pos/1.txt": "a", "neg/1.txt": "b", "all.jsonl.gz": "{}"},
        {"pos/1.txt": "a", "neg/more/1.txt": "b"},
        {"train/1.txt": "a", "test/1.txt": "b"},
        {"unsup/1.txt": "a", "pos/1.txt": "b"},
    ],
)
def test_what_is_no_such_layout(tmp_path: Path, files: dict[str, str | bytes]) -> None:
    assert not is_classes(lay(tmp_path, files))


def test_no_path_is_no_folder() -> None:
    assert not any(map(is_classes, ("", "no such", "a\0b", "x" * 5000, [{"text": "a"}], None)))


def test_what_is_refused_by_its_name(tmp_path: Path) -> None:
    folder = lay(tmp_path, {**FILES, "pos/photo.jpg": b"\xff\xd8\xff\xe0\0\x10JFIF\0"})
    where = "not a text file; each file in the folder of a class is a text, so move it elsewhere."
    assert refused(folder) == f"pos/photo.jpg: {where}"
    (folder / "pos" / "photo.jpg").write_bytes(b"")
    assert refused(folder) == "pos/photo.jpg: the file is empty."
    (folder / "pos" / "photo.jpg").write_text(" \n")
    assert refused(folder) == "pos/photo.jpg: the file holds only blanks; fill it in, or remove it."
    (folder / "pos" / "photo.jpg").unlink()
    (folder / "odd").mkdir()
    said = "no file in the folder of this class; put its texts there, or remove the folder."
    assert refused(folder) == f"odd: {said}"
    (folder / "odd").rmdir()
    with pytest.raises(LimitError, match="the source has more than 2 rows"):
        list(class_rows(folder, limits=Limits(rows=2)))
    with pytest.raises(LimitError, match="the file is too long for one row"):
        list(class_rows(folder, limits=Limits(field_characters=6)))


def test_what_is_not_read_is_said(tmp_path: Path) -> None:
    both: dict[str, str | bytes] = {
        f"{part}/{name}": text for part in ("train", "test") for name, text in FILES.items()
    }
    folder = lay(
        tmp_path, {**both, "train/unsup/1.txt": "a", "train/urls_pos.txt": "b", "train/a.feat": "c", "README": "d"}
    )
    assert left_out(folder) == [
        f'The folder "{folder / "train" / "unsup"}" holds texts without a class, which are not read.',
        f'Files beside the folders of the classes are not read: 2 (first: "{folder / "train" / "a.feat"}").',
    ]


def test_texts_without_classes(tmp_path: Path) -> None:
    folder = lay(tmp_path / "new", {"b.txt": "two\nlines", "a": "one", "README": "about"})
    found = document_rows(folder, name="review")
    assert found is not None
    assert [row.data for row in found] == [{"review": "one", "file": "a"}, {"review": "two\nlines", "file": "b.txt"}]
    one = document_rows(folder / "b.txt")
    assert one is not None
    assert [row.data for row in one] == [{"text": "two\nlines", "file": "b.txt"}]
    lay(folder, {"c.csv": "text\na\n"})
    assert document_rows(folder) is None
    assert document_rows(folder / "c.csv") is None
    assert document_rows(tmp_path) is None
    assert document_rows(tmp_path / "none") is None


def test_a_file_that_moves_to_another_class_is_other_data(tmp_path: Path) -> None:
    one, two = lay(tmp_path / "a", {"x/1": "a", "y/2": "b"}), lay(tmp_path / "b", {"x/1": "a", "z/2": "b"})
    assert file_hash(one) != file_hash(two)
