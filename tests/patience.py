"""A bound on the time that something takes, which a busy machine cannot break.

Work is counted in seconds of the processor, which other processes do not lengthen. Waiting, such as for a network, is
counted in ticks of a thread, which stands still where the whole process does: Ctrl-Z, a debugger, a machine asleep.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

TICK = 0.1  # seconds
WAITED = 6  # times as long with waiting: for the disk, and for a processor that others use too


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """The body works for less than `seconds`, and is running for less than WAITED times as many."""
    done, ticks = Event(), 0

    def count() -> None:
        nonlocal ticks
        while not done.wait(TICK):
            ticks += 1

    clock = Thread(target=count, daemon=True)
    worked = time.process_time()
    clock.start()
    try:
        yield
    finally:
        done.set()
        clock.join()
    assert time.process_time() - worked < seconds
    assert ticks * TICK < WAITED * seconds
