"""The small family of errors that microtune raises on purpose.

Every message is one sentence for a person: what was seen, where (file, line, field) and what to do. The command line
prints the message alone and exits with `exit_code`; a traceback appears only with `--debug`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

LONGEST_MESSAGE = 900  # characters; names out of hostile files may be megabytes long


class MicrotuneError(Exception):
    """Base of everything that microtune raises on purpose.

    The message is one printable line, whatever names and values out of files went into it. check: the name of the
    check that found it (`microtune list checks`); it stands in brackets before the message.
    """

    exit_code = 1

    def __init__(self, message: str, *, check: str | None = None) -> None:
        self.check = check
        super().__init__(_shortened(visible(_shortened(message if check is None else f"[{check}] {message}"))))


class InputError(MicrotuneError):
    """Something that the user gave (a file, a field, a recipe, a name) cannot be used as it stands."""

    exit_code = 2


class LimitError(InputError):
    """An input goes beyond one of the `limits` of the recipe (bytes, characters, rows ...)."""


class RunError(MicrotuneError):
    """A run folder is in a state that forbids the request: locked, finished, different, damaged."""

    exit_code = 2


class CheckError(MicrotuneError):
    """A check that every run makes (`microtune list checks`) has failed: the run would only look successful."""

    exit_code = 2


@contextmanager
def named(check: str) -> Iterator[None]:
    """Errors raised inside carry the name of this check, unless they carry one already."""
    try:
        yield
    except MicrotuneError as error:
        if error.check is not None:
            raise
        raise type(error)(str(error), check=check) from error


def _shortened(text: str) -> str:
    half = LONGEST_MESSAGE // 2
    return text if len(text) <= LONGEST_MESSAGE else f"{text[: half - 3]} ... {text[2 - half :]}"


def visible(text: str) -> str:
    """`text` on one line, with control, bidirectional and other unprintable characters written as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


class RowNumber(int):
    """The number of a row where lines tell nothing, because several rows stand on one; `line` is that line."""

    line: int

    def __new__(cls, number: int, line: int) -> RowNumber:
        """Row `number`, which begins on `line`."""
        made = super().__new__(cls, number)
        made.line = line
        return made

    def __reduce__(self) -> tuple[type[RowNumber], tuple[int, int]]:
        """What a copy is made of."""
        return RowNumber, (int(self), self.line)


def counted(line: int) -> str:
    """`line 12`, or `row 12`."""
    return f"{'row' if isinstance(line, RowNumber) else 'line'} {line}"


def at(path: str | Path, line: int | None = None) -> str:
    """The place of a problem, as `path`, `path, line 12` or `path, row 12`, for the beginning of a message."""
    return f"{path}, {counted(line)}" if line is not None else str(path)


def suggest(name: str, known: Iterable[str]) -> str:
    """`Did you mean "x"? Known: a, b, c.`, the second half of every message about an unknown name."""
    from difflib import get_close_matches  # only a mistake needs it, and `import microtune` should not wait for it

    names = sorted(known)
    close = get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f'Did you mean "{close[0]}"? ' if close else ""
    return f"{hint}Known: {', '.join(names)}."
