"""A budget of time, and how much of it is left.

Everything counts from the moment the comparison was asked for: measuring, training, the final scores, saving. What an
interrupted comparison has spent is spent. The aim is a little below what was allowed, for no estimate is exact.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable

from microtune.errors import InputError

AIM = 0.95  # of the budget: what plans are made for
PATIENCE = 2.0  # times what was measured
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
NAMES = {"": "s", "sec": "s", "second": "s", "min": "m", "minute": "m", "hour": "h"} | {unit: unit for unit in UNITS}
LONGEST = 366 * 24 * 3600.0
Clock = Callable[[], float]


def parse_time(text: str, where: str = "budget") -> float:
    """`90s`, `10m`, `1.5 h`, `2h30m` or plain seconds -> seconds."""
    found = re.fullmatch(r"(\s*[0-9]{1,9}(\.[0-9]{1,6})?\s*[a-zA-Z]{0,7}){1,3}\s*", text)
    total = 0.0
    for number, _, word in re.findall(r"([0-9]{1,9}(\.[0-9]{1,6})?)\s*([a-zA-Z]{0,7})", text) if found else ():
        unit = NAMES.get(word.lower()) or NAMES.get(word.lower().removesuffix("s"))
        total += float(number) * UNITS[unit] if unit is not None else math.nan
    if not 0 < total <= LONGEST:
        raise InputError(f'{where}: "{text[:40]}" is not a time; write a number and a unit, such as 90s, 10m or 1h.')
    return total


def in_time(seconds: float) -> str:
    """12.3 -> `12 s`; 100 -> `1 min 40 s`; 4000 -> `67 min`; 9000 -> `2.5 h`."""
    if seconds < 1:
        return f"{seconds:.2f} s"
    if seconds < 90:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    if seconds < 600:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s" if rest else f"{minutes} min"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class Budget:
    """Seconds that may be spent; `clock` is told apart from the real one by tests."""

    def __init__(
        self,
        seconds: float,
        *,
        began: float | None = None,
        clock: Clock = time.monotonic,
        flag: str = "--budget ",
    ) -> None:
        """began: on `clock`, when this sitting began; flag: how it is given, for sentences."""
        self.seconds, self.clock, self.flag = seconds, clock, flag
        self._zero = clock() if began is None else began

    def add(self, spent: float) -> None:
        """Count seconds of earlier sittings."""
        self._zero -= spent

    @property
    def spent(self) -> float:
        """Seconds used so far, earlier sittings included."""
        return self.clock() - self._zero

    @property
    def left(self) -> float:
        """Seconds until the aim; below zero when it has passed."""
        return AIM * self.seconds - self.spent

    def share(self, wanted: float, rung: float, of: float, keep: float = 0.0) -> float:
        """The time on `clock` until which a piece of work may go.

        It wants `wanted` seconds, its rung `rung`, all that is still to be done `of`, and `keep` have to remain after
        all of it. What is left is shared in proportion. Where the machine turns out slower than it was measured, a
        rung may take up to PATIENCE times its wish from the later ones, so that its candidates are not ranked by the
        little that a trunk's pass leaves of a short share.
        """
        room = max(self.left - keep, 0.0)
        fair = room * (wanted / of if of > wanted > 0 else 1.0)
        soon = room * (wanted / rung if rung > wanted > 0 else 1.0)
        return self.clock() + max(fair, min(PATIENCE * wanted, soon))
