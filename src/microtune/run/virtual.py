"""Virtual tokens in a run: the text that they begin as, and the room that they leave."""

from __future__ import annotations

from collections.abc import Mapping

from microtune.adapt.base import Method
from microtune.adapt.virtual import VirtualMethod
from microtune.errors import InputError
from microtune.run.load import Model
from microtune.tasks.base import Encoded


def begin(method: Method, model: Model) -> list[str]:
    """Give what is attached to `model` the ids of the texts that it wants to begin as; notes about it."""
    notes = []
    for part in method.made:
        if not isinstance(part, VirtualMethod) or part.opening is None:
            continue
        if model.tokenizer is None:
            raise InputError("method.text: this model has no tokenizer that could read it; take init: vocabulary.")
        ids = model.text.encode(part.opening, special=False)
        part.begin(model.network, ids)
        if len(ids) > part.tokens:
            notes.append(
                f"method.text: has {len(ids)} tokens, of which {part.tokens} virtual ones could begin as the first."
            )
    return notes


def notes_on(method: Method, model: Model, encoded: Mapping[str, Encoded]) -> list[str]:
    """That texts were cut or left out for the positions that virtual tokens take."""
    room, taken = model.spec.max_positions, method.virtual_tokens
    short = any(part.report.truncated or part.report.dropped for part in encoded.values())
    if not taken or room is None or not short:
        return []
    return [f"{taken} virtual tokens take that many of the {room} positions of this model: {room - taken} are left."]
