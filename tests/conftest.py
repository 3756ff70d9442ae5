"""Shared by all tests: one thread (small models are faster so, and two test processes do not trip over each other)."""

from __future__ import annotations

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for child processes
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
