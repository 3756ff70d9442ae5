"""`--decoding` of the verbs that write, and `task.decoding` in a recipe."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from tiny_pairs import make_pair_base, pair_recipe, write_rows
from tiny_runs import run

from microtune.recipe import build
from microtune.run.verbs import Run
from tiny_model import make_model

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "cli"))
from command import call


def test_chat_and_bad_values(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(tmp_path / "m")
    lines = iter(["my card", ""])
    monkeypatch.setattr("builtins.input", lambda _: next(lines))
    talked = call(capsys, "chat", folder, "--decoding", "labels=[card, transfer]", "--decoding", "beams=2")
    assert talked.code == 0
    assert talked.out.strip() in ("card", "transfer")
    for given, said in (
        (["--decoding", "beams=0"], "decoding: beams: the value should be greater than or equal to 1, not '0'."),
        (["--decoding", "beam=2"], 'decoding: unknown key "beam". Did you mean "beams"?'),
        (["--decoding", "beams"], '"beams" is not an override'),
        (["--top-p", "0"], "decoding: top_p: the value should be greater than 0"),
        (["--temperature", "-1"], "decoding: temperature: the value should be greater than or equal to 0"),
        (["--temperature", "1", "--decoding", "beams=2"], "leave out one of the two"),
        (["--decoding", "json_schema=@none.json"], "none.json: there is no such file"),
    ):
        answer = call(capsys, "chat", folder, *given)
        assert answer.code == 2
        assert said in answer.sentence


@pytest.mark.usefixtures("quick")
def test_a_recipe_says_how_and_predict_says_it_otherwise(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base, data = make_pair_base(tmp_path / "bart"), write_rows(tmp_path / "rows.jsonl")
    values = pair_recipe(base, data, {"name": "head"}).model_dump(exclude_none=True)
    values["task"]["decoding"] = {"beams": 3, "answers": 2, "labels": ["eins", "zwei drei"]}
    folder = tmp_path / "run"
    run(build(values), folder)
    own = Run(folder).predict(["one", "two three four"])
    assert [len(p.answers) for p in own] == [2, 2]
    assert all({text for text, _ in p.answers} == {"eins", "zwei drei"} for p in own)
    assert all(p.answers[0] == (p.answer, max(score for _, score in p.answers)) for p in own)
    answer = call(capsys, "predict", folder, "one", "two three four", "--json")
    assert answer.code == 0
    shown = [json.loads(line) for line in answer.out.splitlines()]
    assert [line["prediction"] for line in shown] == [p.answer for p in own]
    assert [[a["text"] for a in line["answers"]] for line in shown] == [[t for t, _ in p.answers] for p in own]
    other = call(capsys, "predict", folder, "one", "--json", "--decoding", "labels=sechs", "--decoding", "answers=1")
    assert json.loads(other.out)["prediction"] == "sechs"
    refused = call(capsys, "predict", folder, "one", "--decoding", "answers=4")
    assert refused.code == 2
    assert "4 answers need as many beams, or a temperature" in refused.sentence
