"""`microtune merge`: fold low-rank updates and factors into the weights of their base, and say what that changed.

W + scale B A is computed in float32. The logits before and after are compared on stored prompts and rows of the run,
and the score of the test split where the run's data is still there; above a bound the merge is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from microtune.adapt.base import set_module
from microtune.adapt.ia3 import IA3Linear
from microtune.adapt.lora import LoRALinear
from microtune.adapt.virtual import refuse_virtual
from microtune.errors import CheckError, InputError
from microtune.nn.added import settle
from microtune.nn.transformer import Residual, Transformer
from microtune.run.evaluate import evaluate_items
from microtune.run.export.parity import ROUNDING, gap_of, largest, outputs, run_items, stored_rows
from microtune.run.load import Model, load

SCORE_BOUND = 0.01  # of the score's size: more than near ties can move


@dataclass(frozen=True)
class Merged:
    """A merged model, and what merging changed.

    gap: the largest difference of outputs before and after; bound: how much was allowed. before, after: scores of the
    test split, empty where there is none, and why: the reason for that. rows: the ids that were compared.
    """

    model: Model
    updates: int
    gap: float
    bound: float
    before: dict[str, float]
    after: dict[str, float]
    why: str
    rows: list[list[int]]

    def record(self) -> dict[str, Any]:
        """For parity.json."""
        scores: dict[str, Any] = {"test_before": self.before, "test_after": self.after} if self.before else {}
        if self.why:
            scores["test"] = f"not scored: {self.why}"
        return {"merged_updates": self.updates, "merge_gap": self.gap, "merge_bound": self.bound, **scores}


def merged(source: str | Path) -> Merged:
    """Load a run or an adapter in float32 and fold its updates; InputError where there is none.

    CheckError where outputs or scores move by more than rounding can explain.
    """
    model = load(source, dtype="float32")
    refuse_virtual(model.network)
    refuse_slots(source, model.network)
    if not any(isinstance(module, (LoRALinear, IA3Linear)) for module in model.network.modules()):
        raise InputError(
            f"{source}: there is nothing to merge: it holds no low-rank update and no factor. Its weights are whole; "
            "write them with microtune export --format hf."
        )
    items, why = run_items(model)
    rows = stored_rows(model, items)
    wanted, before = outputs(model, rows), _scores(model, items)
    updates = fold(model.network)
    got, after = outputs(model, rows), _scores(model, items)
    made = Merged(model, updates, gap_of(wanted, got), ROUNDING * largest(wanted), before, after, why, rows)
    _require(made, model)
    return made


def refuse_slots(source: str | Path, network: nn.Module) -> None:
    """InputError where something stands between the layers of a network, which no weight and no other form can hold."""
    if any(isinstance(m, Residual) and not isinstance(m.slot, nn.Identity) for m in network.modules()):
        raise InputError(
            f"{source}: tuned with bottleneck adapters, which stand between the layers: they cannot be folded into "
            "weights, and no exported form holds them. Use the run itself (microtune predict, evaluate, chat), or tune "
            "with lora, which can be merged and exported."
        )


@torch.no_grad()
def fold(network: nn.Module) -> int:
    """Put what base and update compute together in the place of every update; how many there were. The outputs stay."""
    found = {role: m for role, m in network.named_modules() if isinstance(m, (LoRALinear, IA3Linear))}
    for role, update in found.items():
        if isinstance(update, IA3Linear):
            update.fold()
        else:
            weight: Tensor = update.merged()
            update.base.weight.copy_(weight)
        set_module(network, role, update.base)
    if isinstance(network, Transformer):
        settle(network, learnt=True)
    return len(found)


def _scores(model: Model, items: Any) -> dict[str, float]:
    if items is None or model.task is None:
        return {}
    return evaluate_items(model.network, model.task, items, intervals=False).values


def _require(made: Merged, model: Model) -> None:
    if not made.gap <= made.bound:
        raise CheckError(
            f"Merging moves the outputs by {made.gap:.3g}, more than rounding explains ({made.bound:.3g}); keep the "
            "adapter beside its base (microtune export --format peft).",
            check="merge",
        )
    name = model.task.chosen_by()[0] if model.task is not None else ""
    if name in made.before:
        old, new = made.before[name], made.after[name]
        if not abs(new - old) <= SCORE_BOUND * max(1.0, abs(old)):
            raise CheckError(
                f"Merging moves {name} on the test split from {old:.4f} to {new:.4f}; keep the adapter.", check="merge"
            )
