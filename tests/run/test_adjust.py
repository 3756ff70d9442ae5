"""Watching and changing a training: what is noticed, what `act` changes, and that it survives a kill bit for bit."""

from __future__ import annotations

import csv
import json
import math
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import make_base, make_rows, picture, run, tune_recipe
from torch.testing import assert_close

from microtune.recipe import Recipe, Train, build
from microtune.run.adjust import Decision, Watch, decisions
from microtune.run.folder import read_metrics
from microtune.run.session import Choice
from microtune.run.train import Step
from microtune.run.verbs import Run

FAR_TOO_HIGH = 3.0  # three hundred times what these runs use


pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


def high(inputs: tuple[str, str], adjust: str) -> Recipe:
    return tune_recipe(*inputs, "top", lr=FAR_TOO_HIGH, epochs=6, adjust=adjust)


@pytest.fixture(scope="module")
def runs(inputs: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The planted case of a rate far too high, in each mode."""
    folder = tmp_path_factory.mktemp("runs")
    for mode in ("off", "advise", "act"):
        run(high(inputs, mode), folder / mode)
    return {mode: folder / mode for mode in ("off", "advise", "act")}


def lines(path: Path, kind: str) -> list[dict[str, Any]]:
    return [line for line in read_metrics(path / "metrics.jsonl") if line["kind"] == kind]


def loss_of(path: Path) -> float:
    return Run(path).scores["validation"]["loss"]


def test_a_rate_far_too_high_ends_better_with_act(runs: dict[str, Path]) -> None:
    assert loss_of(runs["act"]) < loss_of(runs["advise"]) - 0.03
    found = decisions(read_metrics(runs["act"] / "metrics.jsonl"))
    assert found[0].rule == "diverging"
    assert found[0].acted
    assert found[0].step == 4  # three spikes after the first step
    assert found[0].numbers["loss"] > 3 * found[0].numbers["usual_loss"]
    assert "back to the weights before the first step" in found[0].changes
    rates = [line["lr"] for line in lines(runs["act"], "step")]
    before = [line["lr"] for line in lines(runs["advise"], "step")]
    assert rates[:4] == before[:4]
    assert rates[4] == pytest.approx(0.3 * before[4])


def test_advice_changes_nothing(runs: dict[str, Path]) -> None:
    """The same steps, weights and scores as without watching; the decisions say that they were not carried out."""
    ours, theirs = picture(runs["advise"]), picture(runs["off"])
    assert ours["model"] == theirs["model"]
    assert ours["scores"] == theirs["scores"]
    assert [m for m in ours["metrics"] if m["kind"] != "decision"] == theirs["metrics"]
    assert lines(runs["off"], "decision") == []
    assert lines(runs["advise"], "decision")
    assert not any(line["acted"] for line in lines(runs["advise"], "decision"))


def test_decisions_and_the_diagnosis_are_written_down(runs: dict[str, Path]) -> None:
    for mode in ("advise", "act"):
        record = json.loads((runs[mode] / "scores.json").read_text(encoding="utf-8"))
        card = (runs[mode] / "README.md").read_text(encoding="utf-8")
        found = decisions(read_metrics(runs[mode] / "metrics.jsonl"))
        assert [d["step"] for d in record["decisions"]] == [d.step for d in found]
        assert found[0].text.replace("<", "&lt;") in card
        assert found[0].reason.replace("<", "&lt;") in (runs[mode] / "report.html").read_text(encoding="utf-8")
        assert f"How the training went: {record['diagnosis']['sentence']}" in card
        assert Run(runs[mode]).diagnosis.verdict == record["diagnosis"]["verdict"]
    assert Run(runs["advise"]).diagnosis.verdict == "unstable"


@pytest.mark.parametrize("at", [5, 10, 17])
def test_killed_with_act_and_resumed(at: int, inputs: tuple[str, str], runs: dict[str, Path], tmp_path: Path) -> None:
    """After a rescue, between two, late: weights, steps, scores and decisions are those of the uninterrupted run."""

    def leave(event: Any) -> None:
        if isinstance(event, Step) and event.step == at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(high(inputs, "act"), tmp_path / "run", event=leave)
    folder = run(high(inputs, "act"), tmp_path / "run")
    assert folder.notes == [f"Resumed at step {at // 3 * 3 if at != 5 else 3} of {24}."]
    assert picture(tmp_path / "run") == picture(runs["act"])


def noisy_rows(path: Path, count: int = 260) -> str:
    """A fifth of the labels is wrong: full tuning learns them by heart."""
    random.seed(0)
    groups = (["transfer", "account", "arrived", "has"], ["card", "shop", "declined", "number"])
    others = ["the", "my", "was", "at", "in", "not", *(str(i) for i in range(10))]
    with open(path, "w", encoding="utf-8", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(["text", "label"])
        for i in range(count):
            label = random.randrange(2)
            words = random.choices(groups[label], k=2) + random.choices(others, k=5)
            random.shuffle(words)
            rows.writerow([" ".join(words) + f" {i}", ["a", "b"][label ^ (random.random() < 0.2)]])
    return str(path)


@pytest.mark.slow
def test_full_tuning_on_200_rows_ends_better_with_act(inputs: tuple[str, str], tmp_path: Path) -> None:
    """On every seed the last weights; the best ones, which one seed alone decides by luck, on the mean of eight."""
    data = noisy_rows(tmp_path / "rows.csv")
    settings = {"epochs": 16, "lr": 5e-3, "schedule": "constant", "patience": 0, "precision": "float32"}
    best: dict[str, list[float]] = {"advise": [], "act": []}
    held = 0
    for seed in range(8):
        for mode, losses in best.items():
            recipe = {
                "task": "classification",
                "seed": seed,
                "model": {"source": inputs[0]},
                "data": {"train": data, "split": {"validation": 60 / 260}},
                "method": "full",
                "train": {**settings, "adjust": mode},
            }
            run(build(recipe), tmp_path / f"{mode}-{seed}")
            losses.append(loss_of(tmp_path / f"{mode}-{seed}"))
        found = decisions(read_metrics(tmp_path / f"act-{seed}" / "metrics.jsonl"))
        assert [d.rule for d in found if d.rule == "overfitting"]
        held += any("held still" in change for d in found for change in d.changes)
        assert Run(tmp_path / f"advise-{seed}").diagnosis.verdict == "overfit"
        last = {mode: lines(tmp_path / f"{mode}-{seed}", "score")[-2] for mode in best}
        assert last["act"]["loss"] < 0.6 * last["advise"]["loss"]
    assert held == 8
    assert sum(best["act"]) < sum(best["advise"])


class Stand:
    """A training with real tensors and nothing behind them."""

    def __init__(self, mode: str = "act") -> None:
        self.settings = Train(adjust=mode, weight_decay=0.01)  # type: ignore[arg-type]
        self.step, self.total_steps, self.skip_broken = 0, 100, False
        self.weights = {f"decoder.blocks.{i}.w": torch.nn.Parameter(torch.zeros(2)) for i in range(4)}
        self.attachment = self.optimizers = self.model = self
        self.head = None
        self.base_lr = 1.0
        self.applied: list[tuple[float, float | None]] = []
        self.forgot = 0

    def state(self) -> dict[str, torch.Tensor]:
        return {n: p.detach().clone() for n, p in self.weights.items()}

    def load_state(self, state: dict[str, torch.Tensor]) -> None:
        for name, value in state.items():
            self.weights[name].data.copy_(value)

    def parameters(self) -> Any:
        return self.weights.items()

    def blocks(self) -> list[list[str]]:
        return [[name] for name in self.weights]

    def adjust(self, rate: float, decay: float | None) -> None:
        self.applied.append((rate, decay))

    def forget(self) -> None:
        self.forgot += 1


def see(watch: Watch, stand: Stand, loss: float, best: Any = None) -> Decision | None:
    stand.step += 1
    return watch.after_step(Step(stand.step, 0.0, loss, 1.0, 1.0, 1, 1, 0.1), best)


def test_a_loss_that_is_no_number_is_rescued_at_once_but_not_for_ever() -> None:
    stand = Stand()
    watch = Watch(stand, judged=True)  # type: ignore[arg-type]
    assert stand.skip_broken
    stand.weights["decoder.blocks.0.w"].data.fill_(7.0)
    found = see(watch, stand, math.nan)
    assert found is not None
    assert found.rule == "diverging"
    assert float(stand.weights["decoder.blocks.0.w"].detach().sum()) == 0.0  # the weights before the first step
    assert stand.applied == [(0.3, None)]
    for _ in range(4):
        assert see(watch, stand, math.nan) is not None
    assert not stand.skip_broken  # from the fifth on, the run stops with its usual sentence
    assert not Watch(Stand("advise"), judged=True).training.skip_broken  # type: ignore[arg-type]
    assert not Watch(Stand(), judged=False).training.skip_broken  # type: ignore[arg-type]


def test_overfitting_twice_holds_blocks_and_a_standstill_releases_them() -> None:
    stand = Stand()
    watch = Watch(stand, judged=True)  # type: ignore[arg-type]
    best = {name: torch.ones(2) for name in stand.weights}

    def look(train: float, loss: float, gained: bool) -> Decision | None:
        see(watch, stand, train, best)
        return watch.after_look(loss, gained, best)

    assert look(1.0, 0.8, True) is None
    first = look(0.6, 0.9, False)
    assert first is not None
    assert first.rule == "overfitting"
    assert stand.applied[-1] == (0.5, 0.1)  # 3 x 0.01, at least 0.1
    assert watch.held == 0
    assert look(0.55, 0.79, False) is None
    second = look(0.5, 0.95, False)
    assert second is not None
    assert "the lowest 2 of 4 trained blocks held still" in second.changes
    assert stand.applied[-1] == (0.25, pytest.approx(0.3))
    for parameter in stand.weights.values():
        parameter.data.fill_(5.0)  # what an optimizer step would do
    see(watch, stand, 0.5, best)
    assert [float(p.detach().mean()) for p in stand.weights.values()] == [1.0, 1.0, 5.0, 5.0]
    again = Watch(stand, judged=True)  # type: ignore[arg-type]
    again.load(watch.plain())
    assert again.plain() == watch.plain()
    watch.after_look(0.8, False, best)
    released = look(0.6, 0.8, False)
    assert released is not None
    assert released.rule == "held back"
    assert watch.held == 0


def test_after_the_last_step_nothing_is_decided() -> None:
    stand = Stand()
    watch = Watch(stand, judged=True)  # type: ignore[arg-type]
    stand.step = 99
    assert see(watch, stand, math.nan) is None
    assert watch.after_look(99.0, False, None) is None


def test_a_slow_start_is_not_taken_for_a_rate_too_high() -> None:
    """A lucky first batch (0.60) and a validation loss at chance (0.74): nothing is lowered."""
    stand = Stand()
    watch = Watch(stand, judged=True)  # type: ignore[arg-type]
    for loss in (0.60, 0.72, 0.70):
        assert see(watch, stand, loss) is None
    assert watch.after_look(0.74, True, stand.state()) is None


def test_equal_metrics_are_decided_by_the_loss_and_patience_counts_both() -> None:
    choice = Choice("accuracy", True, value=0.8, tie=0.5)
    assert choice.better(0.8, 0.4)
    assert not choice.better(0.8, 0.5)
    assert not choice.better(0.8)
    assert not choice.better(math.nan, 0.1)
    assert choice.lower(0.5)
    assert not choice.lower(0.5)
    assert choice.lower(0.4)
    assert not choice.lower(math.nan)


def test_lines_that_are_no_decisions() -> None:
    whole = {"step": 1, "rule": "diverging", "acted": True, "reason": "r.", "changes": ["c"], "numbers": {}}
    kept = decisions([{"kind": "decision", **whole}, {"kind": "decision", "step": 1}, {"kind": "step", **whole}])
    assert [d.text for d in kept] == ["step 1, diverging: r. Changed: c."]
    assert_close(kept[0].step, 1)
