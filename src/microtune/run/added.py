"""Added tokens of a model: its tokenizer and its embedding grow together, and a run remembers by how much."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from microtune.adapt.added import rows_train
from microtune.adapt.base import Attachment
from microtune.data.added_tokens import FIELD, add_tokens
from microtune.data.batches import Items
from microtune.errors import InputError, RunError
from microtune.nn.added import New, grow
from microtune.nn.heads import VocabularyHead
from microtune.run.load import Model

NAMED = 3  # tokens in a note


def add_to_model(model: Model, texts: Sequence[str]) -> list[str]:
    """Add tokens to a model, in place; notes about those that it had already."""
    if not texts:
        return []
    if model.tokenizer is None:
        raise InputError(f"{FIELD}: this model has no tokenizer that a token could be added to.")
    limits = model.tokenizer.limits
    model.tokenizer, new, known = add_tokens(model.tokenizer, texts)
    model.tokenizer.limits = limits
    if new:
        model.added = New(len(model.tokenizer) - len(new), len(new))
        grow(model.network, model.added)
    names = ", ".join(f'"{text}" ({place})' for text, place in list(known.items())[:NAMED])
    return [f"{FIELD}: {len(known)} have an id already and stay as they are: {names}."] if known else []


def grow_again(model: Model, new: New, where: str) -> None:
    """The network of a run's base as it was when the run began."""
    if new.first > model.spec.vocab_size:
        raise RunError(
            f"{where}: added.first is {new.first}, but the embedding of the base ends at {model.spec.vocab_size - 1}."
        )
    grow(model.network, new)


def notes_on(model: Model, attachment: Attachment, items: Items) -> list[str]:
    """What a reader should know about the rows of added tokens: that they rest, or that no training row has them."""
    new = model.added
    if new is None:
        return []
    if not rows_train(attachment, new):
        return [
            f"{FIELD}: this method trains the head alone; the {new.count} new rows of the embedding stay the mean of "
            "the others. Take lora or full to let them learn."
        ]
    seen = _seen(items, new, written=isinstance(model.network.head, VocabularyHead))
    missing = [i for i in range(new.first, new.stop) if i not in seen]
    if not missing:
        return []
    names = ", ".join(f'"{model.text.backend.id_to_token(i)}"' for i in missing[:NAMED])
    return [f"{FIELD}: {len(missing)} of {new.count} stand in no training row and learn nothing from one: {names}."]


def _seen(items: Items, new: New, *, written: bool) -> set[int]:
    """The new ids that rows hold; written: their targets are ids, too."""
    found: set[int] = set()
    for index in range(len(items)):
        item = items[index]
        for ids in (item.ids, item.sources, item.targets if written else ()):
            values = np.asarray(ids, dtype=np.int64)
            found |= set(values[(values >= new.first) & (values < new.stop)].tolist())
    return found
