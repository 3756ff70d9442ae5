"""`microtune combine`: what it prints, what its result can do, and its refusals."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from command import call

from microtune.cli.console import plain
from microtune.run.adapters import load_adapters
from microtune.run.verbs import Run
from tiny_adapters import ANSWERS, CLASSES, make_run
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")

TEXTS = ["my card was declined", "where is the transfer"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    other = {"task": CLASSES.model_copy(update={"labels": ("x", "y")})}
    options = {"a": {}, "b": {"rank": 3}, "other": other, "dora": {"variant": "dora"}, "talk": {"task": ANSWERS}}
    return {name: make_run(root / name, base, seed=i, **given) for i, (name, given) in enumerate(options.items())}


def test_the_result_is_a_run(
    base: Path, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "mix"
    answer = call(capsys, "combine", runs["a"], runs["b"], "--weights", "0.7,0.3", "--out", out)
    assert answer.code == 0
    assert "2 adapters combined, rank 5 (linear, exact)" in answer.out
    assert f"saved: {out}" in answer.out.replace("\n", "")
    many = load_adapters(base, {"a": runs["a"], "b": runs["b"]})
    many.combine("mix", {"a": 0.7, "b": 0.3})
    wanted = many.predict(TEXTS, "mix")
    assert Run(out).predict(TEXTS) == wanted
    found = call(capsys, "predict", out, *TEXTS, "--json")
    assert [json.loads(line)["prediction"] for line in found.out.splitlines()] == [p.answer for p in wanted]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows()), encoding="utf-8")
    scored = call(capsys, "evaluate", out, "--data", data, "--json")
    assert 0 <= json.loads(scored.out)["scores"]["accuracy"] <= 1
    assert call(capsys, "evaluate", out, "--json").code == 0
    facts = json.loads((out / "combined.json").read_text(encoding="utf-8"))
    assert facts == {
        "adapters": {str(runs["a"]): 0.7, str(runs["b"]): 0.3},
        "how": "linear",
        "rank": 5,
        "lost": 0.0,
    }


def test_svd_and_what_it_costs(runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["combine", runs["a"], runs["b"], "--how", "svd", "--rank", "2", "--out", tmp_path / "mix"]
    answer = call(capsys, *arguments, "--json")
    found = json.loads(answer.out)
    assert (found["path"], found["rank"]) == (str(tmp_path / "mix"), 2)
    assert 0 < found["lost"] < 1
    again = call(capsys, *arguments)
    assert (again.code, "--overwrite" in again.sentence) == (2, True)
    shown = call(capsys, *arguments, "--overwrite")
    assert f"rank 2 (svd, {found['lost']:.2%} of the updates lost)" in shown.out


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_it_is_exported_and_talks(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "talk"
    assert call(capsys, "combine", runs["talk"], runs["talk"], "--weights", "0.5,0.2", "--out", out).code == 0
    for form in ("peft", "hf"):
        made = call(capsys, "export", out, "--format", form, "--out", tmp_path / form)
        assert (made.code, "largest difference" in made.out) == (0, True), made.err
    assert call(capsys, "merge", out, "--out", tmp_path / "merged").code == 0
    (wanted,) = Run(out).predict(TEXTS[0], max_new_tokens=4)
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{TEXTS[0]}\n\n"))
    talked = call(capsys, "chat", out, "--max-new-tokens", "4", "--temperature", "0")
    assert (talked.code, talked.out) == (0, "".join(map(plain, wanted.answer)) + "\n")


def test_mistakes(runs: dict[str, Path], base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "mix"

    def refused(message: str, *given: str | Path) -> None:
        answer = call(capsys, "combine", *given, "--out", out)
        assert answer.code == 2
        assert message in answer.sentence
        assert not out.exists()

    a, b = runs["a"], runs["b"]
    refused("Give two runs or more to combine.", a)
    refused("weights: 1 for 2 adapters; give one for each", a, b, "--weights", "0.7")
    refused('--weights: "0.7;0.3" is not a list of numbers', a, b, "--weights", "0.7;0.3")
    refused('how: unknown value "ties"', a, b, "--how", "ties")
    refused("take svd to choose it", a, b, "--rank", "4")
    refused("differ in task.labels", a, runs["other"])
    refused("different tasks", a, runs["talk"])
    refused("is weight-decomposed (dora)", a, runs["dora"])
    refused("a whole model, not an adapter", base, a)
    refused("a whole model, not an adapter", a, base)
    refused("There is no model or folder", a, tmp_path / "none")
    other = make_model(tmp_path / "other")
    content = bytearray((other / "model.safetensors").read_bytes())
    content[-2] ^= 1
    (other / "model.safetensors").write_bytes(content)
    refused("whose weights are not those of", a, make_run(tmp_path / "far", other, seed=0))
    out.write_text("a file", encoding="utf-8")
    answer = call(capsys, "combine", a, b, "--out", out)
    assert "exists and is not a combination" in answer.sentence
