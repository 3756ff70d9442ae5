"""Reading a Hugging Face `config.json` without guessing.

A family asks for the fields it knows, each with its type and its range; a value that we do not compute exactly as the
reference does is refused in one sentence. Values fill fields and never choose code. Messages carry no path: the caller
knows the file and puts it in front.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeVar

from microtune.errors import InputError, suggest
from microtune.nn.spec import WIDEST, Activation

Value = TypeVar("Value")

ACTIVATIONS: dict[str, Activation] = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_python_tanh": "gelu_tanh",
    "relu": "relu",
    "silu": "silu",
    "swish": "silu",
}


class Fields:
    """The fields of one configuration; a missing or null field takes the default, or is refused without one."""

    def __init__(self, config: Mapping[str, Any], *, encoder_decoder: bool = False) -> None:
        self.config = config
        self.only("quantization_config", None, "quantised weights cannot be read; export the model in 16 or 32 bits")
        both = "this family has an encoder and a decoder; a file with one of the two is not read"
        self.only("is_encoder_decoder", encoder_decoder, both if encoder_decoder else "")
        self.only("pruned_heads", {})

    def integer(self, key: str, default: int | None = None, *, least: int = 1, most: int = WIDEST) -> int:
        """A whole number from `least` to `most`."""
        value = self._value(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            raise InputError(f"{key} is {_show(value)}, but must be a whole number from {least} to {most}.")
        return value

    def optional(self, key: str) -> int | None:
        """A whole number, or None where it is absent or null."""
        return None if self.config.get(key) is None else self.integer(key)

    def number(self, key: str, default: float | None = None, *, least: float = 0.0, most: float = 1e12) -> float:
        """A finite number from `least` to `most`."""
        value = self._value(key, default)
        fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not fits or not least <= value <= most:
            raise InputError(f"{key} is {_show(value)}, but must be a number from {least:g} to {most:g}.")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """true or false."""
        value = self._value(key, default)
        if not isinstance(value, bool):
            raise InputError(f"{key} is {_show(value)}, but must be true or false.")
        return value

    def word(self, key: str, default: str, table: Mapping[str, Value]) -> Value:
        """One of the words of `table`, as what it means here."""
        value = self._value(key, default)
        if not isinstance(value, str) or value not in table:
            raise InputError(f"{key} {_show(value)} is not supported. {suggest(str(value), table)}")
        return table[value]

    def only(self, key: str, value: Any, why: str = "") -> None:
        """Refuse anything but `value` (or nothing): everything else would be another computation."""
        found = self.config.get(key)
        if found is not None and (found != value or type(found) is not type(value)):
            reason = why or f"this family is computed with {_show(value)} only"
            raise InputError(f"{key} is {_show(found)}, which is not supported: {reason}.")

    def _value(self, key: str, default: Any) -> Any:
        value = self.config.get(key)
        value = default if value is None else value
        if value is None:
            raise InputError(f'the field "{key}" is missing.')
        return value


def spelling(table: Mapping[str, Value], value: Value, current: object) -> str:
    """The word for `value`: the one that the file already used where it means the same, else the table's first."""
    if isinstance(current, str) and table.get(current) == value:
        return current
    for word, meaning in table.items():
        if meaning == value:
            return word
    raise InputError(f"{_show(value)} has no name in this family; known: {', '.join(table)}.")


def _show(value: object) -> str:
    text = f'"{value}"' if isinstance(value, str) else repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
