"""A patch: in what an adapted network differs from its base, so that many can take turns on one base.

Attaching a method puts modules and tensors into a network in the place of others. A `Picture` of the network before
finds what they are, whatever the method; a `Patch` puts them in and takes them out again. The base's own tensors stand
in memory once and are never copied or written to.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn

from microtune.nn.transformer import Transformer

_NOTHING = object()
_OWN = ("_parameters", "_buffers", "_modules")


class Change(NamedTuple):
    """One entry of a table of a module: what stands there in the base, and what the adapter puts there."""

    table: dict[str, Any]
    key: str
    old: Any
    new: Any


@dataclass(frozen=True, eq=False)
class Patch:
    """All entries in which an adapted network differs from its base."""

    changes: tuple[Change, ...]

    def lay(self) -> None:
        """Make the base the adapted network."""
        for change in self.changes:
            _put(change.table, change.key, change.new)

    def lift(self) -> None:
        """Make it the base again."""
        for change in self.changes:
            _put(change.table, change.key, change.old)


class Picture:
    """Which modules, tensors and settings stand in a network now."""

    def __init__(self, network: nn.Module) -> None:
        tables = [t for module in network.modules() for t in (vars(module), *(vars(module)[name] for name in _OWN))]
        self._then = [(table, dict(table)) for table in tables]
        self._versions: list[tuple[Tensor, int]] = [(p, p._version) for p in network.parameters()]

    def patch(self) -> Patch:
        """What has changed since; RuntimeError where a tensor of the base itself was written to."""
        if any(tensor._version != version for tensor, version in self._versions):
            raise RuntimeError("a method wrote to a tensor of the base that others share")
        found = []
        for table, then in self._then:
            for key in {**then, **table}:
                old, new = then.get(key, _NOTHING), table.get(key, _NOTHING)
                if old is not new:
                    found.append(Change(table, key, old, new))
        return Patch(tuple(found))

    def restore(self) -> None:
        """Everything as it was."""
        for table, then in self._then:
            for key in [key for key in table if key not in then]:
                del table[key]
            table.update(then)


class SharedNetwork:
    """One base on which one patch lies at a time; between calls, none. Threads wait for each other."""

    def __init__(self, network: Transformer) -> None:
        self.network = network.eval().requires_grad_(False)
        self._lock = threading.RLock()
        self._laid: Patch | None = None

    @contextmanager
    def wearing(self, patch: Patch | None) -> Iterator[Transformer]:
        """The network with this patch, or the base; nobody else has it meanwhile."""
        with self._lock:
            before = self._laid
            self._lay(patch)
            try:
                yield self.network
            finally:
                self._lay(before)

    @contextmanager
    def drawn(self) -> Iterator[Picture]:
        """The base, to be changed and pictured; afterwards it is as before."""
        with self.wearing(None):
            picture = Picture(self.network)
            try:
                yield picture
            finally:
                picture.restore()

    def _lay(self, patch: Patch | None) -> None:
        if patch is self._laid:
            return
        if self._laid is not None:
            self._laid.lift()
        if patch is not None:
            patch.lay()
        self._laid = patch


def _put(table: dict[str, Any], key: str, value: Any) -> None:
    if value is _NOTHING:
        table.pop(key, None)
    else:
        table[key] = value
