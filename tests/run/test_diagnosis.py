"""What is said at the end about how a training went: on curves made by hand, whose answer is known."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest

from microtune.run.diagnosis import Diagnosis, Point, Spikes, all_right, diagnose, no_better, points

STEPS = 10  # between two looks at validation


def verdict(train: Sequence[float], looks: Sequence[float], *, first: float = 1.0, new_head: bool = True) -> Diagnosis:
    """`first` is the first step's loss; `train` and `looks`: one value per epoch of ten steps."""
    steps = [Point(i + 1, train[i // STEPS], 0.5) for i in range(STEPS * len(train))]
    steps[0] = Point(1, first, 2.0)
    return diagnose(steps, [Point(STEPS * (i + 1), loss) for i, loss in enumerate(looks)], new_head=new_head)


CURVES = {
    "levelled off": ((0.5, 0.3, 0.28), (0.4, 0.32, 0.31), "good fit", None),
    "still falling": ((0.9, 0.8, 0.7), (0.85, 0.75, 0.65), "underfit", None),
    "nothing learnt": ((0.99, 0.98, 0.98), (0.99, 0.98, 0.98), "underfit", None),
    "rises while training falls": ((0.5, 0.3, 0.1), (0.5, 0.45, 0.6), "overfit", 20),
    "stands far above": ((0.5, 0.2, 0.05), (0.5, 0.47, 0.468), "overfit", 30),
    "learns its own rows only": ((0.9, 0.6, 0.5), (0.99, 0.97, 0.96), "overfit", 30),
    "ends above its start": ((1.1, 1.3, 1.4), (1.2, 1.5, 1.6), "unstable", 1),
    "a small loss that halves is no unfinished run": ((0.1, 0.02, 0.01), (0.1, 0.03, 0.022), "good fit", None),
}


@pytest.mark.parametrize("name", CURVES)
def test_curves(name: str) -> None:
    train, looks, wanted, step = CURVES[name]
    found = verdict(train, looks)
    assert (found.verdict, found.step) == (wanted, step)
    assert found.evidence["gap"] == pytest.approx(looks[-1] - found.evidence["train_loss"])
    assert found.evidence["slope"] == pytest.approx(looks[-1] / looks[-2] - 1)
    assert found.evidence["best_validation_loss"] == min(looks)
    assert found.evidence["largest_grad_norm"] == 2.0
    assert found.evidence["median_grad_norm"] == 0.5
    assert found.sentence.lower().startswith(wanted)
    assert found.sentence.endswith(".")


def test_a_known_head_may_start_close_to_its_end() -> None:
    """A language model that falls by 5 % has learnt; a new classifier that falls by 5 % has not."""
    assert verdict((0.96, 0.95, 0.95), (0.96, 0.951, 0.95), new_head=False).verdict == "good fit"
    assert verdict((0.96, 0.95, 0.95), (0.96, 0.951, 0.95), new_head=True).verdict == "underfit"


def test_a_divergence_that_lasts_and_one_that_passed() -> None:
    lasting = verdict((0.5, 4.0, 4.0), (0.5, 3.0, 3.0))
    assert (lasting.verdict, lasting.step) == ("unstable", 13)  # the third spike in a row
    passed = verdict((0.5, 4.0, 0.3), (0.5, 3.0, 0.45))
    assert passed.verdict != "unstable"
    assert passed.evidence["spikes"] == STEPS - 2


def test_what_cannot_be_judged() -> None:
    assert diagnose([], []).verdict == "not judged"
    alone = diagnose([Point(1, 1.0), Point(2, 0.5)], [])
    assert (alone.verdict, alone.evidence["train_loss"]) == ("not judged", 0.5)
    assert diagnose([Point(1, math.nan)], []).verdict == "unstable"
    one = verdict((0.4,), (0.42,))
    assert one.verdict == "good fit"
    assert "slope" not in one.evidence


def test_no_fit_is_good_where_one_answer_to_everything_is_as_good() -> None:
    good = verdict((0.5, 0.3, 0.28), (0.4, 0.32, 0.31))
    found = no_better(good)
    assert (found.verdict, found.evidence) == ("underfit", good.evidence)
    assert found.sentence.startswith("Underfit: the answers on validation are not clearly better than always giving")
    over = verdict((0.5, 0.3, 0.1), (0.5, 0.45, 0.6))
    assert no_better(over) is over


def test_no_more_epochs_are_asked_for_where_every_answer_is_right() -> None:
    falling = verdict((0.9, 0.5, 0.2), (0.8, 0.5, 0.25))
    assert falling.verdict == "underfit"
    found = all_right(falling)
    assert (found.verdict, found.evidence) == ("good fit", falling.evidence)
    assert found.sentence.startswith("Good fit: all answers on validation are right, and the training loss went from")
    over = verdict((0.5, 0.3, 0.1), (0.5, 0.45, 0.6))
    assert all_right(over) is over


def test_a_record_is_json() -> None:
    found = verdict((0.5, 0.3), (0.5, math.nan))
    assert json.loads(json.dumps(found.plain(), allow_nan=False))["verdict"] == found.verdict


def test_spikes() -> None:
    """Three times the running median and above the first loss; a spike enters no median, and no number is a spike."""
    watch = Spikes()
    assert [watch.see(x) for x in (1.0, 0.2, 0.2, 0.9, 0.2)] == [0, 0, 0, 0, 0]  # 0.9 is below the first
    assert [watch.see(x) for x in (1.5, 9.0, math.nan, math.inf, 0.3)] == [1, 2, 3, 4, 0]
    assert watch.usual == 0.25
    assert Spikes().see(math.nan) == 1


def test_lines_of_the_metrics_file() -> None:
    lines = [
        {"kind": "step", "step": 1, "loss": 1.0, "grad_norm": 2.0},
        {"kind": "step", "step": 2, "loss": None, "grad_norm": None},
        {"kind": "score", "step": 2, "split": "validation", "loss": 0.5},
        {"kind": "score", "split": "validation", "loss": 0.4, "final": True},
        {"kind": "decision", "step": 2},
        {"kind": "step", "step": "x"},
        {"kind": "score", "step": 2, "split": "test", "loss": 0.5},
    ]
    steps, looks = points(lines)
    assert [(p.step, math.isnan(p.loss)) for p in steps] == [(1, False), (2, True)]
    assert looks == [Point(2, 0.5, pytest.approx(math.nan, nan_ok=True))]
