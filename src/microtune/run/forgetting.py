"""How much of its general language a tuned model has forgotten, on texts that have nothing to do with the task.

Of a decoder: bits per byte of general text before and after. Where the task put a head of labels in the place of the
vocabulary's, the base's own head reads what the tuned blocks say. Of an encoder (or the encoder of an encoder-decoder):
the mean cosine distance between the embeddings of a text before and after, 0 at first. What tuning costs a model
elsewhere is called catastrophic interference since McCloskey and Cohen (1989).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.data.batches import collate, in_order, item_sizes
from microtune.errors import InputError
from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Transformer
from microtune.run.load import Model
from microtune.tasks.language_modelling import LanguageModelling, document_ids, row_items

Kind = Literal["bits_per_byte", "drift"]
MOST_TOKENS = 256  # of one text
BATCH_TOKENS = 4096
STRANGE = 0.2  # share of unknown tokens above which a text is in a language that the model does not read


@dataclass(frozen=True)
class Forgetting:
    """before and after are bits per byte, or cosine distances; the smaller, the better."""

    kind: Kind
    before: float
    after: float
    texts: int

    @property
    def change(self) -> float:
        """How much worse it has become."""
        return self.after - self.before


@dataclass(frozen=True)
class Reference:
    """What the base says of the texts: compare any number of tuned models with it."""

    kind: Kind
    texts: tuple[str, ...]
    bits: float
    vectors: Tensor | None  # [B, D], of length 1
    head: nn.Module


def measure(before: Model, after: Model, texts: Sequence[str]) -> Forgetting:
    """Compare a tuned model with its base."""
    return compare(reference(before, texts), after)


def reference(base: Model, texts: Sequence[str]) -> Reference:
    """Read the texts with the base; those in a language that it does not know are left out."""
    known = tuple(text for text in texts if text.strip() and _is_known(base, text))
    if not known:
        raise InputError("None of the general texts can be read by this model: they are empty, or unknown to it.")
    head = base.network.head
    if base.spec.encoder is None and isinstance(head, VocabularyHead) and not base.missing_head:
        return Reference("bits_per_byte", known, bits_per_byte(base, head, known), None, head)
    return Reference("drift", known, 0.0, _directions(base, known), head)


def compare(base: Reference, after: Model) -> Forgetting:
    """What has changed in a model tuned from the base."""
    if base.vectors is None:
        bits = bits_per_byte(after, _vocabulary_head(base.head, after.network), base.texts)
        return Forgetting(base.kind, base.bits, bits, len(base.texts))
    cosine = (base.vectors * _directions(after, base.texts)).sum(-1)
    return Forgetting(base.kind, 0.0, float((1 - cosine).mean().clamp_min(0)), len(base.texts))


@torch.inference_mode()
def bits_per_byte(model: Model, head: nn.Module, texts: Sequence[str]) -> float:
    """Negative log2-likelihood of the texts, each alone, over their bytes."""
    task, network = LanguageModelling(), model.network
    limit = min(MOST_TOKENS, model.spec.max_positions or MOST_TOKENS)
    cut = (document_ids(model.text, text) for text in texts)
    items = [
        item
        for index, (ids, text) in enumerate(zip(cut, texts, strict=True))
        for item in row_items(ids, limit, index, len(text.encode()))
    ]
    device = next(network.parameters()).device
    network.eval()
    loss = 0.0
    for piece in in_order(item_sizes(items), BATCH_TOKENS):
        batch = collate([items[i] for i in piece]).to(device)
        hidden = network(batch.inputs, readout=batch.readout)
        loss += float(task.measure(head, hidden, batch)["loss"].sum())
    return loss / math.log(2) / sum(len(text.encode()) for text in texts)


def _vocabulary_head(base: nn.Module, network: Transformer) -> nn.Module:
    """The network's own, or the base's on the network's embedding where the two are tied."""
    if isinstance(network.head, VocabularyHead):
        return network.head
    if not network.spec.tied:
        return base
    head = copy.deepcopy(base)
    assert isinstance(head, VocabularyHead)
    head.out.weight = network.tokens.weight
    return head


def _directions(model: Model, texts: Sequence[str]) -> Tensor:
    return F.normalize(model.embed(texts), dim=-1)


def _is_known(model: Model, text: str) -> bool:
    ids, unknown = model.text.encode(text, special=False), model.text.id("unk")
    return bool(ids) and (unknown is None or ids.count(unknown) <= STRANGE * len(ids))
