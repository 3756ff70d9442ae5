"""`predict --input FILE` with rows that cannot be answered: refused before any work, or named and left out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import Answer, call

import tiny_adapters
from microtune.data.class_folders import document_rows
from microtune.data.sources import Row, read_rows
from microtune.errors import InputError, LimitError
from microtune.recipe import Limits
from microtune.run.load import load
from microtune.run.predict import ROWS_AT_ONCE, predict
from tiny_model import POSITIONS, make_model

Capture = pytest.CaptureFixture[str]

GOOD = {"text": "my card was declined"}
EMPTY = 'the field "text" is empty; fill it in, or remove the row.'
FILES: list[tuple[str, str, int, list[str]]] = [  # name, content, rows that are answered, what is said of the others
    ("a.csv", "text,label\none card,x\n,x\ntwo card,x\n  ,x\n", 2, [f"line 3: {EMPTY}", f"line 5: {EMPTY}"]),
    ("one.csv", 'text\none card\n""\n\ntwo card\n', 2, [f"line 3: {EMPTY}"]),
    (
        "b.csv",
        "text,label\none card,x\ntwo, cards,x\nthree card,x\n",
        2,
        [
            "line 3: 3 fields where the header on line 1 has 2; quote a field that holds the separator, "
            "or leave missing fields empty."
        ],
    ),
    (
        "c.jsonl",
        '{"text": "a card"}\n{"text": \n\n[1]\n{"text": "b card"}\n{"label": 1}\n{"text": ["a"]}\n'
        '{"text": "a\\u0000"}\n',
        2,
        [
            "line 2: column 10: broken JSON (expecting value).",
            'line 4: a row is a list, not an object such as {"text": "...", "label": "..."}; if the whole file is one '
            "list, give it the ending .json.",
            'line 8: there is a NUL character in the field "text"; remove it.',
            'line 6: the field "text" is missing; the row has "label".',
            'line 7: the field "text" is a list, not text.',
        ],
    ),
    (
        "d.json",
        '[{"text": "a card"}, 5, {"text": null}, {"text": "b card"}]',
        2,
        ['row 2: a row is a number, not an object such as {"text": "...", "label": "..."}.', f"row 3: {EMPTY}"],
    ),
    ("e.json", '{"x": {"text": "a card"}, "z": {"text": "b", "text": "c"}}', 0, []),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and a classifier and a writer that were tuned on it."""
    folder = tmp_path_factory.mktemp("runs")
    make_model(folder / "m")
    for name, more in {"labels": {}, "writer": {"task": tiny_adapters.ANSWERS}}.items():
        tiny_adapters.make_run(folder / name, folder / "m", name="lora", rank=2, seed=1, **more)  # type: ignore[arg-type]
    return folder


def answers(answer: Answer) -> list[dict[str, Any]]:
    return [json.loads(line) for line in answer.out.splitlines()]


@pytest.mark.parametrize(("name", "content", "count", "said"), FILES[:-1], ids=[file[0] for file in FILES[:-1]])
def test_rows_that_cannot_be_answered(
    folder: Path, tmp_path: Path, capsys: Capture, name: str, content: str, count: int, said: list[str]
) -> None:
    file = tmp_path / name
    file.write_text(content, encoding="utf-8")
    refused = call(capsys, "predict", folder / "labels", "--input", file)
    assert refused.code == 2
    assert refused.sentence in [f"{file}, {one}" for one in said]
    skipped = call(capsys, "predict", folder / "labels", "--input", file, "--skip-bad")
    assert skipped.code == 1
    told = [f"left out: {file}, {one}" for one in said]
    assert skipped.err.replace("\n", "") == "".join([*told, f"rows left out: {len(said)}"])
    rows = answers(skipped)
    assert len(rows) == count
    assert all("card" in row["text"] and row["prediction"] in ("card", "transfer") for row in rows)


def test_what_no_row_is_wrong_with(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    """Without bad rows nothing is said and the answers are the same; without good ones nothing is written."""
    file = tmp_path / "a.jsonl"
    file.write_text((json.dumps(GOOD) + "\n") * 3)
    plain = call(capsys, "predict", folder / "labels", "--input", file)
    assert call(capsys, "predict", folder / "labels", "--input", file, "--skip-bad") == plain
    assert (plain.code, plain.err) == (0, "")
    file.write_text('{"text": ""}\n{"text": "x"\n')
    out = tmp_path / "o.csv"
    none = call(capsys, "predict", folder / "labels", "--input", file, "--skip-bad", "--output", out)
    assert none.code == 2
    assert none.sentence.startswith(f"{file}, line 2: column 13: broken JSON")
    assert not out.exists()
    for more in (["my card"], ["--input", str(file), "--adapter", f"a={folder / 'labels'}"]):
        said = call(capsys, "predict", folder / "m", *more, "--skip-bad")
        assert said.sentence == "--skip-bad is for the rows of --input FILE, answered by one run; leave it out."


def test_a_prompt_that_is_too_long_is_a_bad_row(folder: Path, tmp_path: Path, capsys: Capture) -> None:
    file = tmp_path / "a.jsonl"
    texts = ["my card", "card " * 2 * POSITIONS, "", "my shop"]
    file.write_text("".join(json.dumps({"prompt": text}) + "\n" for text in texts))
    refused = call(capsys, "predict", folder / "writer", "--input", file)
    assert refused.sentence.startswith(f"{file}, line 2: The prompt has ")
    skipped = call(capsys, "predict", folder / "writer", "--input", file, "--skip-bad", "--max-new-tokens", "2")
    assert [row["prompt"] for row in answers(skipped)] == ["my card", "my shop"]
    whole = call(capsys, "predict", folder / "writer", "my card", "my shop", "--max-new-tokens", "2", "--json")
    assert [r["prediction"] for r in answers(skipped)] == [r["prediction"] for r in answers(whole)]
    base = call(capsys, "predict", folder / "m", "--input", file)
    assert base.sentence.startswith(f"{file}, line 2: The prompt has ")
    file.write_text('{"text": "my card"}\n{"text": null}\n')
    assert call(capsys, "predict", folder / "m", "--input", file).sentence == f"{file}, line 2: {EMPTY}"


def test_a_bad_row_far_down_is_refused_before_any_answer(folder: Path) -> None:
    model = load(folder / "labels")
    rows = [Row(GOOD, "a.csv", i) for i in range(1, ROWS_AT_ONCE + 3)]
    rows[-1] = Row({"text": ""}, "a.csv", 9999)
    with pytest.raises(InputError, match=r"a\.csv, line 9999: the field"):
        next(predict(model, rows))
    bad: list[InputError] = []
    found = [prediction.row for prediction in predict(model, [rows[-1], *rows[:2]], bad=bad.append)]
    assert (found, len(bad)) == ([1, 2], 1)


def test_limits_are_never_passed_over(tmp_path: Path) -> None:
    bad: list[InputError] = []
    file = tmp_path / "a.jsonl"
    file.write_text('{"text": "' + "a" * 50 + '"}\n{"text": "b"}\n')
    with pytest.raises(LimitError):
        read_rows(file, limits=Limits(field_characters=40), bad=bad.append)
    assert bad == []
    name, content, _, _ = FILES[-1]
    (tmp_path / name).write_text(content)
    assert [row.data for row in read_rows(tmp_path / name, bad=bad.append)] == [{"id": "x", "text": "a card"}]
    assert [str(error).partition(name)[2][:14] for error in bad] == [", row 2: the k"]
    (tmp_path / "texts").mkdir()
    for stem, text in (("a", b"one"), ("b", b""), ("c", b"\0\1"), ("d", b"two")):
        (tmp_path / "texts" / stem).write_bytes(text)
    bad.clear()
    found = document_rows(tmp_path / "texts", bad=bad.append)
    assert [row.data["file"] for row in found or ()] == ["a", "d"]
    assert len(bad) == 2
