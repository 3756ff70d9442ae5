"""A small JSON file that belongs to a model or a run, as a dict; whatever else stands in it is one sentence.

`jsonrows` reads data, streamed and row by row; this is for the files beside it: config.json, tokenizer.json,
model.json.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from microtune.errors import InputError, MicrotuneError

MOST_BYTES = 64_000_000  # the index of the largest published models has a few megabytes
MOST_VALUES = 8_000_000  # millions of empty lists take few characters and much memory
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def read_object(path: Path, *, most: int = MOST_BYTES, error: type[MicrotuneError] = InputError) -> dict[str, Any]:
    """The JSON object in a file of at most `most` bytes; `error` is what is raised where there is none."""
    if not path.is_file():
        raise error(f"{path}: there is no such file; copy or download the folder again.")
    try:
        if path.stat().st_size > most:
            raise error(f"{path}: {path.stat().st_size} bytes are too many for this file (at most {most}).")
        text = path.read_text(encoding="utf-8")
        if text.count("[") + text.count("{") + text.count(",") > MOST_VALUES:
            raise error(f"{path}: holds more than {MOST_VALUES} values, which is too many for this file.")
        value = json.loads(text)
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")  # half of a surrogate pair is no character
    except (ValueError, RecursionError, OSError) as problem:
        reason = first_line(problem)
        raise error(f"{path}: not readable as JSON ({reason}); copy or download the folder again.") from problem
    if not isinstance(value, dict):
        raise error(f"{path}: holds a {type(value).__name__}, but must hold a JSON object.")
    return value


def first_line(error: BaseException) -> str:
    """What an exception says, short enough to stand inside a message."""
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
