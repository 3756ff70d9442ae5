"""What was measured about this machine once, kept in the user's cache folder for all runs.

A number is kept under what it depends on: processor, threads, version of torch, and what was asked. The file is a help
and nothing more: where it cannot be read or written, or holds something else than a sensible number, the run measures
again. `MICROTUNE_CACHE` names another folder; empty, nothing is kept.
"""

from __future__ import annotations

import math
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from microtune.data.objects import read_object
from microtune.errors import RunError
from microtune.run.disk import write_json

FILE = "machine.json"
MOST_ENTRIES = 1000  # then the file begins anew
MOST_BYTES = 1_000_000


def measured(name: str, measure: Callable[[], float], worth: Callable[[float], bool]) -> float:
    """The positive number kept under `name` on this machine; else `measure()`, which is kept if it is `worth` it."""
    folder = cache_folder()
    if folder is None:
        return measure()
    path, key = folder / FILE, f"{name}; {signature()}"
    known = _read(path)
    if key in known:
        return known[key]
    value = measure()
    if worth(value):
        with suppress(RunError, OSError):
            folder.mkdir(parents=True, exist_ok=True)
            write_json(path, {**(known if len(known) < MOST_ENTRIES else {}), key: value})
    return value


def cache_folder() -> Path | None:
    """Where the system keeps what programs can make anew, or what `MICROTUNE_CACHE` says; None: nowhere."""
    said = os.environ.get("MICROTUNE_CACHE")
    if said is not None:
        return Path(said) if said else None
    with suppress(RuntimeError):  # nobody's home
        if sys.platform == "win32":
            return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "microtune" / "cache"
        if sys.platform == "darwin":
            return Path.home() / "Library" / "Caches" / "microtune"
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "microtune"
    return None


def signature() -> str:
    """What a measurement of the processor depends on."""
    return f"{_processor()}; {torch.get_num_threads()} threads; torch {torch.__version__}"


def _processor() -> str:
    name = platform.processor() or platform.machine()
    with suppress(OSError, ValueError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}"


def _read(path: Path) -> dict[str, float]:
    """The numbers of the file; {} where it is not one of ours."""
    try:
        found = read_object(path, most=MOST_BYTES, error=RunError)
    except RunError:
        return {}
    numbers = {k: v for k, v in found.items() if isinstance(v, float) and math.isfinite(v) and v > 0}
    return numbers if len(numbers) == len(found) else {}
