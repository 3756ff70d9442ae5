"""How a training went, in one plain sentence with its numbers: underfit, good fit, overfit from step N, or unstable.

Pure functions over what a run records: the loss and gradient norm of each step, the validation loss at each look.
The signs are the textbook ones (Goodfellow, Bengio and Courville, Deep Learning, 2016, chapter 5; Prechelt, Early
stopping, but when?, 1998): the gap between the two losses, their slopes, and spikes of the training loss.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any, Literal

Verdict = Literal["underfit", "good fit", "overfit", "unstable", "not judged"]

WINDOW = 20  # healthy steps whose median a training loss is compared with: a few seconds of most runs
SPIKE = 3.0  # times that median, and above the first loss: below it a tripled loss is the noise of single rows
STREAK = 3  # spikes in a row: one or two are odd batches
RISE = 1.05  # validation loss over its best: less is within the noise of a few hundred rows
FALL = 0.10  # fall of the validation loss in the last look, share of the one before: it has not levelled off
FALL_OF_FIRST = 0.03  # the same as a share of the first loss, so that small losses are not called unfinished
WILD = 2.0  # largest training loss over the first: no batch is twice as hard as another before anything is learnt
GAP = 0.3  # training loss as a share of the validation loss: below it, the rows are known by heart
APART = 0.85  # the same where validation gained nothing at all: what was learnt holds for the training rows only
LEVEL = 0.02  # a change of the validation loss by less is none
LEARNT = {True: 0.10, False: 0.02}  # least fall of a loss from the first step: new head (from chance), known head


@dataclass(frozen=True)
class Point:
    """A loss at a step; nan where it was no number."""

    step: int
    loss: float
    grad_norm: float = math.nan


@dataclass(frozen=True)
class Diagnosis:
    """A verdict, the step it dates from (overfit, unstable), a sentence for people, and the numbers behind it."""

    verdict: Verdict
    sentence: str
    step: int | None = None
    evidence: dict[str, float] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """For JSON, in which there is no nan."""
        return {**asdict(self), "evidence": {k: v for k, v in self.evidence.items() if math.isfinite(v)}}


@dataclass
class Spikes:
    """Watches training losses: `see` says how many spikes in a row the last one ends; spikes enter no median."""

    recent: list[float] = field(default_factory=list)
    first: float | None = None
    streak: int = 0

    def see(self, loss: float) -> int:
        """Take in the next training loss."""
        if self._spike(loss):
            self.streak += 1
            return self.streak
        self.streak = 0
        self.first = loss if self.first is None else self.first
        self.recent = [*self.recent, loss][-WINDOW:]
        return 0

    @property
    def usual(self) -> float:
        """The running median; nan before the first loss."""
        return median(self.recent) if self.recent else math.nan

    def _spike(self, loss: float) -> bool:
        if not math.isfinite(loss):
            return True
        return bool(self.recent) and loss > max(SPIKE * self.usual, self.first or 0.0)


def points(lines: Iterable[Mapping[str, Any]]) -> tuple[list[Point], list[Point]]:
    """Training steps and looks at validation out of the lines of metrics.jsonl."""
    steps, looks = [], []
    for line in lines:
        if not isinstance(line.get("step"), int):
            continue
        if line.get("kind") == "step":
            steps.append(Point(line["step"], _number(line.get("loss")), _number(line.get("grad_norm"))))
        elif line.get("split") == "validation" and "loss" in line and not line.get("final"):
            looks.append(Point(line["step"], _number(line["loss"])))
    return steps, looks


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def diagnose(steps: Sequence[Point], looks: Sequence[Point], *, new_head: bool = False) -> Diagnosis:
    """The verdict over a whole run; `new_head`: the first loss is that of guessing, as for a new classifier."""
    if not steps:
        return Diagnosis("not judged", "No step was recorded, so the training cannot be judged.")
    spikes = Spikes()
    spiked = [point.step for point in steps if spikes.see(point.loss) >= STREAK]
    if spikes.first is None:
        return Diagnosis("unstable", "Unstable from the first step: no training loss was a number.", steps[0].step)
    evidence = _evidence(steps, looks, spikes.first, len(spiked))
    lasting = _lasting(steps, looks, spiked, evidence)
    if lasting is not None:
        return lasting
    if not looks:
        return Diagnosis("not judged", f"Not judged without a validation split; {_train(evidence)}.", None, evidence)
    least = LEARNT[new_head]
    return _overfit(steps, looks, evidence, least) or _underfit(looks, evidence, least) or _good(evidence)


def _evidence(steps: Sequence[Point], looks: Sequence[Point], first: float, spikes: int) -> dict[str, float]:
    """The numbers behind every verdict."""
    norms = [p.grad_norm for p in steps if math.isfinite(p.grad_norm)]
    evidence = {"first_train_loss": first, "train_loss": _train_loss(steps, looks, -1), "spikes": float(spikes)}
    evidence["largest_train_loss"] = max(p.loss for p in steps if math.isfinite(p.loss))
    if norms:
        evidence |= {"median_grad_norm": median(norms), "largest_grad_norm": max(norms)}
    finite = [p for p in looks if math.isfinite(p.loss)]
    if finite:
        best = min(finite, key=lambda p: p.loss)
        evidence |= {"validation_loss": looks[-1].loss, "best_validation_loss": best.loss, "best_step": best.step}
        evidence["gap"] = looks[-1].loss - evidence["train_loss"]
    if len(looks) > 1:
        evidence["slope"] = looks[-1].loss / looks[-2].loss - 1.0 if looks[-2].loss else 0.0
    return evidence


def _train_loss(steps: Sequence[Point], looks: Sequence[Point], index: int) -> float:
    """Mean training loss between one look at validation and the one before; of the last tenth without looks."""
    ends = [0, *(p.step for p in looks)]
    until = ends[index] if looks else steps[-1].step
    since = ends[index - 1] if looks else until - max(1, len(steps) // 10)
    found = [p.loss for p in steps if since < p.step <= until and math.isfinite(p.loss)]
    return fmean(found) if found else math.nan


def _lasting(
    steps: Sequence[Point], looks: Sequence[Point], spiked: Sequence[int], evidence: dict[str, float]
) -> Diagnosis | None:
    """Unstable: it diverged and never became better than before, or ended above where it began."""
    best = evidence.get("best_step", 0)
    if spiked and spiked[-1] > best:
        start = next(step for step in spiked if step > best)
        sentence = (
            f"Unstable from step {start}: the training loss was more than {SPIKE:g} times its running median for "
            f"{STREAK} steps in a row or longer ({len(spiked)} such steps), and {_train(evidence)}; lower train.lr."
        )
        return Diagnosis("unstable", sentence, start, evidence)
    first, last = evidence["first_train_loss"], evidence["train_loss"]
    if not last <= 1.1 * first:  # or it is no number
        sentence = (
            f"Unstable: {_train(evidence)}, more than before the first step (median gradient norm "
            f"{evidence.get('median_grad_norm', math.nan):.3g}); lower train.lr."
        )
        return Diagnosis("unstable", sentence, steps[0].step, evidence)
    return None


def _overfit(
    steps: Sequence[Point], looks: Sequence[Point], evidence: dict[str, float], least: float
) -> Diagnosis | None:
    """The validation loss has risen since its best while the training loss fell, or stands still far above it."""
    if "best_step" not in evidence:
        return None
    best = int(evidence["best_step"])
    place = next(i for i, look in enumerate(looks) if look.step == best) + 1
    low, last, train = evidence["best_validation_loss"], evidence["validation_loss"], evidence["train_loss"]
    risen = last > RISE * low and train < _train_loss(steps, looks, place)
    still = len(looks) > 1 and evidence["slope"] > -LEVEL and last > GAP * evidence["first_train_loss"]
    useless = last > (1.0 - least) * evidence["first_train_loss"] and train < APART * last
    if not risen and not useless and not (still and train < GAP * last):
        return None
    how = f"rose from {low:.4g} to {last:.4g}" if risen else f"stands still at {last:.4g}"
    sentence = (
        f"Overfit from step {best}: the validation loss {how} while the training loss fell to {train:.4g} "
        f"(gap {evidence['gap']:.4g}); the weights of the best look are kept unless train.keep says last. More rows, "
        "fewer epochs or fewer trainable parameters would help."
    )
    return Diagnosis("overfit", sentence, best, evidence)


def _underfit(looks: Sequence[Point], evidence: dict[str, float], least: float) -> Diagnosis | None:
    """The loss hardly fell, or was still falling at the end."""
    first, last = evidence["first_train_loss"], evidence["validation_loss"]
    if last > (1.0 - least) * first and evidence["largest_train_loss"] > WILD * first:
        sentence = (
            f"Unstable: the training loss rose from {first:.4g} to {evidence['largest_train_loss']:.4g} on the way, "
            f"and the validation loss ({last:.4g}) is hardly below where it began; lower train.lr."
        )
        return Diagnosis("unstable", sentence, None, evidence)
    if last > (1.0 - least) * first:
        sentence = (
            f"Underfit: the validation loss ({last:.4g}) is hardly below the loss before the first step ({first:.4g}), "
            f"and {_train(evidence)}; try a higher train.lr, more epochs, or a method that trains more."
        )
        return Diagnosis("underfit", sentence, None, evidence)
    fall = looks[-2].loss - last if len(looks) > 1 else 0.0
    if fall > max(FALL * looks[-2].loss if len(looks) > 1 else 0.0, FALL_OF_FIRST * first):
        sentence = (
            f"Underfit: the validation loss was still falling at the end (from {looks[-2].loss:.4g} to {last:.4g} in "
            f"the last epoch; {_train(evidence)}); more epochs would help."
        )
        return Diagnosis("underfit", sentence, None, evidence)
    return None


def _good(evidence: dict[str, float]) -> Diagnosis:
    spikes = f"; {evidence['spikes']:.0f} steps of divergence on the way" if evidence["spikes"] else ""
    slope = f", changing by {evidence['slope']:+.1%} in the last epoch" if "slope" in evidence else ""
    sentence = (
        f"Good fit: {_train(evidence)}, the validation loss ended at {evidence['validation_loss']:.4g} (gap "
        f"{evidence['gap']:.4g}{slope}{spikes})."
    )
    return Diagnosis("good fit", sentence, None, evidence)


def no_better(found: Diagnosis) -> Diagnosis:
    """The same for a model that is not clearly better than one answer to everything: no fit is good then."""
    if found.verdict != "good fit":
        return found
    sentence = (
        "Underfit: the answers on validation are not clearly better than always giving the same one, although "
        f"{_train(found.evidence)}; try a higher train.lr, more epochs, or a method that trains more."
    )
    return Diagnosis("underfit", sentence, None, found.evidence)


def all_right(found: Diagnosis) -> Diagnosis:
    """The same for a model whose answers on validation are all right: a lower loss would make them no better."""
    if found.verdict != "underfit":
        return found
    sentence = (
        f"Good fit: all answers on validation are right, and {_train(found.evidence)}; the validation loss "
        f"({found.evidence['validation_loss']:.4g}) could still fall, which would only make them surer."
    )
    return Diagnosis("good fit", sentence, None, found.evidence)


def _train(evidence: Mapping[str, float]) -> str:
    return f"the training loss went from {evidence['first_train_loss']:.4g} to {evidence['train_loss']:.4g}"
