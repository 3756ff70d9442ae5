"""The most memory that this process held while something ran, where the system says so.

Linux keeps a high-water mark that can be set back (/proc/self/clear_refs); a GPU's allocator keeps its own. Elsewhere
nothing is measured, and the plan's prediction stands in the table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch

from microtune.run.memory import forget_highest, give_back, highest


@dataclass
class Peak:
    """Bytes at the peak, None where they are not known."""

    bytes: int | None = None


@contextmanager
def watched() -> Iterator[Peak]:
    """Measure what runs inside; the figure stands in `bytes` afterwards, also when it ends by an error."""
    peak = Peak()
    give_back()
    cuda = torch.cuda.is_available()
    known = False
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    else:
        known = forget_highest()
    try:
        yield peak
    finally:
        if cuda:
            peak.bytes = int(torch.cuda.max_memory_allocated())
        elif known:
            peak.bytes = highest()
