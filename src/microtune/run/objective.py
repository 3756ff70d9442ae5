"""The objective of a pretraining run: the task of the recipe, the tokens it needs, and the items it makes of blocks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from microtune.data.batches import Items
from microtune.data.corpus import Blocks, Pieces
from microtune.data.store import RaggedStore, content_key
from microtune.data.text import Tokenizer
from microtune.data.tokenizer_training import framing
from microtune.data.words import Words, segmenter, word_starts
from microtune.errors import InputError
from microtune.nn.spec import LONGEST, ModelSpec
from microtune.recipe import Recipe
from microtune.run.disk import explained
from microtune.run.folder import RunFolder
from microtune.run.networks import spec_of
from microtune.run.prepare import make_task
from microtune.tasks.language_modelling import LanguageModelling
from microtune.tasks.objectives import UNITS, check_shape, hidden_items, positions_for

BY_CHARACTER = (
    "jieba is not installed, so Chinese is hidden character by character, not in whole words; "
    'pip install "microtune[text]" adds it.'
)
LOOK = 1_000_000  # tokens of a source that are looked at for Chinese


def pretraining_task(recipe: Recipe) -> LanguageModelling:
    """The recipe's task, which must be language-modelling and fit the network that the recipe describes."""
    task = make_task(recipe)
    if not isinstance(task, LanguageModelling):
        raise InputError(f"recipe: task is {recipe.task.name}, but a model is pretrained by language-modelling.")
    if recipe.model.spec is not None:
        check_network(recipe, task, spec_of(recipe.model.family, {"vocab_size": LONGEST, **recipe.model.spec}))
    return task


def check_network(recipe: Recipe, task: LanguageModelling, spec: ModelSpec) -> None:
    """Refuse a network that cannot learn by this objective, or cannot read blocks of this size."""
    check_shape(spec, task.objective)
    needed, known = positions_for(task.objective, recipe.data.block_size), spec.max_positions
    if known is not None and needed > known:
        raise InputError(
            f"recipe: data.block_size {recipe.data.block_size} needs {needed} positions, but the network has "
            f"{known}; lower the one or raise max_positions."
        )


def make_blocks(recipe: Recipe, task: LanguageModelling, stores: Sequence[RaggedStore]) -> Blocks:
    """Blocks of the corpus, or pieces of its documents, as the recipe says."""
    epochs, size = [source.epochs for source in recipe.data.sources], recipe.data.block_size
    if recipe.data.documents == "separate":
        return Pieces(stores, epochs, size, recipe.seed, ahead=int(task.objective == "causal"))
    return Blocks(stores, epochs, size, recipe.seed)


def fitting(tokenizer: Tokenizer, task: LanguageModelling) -> Tokenizer:
    """The tokenizer as a model of this objective needs it: an encoder reads texts between the marks of a document."""
    return tokenizer if task.objective == "causal" else framing(tokenizer, opened=task.objective != "span-denoising")


def token_ids(tokenizer: Tokenizer, task: LanguageModelling) -> dict[str, int | None]:
    """What config.json says of special tokens, by which transformers begins and ends a text."""
    starts = {"span-denoising": "pad", "infilling": "eos"}
    ids = special_ids(tokenizer, starts.get(task.objective))
    return ids | {"forced_eos_token_id": ids["eos_token_id"]} if task.objective in starts else ids


def special_ids(tokenizer: Tokenizer, start: str | None) -> dict[str, int | None]:
    """Ids of the special tokens; start: the one with which the decoder begins, where an encoder reads the text."""
    ids = {f"{name}_token_id": tokenizer.id(name) for name in ("bos", "eos", "pad", "cls", "sep")}
    if start is not None:
        ids |= {"decoder_start_token_id": tokenizer.id(start), "forced_bos_token_id": None, "forced_eos_token_id": None}
    return {name: i for name, i in ids.items() if i is not None or name.startswith("forced")}


def make_items(
    recipe: Recipe,
    task: LanguageModelling,
    blocks: Blocks,
    tokenizer: Tokenizer,
    stores: Sequence[RaggedStore] = (),
    folder: RunFolder | None = None,
) -> Items:
    """Blocks as items of the task's objective; with a run folder, Chinese words are found where jieba is installed."""
    if task.objective == "causal":
        return blocks
    marks = None if folder is None else _marks(task, tokenizer, stores, folder, folder.cache(recipe.data.cache))
    return hidden_items(task, task.objective, blocks, tokenizer, recipe.seed, marks)


def _marks(
    task: LanguageModelling,
    tokenizer: Tokenizer,
    stores: Sequence[RaggedStore],
    folder: RunFolder,
    cache: Path,
) -> list[RaggedStore] | None:
    """Word starts of every store by the segmenter that this run began with; None where tokens alone say them."""
    words = Words(tokenizer)
    if (task.unit or UNITS[task.objective]) != "word" or not any(_has_chinese(store, words) for store in stores):
        return None
    name, cut = segmenter()
    chosen = folder.remembered("words", lambda: name)
    if chosen == "characters":
        folder.notes.append(BY_CHARACTER)
        return None
    if cut is None or chosen != name:
        raise InputError(f"{folder.path}: this run hides the words of {chosen}, but here is {name}; install {chosen}.")
    found = []
    for store in stores:
        key = content_key(store.folder.name, tokenizer.digest, name)
        with explained(cache / key):
            found.append(word_starts(store, words, cut, cache, f"words-{key}"))
    return found


def _has_chinese(store: RaggedStore, words: Words) -> bool:
    return bool(words.han[np.asarray(store.values[:LOOK], dtype=np.int64)].any())
