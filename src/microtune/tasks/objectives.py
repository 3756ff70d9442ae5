"""What a model learns from a block of text in pretraining: the next token, or what was hidden in it.

causal: the next token, for a decoder. masked: tokens hidden in place, for an encoder (masked.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from pydantic import Field, field_validator

from microtune.data.corpus import Blocks
from microtune.data.store import RaggedStore
from microtune.data.text import Tokenizer
from microtune.data.words import Words
from microtune.errors import InputError
from microtune.nn.spec import ModelSpec
from microtune.recipe import Section
from microtune.tasks.base import Encoded, EncodingReport
from microtune.tasks.corruption import Corrupted, Corruption, spoilt
from microtune.tasks.masked import Masking

Objective = Literal["causal", "masked"]
Unit = Literal["word", "token"]
NEEDS: dict[Objective, str] = {"causal": "a decoder alone", "masked": "an encoder alone"}
OPTIONS: dict[str, tuple[Objective, ...]] = {"share": ("masked",), "replaced": ("masked",), "unit": ("masked",)}
SHARES: dict[Objective, float] = {"masked": 0.15}
UNITS: dict[Objective, Unit] = {"masked": "word"}


class Hiding(Section):
    """Options of the objectives that hide tokens; None: as the paper of the objective has it."""

    share: float | None = Field(default=None, gt=0, lt=1, description="of the tokens that is hidden")
    replaced: tuple[float, float, float] = Field(
        default=(0.8, 0.1, 0.1), description="shares of hidden tokens that become the mask, a random token, or stay"
    )
    unit: Unit | None = Field(default=None, description="what is hidden at once: a whole word, or a token")

    @field_validator("replaced")
    @classmethod
    def _adds_up(cls, shares: tuple[float, float, float]) -> tuple[float, float, float]:
        if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
            raise ValueError("three shares that add up to 1: of the mask, of random tokens, of tokens that stay")
        return shares


def check_options(options: Hiding, objective: Objective) -> None:
    """Refuse an option that this objective does not have."""
    for name, meant in OPTIONS.items():
        if objective not in meant and getattr(options, name) != Hiding.model_fields[name].default:
            raise ValueError(f"{name} belongs to the objective {' or '.join(meant)}, not to {objective}")


def check_shape(spec: ModelSpec, objective: Objective) -> None:
    """Refuse a network that cannot learn by this objective."""
    encoder, decoder = spec.encoder is not None, spec.decoder is not None and spec.decoder.causal
    shape: dict[tuple[bool, bool], Objective] = {(False, True): "causal", (True, False): "masked"}
    found = shape.get((encoder, decoder))
    if found != objective:
        raise InputError(
            f"recipe: task.objective is {objective}, which needs {NEEDS[objective]}"
            f"{' with causal: true' if objective == 'causal' else ''}; model.spec describes another network."
        )


def corruption_of(options: Hiding, objective: Objective, tokenizer: Tokenizer) -> tuple[Corruption, Words | None]:
    """What spoils blocks, and what knows words, where words are hidden as wholes."""
    share = options.share or SHARES[objective]
    unit = options.unit or UNITS[objective]
    return Masking.of(tokenizer, share, options.replaced), Words(tokenizer) if unit == "word" else None


def hidden_items(
    options: Hiding,
    objective: Objective,
    blocks: Blocks,
    tokenizer: Tokenizer,
    seed: int,
    marks: Sequence[RaggedStore] | None = None,
) -> Corrupted:
    """The items that an objective makes of the blocks of a corpus; marks: word starts by a segmenter."""
    corruption, words = corruption_of(options, objective, tokenizer)
    return Corrupted(blocks, corruption, seed, words, None if words is None else marks)


def encode_hidden(
    options: Hiding, objective: Objective, documents: Sequence[Sequence[int]], tokenizer: Tokenizer, size: int
) -> Encoded:
    """Held-out documents in pieces of at most `size` tokens, spoilt in a way that never changes."""
    corruption, words = corruption_of(options, objective, tokenizer)
    report = EncodingReport(rows=len(documents))
    items: list[Any] = []
    for row, ids in enumerate(documents):
        for number, start in enumerate(range(0, len(ids), size)):
            items.append(spoilt(ids[start : start + size], corruption, words, row, number))
            report.add(items[-1])
    return Encoded(items, report)


def hidden_metrics(objective: Objective, values: dict[str, float]) -> dict[str, float]:
    """Scores under the names of an objective: what a model says of hidden tokens is no likelihood of the text."""
    if objective != "masked":
        return values
    names = {"perplexity": "pseudo_perplexity", "token_accuracy": "masked_accuracy"}
    return {names.get(name, name): value for name, value in values.items()}
