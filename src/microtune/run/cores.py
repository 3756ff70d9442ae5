"""How many threads compute: as many as asked for, else torch's own number, but no more than a container may use.

torch starts a thread for each core of the machine. Where a container's share is less (`docker run --cpus 2` on 64
cores), threads that wait for each other spin away the time of those that work: one core's share of two takes 1.4 times
as long with two threads as with one. Version 2 of control groups says so in `cpu.max`, version 1 in two files.
"""

from __future__ import annotations

import os
from functools import cache

import torch

from microtune.run.groups import group_folders, number


def use_threads(asked: int) -> None:
    """Let `asked` threads compute; 0: as torch, the environment (OMP_NUM_THREADS) or the container has it."""
    keep_to_share()
    if asked:
        torch.set_num_threads(asked)


@cache
def keep_to_share() -> None:
    """No more threads than the container's share of the cores, to the nearest whole one; once in a process."""
    share = cpu_share()
    if share is not None and not os.environ.get("OMP_NUM_THREADS"):
        torch.set_num_threads(min(torch.get_num_threads(), max(1, int(share + 0.5))))


def cpu_share() -> float | None:
    """Cores that the tightest control group grants, such as 1.5; None: as many as there are."""
    shares = []
    for folder in group_folders("cpu"):
        quota, period = number(folder / "cpu.cfs_quota_us"), number(folder / "cpu.cfs_period_us")
        try:
            first, second = (folder / "cpu.max").read_text(encoding="ascii").split()
            quota, period = int(first), int(second)
        except (OSError, ValueError):  # not there, or "max 100000"
            pass
        if quota is not None and period is not None and quota > 0 and period > 0:  # version 1: -1 is no limit
            shares.append(quota / period)
    return min(shares) if shares else None
