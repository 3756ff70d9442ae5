"""For whole runs in tests: one thread and few resamples; intervals are not what they test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from microtune.run import evaluate


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """Used by a whole module: `pytestmark = pytest.mark.usefixtures("quick")`."""
    threads, resamples = torch.get_num_threads(), evaluate.RESAMPLES
    torch.set_num_threads(1)
    evaluate.RESAMPLES = 20
    yield
    torch.set_num_threads(threads)
    evaluate.RESAMPLES = resamples
