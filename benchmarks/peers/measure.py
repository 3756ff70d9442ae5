"""What every child shares: the job it is given, the one line it answers, the clock and the memory.

A child is called as `python child_x.py JOB` with JOB a JSON object, and prints one JSON object on stdout; whatever the
libraries print goes to stderr. Only the standard library is imported here, so that a child's memory is its tool's own.

    step seconds   from the end of one optimizer step to the end of the next, data loading included
    job seconds    from the ready model to the end of the last step: filling a cache counts, loading and judging do not
    peak_mb        most resident memory of the child process, from its start to its end
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any


def read_job() -> dict[str, Any]:
    """The job; from here on stdout is kept for the answer."""
    global _answer
    _answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job: dict[str, Any] = json.loads(sys.argv[1])
    return job


def answer(**values: Any) -> None:
    """Print the result."""
    import torch

    _answer.write(json.dumps({**values, "peak_mb": memory("VmHWM"), "threads": torch.get_num_threads()}) + "\n")
    _answer.flush()


def memory(field: str) -> float:
    """Resident memory in MB: VmHWM, the most so far, or VmRSS, now."""
    try:  # not `ru_maxrss`, which begins with what the parent process had
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith(field)).split()[1]) * 1024 / 1e6
    except OSError:
        return _memory_elsewhere(field)


def _memory_elsewhere(field: str) -> float:
    import psutil

    info = psutil.Process().memory_info()
    if field == "VmRSS":
        return float(info.rss) / 1e6
    if sys.platform == "win32":
        return float(info.peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


class Clock:
    """Seconds, tokens, supervised targets and loss of every step."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self.tokens: list[int] = []
        self.supervised: list[int] = []
        self.losses: list[float] = []
        self.begin = self.last = time.perf_counter()

    def start(self) -> None:
        """Training begins."""
        self.begin = self.last = time.perf_counter()

    def step(self) -> None:
        """An optimizer step has ended."""
        now = time.perf_counter()
        self.seconds.append(now - self.last)
        self.last = now

    def count(self, tokens: int, supervised: int) -> None:
        """What the next step consists of: tokens that are no padding, and targets."""
        self.tokens.append(tokens)
        self.supervised.append(supervised)

    def result(self) -> dict[str, Any]:
        """For the answer."""
        steps = len(self.seconds)
        return {
            "seconds": self.seconds,
            "tokens": self.tokens[:steps],
            "supervised": self.supervised[:steps],
            "losses": self.losses,
            "job_seconds": self.last - self.begin,
        }
