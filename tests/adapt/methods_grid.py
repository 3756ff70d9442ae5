"""The grid of methods x kinds of models x number formats: what its tests and their child process share.

A new method is a line in CASES. Every kind of model has biases, so that every method fits everywhere.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

from microtune.adapt.base import Attachment, make_method
from microtune.nn.heads import LabelHead
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged
from microtune.recipe import build as build_recipe
from microtune.run.precision import HeldBase

PLAIN = StackSpec(
    num_layers=3, hidden_size=16, num_heads=4, intermediate_size=24, positions="learned", max_positions=24
)
GATED = replace(
    PLAIN,
    causal=True,
    num_kv_heads=2,
    norm="rms",
    mlp="gated",
    activation="silu",
    positions="rotary",
    output_bias=False,
    mlp_bias=False,
)
POST = replace(PLAIN, placement="post", final_norm=False, embedding_norm=True)
SPECS = {
    "decoder": ModelSpec(vocab_size=37, decoder=GATED),
    "encoder": ModelSpec(
        vocab_size=37, encoder=POST, token_types=2, pooling="first", label_head="tanh_pooler", label_bias=True
    ),
    "encoder-decoder": ModelSpec(
        vocab_size=37,
        encoder=replace(POST, num_layers=2),
        decoder=replace(POST, causal=True, cross_attention=True),
        tied=False,
    ),
}
DTYPES = ("float32", "bfloat16")
ROWS, SOURCES = [[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8, 9, 7], [2, 7]], [[2, 7, 1], [8, 2], [8, 1, 8, 2], [8]]
TARGETS = torch.tensor([1, 0, 2, 1])


@dataclass(frozen=True)
class Case:
    """A method, as a recipe names it, and what it does not promise."""

    method: Any
    unchanged: bool = True  # the output at the start is that of the base
    exact: bool = True  # to the last bit in float32, and with the base's own weights
    merges: bool = True


CASES: dict[str, Case] = {
    "full": Case("full"),
    "head": Case("head"),
    "top": Case("top:1"),
    "reinit": Case({"name": "reinit", "blocks": 1, "seed": 5}, unchanged=False),
    "lora": Case("lora:2"),
    "lora on some": Case({"name": "lora", "rank": 2, "roles": ["q", "down"], "first_block": 1}),
    "rslora": Case({"name": "lora", "rank": 2, "variant": "rslora"}),
    "dora": Case({"name": "lora", "rank": 2, "variant": "dora"}),
    "pissa": Case({"name": "lora", "rank": 2, "variant": "pissa"}, exact=False),
    "lora plus": Case({"name": "lora", "rank": 2, "loraplus": 16, "last_block": 1}),
    "bottleneck": Case("bottleneck:4", merges=False),
    "bottleneck of Pfeiffer": Case({"name": "bottleneck", "placement": "pfeiffer", "first_block": 1}, merges=False),
    "prompt": Case("prompt:3", unchanged=False, merges=False),
    "prefix": Case({"name": "prefix", "tokens": 3}, unchanged=False, merges=False),
    "prefix above": Case({"name": "prefix", "tokens": 3, "first_block": 1}, unchanged=False, merges=False),
    "bitfit": Case("bitfit"),
    "bitfit above": Case({"name": "bitfit", "first_block": 1}),
    "norms": Case("norms"),
    "ia3": Case("ia3"),
    "ia3 on all": Case({"name": "ia3", "roles": ["q", "k", "v", "o", "up", "down"], "first_block": 1}),
    "head+bitfit": Case("head+bitfit"),
    "reinit+norms": Case("reinit:1+norms", unchanged=False),
    "ia3+lora": Case([{"name": "ia3", "roles": ["k", "down"]}, {"name": "lora", "rank": 2, "roles": ["q", "v"]}]),
    "lora+bitfit": Case("lora:2+bitfit"),
    "prompt+norms": Case("prompt:3+norms", unchanged=False, merges=False),
    "pissa+bitfit": Case([{"name": "lora", "rank": 2, "variant": "pissa"}, "bitfit"], exact=False),
}
WHOLE = [(case, kind, dtype) for case in CASES for kind in SPECS for dtype in DTYPES]
SMALL = [  # each method on one kind of model, every second one in both number formats
    (case, list(SPECS)[i % len(SPECS)], dtype) for i, case in enumerate(CASES) for dtype in DTYPES[: 1 + i % 2]
]


def build(kind: str) -> Transformer:
    """Random everywhere, norms and biases included; always the same."""
    model = Transformer(SPECS[kind])
    if kind == "encoder":
        model.head = LabelHead(model.spec, 3)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            norm = "norm" in name and name.endswith(".weight")
            parameter.copy_(noise * 0.3 if parameter.dim() > 1 else norm + 0.2 * noise)
    return model.eval()


def attach(case: str, model: Transformer) -> Attachment:
    """The method of a case on a model, with random numbers of its own."""
    torch.manual_seed(2)
    method = build_recipe({"task": "classification", "method": CASES[case].method}).method
    return make_method(method).attach(model)


def hold(model: Transformer, kind: str, dtype: str) -> HeldBase:
    """The frozen weights as a run in this precision keeps them."""
    return HeldBase(model, "bfloat16" if dtype == "bfloat16" else "float32", lambda: build(kind))


def products(dtype: str) -> AbstractContextManager[Any]:
    """What products run in."""
    return torch.autocast("cpu", dtype=torch.bfloat16) if dtype == "bfloat16" else nullcontext()


def outputs(model: Transformer, dtype: str = "float32", rows: slice = slice(None)) -> Tensor:
    """Scores of the labels or of the vocabulary, one line for each row, in float32."""
    inputs = Ragged.from_lists(ROWS[rows])
    sources = Ragged.from_lists(SOURCES[rows]) if model.encoder is not None and model.decoder is not None else None
    labels = isinstance(model.head, LabelHead)
    readout = inputs.starts if labels else inputs.starts + inputs.lengths - 1
    with products(dtype):
        hidden = model(inputs, readout=readout, sources=sources)
        count = torch.ones(len(inputs.lengths), dtype=torch.int64)
        return (model.head(hidden, count) if labels else model.head(hidden)).float()


def loss_sum(model: Transformer, dtype: str, rows: slice = slice(None)) -> Tensor:
    """Summed over rows, as tasks give it."""
    return F.cross_entropy(outputs(model, dtype, rows), TARGETS[rows], reduction="sum")


def train(model: Transformer, attachment: Attachment, dtype: str, steps: int = 3) -> None:
    """Plain gradient descent: only a gradient can move anything."""
    optimizer = torch.optim.SGD([p for _, p in attachment.parameters()], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (loss_sum(model, dtype) / len(ROWS)).backward()
        optimizer.step()


def reload_all(folder: Path) -> None:
    """In a process of its own: every base and every state from its file, and the outputs into `again.safetensors`."""
    torch.set_num_threads(1)
    found: dict[str, Tensor] = {}
    bases = {kind: load_file(folder / f"base.{kind}.safetensors") for kind in SPECS}
    for file in sorted(folder.glob("state.*.safetensors")):
        _, case, kind, dtype, _ = file.name.split(".")
        model = build(kind)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(bases[kind][name])
        attachment = attach(case, model)
        attachment.load_state(load_file(file))
        hold(model, kind, dtype)
        with torch.no_grad():
            found[file.name] = outputs(model, dtype).contiguous()
    save_file(found, folder / "again.safetensors")
