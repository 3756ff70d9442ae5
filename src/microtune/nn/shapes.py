"""Modules that have shapes and no memory, to compare a file with or to fill with its tensors.

torch's meta device does this, but draws nothing cheaply: the first `normal_` on it loads torch's compiler and sympy
(75 MB and one to four seconds), only to fill no memory with random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

DRAWING = frozenset(["normal_", "uniform_", "kaiming_uniform_"])  # what the constructors of our layers call


class _NothingDrawn(TorchFunctionMode):
    """What draws numbers gives its tensor back as it is."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "") in DRAWING:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)


@contextmanager
def shapes_only() -> Iterator[None]:
    """Whatever is built inside stands on torch's meta device, its values never computed."""
    with torch.device("meta"), _NothingDrawn():
        yield
