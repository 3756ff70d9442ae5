"""Shared by all tests: one thread (small models are faster so, and two test processes do not trip over each other)."""

from __future__ import annotations

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for child processes
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


def pytest_collection_finish() -> None:
    """A run collects garbage twice; what the imports of transformers made need not be looked at every time."""
    gc.collect()
    gc.freeze()
