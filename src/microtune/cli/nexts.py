"""Commands that make sense after a run, as they can be pasted: paths quoted, as many texts as the model reads."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import Any

from microtune.cli.language import word

_PLAIN = re.compile(r"[\w./\\:@%+=,~-]+")
_SPECIAL = '"$`!' if os.name == "nt" else '"$`!\\'  # what double quotes do not protect
_TEXTS = {"question-answering": ("a question", "its passage"), "similarity": ("a text", "another text")}


def after(path: Path, *, base: bool) -> list[str]:
    """What to type after a run in this folder; base: it was pretraining."""
    from microtune.run.sources import is_classic
    from microtune.run.vectors import FILE

    if (path / "model" / FILE).is_file():
        return [f"microtune vectors {in_shell(path)} " + word("WORD")]
    if base and not is_classic(path):
        goes_on = "CausalLM" in str(_record(path / "model" / "config.json").get("architectures"))
        asked = [f"microtune predict {in_shell(path)} " + f'"{word("Once upon a time")}"'] if goes_on else []
        return [
            *asked,
            "microtune tune " + word("DATA") + f" --task classification --model {in_shell(path / 'model')}",
        ]
    return [asking(path), f"microtune evaluate {in_shell(path)} --data " + word("FILE")]


def asking(path: Path) -> str:
    """`microtune predict` with as many texts as the model of the run reads."""
    return f"microtune predict {in_shell(path)} {_texts(_task(path))}"


def in_shell(path: str | Path) -> str:
    """A path as a shell reads it: in quotes where it holds blanks or signs of the shell's own."""
    text = str(path)
    if _PLAIN.fullmatch(text):
        return text
    return shlex.quote(text) if set(text) & set(_SPECIAL) else f'"{text}"'


def _task(path: Path) -> dict[str, Any]:
    """The task that the run's model.json holds; {} where there is none to read: an n-gram model has another file."""
    found = _record(path / "model" / "model.json").get("task")
    return found if isinstance(found, dict) else {}


def _record(file: Path) -> dict[str, Any]:
    from microtune.data.objects import read_object
    from microtune.errors import InputError

    try:
        return dict(read_object(file))
    except InputError:
        return {}


def _texts(task: dict[str, Any]) -> str:
    name = task.get("name")
    if task.get("mixture"):
        return "--input " + word("FILE")
    texts: tuple[str, ...] = _TEXTS.get(str(name), ("your text",))
    if name == "multiple-choice":
        apart = task.get("choices_field") or task.get("choice_columns")
        texts = ("a question", "an option", "another option") if apart else ("a question with its options",)
        texts = ("a passage", *texts) if task.get("context_field") else texts
    elif task.get("pair_field") and name != "similarity":
        texts = ("the first text", "the second text")
    return " ".join(f'"{word(text)}"' for text in texts)
