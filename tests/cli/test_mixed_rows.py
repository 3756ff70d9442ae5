"""`predict BASE --adapter NAME=RUN --input FILE`: each row by its own adapter, as the run alone answers; refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from command import call

from microtune.run.load import load
from microtune.run.predict import predict, task_of, text_rows
from tiny_adapters import ANSWERS, CLASSES, make_run
from tiny_model import make_model

pytestmark = pytest.mark.usefixtures("quick")

OTHERS = CLASSES.model_copy(update={"labels": ("hotel", "flight", "train"), "text_field": "sentence"})
PAIRS = CLASSES.model_copy(update={"pair_field": "second"})
RUNS: dict[str, dict[str, Any]] = {
    "cards": {"seed": 1},
    "travel": {"seed": 2, "rank": 3, "variant": "rslora", "task": OTHERS},
    "top": {"seed": 5, "name": "top", "blocks": 1, "rank": None},
    "talk": {"seed": 6, "task": ANSWERS},
    "pairs": {"seed": 7, "task": PAIRS},
}
ROWS = [
    {"id": 1, "who": "cards", "text": "my card was declined at the shop"},
    {"id": 2, "who": "travel", "sentence": "退款还没有到账", "text": "of no adapter"},
    {"id": 3, "who": "talk", "prompt": "where is my transfer"},
    {"id": 4, "who": "top", "text": "card"},
    {"id": 5, "who": "travel", "sentence": "the transfer has not arrived"},
]


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    base = make_model(root / "base")
    return {"base": base, **{name: make_run(root / name, base, **options) for name, options in RUNS.items()}}


def arguments(places: dict[str, Path], *names: str) -> list[str]:
    return [str(places["base"]), *(part for name in names for part in ("--adapter", f"{name}={places[name]}"))]


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_each_row_is_answered_by_the_adapter_it_names(
    places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write(tmp_path / "rows.jsonl", ROWS)
    named = arguments(places, "cards", "travel", "top", "talk")
    answer = call(capsys, "predict", *named, "--input", file, "--adapter-field", "who", "--max-new-tokens", "6")
    assert answer.code == 0
    found = [json.loads(line) for line in answer.out.splitlines()]
    assert [one["id"] for one in found] == [1, 2, 3, 4, 5]
    for row, one in zip(ROWS, found, strict=True):
        model = load(places[str(row["who"])])
        field = {"travel": "sentence", "talk": "prompt"}.get(str(row["who"]), "text")
        (wanted,) = predict(model, text_rows(task_of(model), [str(row[field])]), max_new_tokens=6)
        assert one["prediction"] == wanted.answer
        assert abs(one.get("confidence", 1.0) - wanted.confidence) < 2e-5  # 1e-5, and rounded to six digits
    out = tmp_path / "out.jsonl"
    answer = call(capsys, "predict", *named, "--input", file, "--adapter-field", "who", "--output", out)
    assert (answer.code, answer.out) == (0, "")
    assert len(out.read_text(encoding="utf-8").splitlines()) == 5


def test_bad_rows(places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    named = arguments(places, "cards", "travel")
    for row, sentence in (
        ({"text": "card"}, 'line 2: the field "adapter" is missing; each row names its adapter there: cards, travel.'),
        ({"adapter": "cardz", "text": "card"}, 'line 2: there is no adapter "cardz". Did you mean "cards"?'),
        ({"adapter": "travel", "text": "card"}, 'line 2: the field "sentence" holds no text.'),
    ):
        file = write(tmp_path / "rows.jsonl", [{"adapter": "cards", "text": "card"}, row])
        answer = call(capsys, "predict", *named, "--input", file, "--output", tmp_path / "out.jsonl")
        assert answer.code == 2
        assert answer.sentence.startswith(f"{file}, {sentence}")
        assert not (tmp_path / "out.jsonl").exists()


BAD: dict[str, tuple[list[str], str]] = {
    "texts": (["card"], "--adapter answers rows that each name theirs in the field adapter; give --input."),
    "no name": (["--adapter", "runs/x", "--input", "FILE"], '--adapter: "runs/x" is not NAME=RUN; write for instance'),
    "twice": (["--adapter", "cards=x", "--input", "FILE"], '--adapter: "cards" stands twice; give each adapter a name'),
    "decoding": (["--input", "FILE", "--decoding", "beams=2"], "--decoding: with --adapter each task writes as its"),
    "pairs": (["--adapter", "pairs=PAIRS", "--input", "FILE"], '--adapter: "pairs" answers classification, whose rows'),
}


@pytest.mark.parametrize("name", list(BAD))
def test_bad_options(name: str, places: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more, sentence = BAD[name]
    file = write(tmp_path / "rows.jsonl", [{"adapter": "cards", "text": "card"}])
    given = [one.replace("FILE", file).replace("PAIRS", str(places["pairs"])) for one in more]
    answer = call(capsys, "predict", *arguments(places, "cards"), *given)
    assert answer.code == 2
    assert answer.sentence.startswith(sentence)
