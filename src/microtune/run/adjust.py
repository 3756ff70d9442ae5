"""Watching a training and changing its strategy: `train.adjust: off | advise | act`.

From training losses and the validation split alone (never the test split) it notices divergence, a rate too high to
learn, and overfitting. `advise` says what it would change; `act` changes it: back to the best weights, a lower rate,
more weight decay and dropout, lower blocks held still. Every decision carries its numbers, and all that decides the
next one is part of the checkpoint, so a resumed run takes the same way. Prior art: Prechelt (1998) on stopping,
the plateau schedules of Keras and torch, restarts from the best weights after a spike (Chowdhery et al., PaLM, 2022).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from microtune.nn.heads import LabelHead
from microtune.recipe import Section
from microtune.run.diagnosis import RISE, SPIKE, STREAK, Spikes
from microtune.run.train import Step, Training

Rule = Literal["diverging", "not learning", "overfitting", "held back"]

RESCUE_RATE = 0.3  # times the rate after a divergence: about half a decade, so three of them span 1.5 decades
CALMER_RATE = 0.5  # times the rate when overfitting begins: half the step, twice as close to the minimum
ABOVE_FIRST = 1.5  # validation loss over the first training loss: a slow start, or a lucky first batch, stays below
NOT_FALLEN = 0.95  # training loss of an epoch over the first one: a rate that learns takes more than 5 % away
DECAY_GROWTH, LEAST_DECAY, MOST_DECAY = 3.0, 0.1, 1.0  # weight decay times 3, within the range that AdamW is used in
MORE_DROPOUT, MOST_DROPOUT = 0.1, 0.3  # before a label head; above 0.3 a head of few classes underfits
RESCUES = 5  # rates lowered by 0.3 five times are 0.2 % of the first: then it is not the rate


@dataclass(frozen=True)
class Decision:
    """What was noticed at a step, with its numbers, and what was (or would be) changed."""

    step: int
    rule: Rule
    acted: bool
    reason: str
    changes: list[str]
    numbers: dict[str, float] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """One line for people."""
        return decided(self.step, self.rule, self.reason, self.changes, acted=self.acted)


def decided(step: int, rule: str, reason: str, changes: Sequence[str], *, acted: bool) -> str:
    """A decision as one line for people."""
    verb = "Changed" if acted else "train.adjust=act would change"
    return f"step {step}, {rule}: {reason} {verb}: {'; '.join(changes)}."


class WatchRecord(Section):
    """What a checkpoint keeps of a Watch."""

    recent: list[float] = Field(default_factory=list)
    first: float | None = None
    streak: int = Field(default=0, ge=0)
    said: bool = False
    losses: list[float] = Field(default_factory=list, description="training losses since the last look at validation")
    train_before: float | None = None
    lowest: float | None = None
    best_loss: float | None = None
    rate: float = Field(default=1.0, gt=0, le=1)
    decay: float | None = Field(default=None, ge=0)
    dropout: float | None = Field(default=None, ge=0, lt=1)
    held: int = Field(default=0, ge=0)
    rescues: int = Field(default=0, ge=0)
    overfits: int = Field(default=0, ge=0)


class Watch:
    """Reads steps and scores of a training; in mode `act` it changes the training between two steps."""

    def __init__(self, training: Training, *, judged: bool) -> None:
        """judged: there is a validation split; without one there are no best weights to go back to."""
        self.training, self.mode = training, training.settings.adjust
        self.spikes, self.said = Spikes(), False
        self.losses: list[float] = []
        self.train_before: float | None = None
        self.lowest: float | None = None
        self.best_loss: float | None = None  # of the best weights, which the primary metric chooses
        self.rate = 1.0
        self.decay: float | None = None
        self.dropout: float | None = None
        self.held = self.rescues = self.overfits = 0
        self._still: dict[str, Tensor] = {}
        self._judged = judged
        acting = self.mode == "act" and judged
        self._start = training.attachment.state() if acting else None
        training.skip_broken = acting

    def after_step(self, step: Step, best: Mapping[str, Tensor] | None) -> Decision | None:
        """Each step: hold what is held, and look for a divergence. `best`: the best weights so far."""
        if self.mode == "off":
            return None
        self._put_back()
        if math.isfinite(step.loss):
            self.losses.append(step.loss)
        usual, streak = self.spikes.usual, self.spikes.see(step.loss)
        broken = not math.isfinite(step.loss)
        if not streak:
            self.said = False
        if self._over or self.said or not (broken or streak >= STREAK):
            return None
        self.said = True
        numbers = {"usual_loss": usual, "spikes_in_a_row": float(streak), "grad_norm": step.grad_norm}
        what = (
            "the training loss is no number."
            if broken
            else f"the training loss is {step.loss:.4g}, more than {SPIKE:g} times its running median {usual:.4g}, "
            f"for {streak} steps in a row."
        )
        return self._rescue(step.step, "diverging", what, {**numbers, "loss": step.loss}, best)

    def after_look(self, loss: float | None, gained: bool, best: Mapping[str, Tensor] | None) -> Decision | None:
        """Each look at validation, with its loss; `gained`: the primary metric was better than ever."""
        step = self.training.step
        losses, self.losses = self.losses, []
        if self.mode == "off" or loss is None:
            return None
        train = sum(losses) / len(losses) if losses else math.nan
        before, self.train_before = self.train_before, train if losses else None
        lowest = self.lowest if self.lowest is not None else math.inf
        if math.isfinite(loss):
            self.lowest = min(lowest, loss)
        self.best_loss = loss if gained and math.isfinite(loss) else self.best_loss
        if self._over:
            return None
        first = self.spikes.first or math.inf
        numbers = {"validation_loss": loss, "train_loss": train, "first_loss": first, "lowest_validation_loss": lowest}
        if not math.isfinite(loss):
            return self._rescue(step, "diverging", "the validation loss is no number.", numbers, best)
        if self.said:  # the divergence was just reported
            return None
        if loss > ABOVE_FIRST * first and train > NOT_FALLEN * first:
            what = f"validation loss {loss:.4g}, training loss {train:.4g}: not below the first step's {first:.4g}."
            return self._rescue(step, "not learning", what, numbers, best)
        if not gained and loss > RISE * lowest and train < (before if before is not None else math.inf):
            return self._calm(step, loss, lowest, numbers, best)
        if self.held and loss > lowest and before is not None and train > before:
            return self._release(step, train, before, numbers)
        return None

    @property
    def _over(self) -> bool:
        """After the last step there is nothing left to change."""
        return self.training.step >= self.training.total_steps

    def _rescue(
        self, step: int, rule: Rule, what: str, numbers: dict[str, float], best: Mapping[str, Tensor] | None
    ) -> Decision:
        """Divergence: back to good weights, a much lower rate."""
        changes = [*self._back_text(best), self._rate_text(RESCUE_RATE)]
        if self.mode == "act":
            self.rescues += 1
            self.training.skip_broken = self.training.skip_broken and self.rescues < RESCUES
            self.rate *= RESCUE_RATE
            self._back(best)
            self._apply()
        return Decision(step, rule, self.mode == "act", what, changes, _finite(numbers))

    def _calm(
        self, step: int, loss: float, lowest: float, numbers: dict[str, float], best: Mapping[str, Tensor] | None
    ) -> Decision:
        """Overfitting: back to the best weights, half the rate, more regularisation; the second time, fewer blocks."""
        blocks = self.training.attachment.blocks()
        decay = min(max(DECAY_GROWTH * self._decay_now, LEAST_DECAY), MOST_DECAY)
        changes = [*self._back_text(best), self._rate_text(CALMER_RATE)]
        changes.append(f"weight decay {self._decay_now:g} -> {decay:g}")
        head = self.training.model.head
        dropout = None
        if isinstance(head, LabelHead):
            dropout = max(head.dropout, min(head.dropout + MORE_DROPOUT, MOST_DROPOUT))
            changes.append(f"dropout before the head {head.dropout:g} -> {dropout:g}")
        hold = min(self.held + (len(blocks) - self.held) // 2, len(blocks)) if self.overfits else self.held
        if hold > self.held:
            changes.append(f"the lowest {hold} of {len(blocks)} trained blocks held still")
        if self.mode == "act":
            self.overfits += 1
            self.rate, self.decay, self.dropout, self.held = self.rate * CALMER_RATE, decay, dropout, hold
            self._back(best)
            self._apply()
        what = f"the validation loss is {loss:.4g} after {lowest:.4g} while the training loss fell."
        return Decision(step, "overfitting", self.mode == "act", what, changes, _finite(numbers))

    def _release(self, step: int, train: float, before: float, numbers: dict[str, float]) -> Decision:
        """Neither loss falls any more while blocks are held: let them train again (only ever held in mode `act`)."""
        changes = [f"{self.held} blocks train again"]
        self.held = 0
        self._apply()
        what = f"neither loss falls (training loss {before:.4g}, then {train:.4g}) while blocks are held still."
        return Decision(step, "held back", True, what, changes, _finite(numbers))

    def _back(self, best: Mapping[str, Tensor] | None) -> None:
        """To the best weights, or those before the first step; moments of gradients that led astray are forgotten."""
        weights = self._start if self._from_start(best) else best
        if weights is not None:
            self.training.attachment.load_state(weights)
            self.training.optimizers.forget()
            self.train_before = None  # losses before and after are of different weights
        self.spikes.recent, self.spikes.streak, self.said = [], 0, False  # the loss starts from another height

    def _back_text(self, best: Mapping[str, Tensor] | None) -> list[str]:
        if self._from_start(best):
            return ["back to the weights before the first step"]
        return ["back to the best weights so far"] if self._judged else []

    def _from_start(self, best: Mapping[str, Tensor] | None) -> bool:
        """Whether the best weights, chosen by another metric, are no better than those before the first step."""
        if not self._judged or (best is not None and self.best_loss is None):
            return False
        return best is None or (self.best_loss or 0.0) > ABOVE_FIRST * (self.spikes.first or math.inf)

    def _rate_text(self, factor: float) -> str:
        rate = self.training.optimizers.base_lr * self.rate
        return f"learning rate x {factor:g} (peak {rate:.3g} -> {rate * factor:.3g})"

    @property
    def _decay_now(self) -> float:
        return self.training.settings.weight_decay if self.decay is None else self.decay

    def _apply(self) -> None:
        """Make the training follow rate, decay, dropout and held blocks."""
        self.training.optimizers.adjust(self.rate, self.decay)
        head = self.training.model.head
        if self.dropout is not None and isinstance(head, LabelHead):
            head.dropout = self.dropout
        names = {name for block in self.training.attachment.blocks()[: self.held] for name in block}
        self._still = {n: p.detach().clone() for n, p in self.training.attachment.parameters() if n in names}

    @torch.no_grad()
    def _put_back(self) -> None:
        """Blocks that are held keep their weights, whatever the optimizer's momentum and decay made of them."""
        if self._still:
            for name, parameter in self.training.attachment.parameters():
                if name in self._still:
                    parameter.copy_(self._still[name])

    def plain(self) -> WatchRecord:
        """What a checkpoint keeps."""
        names = (
            "said",
            "losses",
            "train_before",
            "lowest",
            "best_loss",
            "rate",
            "decay",
            "dropout",
            "held",
            "rescues",
            "overfits",
        )
        spikes = {"recent": self.spikes.recent, "first": self.spikes.first, "streak": self.spikes.streak}
        return WatchRecord(**spikes, **{name: getattr(self, name) for name in names})

    def load(self, record: WatchRecord) -> None:
        """The inverse of `plain`, after the training's own state was loaded."""
        values = record.model_dump()
        self.spikes = Spikes(values.pop("recent"), values.pop("first"), values.pop("streak"))
        for name, value in values.items():
            setattr(self, name, value)
        self.training.skip_broken = self.training.skip_broken and self.rescues < RESCUES
        self._apply()


def decisions(lines: Iterable[Mapping[str, Any]]) -> list[Decision]:
    """The decisions among the lines of metrics.jsonl; a line that says less than a decision does is left out."""
    kinds = {"step": int, "rule": str, "acted": bool, "reason": str, "changes": list, "numbers": dict}
    found = (line for line in lines if line.get("kind") == "decision")
    whole = (line for line in found if all(isinstance(line.get(name), kind) for name, kind in kinds.items()))
    return [Decision(**{name: line[name] for name in kinds}) for line in whole]


def _finite(numbers: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in numbers.items() if math.isfinite(value)}
