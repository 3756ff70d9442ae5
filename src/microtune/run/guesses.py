"""Asks a masked model what could stand in the place of words: for the step `substitute` (data/steps/substitution.py).

Each word becomes one mask, whatever number of tokens it had, and the guesses are whole words of one token. Only the
hidden positions reach the vocabulary.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import cached_property

import torch

from microtune.data.batches import in_order
from microtune.data.steps.substitution import Guesses, Place
from microtune.errors import InputError
from microtune.ragged import Ragged
from microtune.recipe import Recipe
from microtune.run.digest import weights_digest
from microtune.run.evaluate import EVALUATION_TOKENS
from microtune.run.load import Model, load
from microtune.run.sources import is_classic, locate

LONGEST = 4096  # tokens of a text, where the model has no limit
SPARE = 4  # times as many ids are looked at as words are wanted: some are signs or parts of words
STEP = "substitute"


class MaskedModel:
    """A loaded masked model that guesses words, and counts what that takes."""

    def __init__(self, name: str) -> None:
        self.model = _loaded(name)
        mask = self.model.text.id("mask")
        assert mask is not None
        self.mask = mask
        self.name = name if self.model.place is None else self.model.place.name
        self.tokens, self.seconds = 0, 0.0
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model.network.to(device).eval()

    @property
    def cost(self) -> str:
        """Tokens and seconds, for a reader."""
        return f"{self.name} read {self.tokens:,} tokens in {self.seconds:.1f} s"

    @torch.inference_mode()
    def __call__(self, texts: Sequence[str], places: Sequence[Sequence[Place]], most: int) -> list[list[Guesses]]:
        """Of every place the likeliest words; none for one that is cut off or shares a token with what is beside."""
        began = time.perf_counter()
        network, head = self.model.network, self.model.vocabulary_head()
        found: list[list[Guesses]] = [[[] for _ in own] for own in places]
        hidden = [self.hidden(text, own) for text, own in zip(texts, places, strict=True)]
        asked = [i for i, (_, readout) in enumerate(hidden) if readout]
        device = next(network.parameters()).device
        for piece in in_order([len(hidden[i][0]) for i in asked], EVALUATION_TOKENS):
            chosen = [asked[i] for i in piece]
            inputs = Ragged.from_lists([hidden[i][0] for i in chosen])
            owners = [(i, place) for i in chosen for place in hidden[i][1]]
            starts = dict(zip(chosen, inputs.starts.tolist(), strict=True))
            readout = torch.tensor([starts[i] + hidden[i][1][place] for i, place in owners])
            states = network(inputs.to(device), readout=readout.to(device))
            values, ids = head.top_k(states, min(SPARE * most, self.model.spec.vocab_size))
            for (i, place), logp, best in zip(owners, values.exp().tolist(), ids.tolist(), strict=True):
                found[i][place] = self._words(best, logp, texts[i], places[i][place], most)
            self.tokens += len(inputs.values)
        self.seconds += time.perf_counter() - began
        return found

    def hidden(self, text: str, places: Sequence[Place]) -> tuple[list[int], dict[int, int]]:
        """Ids with one mask for each place (start, end), and the index of the mask of each that can be hidden."""
        limit = self.model.room or LONGEST
        ids, spans, _ = self.model.text.encode_places(text, limit)
        within: dict[int, int] = {}
        for number, (start, end) in enumerate(places):
            own = [i for i, (a, b) in enumerate(spans) if a < end and b > start and a < b]
            if own and spans[own[-1]][1] == end and not text[spans[own[0]][0] : start].strip():
                within |= dict.fromkeys(own, number)
        found: list[int] = []
        readout: dict[int, int] = {}
        for i, token in enumerate(ids):
            number = within.get(i, -1)
            if number < 0:
                found.append(token)
            elif number not in readout:
                readout[number] = len(found)
                found.append(self.mask)
        return found, readout

    def _words(self, ids: Sequence[int], probabilities: Sequence[float], text: str, place: Place, most: int) -> Guesses:
        """The ids that are whole words where the place is: with the blank before them that stands there, or without."""
        apart = text[: place[0]][-1:].isspace()
        found = []
        for i, probability in zip(ids, probabilities, strict=True):
            word, blank = self.surfaces[i] if i < len(self.surfaces) else ("", False)
            if word and (blank == apart or not self.blanks):
                found.append((word, probability))
        return found[:most]

    @cached_property
    def surfaces(self) -> list[tuple[str, bool]]:
        """Of every id the word that it is, "" where it is none, and whether its token begins with a blank."""
        text = self.model.text
        tokens = [text.backend.id_to_token(i) or "" for i in range(len(text))]
        found = []
        for i, token in enumerate(tokens):
            word = "" if token.startswith("##") or token in text.marks else text.decode([i]).strip()
            found.append((word if word.isalpha() else "", token[:1] in ("Ġ", "▁")))
        return found

    @cached_property
    def blanks(self) -> bool:
        """Whether the tokens say where a word begins."""
        return any(blank for _, blank in self.surfaces)


def _loaded(name: str) -> Model:
    where, place = f"data.steps, {STEP}: {name}", locate(name)
    model = None if place.kind == "run" and is_classic(place.path) else load(name)
    if model is None or model.spec.encoder is None or model.spec.decoder is not None:
        raise InputError(f"{where} is no masked model; name one of the BERT kind, such as bert-base-uncased.")
    if model.tokenizer is None or model.text.id("mask") is None:
        raise InputError(f"{where} has no mask token, so no word can be hidden; name a masked model of the BERT kind.")
    try:
        model.vocabulary_head()
    except InputError as error:
        raise InputError(f"{where} cannot guess words. {error}") from error
    return model


def step_hashes(recipe: Recipe) -> dict[str, str]:
    """Hash of the weights of every model that a step asks: with others, the rows would be others."""
    named = [str(step.options.get("model", "")) for step in recipe.data.steps if step.name == STEP]
    return {f"{STEP} {name}": weights_digest(locate(name)) for name in named if name}
