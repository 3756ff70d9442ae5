"""Tiny tokenizers, models and trainings for the tests of tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from microtune.adapt.base import make_method
from microtune.data.sources import Row
from microtune.data.text import Tokenizer, train_bpe
from microtune.nn.parameters import initialize
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice, Train
from microtune.run.train import Step, Training
from microtune.tasks.base import Encoded, Task

SENTENCES = [
    "my card was declined at the shop",
    "the transfer has not arrived yet",
    "please refund the money for my order",
    "where is the parcel that I ordered",
    "我的卡在商店被拒绝了",
    "what is the capital of France? Paris",
]
STACK = StackSpec(
    num_layers=2,
    hidden_size=32,
    num_heads=4,
    intermediate_size=48,
    causal=True,
    norm="rms",
    mlp="gated",
    activation="silu",
    positions="rotary",
    max_positions=96,
)
ENCODER = replace(STACK, causal=False, positions="learned", norm="layer", mlp="plain", activation="gelu")
DECODER_SPEC = ModelSpec(vocab_size=400, decoder=STACK)
ENCODER_SPEC = ModelSpec(
    vocab_size=400, encoder=ENCODER, pooling="first", label_head="tanh_pooler", label_bias=True, token_types=2
)


def make_tokenizer() -> Tokenizer:
    """At most 400 ids: reserved ones, bytes, and a few merges."""
    return train_bpe(SENTENCES * 3, 400)


def rows_of(values: Sequence[dict[str, Any]]) -> list[Row]:
    return [Row(value, "data.jsonl", number) for number, value in enumerate(values, 1)]


def make_model(spec: ModelSpec, task: Task, dtype: torch.dtype = torch.float32) -> Transformer:
    """Random weights by the model's own scheme, and the task's head."""
    torch.manual_seed(0)
    model = Transformer(spec)
    initialize(model, spec.initializer_range, num_layers=spec.output_stack.num_layers)
    head = task.make_head(spec)
    if head is not None:
        model.head = head
    return model.to(dtype)


def make_training(
    model: Transformer, task: Task, encoded: Encoded, *, method: str = "full", **settings: Any
) -> Training:
    """A training in float32 products with a constant rate, unless told otherwise."""
    chosen = make_method(Choice(name=method))
    values = {"lr": 5e-3, "schedule": "constant", "warmup": 0.0, "batch_size": 8, "precision": "float32", **settings}
    attachment = chosen.attach(model)
    train = Train(**values)
    return Training(model, task, chosen, attachment, encoded.items, train, seed=1, precision="float32")


def steps_of(training: Training) -> list[Step]:
    return list(training.fit())
