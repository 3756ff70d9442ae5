"""A model to tune that does not exist yet: `model.spec` gives its shape, the training rows its tokenizer.

The classic way of sequence to sequence, in which nothing is pretrained: random weights from the recipe's seed, one
vocabulary for the texts that are read and those that are written (Sennrich, Haddow and Birch, 2016), and a decoder
that begins with the tokenizer's `<s>`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from microtune.classic.recurrent_spec import FAMILY
from microtune.data.sources import Row
from microtune.data.text import Tokenizer, train_bpe
from microtune.errors import InputError
from microtune.families import families
from microtune.recipe import Recipe
from microtune.run.load import Model
from microtune.run.networks import random_network, spec_of
from microtune.tasks.base import Task

FIELDS = ("text_field", "pair_field", "source_field", "target_field", "prompt_field", "completion_field")
VOCABULARY = 8000


def check_scratch(recipe: Recipe) -> None:
    """Refuse, before anything is read, what a network from scratch cannot be."""
    if recipe.model.spec is None:
        return
    if recipe.model.weights != "random":
        raise InputError(
            "model.spec: describes a network that nobody has trained; say model.weights=random, or name a pretrained "
            "one with model.source and leave model.spec out."
        )
    if recipe.model.added_tokens:
        raise InputError("model.added_tokens: a model from scratch gets all its tokens from the training rows.")
    if recipe.model.family != FAMILY and recipe.model.family not in families:
        families[recipe.model.family]  # says which ones are known


def scratch_model(recipe: Recipe, task: Task, rows: Sequence[Row]) -> Model:
    """The network of `model.spec` with random weights, and its tokenizer."""
    assert recipe.model.spec is not None
    tokenizer = _tokenizer(recipe, task, rows)
    spec = spec_of(recipe.model.family, {"vocab_size": len(tokenizer), **recipe.model.spec})
    if spec.vocab_size < len(tokenizer):
        raise InputError(f"model.spec.vocab_size: {spec.vocab_size} is less than the {len(tokenizer)} tokens.")
    network = random_network(spec, recipe.seed).eval()
    return Model(network, tokenizer, family=recipe.model.family, config=first_ids(tokenizer))


def first_ids(tokenizer: Tokenizer) -> dict[str, Any]:
    """The ids with which a decoder under an encoder begins and ends."""
    start, end = tokenizer.id("bos"), tokenizer.id("eos")
    found = {"decoder_start_token_id": end if start is None else start, "eos_token_id": end}
    return {name: value for name, value in found.items() if value is not None}


def _tokenizer(recipe: Recipe, task: Task, rows: Sequence[Row]) -> Tokenizer:
    choice = recipe.model.tokenizer
    if isinstance(choice, str):
        loaded = Tokenizer.load(choice)
        if loaded is None:
            raise InputError(f"{choice}: there is no tokenizer.json in this folder, and no vocabulary.")
        return loaded
    return train_bpe(_texts(task, rows), int((choice or {}).get("vocab_size", VOCABULARY)))


def _texts(task: Task, rows: Sequence[Row]) -> Iterator[str]:
    """Everything that the task reads or writes in the training rows."""
    names = [name for field in FIELDS if (name := getattr(task, field, None))]
    if not names:
        raise InputError(f"model.tokenizer: name a folder; of the task {task.name} no text to train one on is known.")
    for row in rows:
        yield from (text for name in names if isinstance(text := row.data.get(name), str))
