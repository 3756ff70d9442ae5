"""What an answer must keep to, token by token: which ids may come next, and what taking one of them leads to.

A set of labels is a tree of their token ids and needs nothing. Regular expressions and JSON schemas are automata over
the vocabulary (Willard and Louf, 2023), which the library llguidance keeps (run/automata.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

import torch
from torch import Tensor

from microtune.errors import InputError


class Rule(Protocol):
    """Where one answer stands."""

    def allowed(self) -> Tensor:
        """[V] bool: the ids that may come next, stop ids among them where the answer may end; never none."""
        ...

    def take(self, chosen: int) -> None:
        """Go on by one id; one that is not allowed, as a model's files may force it, changes nothing."""
        ...

    def copy(self) -> Self:
        """The same place, to go on from another way."""
        ...


class OneOf:
    """One of several rows of ids, then a stop id."""

    def __init__(self, rows: Sequence[Sequence[int]], stop_ids: Sequence[int], vocab_size: int) -> None:
        if not stop_ids:
            raise InputError("The tokenizer of this model has no token that ends a text, so no label could end.")
        self.tree: dict[int, Any] = {}
        for row in rows:
            place = self.tree
            for i in row:
                place = place.setdefault(int(i), {})
            place |= {stop: {} for stop in stop_ids}
        self.place, self.stop_ids, self.size = self.tree, list(stop_ids), vocab_size

    def allowed(self) -> Tensor:
        """The ids that go on with some row."""
        found = torch.zeros(self.size, dtype=torch.bool)
        found[list(self.place) or self.stop_ids] = True
        return found

    def take(self, chosen: int) -> None:
        """Down the tree."""
        self.place = self.place.get(chosen, self.place)

    def copy(self) -> OneOf:
        """The same tree, which nobody changes."""
        other = object.__new__(OneOf)
        other.__dict__ |= self.__dict__
        return other
