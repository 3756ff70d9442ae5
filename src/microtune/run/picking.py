"""The choice of one token: a penalty on what was there already, a narrowed distribution, and a draw from it.

Top-p is the nucleus of Holtzman et al. (2020), top-k that of Fan et al. (2018), min-p that of Nguyen et al. (2024), the
repetition penalty that of Keskar et al. (CTRL, 2019), which divides scores; a negative one is multiplied, as
transformers does, since division would raise it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from microtune.errors import InputError
from microtune.recipe import validated
from microtune.run.rules import Rule
from microtune.tasks.writing import GREEDY, Writing

DRAWN = ("temperature", "top_k", "top_p", "min_p", "seed")


@dataclass(frozen=True)
class Terms:
    """How answers are chosen, and what binds them.

    rule: what an answer must keep to, as it stands before the first token; ends: whether an answer's new ids are at an
    end that no stop id marks.
    """

    options: Writing = GREEDY
    rule: Rule | None = None
    ends: Callable[[Sequence[int]], bool] | None = None


def penalized(scores: Tensor, written: Sequence[int], penalty: float) -> Tensor:
    """Scores [V] in which every id of `written` is `penalty` times less favoured."""
    if penalty == 1.0 or not written:
        return scores
    ids = torch.tensor(sorted(set(written)), device=scores.device)
    there = scores[ids]
    return scores.index_copy(0, ids, torch.where(there < 0, there * penalty, there / penalty))


def narrowed(scores: Tensor, options: Writing) -> Tensor:
    """Scores [V] -> probabilities to draw from: temperature, then top-k, top-p and min-p, each of what is left.

    The likeliest token is always left. They do not add up to 1.
    """
    scores = scores / options.temperature
    if options.top_k:
        bound = scores.topk(min(options.top_k, len(scores))).values[-1]
        scores = scores.masked_fill(scores < bound, float("-inf"))
    probabilities = torch.softmax(scores, -1)
    if options.top_p < 1.0:
        ordered, order = probabilities.sort(descending=True)
        beyond = ordered.cumsum(0) - ordered >= options.top_p
        probabilities[order[beyond]] = 0.0
    if options.min_p:
        probabilities = probabilities.masked_fill(probabilities < options.min_p * probabilities.max(), 0.0)
    return probabilities


def pick(scores: Tensor, options: Writing, generator: torch.Generator | None) -> int:
    """One id for scores [V] on the CPU."""
    if options.temperature <= 0:
        return int(scores.argmax())
    return int(torch.multinomial(narrowed(scores, options), 1, generator=generator))


def generator_of(seed: int, ids: Sequence[int], sources: Sequence[int], number: int) -> torch.Generator:
    """Where the draws of a question's answer `number` come from: they hang on the question, not on its neighbours."""
    text = f"{seed}|{number}|{list(map(int, ids))}|{list(map(int, sources))}"
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


@dataclass(frozen=True)
class Drawing:
    """How ids are drawn; temperature 0: the likeliest one."""

    options: Writing
    generator: torch.Generator

    @classmethod
    def of(cls, **options: Any) -> Drawing:
        """From those options of `Model.generate` that an n-gram model can follow."""
        strange = sorted(options.keys() - DRAWN)
        if strange:
            raise InputError(f"{strange[0]}: an n-gram model, alone or as a draft, knows {', '.join(DRAWN)}.")
        choice = validated(Writing, options, "decoding")
        return cls(choice, torch.Generator().manual_seed(choice.seed))

    def shares(self, logits: Tensor) -> Tensor:
        """Probabilities float64 [V] for scores [V]; greedy, all on the likeliest id."""
        if self.options.temperature <= 0:
            return torch.nn.functional.one_hot(logits.argmax(), len(logits)).double()
        found = narrowed(logits.double(), self.options)
        return found / found.sum()

    def draw(self, shares: Tensor) -> int:
        """One id."""
        if self.options.temperature <= 0:
            return int(shares.argmax())
        return int(torch.multinomial(shares, 1, generator=self.generator))
