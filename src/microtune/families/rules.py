"""Rename rules: the names of tensors in a family's files <-> our parameter paths, with the inverse for free.

A rule is one line: their name, our name, and what happens in between. Only `{}` stands for a number, so `layer.0` and
`layer.1` can mean different things. Where their tensor is several of ours end to end along the output dimension, our
side is a tuple; where they store a linear weight transposed (GPT-2), or the parts head by head (GPT-NeoX), the rule is
marked. Nothing else is needed for the families we know, and nothing computes: ours -> theirs -> ours is bit-exact. The
idea of a table instead of a conversion script is litgpt's and torchtitan's (`from_hf_map`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

Part = Literal["model", "label", "spare"]
Twin = Literal["none", "equal", "copied", "dead"]


@dataclass(frozen=True)
class Rule:
    """One tensor of theirs and what it is here.

    twin: whether this is a second name for a tensor that another rule already places. Either is read when it stands
    alone. `equal`: both in one file must agree, and only the first is written. `copied`: the same, but both are
    written. `dead`: their code never reads the twin, but expects it: it is written, and passed over where the first is
    present. row: their tensor has one dimension more, of 1, in front. heads: where it is not 1, the parts stand not
    whole one after the other, but in so many slices: a slice of each part, then the next slice of each.
    """

    theirs: str
    ours: tuple[str, ...]
    transposed: bool = False
    twin: Twin = "none"
    row: bool = False
    heads: int = 1

    def shape(self, parts: Iterable[tuple[int, ...]]) -> tuple[int, ...]:
        """Shape in their file of the tensor that holds our `parts`."""
        parts = list(parts)
        shape = (*((1,) if self.row else ()), sum(part[0] for part in parts), *parts[0][1:])
        return shape[::-1] if self.transposed else shape

    def pieces(self, parts: list[Tensor]) -> list[Tensor]:
        """Views of our parts in the order in which their tensor holds them along its output dimension."""
        if self.heads == 1:
            return parts
        return [piece for slices in zip(*(part.chunk(self.heads) for part in parts), strict=True) for piece in slices]

    def join(self, parts: list[Tensor]) -> Tensor:
        """Our parts -> their tensor, as `TensorFile.read_into` takes it apart again."""
        tensor = torch.cat(self.pieces(parts)) if len(parts) > 1 else parts[0]
        tensor = tensor[None] if self.row else tensor
        return tensor.t().contiguous() if self.transposed else tensor


@dataclass(frozen=True)
class Place:
    """Where a tensor of theirs belongs: its rule with the numbers filled in on both sides."""

    part: Part
    rule: Rule
    theirs: str
    ours: tuple[str, ...]


def rename(theirs: str, ours: str | tuple[str, ...], *, transposed: bool = False, heads: int = 1) -> tuple[Rule, Rule]:
    """Rules for `weight` and `bias` of a layer; a layer without a bias simply never asks for the second."""
    names = (ours,) if isinstance(ours, str) else ours
    weight = Rule(f"{theirs}.weight", tuple(f"{name}.weight" for name in names), transposed, heads=heads)
    return weight, Rule(f"{theirs}.bias", tuple(f"{name}.bias" for name in names), heads=heads)


@dataclass(frozen=True)
class Rules:
    """All rules of a family.

    model: the language model; label: what its `ForSequenceClassification` puts on top; spare: what files of the bare
    base model hold and no head here reads, kept to be written back (RoBERTa's pooler); ignored: known tensors that hold
    no weights or serve nothing here; prefix: what files of the bare base model leave out; respelled: older endings of
    names and today's; absent: our names that a file may lack, and ours whose copy then stands there (None: zeros). A
    name under `model` and under `label` belongs to both heads (ModernBERT).
    """

    model: tuple[Rule, ...]
    label: tuple[Rule, ...] = ()
    spare: tuple[Rule, ...] = ()
    ignored: tuple[str, ...] = ()
    prefix: str = ""
    respelled: tuple[tuple[str, str], ...] = ()
    absent: tuple[tuple[str, str | None], ...] = ()

    def place(self, theirs: str) -> Place | None:
        """Their name -> where it belongs, or None where no rule knows it."""
        for name in self._spellings(theirs):
            for part, rule in self._all():
                numbers = _numbers(rule.theirs, name)
                if numbers is not None:
                    return Place(part, rule, name, tuple(ours.format(*numbers) for ours in rule.ours))
        return None

    def ignores(self, theirs: str) -> bool:
        """Whether a tensor is known and of no use."""
        return any(_numbers(rule, name) is not None for name in self._spellings(theirs) for rule in self.ignored)

    def locate(self, ours: str, part: Part = "model") -> Place | None:
        """Our name -> the tensor of theirs that holds it, or None."""
        for rule in self.model if part == "model" else self.label + self.spare:
            for name in rule.ours if rule.twin == "none" else ():
                numbers = _numbers(name, ours)
                if numbers is not None:
                    filled = tuple(other.format(*numbers) for other in rule.ours)
                    return Place(part, rule, rule.theirs.format(*numbers), filled)
        return None

    def to_theirs(self, state: Mapping[str, Tensor], part: Part = "model") -> dict[str, Tensor]:
        """Our state -> theirs. Names that no rule knows raise KeyError: the caller checks them first."""
        out: dict[str, Tensor] = {}
        for name in state:
            place = self.locate(name, part)
            if place is None:
                raise KeyError(name)
            if place.theirs not in out:
                out[place.theirs] = place.rule.join([state[ours] for ours in place.ours])
            for twin in (r for kind, r in self._all() if kind == part and r.twin in ("copied", "dead")):
                if place.rule.twin == "none" and twin.ours == place.rule.ours:
                    out[twin.theirs] = out[place.theirs].clone()
        return out

    def _all(self) -> Iterable[tuple[Part, Rule]]:
        yield from (("model", rule) for rule in self.model)
        yield from (("label", rule) for rule in self.label)
        yield from (("spare", rule) for rule in self.spare)

    def _spellings(self, theirs: str) -> Iterable[str]:
        for old, new in self.respelled:
            if theirs.endswith(old):
                theirs = theirs.removesuffix(old) + new
        yield theirs
        if self.prefix:
            yield self.prefix + theirs


@lru_cache(maxsize=4096)
def _pattern(template: str) -> re.Pattern[str]:
    return re.compile(re.escape(template).replace(r"\{\}", "(0|[1-9][0-9]{0,5})"))  # no 007: one number, one spelling


def _numbers(template: str, name: str) -> tuple[str, ...] | None:
    match = _pattern(template).fullmatch(name)
    return None if match is None else match.groups()
