"""A folder for each class, a text file for each row: `reviews/pos/1.txt`, `reviews/neg/2.txt`.

The layout of the film reviews of Maas et al. (2011) and of the 20 newsgroups (Lang, 1995); `train/pos` and `test/neg`
below one folder are its splits. A row has the text of its file, the name of its folder as label, and the name of the
file. Which files there are is asked of the names alone; a file that turns out not to hold text is refused by its name.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from microtune.data.decode import Bad, Budget, check_encoding, pass_over, refuse, texts, whole_text
from microtune.data.sources import ENDINGS, PACKINGS, Row, is_about
from microtune.data.splits import part_name
from microtune.errors import InputError
from microtune.recipe import Limits

UNLABELLED = {"unsup", "unsupervised", "unlabeled", "unlabelled", "无标签", "未标注"}  # folders that are no class
FIELDS = ("text", "label", "file")
_WIDE = (b"\xff\xfe", b"\xfe\xff")  # marks of UTF-16 and UTF-32, whose text holds NUL bytes


def classes_in(folder: str | Path) -> dict[str, list[Path]]:
    """Class -> its files, both in the order of their names; {} where the folder is not laid out so.

    At least two folders that hold files and nothing else, none of them a table, and no table beside them.
    """
    folders, files = _entries(Path(folder))
    folders = [one for one in folders if one.name.casefold() not in UNLABELLED]
    if len(folders) < 2 or any(map(_is_table, files)) or any(part_name(one.name) == "train" for one in folders):
        return {}
    found = {}
    for one in folders:
        inner, found[one.name] = _entries(one)
        if inner or any(map(_is_table, found[one.name])):
            return {}
    return found if any(found.values()) else {}


def parts_in(folder: str | Path) -> dict[str, str]:
    """`train`, `validation`, `test` -> the folder below with the classes of that split; {} without such a layout.

    A folder is a split by its name or the last word of it, as in `20news-bydate-test`.
    """
    found: dict[str, str] = {}
    for one in _entries(Path(folder))[0]:
        part = part_name(re.split(r"[-_. ]", one.name)[-1])
        if part is None or part in found or not classes_in(one):
            return {}
        found[part] = str(one)
    return found if "train" in found else {}


def is_classes(source: object) -> bool:
    """Whether a source is such a folder, or one with such folders for its splits."""
    if not isinstance(source, (str, Path)) or not _is_folder(source):
        return False
    return bool(classes_in(source) or parts_in(source))


def class_rows(
    source: str | Path,
    *,
    encoding: str | None = None,
    limits: Limits | None = None,
    names: tuple[str, str] = FIELDS[:2],
    bad: Bad | None = None,
) -> Iterator[Row]:
    """The rows of such a folder, class by class. names: of the fields with the text and with the label."""
    classes = [(one / label, files) for one in _roots(source) for label, files in classes_in(one).items()]
    empty = [folder for folder, files in classes if not files]
    if empty:
        raise refuse(empty[0], None, "no file in the folder of this class; put its texts there, or remove the folder")
    for path, text in _texts([path for _, files in classes for path in files], encoding, limits, bad):
        yield Row({names[0]: text, names[1]: path.parent.name, FIELDS[2]: _inside(path, source)}, str(path), 1)


def document_rows(
    source: str | Path,
    *,
    encoding: str | None = None,
    limits: Limits | None = None,
    name: str = FIELDS[0],
    bad: Bad | None = None,
) -> Iterator[Row] | None:
    """A row for each plain text file of a folder, or for the one file that it is; None where there are tables."""
    path = Path(source)
    folders, files = _entries(path) if _is_folder(path) else ([], [path])
    files = [one for one in files if not is_about(one) or one == path]
    if not files or folders or any(map(_is_table, files)) or not files[0].is_file():
        return None
    rows = _texts(files, encoding, limits, bad)
    return (Row({name: text, FIELDS[2]: _inside(file, source)}, str(file), 1) for file, text in rows)


def left_out(source: str | Path) -> list[str]:
    """Sentences about what stands in such a folder and is not read."""
    said = []
    for one in _roots(source):
        folders, files = _entries(one)
        said += [
            f'The folder "{folder}" holds texts without a class, which are not read.'
            for folder in folders
            if folder.name.casefold() in UNLABELLED
        ]
        beside = [path for path in files if not is_about(path)]
        if beside:
            said.append(f'Files beside the folders of the classes are not read: {len(beside)} (first: "{beside[0]}").')
    return said


def _roots(source: str | Path) -> list[Path]:
    """The folders whose folders are classes."""
    return [Path(source)] if classes_in(source) else [Path(part) for part in parts_in(source).values()]


def _texts(
    files: list[Path], encoding: str | None, limits: Limits | None, bad: Bad | None
) -> Iterator[tuple[Path, str]]:
    """Each file with its text; one without any is refused, or passed over."""
    budget = Budget(limits or Limits())
    if encoding is not None:
        check_encoding(encoding)
    for path in files:
        budget.row(path, 1)
        try:
            text = _text(path, encoding, budget)
        except InputError as error:
            pass_over(error, bad)
        else:
            yield path, text


def _text(path: Path, encoding: str | None, budget: Budget) -> str:
    """The text of a file without the blanks around it."""
    packing = PACKINGS.get(path.suffix.lower(), "")
    if not packing and encoding is None and _inner_ending(path) not in ENDINGS:
        _check_is_text(path)
    text = whole_text(path, texts(path, packing, budget, encoding), budget.limits).strip()
    if not text:
        raise refuse(path, None, "the file holds only blanks; fill it in, or remove it")
    return text


def _check_is_text(path: Path) -> None:
    """Refuse pictures, programs and the like: a NUL byte at the beginning, and no mark of UTF-16."""
    try:
        with path.open("rb") as file:
            head = file.read(1024)
    except OSError as error:
        raise refuse(path, None, f"cannot be opened ({error.strerror})") from error
    if b"\0" in head and not head.startswith(_WIDE):
        raise refuse(path, None, "not a text file; each file in the folder of a class is a text, so move it elsewhere")


def _inside(path: Path, source: str | Path) -> str:
    """The name of a file below the source."""
    return path.name if path == Path(source) else path.relative_to(source).as_posix()


def _is_folder(source: str | Path) -> bool:
    try:
        return Path(source).is_dir()
    except (OSError, ValueError):
        return False


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """Folders and files in a folder, by name, without hidden ones."""
    try:
        with os.scandir(folder) as scan:
            found = [one for one in scan if not one.name.startswith((".", "~$"))]
    except OSError as error:
        raise InputError(f"{folder}: cannot be looked into ({error.strerror}).") from error
    kinds: tuple[list[Path], list[Path]] = ([], [])
    for one in sorted(found, key=lambda one: one.name):
        kinds[not one.is_dir()].append(folder / one.name)
    return kinds


def _is_table(path: Path) -> bool:
    """Whether a file holds rows by its ending."""
    return ENDINGS.get(_inner_ending(path), "text") != "text"


def _inner_ending(path: Path) -> str:
    stem, ending = os.path.splitext(path.name.lower())
    return os.path.splitext(stem)[1] if ending in PACKINGS else ending
