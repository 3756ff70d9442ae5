"""Weighted combination of LoRA adapters into one, which loads, answers and is exported as a run does.

The updates are summed (adapt/combine.py): `linear` exactly, with the sum of the ranks; `svd` to a rank of your choice,
with the share that is lost told. A label head is no update but a whole: heads are averaged, with the weights divided by
their sum. Adapters that answer different questions have no common head and are refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from microtune.adapt.combine import Factors, added, shortened, widened
from microtune.adapt.lora import LoRA
from microtune.errors import InputError
from microtune.nn.frozen import Update
from microtune.nn.heads import LabelHead
from microtune.run.load import Model
from microtune.run.onto import Adapter
from microtune.tasks.base import Task
from microtune.tasks.classification import Classification

How = Literal["linear", "svd"]
HOWS = ("linear", "svd")
FREE = ("_field", "temperature")  # ends of a task's options in which adapters may differ


@dataclass(frozen=True)
class Combination:
    """What a combination is made of: its method and tensors by name, the task, and how it came about.

    lost: the relative Frobenius norm of what `svd` left out over all roles; 0 where nothing was.
    """

    method: LoRA
    tensors: dict[str, Tensor]
    model: Model
    facts: dict[str, Any]
    lost: float


def combination(parts: Sequence[tuple[Adapter, float]], *, how: str = "linear", rank: int | None = None) -> Combination:
    """The weighted sum of adapters; InputError where there is none."""
    adapters = [adapter for adapter, _ in parts]
    _check(parts, how, rank)
    task = _common_task(parts)
    terms: dict[str, list[tuple[float, Update]]] = {}
    for adapter, weight in parts:
        for role, found in adapter.parts.items():
            terms.setdefault(role, []).append((weight, found.updates[0]))
    sums = {role: added(own) for role, own in terms.items()}
    lost = whole = 0.0
    if how == "svd":
        wanted = rank or max(len(update.A) for own in terms.values() for _, update in own)
        for role, factors in sums.items():
            sums[role], without, size = shortened(factors, wanted)
            lost, whole = lost + without, whole + size
    method = _method(sums)
    tensors = _tensors(adapters[0].model, method, sums)
    tensors |= _head(parts)
    share = math.sqrt(lost / whole) if whole else 0.0
    facts = {
        "adapters": {adapter.name: weight for adapter, weight in parts},
        "how": how,
        "rank": method.rank,
        "lost": share,
    }
    model = replace(adapters[0].model, task=task)
    return Combination(method, tensors, model, facts, share)


def checked_weights(count: int, weights: Sequence[float]) -> list[float]:
    """One finite weight for each of `count` adapters, not all zero."""
    if len(weights) != count:
        raise InputError(f"weights: {len(weights)} for {count} adapters; give one for each, in their order.")
    for weight in weights:
        if not math.isfinite(weight):
            raise InputError(f"weights: {weight} is no finite number.")
    if not any(weights):
        raise InputError("weights: all are 0, so nothing would be left.")
    return list(weights)


def _check(parts: Sequence[tuple[Adapter, float]], how: str, rank: int | None) -> None:
    if how not in HOWS:
        raise InputError(f'how: unknown value "{how}"; known are {", ".join(HOWS)}.')
    if not parts:
        raise InputError("There is no adapter to combine; name at least one, with its weight.")
    checked_weights(len(parts), [weight for _, weight in parts])
    if rank is not None and how == "linear":
        raise InputError(
            "rank: linear keeps every update whole, so its rank is the sum of theirs; take svd to choose it."
        )
    if rank is not None and rank < 1:
        raise InputError(f"rank: {rank} leaves no update; give a whole number from 1.")
    for adapter, _ in parts:
        made = adapter.method.name if adapter.method is not None else "peft"
        if not adapter.parts or not adapter.mixes:
            raise InputError(
                f'"{adapter.name}" ({made}) has no low-rank form that could be added; combine lora adapters.'
            )
        if any(found.rescale is not None for found in adapter.parts.values()):
            raise InputError(
                f'"{adapter.name}" is weight-decomposed (dora): it rescales whole rows of the weight, which has no '
                "low-rank form; combine plain or rslora adapters."
            )


def _common_task(parts: Sequence[tuple[Adapter, float]]) -> Task | None:
    """The first adapter's task, which all must share but for the names of fields."""
    first = parts[0][0]
    own = first.model.task
    for other, _ in parts[1:]:
        theirs = other.model.task
        if type(own) is not type(theirs):
            names = [task.name if task is not None else "none" for task in (own, theirs)]
            raise InputError(
                f'"{first.name}" and "{other.name}" have different tasks ({names[0]} and {names[1]}); adapters are '
                "combined within one task."
            )
        if own is None or theirs is None:
            continue
        mine, given = own.model_dump(mode="json"), theirs.model_dump(mode="json")
        different = [key for key in mine if not key.endswith(FREE) and mine[key] != given[key]]
        if different:
            raise InputError(
                f'"{first.name}" and "{other.name}" differ in task.{different[0]}; adapters are combined within one '
                "task with the same labels."
            )
    if isinstance(own, Classification):
        tasks = [adapter.model.task for adapter, _ in parts]
        found = [task.temperature for task in tasks if isinstance(task, Classification)]
        mean = sum(share * value for share, value in zip(_shares(parts), found, strict=True))
        return own.model_copy(update={"temperature": mean if mean > 0 else 1.0})
    return own


def _shares(parts: Sequence[tuple[Adapter, float]]) -> list[float]:
    """The weights divided by their sum, as heads are averaged."""
    total = sum(weight for _, weight in parts)
    if total <= 0:
        raise InputError(
            f"weights: their sum is {total:g}, but label heads are averaged, for which it must be above 0."
        )
    return [weight / total for _, weight in parts]


@torch.no_grad()
def _head(parts: Sequence[tuple[Adapter, float]]) -> dict[str, Tensor]:
    """The averaged label head by the names of a network; nothing for a vocabulary head, which is the base's."""
    heads = [adapter.head for adapter, _ in parts]
    if not isinstance(heads[0], LabelHead):
        return {}
    states = [head.state_dict() for head in heads]
    shapes: list[Mapping[str, Any]] = [{name: t.shape for name, t in state.items()} for state in states]
    for (adapter, _), shape in zip(parts, shapes, strict=True):
        if shape != shapes[0]:
            raise InputError(f'"{parts[0][0].name}" and "{adapter.name}" have label heads of different shapes.')
    shares = _shares(parts)
    names = {name for name, _ in heads[0].named_parameters()}
    return {
        f"head.{name}": torch.stack([s * state[name] for s, state in zip(shares, states, strict=True)]).sum(0)
        for name in states[0]
        if name in names
    }


def _method(sums: Mapping[str, Factors]) -> LoRA:
    """The plain LoRA of scale 1 that has a place for every update."""
    rank = max(len(factors.A) for factors in sums.values())
    kinds = sorted({role.rpartition(".")[2] for role in sums})
    lowest = min(int(role.split(".")[2]) for role in sums)
    return LoRA(rank=rank, alpha=float(rank), roles=kinds, first_block=lowest)


def _tensors(model: Model, method: LoRA, sums: Mapping[str, Factors]) -> dict[str, Tensor]:
    """Both factors of every role that the method adapts; zeros where no adapter has an update."""
    some = next(iter(sums.values())).A
    found: dict[str, Tensor] = {}
    for role, linear in model.network.named_modules():
        names = role.split(".")
        if not isinstance(linear, nn.Linear) or names[-1] not in (method.roles or ()) or names[1:2] != ["blocks"]:
            continue
        if int(names[2]) < method.first_block:
            continue
        smaller = min(linear.weight.shape)
        if method.rank > smaller:
            raise InputError(
                f"rank: {method.rank} is more than the {smaller} that {role} can have; take svd with a lower rank."
            )
        empty = Factors(some.new_zeros(0, linear.in_features), some.new_zeros(linear.out_features, 0))
        A, B = widened(sums.get(role, empty), method.rank)
        found |= {f"{role}.lora_A": A, f"{role}.lora_B": B}
    return found
