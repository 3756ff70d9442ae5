"""Chat templates in a model folder, and the tokens that end a turn.

A template is a field of `tokenizer_config.json` (a text, or a list of named ones), the file `chat_template.jinja`, or a
file in `additional_chat_templates/`. The ids that end an answer stand in `generation_config.json`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tokenizers

from microtune.data.objects import first_line, read_object
from microtune.data.templates import LONGEST_TEMPLATE
from microtune.errors import InputError

MORE = "additional_chat_templates"
MOST_TEMPLATES = 50
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,59}")
MOST_STOPS = 100


def read_templates(folder: Path, config: Mapping[str, Any]) -> dict[str, str]:
    """The templates by name; the one that is used unless another is asked for is "default"."""
    where = folder / "tokenizer_config.json"
    value = config.get("chat_template")
    found = {"default": value} if isinstance(value, str) else {}
    for entry in value[: MOST_TEMPLATES + 1] if isinstance(value, list) else ():
        name, text = (entry.get("name"), entry.get("template")) if isinstance(entry, dict) else (None, None)
        if not isinstance(name, str) or not isinstance(text, str):
            raise InputError(f"{where}: every entry of chat_template needs a name and a template.")
        found[name] = text
    if (folder / "chat_template.jinja").is_file():
        found["default"] = _template(folder / "chat_template.jinja")
    for path in sorted((folder / MORE).glob("*.jinja"))[: MOST_TEMPLATES + 1]:
        found[path.stem] = _template(path)
    if len(found) > MOST_TEMPLATES:
        raise InputError(f"{folder}: more than {MOST_TEMPLATES} chat templates.")
    for name in found:
        if not NAME.fullmatch(name):
            raise InputError(f'{where}: "{name[:60]}" is no name for a chat template.')
    return found


def read_stops(folder: Path, config: Mapping[str, Any], backend: tokenizers.Tokenizer) -> list[str]:
    """Tokens that end an answer beside eos: our own field `stop_tokens`, and what `generation_config.json` lists."""
    listed = config.get("stop_tokens")
    stops = [token for token in listed[:MOST_STOPS] if isinstance(token, str)] if isinstance(listed, list) else []
    path = folder / "generation_config.json"
    ids = read_object(path).get("eos_token_id") if path.is_file() else None
    for number in ids[:MOST_STOPS] if isinstance(ids, list) else [ids]:
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**31:
            token = backend.id_to_token(number)
            stops += [token] if token is not None else []
    return list(dict.fromkeys(stops))


def _template(path: Path) -> str:
    try:
        if path.stat().st_size > 4 * LONGEST_TEMPLATE:
            raise InputError(f"{path}: too long; a chat template has at most {LONGEST_TEMPLATE} characters.")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({first_line(error)}).") from error
