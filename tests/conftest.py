"""Shared by all tests: one thread (small models are faster so, and two test processes do not trip over each other),
little looking for garbage, most of all at what never becomes any, and no waiting for the disk."""

from __future__ import annotations

import gc
import os
import re
import sys
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for child processes
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ["MICROTUNE_CACHE"] = ""  # tests leave nothing in the user's cache, and read nothing from it

OBJECTS = 10_000  # new ones before the youngest are looked at; Python's 700 is a fortieth of all time
MANY_MODULES = 100  # imported since the last freeze: worth another (transformers, peft, onnx, scikit-learn ...)
_frozen_modules = 0
_folders = count()


def pytest_configure() -> None:
    """A test can see that a flush is asked for, and in which order (faults.py), but no power cut comes: no waiting.

    Nothing that is imported or collected becomes garbage.
    """
    gc.disable()
    if sys.platform == "linux":
        os.fsync = _opened


def _opened(file: Any) -> None:
    """OSError for a descriptor that is not open, as from a flush."""
    os.fstat(file if isinstance(file, int) else file.fileno())


def pytest_collection_finish() -> None:
    """A run collects garbage twice; what the imports of transformers made need not be looked at every time."""
    _freeze()
    gc.set_threshold(OBJECTS, 10, 10)
    gc.enable()


def pytest_runtest_setup() -> None:
    """Nor what tests import later."""
    if len(sys.modules) - _frozen_modules >= MANY_MODULES:
        _freeze()


def _freeze() -> None:
    global _frozen_modules
    _frozen_modules = len(sys.modules)
    gc.collect()
    gc.freeze()


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder, numbered here: pytest looks for a free number among thousands of folders, every time."""
    name = re.sub(r"\W", "_", request.node.name)[:26]
    return tmp_path_factory.mktemp(f"{name}-{next(_folders)}", numbered=False)


@pytest.fixture(scope="module")
def quick() -> Iterator[None]:
    """For whole runs: one thread, few resamples, few general texts, no look for garbage: a third of their time.

    Intervals, how much was forgotten and what memory goes back when are not what they test.
    Used by a whole module: `pytestmark = pytest.mark.usefixtures("quick")`.
    """
    import torch

    from microtune.run import evaluate, memory
    from microtune.run.compare import lookback

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evaluate, "RESAMPLES", 20)
        patch.setattr(lookback, "TEXTS", 40)
        patch.setattr(memory, "gc", SimpleNamespace(collect=int))
        patch.setattr(memory, "_trim", lambda: None)
        yield
    torch.set_num_threads(threads)
