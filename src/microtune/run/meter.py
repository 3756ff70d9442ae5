"""How many bytes of tensors a piece of work has alive at most, counted as torch makes and frees them.

Counted rather than read from the system: the system's figure for a process does not fall when memory is freed and does
not rise when it is used again, and differs between systems. What a library takes for itself inside one product is not
seen. The idea is that of torch's own `MemTracker` (torch.distributed._tools), reduced to one number.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class Meter(TorchDispatchMode):
    """A context: `now` is what was made inside and is still alive, `peak` the most there was; both in bytes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known: dict[int, weakref.ref[Any]] = {}  # storages that are counted, or stood there before

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        for tensor in _tensors((args, tuple(kwargs.values()))):
            self._meet(tensor.untyped_storage(), 0)
        out = func(*args, **kwargs)
        for tensor in _tensors(out):
            storage = tensor.untyped_storage()
            self._meet(storage, storage.nbytes())
        return out

    def _meet(self, storage: torch.UntypedStorage, size: int) -> None:
        key = storage._cdata
        if key in self._known:
            return

        def gone(_: Any) -> None:
            self.now -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, gone)
        self.now += size
        self.peak = max(self.peak, self.now)


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for inner in value:
            yield from _tensors(inner)
