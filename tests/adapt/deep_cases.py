"""Models of three blocks with random weights, on which methods that train whole blocks are tried; and their outputs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from microtune.adapt.base import Attachment, make_method
from microtune.nn.heads import LabelHead
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged
from microtune.recipe import Choice

V, D, W, LABELS = 37, 16, 24, 3  # vocabulary, width, inner width
BARE = {f"{name}_bias": False for name in ("query", "key", "value", "output", "mlp")}
SHAPE: dict[str, Any] = {"num_layers": 3, "hidden_size": D, "num_heads": 4, "intermediate_size": W}
ROTARY = StackSpec(**SHAPE, causal=True, norm="rms", mlp="gated", activation="silu", positions="rotary", **BARE)
RELATIVE = StackSpec(**SHAPE, norm="rms", positions="relative", relative_buckets=8, **BARE)
BERT = StackSpec(
    **SHAPE, positions="learned", max_positions=16, placement="post", final_norm=False, embedding_norm=True
)
SPECS = {
    "decoder": ModelSpec(vocab_size=V, decoder=ROTARY),
    "encoder": ModelSpec(
        vocab_size=V,
        encoder=BERT,
        token_types=2,
        pooling="first",
        label_head="tanh_pooler",
        label_bias=True,
        head_transform=True,
        head_bias=True,
    ),
    "both": ModelSpec(
        vocab_size=V,
        encoder=replace(RELATIVE, num_layers=2),
        decoder=replace(RELATIVE, causal=True, cross_attention=True),
    ),
}
ROWS, SOURCES = [[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8, 9, 7]], [[2, 7, 1], [8, 2], [8, 1, 8, 2]]


def build(kind: str, *, labels: bool | None = None, dtype: torch.dtype = torch.float64, **fields: Any) -> Transformer:
    """Random everywhere, norms and biases included; a label head on one stack, the vocabulary on two."""
    model = Transformer(replace(SPECS[kind], **fields))
    if (kind != "both") if labels is None else labels:
        model.head = LabelHead(model.spec, LABELS)
    model = model.to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(noise * 0.4 if parameter.dim() > 1 else 1 + 0.2 * noise)
    return model


def attach(model: Transformer, **choice: Any) -> Attachment:
    torch.manual_seed(2)
    return make_method(Choice(**choice)).attach(model)


def values(model: Transformer) -> dict[str, Tensor]:
    return {name: parameter.detach().clone() for name, parameter in model.named_parameters()}


def outputs(model: Transformer) -> Tensor:
    """Scores of labels or of the vocabulary at one place of each row."""
    inputs = Ragged.from_lists(ROWS)
    both = model.encoder is not None and model.decoder is not None
    readout = inputs.starts if model.spec.pooling == "first" else inputs.starts + inputs.lengths - 1
    hidden = model(inputs, readout=readout, sources=Ragged.from_lists(SOURCES) if both else None)
    one_each = torch.ones(len(ROWS), dtype=torch.int64)
    return model.head(hidden, one_each) if isinstance(model.head, LabelHead) else model.head(hidden)


def loss_of(model: Transformer) -> Tensor:
    return F.cross_entropy(outputs(model), torch.tensor([1, 0, 2]))


def train(model: Transformer, attachment: Attachment, steps: int = 2) -> None:
    """Plain gradient descent: only a gradient can move anything."""
    optimizer = torch.optim.SGD([p for _, p in attachment.parameters()], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def moved(model: Transformer, start: dict[str, Tensor]) -> set[str]:
    """Names of what is not as it was."""
    return {name for name, value in model.named_parameters() if not torch.equal(value, start[name])}
