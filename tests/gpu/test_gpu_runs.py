"""Whole runs on a GPU: tune, pretrain, stop and go on, the storage of a frozen trunk, saving and loading.

Where the device is checked, the run has really been there; the files that it leaves are those of any run.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from where import DEVICE, MARKS, ON_GPU

import microtune as mt
from microtune.cli.app import main
from microtune.run import evaluate
from microtune.run.train import Step, Training
from tiny_model import POSITIONS, SPEC, TEXTS, make_model, rows

pytestmark = MARKS


@pytest.fixture(scope="module", autouse=True)
def few_resamples() -> Any:
    before, evaluate.RESAMPLES = evaluate.RESAMPLES, 20
    yield
    evaluate.RESAMPLES = before


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def devices(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Where batches were computed."""
    seen: set[str] = set()
    optimize = Training.optimize

    def noted(self: Training, pieces: list[list[int]]) -> Any:
        seen.add(self.device.type)
        return optimize(self, pieces)

    monkeypatch.setattr(Training, "optimize", noted)
    return seen


METHODS: dict[str, Any] = {
    "lora": {"name": "lora", "rank": 2},
    "dora": {"name": "lora", "rank": 2, "variant": "dora"},
    "pissa": {"name": "lora", "rank": 2, "variant": "pissa"},
    "dropout": {"name": "lora", "rank": 2, "dropout": 0.2},
    "full": "full",
    "head": "head",
    "top": {"name": "top", "blocks": 1},
    "bitfit+head": "norms",
    "ia3": "ia3",
    "bottleneck": {"name": "bottleneck", "reduction": 4},
    "prefix": {"name": "prefix", "tokens": 3},
    "prompt": {"name": "prompt", "tokens": 3},
}


@pytest.mark.parametrize("name", METHODS)
def test_every_kind_of_method_ends_and_comes_back(name: str, folder: Path, tmp_path: Path, devices: set[str]) -> None:
    """What is saved gives, when loaded anew, the outputs of the trained model bit for bit: the run checks it."""
    run = mt.tune(
        rows(), task="classification", model=str(folder), method=METHODS[name], epochs=2, out=tmp_path / "run",
        train={"batch_size": 6, "lr": 1e-2}, split={"validation": 0.25, "test": 0.25},
    )  # fmt: skip
    assert devices == {DEVICE.type}
    assert run.checks["reload"] == "passed"
    assert {"card", "transfer"} >= {p.answer for p in run.predict([row["text"] for row in rows(4)])}
    assert not list((tmp_path / "run" / "cache").glob("*.bin"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_instruction_runs_in_every_format(precision: str, folder: Path, tmp_path: Path) -> None:
    data = [{"prompt": f"{text} {i}", "completion": f" {text}"} for i in range(6) for text in TEXTS]
    losses: list[float] = []
    run = mt.tune(
        data, task="instruction", model=str(folder), method="lora:2", epochs=3, out=tmp_path / "run",
        train={"batch_size": 4, "lr": 1e-2, "precision": precision}, split={"validation": 0.2, "test": 0.1},
        on_event=lambda event: losses.append(event.loss) if isinstance(event, Step) else None,
    )  # fmt: skip
    assert losses[-1] < losses[0]
    (answer,) = run.predict(["my card"], max_new_tokens=5)
    assert isinstance(answer.answer, str)


class Stop(Exception):  # noqa: N818 - as a user's own
    pass


@pytest.mark.parametrize("method", ["lora", "top"])
def test_a_stopped_run_goes_on(method: str, folder: Path, tmp_path: Path) -> None:
    """The end is that of an uninterrupted run, to the order of sums on the device."""

    def stop(event: Any) -> None:
        if isinstance(event, Step) and event.step == 5:
            raise Stop

    def go(out: str, on_event: Any = None) -> mt.Run:
        return mt.tune(
            rows(), task="classification", model=str(folder), method=METHODS[method], epochs=3, out=tmp_path / out,
            train={"batch_size": 4, "lr": 1e-2, "checkpoint_steps": 2, "precision": "float32"}, split="none",
            on_event=on_event,
        )  # fmt: skip

    with pytest.raises(Stop):
        go("stopped", stop)
    steps: list[int] = []
    stopped = go("stopped", lambda e: steps.append(e.step) if isinstance(e, Step) else None)
    assert steps[0] == 5
    whole = go("whole")
    mine, theirs = (dict(r.model.network.named_parameters()) for r in (stopped, whole))
    for name, value in theirs.items():
        torch.testing.assert_close(mine[name], value, rtol=0, atol=1e-5)


def test_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("text,label\n" + "".join(f"{r['text']},{r['label']}\n" for r in rows()), encoding="utf-8")
    out = tmp_path / "run"

    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as caught:
            main([str(a) for a in arguments])
        said = capsys.readouterr()
        assert caught.value.code == 0, said.err
        return said.out

    asked = ("--task", "classification", "--model", folder, "--method", "lora:2", "--epochs", 1, "--out", out)
    assert "saved:" in call("tune", data, *asked)
    assert call("predict", out, "my card was declined").strip()
    assert "accuracy" in call("evaluate", out, "--data", data)
    call("tune", data, *asked[:-1], tmp_path / "planned", "--dry-run")
    assert not (tmp_path / "planned").exists()


def test_pretraining(tmp_path: Path) -> None:
    lines = [f"{text} {i}" for i in range(60) for text in TEXTS]
    (tmp_path / "corpus.txt").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "held.txt").write_text("\n".join(lines[:6]), encoding="utf-8")
    recipe = {
        "task": "language-modelling",
        "method": "full",
        "model": {"spec": SPEC.to_dict(), "tokenizer": {"vocab_size": SPEC.vocab_size}},
        "data": {
            "folder": str(tmp_path),
            "block_size": 32,
            "sources": [{"path": "corpus.txt", "held_out": "held.txt", "name": "tiny"}],
        },
        "train": {"epochs": 2, "batch_size": 8, "lr": 1e-2},
    }
    steps: list[Step] = []
    run = mt.pretrain(recipe, out=tmp_path / "run", on_event=lambda e: steps.append(e) if isinstance(e, Step) else None)
    assert steps[-1].loss < steps[0].loss
    model = mt.load(run.path / "model")
    assert model.spec.decoder is not None
    assert model.spec.decoder.max_positions == POSITIONS
    (tensor,) = model.logits([[5, 6, 7]])
    assert bool(tensor.isfinite().all())


def test_memory_is_measured_on_the_card(folder: Path, tmp_path: Path) -> None:
    """A limit that no run fits into is refused before anything trains."""
    if not ON_GPU:
        pytest.skip("a CPU has its own tests of this")
    with pytest.raises(mt.MicrotuneError, match="memory"):
        mt.tune(
            rows(), task="classification", model=str(folder), method="full", epochs=1, out=tmp_path / "run",
            train={"memory": "10kB"}, split="none",
        )  # fmt: skip
