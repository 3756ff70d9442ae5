"""What the base says of the answers of a preference: computed once, before anything trains, and kept with the run.

Reference log-probabilities (Rafailov et al., 2023) need the base, not a second model beside the one that trains: while
a run gets ready its network still is the base. Four bytes per answer token stand in `cache/`, under a key of weights
and tokens, so that a resumed run reads the very same numbers. A finished run is scored against its base, which is
loaded for that pass and let go.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from microtune.data.batches import Items, apart, collate, in_order, item_sizes
from microtune.data.store import RaggedStore, content_key
from microtune.errors import InputError
from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Transformer
from microtune.recipe import ModelChoice
from microtune.run.evaluate import EVALUATION_TOKENS
from microtune.run.load import Model
from microtune.run.memory import give_back
from microtune.run.movement import fingerprint
from microtune.run.saved import base_model
from microtune.tasks.base import Encoded, Task
from microtune.tasks.outcomes import Column
from microtune.tasks.preference import Preference


def check_base(task: Task, model: Model, choice: ModelChoice) -> None:
    """A preference needs a model that writes and has learnt something already."""
    if not isinstance(task, Preference):
        return
    if choice.source is None or choice.weights == "random":
        raise InputError("A preference is learnt against a base that can write; name one as model.source.")
    if model.network.decoder is None:
        raise InputError(
            'The task preference needs a model that writes: a decoder such as "sprout", or an encoder-decoder.'
        )
    model.vocabulary_head()


def with_references(
    network: Transformer, task: Task, encoded: Mapping[str, Encoded], cache: Path | None
) -> dict[str, Encoded]:
    """The splits with what this network, the base, says of every answer token; others than preferences as they are."""
    if not isinstance(task, Preference):
        return dict(encoded)
    return {name: referred(network, part, cache) for name, part in encoded.items()}


def referred(network: Transformer, encoded: Encoded, cache: Path | None = None) -> Encoded:
    """One split with its references."""
    items = encoded.items
    found: list[Column] | RaggedStore
    if cache is None:
        found = log_probabilities(network, items)
    else:
        folder = cache / f"references-{_key(network, items)}"
        found = (
            RaggedStore(folder)
            if RaggedStore.exists(folder)
            else RaggedStore.write(folder, log_probabilities(network, items), dtype="float32")
        )
    given = [replace(items[i], extra=replace(items[i].extra, reference=np.array(found[i]))) for i in range(len(items))]
    return Encoded(given, encoded.report)


@torch.inference_mode()
def log_probabilities(network: Transformer, items: Items) -> list[Column]:
    """log p of the targets of each item, `[R]` float32."""
    assert isinstance(network.head, VocabularyHead)
    device = next(network.parameters()).device
    training = network.training
    network.eval()
    found: list[Column] = [np.zeros(0, dtype=np.float32)] * len(items)
    pieces = in_order(item_sizes(items), EVALUATION_TOKENS)
    for piece in apart(pieces, items):
        batch = collate([items[i] for i in piece], share=network.is_causal).to(device)
        hidden = network(batch.inputs, readout=batch.readout, sources=batch.sources)
        logs = network.head.log_probabilities(hidden, batch.targets).float().cpu().numpy()
        ends = np.cumsum([len(item.targets) for item in batch.items])[:-1]
        for place, part in zip(piece, np.split(logs, ends), strict=True):
            found[place] = part
    network.train(training)
    return found


def scored_against_base(model: Model, task: Task, encoded: Encoded) -> Encoded:
    """The items of a finished run with the references of its base."""
    if not isinstance(task, Preference):
        return encoded
    if model.place is None or model.place.kind != "run":
        raise InputError("A preference is scored against the base that it was tuned from; give the run folder.")
    base = base_model(model.place.path / "model")
    base.network.to(next(model.network.parameters()).device)
    found = referred(base.network, encoded)
    del base
    give_back()
    return found


def _key(network: Transformer, items: Items) -> str:
    digest = hashlib.sha256()
    for i in range(len(items)):
        for part in (items[i].ids, items[i].readout, items[i].targets, items[i].sources):
            digest.update(np.asarray(part, dtype=np.int64).tobytes())
    return content_key({name: fingerprint(p) for name, p in network.named_parameters()}, digest.hexdigest())
