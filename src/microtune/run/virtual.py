"""Virtual tokens in a run: the text that they begin as, and the room that they leave."""

from __future__ import annotations

from collections.abc import Mapping

from microtune.adapt.base import Method
from microtune.adapt.several import Several
from microtune.adapt.virtual import VirtualMethod
from microtune.errors import InputError
from microtune.run.load import Model
from microtune.tasks.base import Encoded


def begin(method: Method, model: Model) -> list[str]:
    """Give a method, attached to `model`, the ids of the text that it wants to begin as; notes about it."""
    if isinstance(method, Several):
        return [note for part in method.made for note in begin(part, model)]
    if not isinstance(method, VirtualMethod) or method.opening is None:
        return []
    if model.tokenizer is None:
        raise InputError("method.text: this model has no tokenizer that could read it; take init: vocabulary.")
    ids = model.text.encode(method.opening, special=False)
    method.begin(model.network, ids)
    if len(ids) <= method.tokens:
        return []
    return [f"method.text: has {len(ids)} tokens, of which {method.tokens} virtual ones could begin as the first."]


def notes_on(method: Method, model: Model, encoded: Mapping[str, Encoded]) -> list[str]:
    """That texts were cut or left out for the positions that virtual tokens take."""
    room, taken = model.spec.max_positions, method.virtual_tokens
    short = any(part.report.truncated or part.report.dropped for part in encoded.values())
    if not taken or room is None or not short:
        return []
    return [f"{taken} virtual tokens take that many of the {room} positions of this model: {room - taken} are left."]
