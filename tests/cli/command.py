"""The command line inside the test process and in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer.main

import fresh_process
from microtune.cli.app import app, main
from microtune.cli.language import asked_for

MAKE = typer.main.get_command
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "PYTHONIOENCODING": "utf-8", "COLUMNS": "200"}


@dataclass(frozen=True)
class Answer:
    """What a command gave back."""

    code: int
    out: str
    err: str

    @property
    def sentence(self) -> str:
        """The one line of an error, without `error: `; anything else on stderr or stdout is a failure."""
        assert self.out == ""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("error: ")
        assert lines[0].isprintable()
        assert lines[0].endswith((".", "?", ")"))
        return lines[0].removeprefix("error: ")


@cache
def verbs(chinese: bool) -> Any:
    """The parser, made once for a language: typer makes it for every call, a third of the time of a refusal."""
    return MAKE(app)


def call(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> Answer:
    """`microtune ...` in this process."""
    capsys.readouterr()
    words = [str(a) for a in arguments]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", lambda _: verbs(asked_for(words)))
        with pytest.raises(SystemExit) as caught:
            main(words)
    printed = capsys.readouterr()
    assert "Traceback" not in printed.err
    assert isinstance(caught.value.code, int)
    return Answer(caught.value.code, printed.out, printed.err)


def child(*arguments: str | Path, options: tuple[str, ...] = ()) -> Answer:
    """`python -m microtune ...` as a user starts it."""
    command = [sys.executable, *options, "-m", "microtune", *(str(a) for a in arguments)]
    done = subprocess.run(
        command, capture_output=True, encoding="utf-8", env=os.environ | ENVIRONMENT, timeout=300, check=False
    )
    return Answer(done.returncode, done.stdout, done.stderr)


def forked(*arguments: str | Path) -> Answer:
    """The same in a new process without the start of Python, which `child` sees."""
    done = fresh_process.run(fresh_process.PACKAGE, *arguments, environment=os.environ | ENVIRONMENT, check=False)
    return Answer(done.returncode, done.stdout, done.stderr)
