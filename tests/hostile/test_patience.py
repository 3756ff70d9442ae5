"""The bound that tests put on time: it sees work and waiting, and does not see a pause of the whole process."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import patience
from patience import within

CHILD = "import sys, patience\nwith patience.within(0.2):\n    print('in', flush=True)\n    sys.stdin.readline()\n"


def work(seconds: float) -> None:
    began = time.process_time()
    while time.process_time() - began < seconds:
        pass


def test_work_is_seen() -> None:
    with within(0.2):
        work(0.1)
    with pytest.raises(AssertionError), within(0.05):
        work(0.1)


def test_waiting_is_seen() -> None:
    with within(0.2):
        time.sleep(0.3)
    with pytest.raises(AssertionError), within(0.05):
        time.sleep(0.8)


@pytest.mark.skipif(sys.platform == "win32", reason="no signal there stops a process")
def test_a_pause_is_not_waiting() -> None:
    """1.5 seconds, where 1.2 of waiting would be too many."""
    command = [sys.executable, "-c", CHILD]
    folder = Path(patience.__file__).parent
    with subprocess.Popen(command, cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stdout.readline() == "in\n"
        child.send_signal(signal.SIGSTOP)
        time.sleep(1.5)
        child.send_signal(signal.SIGCONT)
        child.stdin.write("\n")
        child.stdin.close()
        assert child.wait(60) == 0
