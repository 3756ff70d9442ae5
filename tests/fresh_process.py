"""Python in a process of its own that has done nothing before, started in milliseconds.

A child that has to import torch spends two seconds on that. On Linux it is therefore forked from a server which is
started once for a test process, imports the package and never does anything else (forkserver, standard library).
What is about the start itself, imports or options of Python, starts a plain process, as everything does elsewhere.
"""

from __future__ import annotations

import atexit
import multiprocessing
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.context import ForkServerContext
from pathlib import Path

IMPORTED = ["torch", "microtune.cli.app", "microtune.run.tune", "microtune.run.export.parity", __name__]
_begun: dict[str, str] = {}  # the environment in which the server was started
PACKAGE = "import runpy; runpy.run_module('microtune', run_name='__main__', alter_sys=True)"


class Forked:
    """As much of `subprocess.Popen` as tests ask for."""

    def __init__(
        self, context: ForkServerContext, code: str, arguments: list[str], environment: dict[str, str]
    ) -> None:
        self.args = [code, *arguments]
        self._folder = tempfile.TemporaryDirectory(prefix="fresh-")
        self._outputs = [Path(self._folder.name) / name for name in ("out", "err")]
        for file in self._outputs:
            file.touch()
        gone = [name for name in _begun if name not in environment]
        given = (code, arguments, environment, gone, [str(file) for file in self._outputs])
        self._process = context.Process(target=_work, args=given, daemon=True)
        self._process.start()
        assert self._process.pid is not None
        self.pid = self._process.pid
        self._printed: tuple[str, str] | None = None

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self._process.kill()

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed, when it has ended."""
        if self._printed is None:
            self._process.join(timeout)
            if self.returncode is None:
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            out, err = (file.read_text(encoding="utf-8") for file in self._outputs)
            self._folder.cleanup()
            self._printed = out, err
        return self._printed


Child = Forked | subprocess.Popen[str]


def start(code: str, *arguments: str | Path, environment: Mapping[str, str] | None = None) -> Child:
    """`python -c code arguments...`, not waited for."""
    words, variables = [str(a) for a in arguments], dict(os.environ if environment is None else environment)
    if sys.platform != "linux":
        line, pipe = [sys.executable, "-c", code, *words], subprocess.PIPE
        return subprocess.Popen(line, stdout=pipe, stderr=pipe, encoding="utf-8", env=variables)
    context = multiprocessing.get_context("forkserver")
    if not _begun:
        context.set_forkserver_preload(IMPORTED)
        _begun.update(os.environ)
    return Forked(context, code, words, variables)


def run(
    code: str, *arguments: str | Path, environment: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """`python -c code arguments...` and what it printed; with `check`, AssertionError where it fails."""
    child = start(code, *arguments, environment=environment)
    try:
        out, err = child.communicate(timeout=300)
    finally:
        child.kill()
    assert child.returncode is not None
    assert not (check and child.returncode), err
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def _work(code: str, arguments: list[str], environment: dict[str, str], gone: list[str], outputs: list[str]) -> None:
    """In the child: what a new interpreter would do with `-c`."""
    for number, file in enumerate(outputs, start=1):
        handle = os.open(file, os.O_WRONLY)
        os.dup2(handle, number)
        os.close(handle)
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
    for name in gone:
        os.environ.pop(name, None)
    os.environ.update(environment)
    sys.argv = ["-c", *arguments]
    try:
        exec(compile(code, "<string>", "exec"), {"__name__": "__main__"})
    finally:
        atexit._run_exitfuncs()  # which multiprocessing leaves out
