"""Training moves only the embedding rows that the training texts use (nn/rows.py), where nothing else reads them."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from microtune.adapt.base import Attachment
from microtune.data.batches import Items
from microtune.nn.heads import VocabularyHead
from microtune.nn.rows import UsedRows
from microtune.nn.transformer import Transformer

MOST = 0.5  # share of the vocabulary above which a table of its own is not worth it
ROLE = "tokens.weight"


def narrow(model: Transformer, attachment: Attachment, items: Items) -> UsedRows | None:
    """Put `UsedRows` in the place of a token embedding that trains; None where all its rows get gradients anyway.

    A vocabulary head that shares the embedding's weights reads all of them.
    """
    head = model.head
    shared = isinstance(head, VocabularyHead) and head.out.weight is model.tokens.weight
    if ROLE not in attachment.trainable or shared or type(model.tokens) is not nn.Embedding:
        return None
    used = used_ids(items, model.spec.vocab_size)
    if len(used) > MOST * model.spec.vocab_size:
        return None
    narrowed = UsedRows(model.tokens, used.to(model.tokens.weight.device))
    model.tokens = narrowed  # type: ignore[assignment]
    if ROLE in attachment.rates:
        attachment.rates["tokens.used"] = attachment.rates.pop(ROLE)
    return narrowed


def widen(model: Transformer, narrowed: UsedRows | None) -> None:
    """The embedding itself again, with what was learnt."""
    if narrowed is not None:
        model.tokens = narrowed.whole()


def used_ids(items: Items, vocabulary: int) -> torch.Tensor:
    """Which ids stand in the items, ascending."""
    seen = np.zeros(vocabulary, dtype=bool)
    for index in range(len(items)):
        item = items[index]
        for ids in (item.ids, item.sources):
            seen[np.asarray(ids, dtype=np.int64)] = True
    return torch.from_numpy(np.flatnonzero(seen))
