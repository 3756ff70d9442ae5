"""Start-up: seconds from starting a Python to its end, for a command or an import; lowest and median of several.

The first run of each is left out: it reads files that the others find in memory, and may write byte code.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

from measure import answer, read_job


def main() -> None:
    """One job: `options.arguments` of the interpreter, `runs` times."""
    job = read_job()
    times = []
    for _ in range(job["runs"] + 1):
        start = time.perf_counter()
        subprocess.run([sys.executable, *job["options"]["arguments"]], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - start)
    answer(lowest=min(times[1:]), median=statistics.median(times[1:]), times=times)


if __name__ == "__main__":
    main()
