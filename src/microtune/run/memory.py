"""How much memory there is: sizes in words, what this process holds, what it may still take.

A container may take less than the machine has: the limits of control groups (versions 2 and 1) count, as in the JVM and
in Go. Where a system does not say (no /proc), nothing is known and nothing is refused.
"""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import suppress
from pathlib import Path

import torch

from microtune.run.groups import PROC, group_folders, number

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3  # numbers of `mallopt` in glibc's malloc.h
KEPT_BYTES = 1 << 30
NEAR = 0.7  # of a limit
UNLIMITED = 1 << 60  # version 1 writes a huge number where there is no limit


def in_words(size: float) -> str:
    """1_234_000_000 -> `1.23 GB`."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if abs(size) >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} bytes"


def resident() -> int | None:
    """Bytes of memory that this process holds now."""
    return _field(PROC / "self" / "status", "VmRSS:")


def highest() -> int | None:
    """The most bytes that this process has held since `forget_highest`, or since it began."""
    return _field(PROC / "self" / "status", "VmHWM:")


def forget_highest() -> bool:
    """Let `highest` begin anew; whether the system can (Linux)."""
    try:
        (PROC / "self" / "clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def available(device: torch.device) -> int | None:
    """Bytes that this process may still take: the smaller of free memory and the container's limit less its use."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = _field(PROC / "meminfo", "MemAvailable:")
    if free is None and hasattr(os, "sysconf") and "SC_AVPHYS_PAGES" in os.sysconf_names:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    room = _container_room()
    known = [size for size in (free, room) if size is not None]
    return max(0, min(known)) if known else None


def _container_room() -> int | None:
    """The tightest limit of a control group, less what it uses and could not drop (cached files can be dropped)."""
    rooms = []
    pairs = (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    )
    for folder in group_folders("memory"):
        for limit_name, used_name, cached in pairs:
            limit, used = number(folder / limit_name), number(folder / used_name)
            if limit is not None and used is not None and limit < UNLIMITED:
                rooms.append(limit - used + (_field(folder / "memory.stat", cached, 1) or 0))
    return min(rooms) if rooms else None


def _field(path: Path, name: str, factor: int = 1024) -> int | None:
    """The number behind `name` in a file of lines `name value`."""
    try:
        for line in path.read_text(encoding="utf-8").splitlines():
            key, *rest = line.split()
            if key == name and rest:
                return int(rest[0]) * factor
    except (OSError, ValueError):
        pass
    return None


def give_back() -> None:
    """Let the allocator return what is free to the system: glibc keeps hundreds of megabytes of past steps.

    For the moments at which a second copy of the weights is read. Elsewhere than on glibc nothing happens.
    """
    gc.collect()
    _trim()


def stay_below(limit: int) -> None:
    """Let free memory go where the process comes near `limit` bytes: batches of many sizes leave gaps in the heap."""
    if (resident() or 0) > NEAR * limit:
        _trim()


def _trim() -> None:
    with suppress(OSError, AttributeError, TypeError):  # no C library under this name, no such function
        ctypes.CDLL(None).malloc_trim(0)


def keep_freed() -> None:
    """Let the allocator keep what is freed: fresh pages cost more than the arithmetic in them (8 % of MiniLM's steps).

    glibc alone gives large blocks back to the system at once, or grows and shrinks its heap with every step; what
    should go back does at `give_back`. Elsewhere than on glibc nothing happens.
    """
    with suppress(OSError, AttributeError, TypeError):
        library = ctypes.CDLL(None)
        library.mallopt(MMAP_THRESHOLD, KEPT_BYTES)
        library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)
