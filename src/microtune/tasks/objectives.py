"""What a model learns from a block of text in pretraining: the next token, or what was hidden in it.

causal: the next token, for a decoder. masked: tokens hidden in place, for an encoder (masked.py). span-denoising and
infilling: spans cut out or masked, written by the decoder of an encoder-decoder (spans.py, infilling.py).
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
from microtune.tasks.infilling import Infilling
from microtune.tasks.masked import Masking
from microtune.tasks.spans import SpanDenoising

Objective = Literal["causal", "masked", "span-denoising", "infilling"]
Unit = Literal["word", "token"]
NEEDS: dict[Objective, str] = {
    "causal": "a decoder alone, with causal: true",
    "masked": "an encoder alone",
    "span-denoising": "an encoder and a decoder with causal: true and cross_attention: true",
    "infilling": "an encoder and a decoder with causal: true and cross_attention: true",
}
OPTIONS: dict[str, tuple[Objective, ...]] = {
    "share": ("masked", "span-denoising", "infilling"),
    "replaced": ("masked",),
    "unit": ("masked", "infilling"),
    "mean_span": ("span-denoising", "infilling"),
    "permute_sentences": ("infilling",),
}
SHARES: dict[Objective, float] = {"masked": 0.15, "span-denoising": 0.15, "infilling": 0.3}
UNITS: dict[Objective, Unit] = {"masked": "word", "span-denoising": "token", "infilling": "token"}
MEAN_SPAN = 3.0


class Hiding(Section):
    """Options of the objectives that hide tokens; None: as the paper of the objective has it."""

    share: float | None = Field(default=None, gt=0, lt=1, description="of the tokens that is hidden")
    replaced: tuple[float, float, float] = Field(
        default=(0.8, 0.1, 0.1), description="shares of hidden tokens that become the mask, a random token, or stay"
    )
    unit: Unit | None = Field(default=None, description="what is hidden at once: a whole word, or a token")
    mean_span: float | None = Field(default=None, ge=1, description="mean length of a span, in units")
    permute_sentences: bool = Field(default=False, description="sentences change places before spans are hidden")

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
    decoder = spec.decoder
    if spec.encoder is None:
        fits = objective == "causal" and decoder is not None and decoder.causal
    elif decoder is None:
        fits = objective == "masked"
    else:
        fits = objective in ("span-denoising", "infilling") and decoder.causal and decoder.cross_attention
    if not fits:
        raise InputError(
            f"recipe: task.objective is {objective}, which needs {NEEDS[objective]}; the network is another one."
        )


def positions_for(objective: Objective, size: int) -> int:
    """The longest sequence that blocks of `size` tokens become."""
    return size + (2 if objective == "infilling" else 0)


def corruption_of(
    options: Hiding, objective: Objective, tokenizer: Tokenizer, size: int
) -> tuple[Corruption, Words | None]:
    """What spoils blocks of up to `size` tokens, and what knows words, where words are hidden as wholes."""
    share, mean = options.share or SHARES[objective], options.mean_span or MEAN_SPAN
    made: Corruption
    if objective == "span-denoising":
        made = SpanDenoising.of(tokenizer, share, mean, size)
    elif objective == "infilling":
        made = Infilling.of(tokenizer, share, mean, permute=options.permute_sentences)
    else:
        made = Masking.of(tokenizer, share, options.replaced)
    return made, Words(tokenizer) if (options.unit or UNITS[objective]) == "word" else None


def hidden_items(
    options: Hiding,
    objective: Objective,
    blocks: Blocks,
    tokenizer: Tokenizer,
    seed: int,
    marks: Sequence[RaggedStore] | None = None,
) -> Corrupted:
    """The items that an objective makes of the blocks of a corpus; marks: word starts by a segmenter."""
    corruption, words = corruption_of(options, objective, tokenizer, blocks.size)
    return Corrupted(blocks, corruption, seed, words, None if words is None else marks)


def encode_hidden(
    options: Hiding, objective: Objective, documents: Sequence[Sequence[int]], tokenizer: Tokenizer, size: int
) -> Encoded:
    """Held-out documents in pieces of at most `size` tokens, spoilt in a way that never changes."""
    corruption, words = corruption_of(options, objective, tokenizer, size)
    report = EncodingReport(rows=len(documents))
    items: list[Any] = []
    for row, ids in enumerate(documents):
        for number, start in enumerate(range(0, len(ids), size)):
            if len(ids) - start > 1:  # of a single token nothing could be hidden and guessed
                items.append(spoilt(ids[start : start + size], corruption, words, row, number))
                report.add(items[-1])
    return Encoded(items, report)


def hidden_metrics(objective: Objective, values: dict[str, float]) -> dict[str, float]:
    """Scores under the names of an objective: what a model says of hidden tokens is no likelihood of the text."""
    if objective != "masked":
        return values
    names = {"perplexity": "pseudo_perplexity", "token_accuracy": "masked_accuracy"}
    return {names.get(name, name): value for name, value in values.items()}
