"""What the tests of the model doors share: hostile JSON, and the judge of what came of it.

Allowed outcomes are success and a MicrotuneError of one printable line, within ten seconds, with nothing written
outside the folder that may be written to, and without lasting memory.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_data_doors import GROWTH, SECONDS, mutated, one_line

from microtune.errors import MicrotuneError
from patience import within

DEEP = '"<deep>"'  # a place for 100,000 brackets, which `json.dumps` itself could not write
VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 2, 7, 1000, 2**20, 2**31, 2**63, 10**12, -(10**18), 10**30, 0.0, -0.5, 1.5, 1e-300),
    *(1e308, float("nan"), float("inf"), -float("inf"), "", " ", "x", "3", "auto", "lora", "__class__", "os.system"),
    *("../../etc/passwd", "/etc/passwd", "~nobody/x", "C:\\x", "a\0b", "\x1b[31mred\x07", "\ud800", "\u202e", "a\nb"),
    *(
        "x" * 5000,
        "{{ 1 }}",
        "<deep>",
        "http://169.254.169.254/x",
        "org/model",
        [],
        {},
        [[]],
        [0],
        [-1],
        [None],
        [1, 2],
    ),
    *(["a"], [["a", "b"]], {"a": 1}, {"": ""}, {"0": {"0": []}}, [{}] * 50, {str(i): i for i in range(300)}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of everything inside a JSON value; of long lists and dicts the first and last ones."""
    found = [path] if path else []
    if isinstance(value, (dict, list)):
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        for key in keys if len(keys) < 40 else keys[:10] + keys[-10:]:
            found += places(value[key], (*path, key))
    return found


@st.composite
def hostile_json(draw: st.DrawFn, valid: dict[str, Any], *, raw_share: int = 4) -> bytes:
    """The text of `valid` after one to three changes of its values and keys, or of its bytes."""
    if draw(st.integers(0, raw_share)) == 0:
        return draw(mutated(json.dumps(valid).encode()))
    value = copy.deepcopy(valid)
    for _ in range(draw(st.integers(1, 3))):
        spots = places(value)
        if not spots:
            break
        spot = spots[draw(st.integers(0, 1 << 20)) * 2654435761 % len(spots)]
        holder: Any = value
        for key in spot[:-1]:
            holder = holder[key]
        change = draw(st.sampled_from(["set", "set", "set", "set", "drop", "key", "wrap", "swap"]))
        if change == "set":
            holder[spot[-1]] = copy.deepcopy(draw(st.sampled_from(VALUES)))
        elif change == "drop":
            del holder[spot[-1]]
        elif change == "key" and isinstance(holder, dict):
            holder[str(draw(st.sampled_from(VALUES)))] = holder.pop(spot[-1])
        elif change == "wrap":
            holder[spot[-1]] = [holder[spot[-1]]]
        else:
            other = spots[draw(st.integers(0, 1 << 20)) * 2654435761 % len(spots)]
            holder[spot[-1]] = str(other)
    return json.dumps(value).replace(DEEP, "[" * 100_000).encode()


def peak() -> int:
    """The most memory that this process has had, in bytes."""
    info = psutil.Process().memory_info()
    if sys.platform == "win32":
        return int(info.peak_wset)
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024


def tree(folder: Path, without: Path | None = None) -> dict[str, str]:
    """Names and contents of everything below a folder, but for one part of it."""
    found = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if Path(place, name) != without]
        for file in {Path(place, name) for name in files} - {without}:
            found[str(file)] = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no file"
        found |= {os.path.join(place, name): "folder" for name in folders}
    return found


class Judge:
    """Runs actions on hostile files; `outside` is a folder that must stay as it is."""

    def __init__(self, outside: Path, may_change: Path | None = None) -> None:
        self.outside, self.may_change = outside, may_change
        self.outcomes = {"success": 0, "refused": 0}

    def __call__(self, action: Callable[[], object]) -> None:
        before = tree(self.outside, self.may_change)
        with within(SECONDS):
            try:
                action()
                self.outcomes["success"] += 1
            except MicrotuneError as error:
                one_line(error)
                self.outcomes["refused"] += 1
        assert tree(self.outside, self.may_change) == before


def attack(judge: Judge, strategy: st.SearchStrategy[Any], action: Callable[[Any], object], examples: int) -> None:
    """`examples` draws of `strategy`, each given to `action` and judged; memory is looked at once, at the end."""
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss

    @settings(
        max_examples=examples,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def run(value: Any) -> None:
        judge(lambda: action(value))

    run()
    assert process.memory_info().rss - before < GROWTH
    assert judge.outcomes["refused"] > examples / 10
