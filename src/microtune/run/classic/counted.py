"""`microtune pretrain` of an n-gram model: tokenizer, tokens, counts, bits per byte, all in one run folder."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from microtune.classic import make_classic
from microtune.classic.counting import Array
from microtune.classic.ngram import NGram, Table, count_table
from microtune.data.arrays import write_arrays
from microtune.data.store import RaggedStore
from microtune.data.text import Tokenizer
from microtune.errors import CheckError, InputError
from microtune.recipe import Recipe
from microtune.run.checks import Ledger
from microtune.run.classic.base import RECORD, check_recipe, finish, read_classic, unused
from microtune.run.classic.ngram import ARRAYS, Counted, NGramModel, load_ngram
from microtune.run.disk import explained, remove_folder, write_folder, write_json
from microtune.run.folder import RunFolder
from microtune.run.held_out import HeldOut, learnt_before
from microtune.run.pretrain import make_stores, make_tokenizer, source_facts
from microtune.run.scratch import size_notes
from microtune.run.session import Scored, Stage
from microtune.run.sources import Place

PROBE = "\u0e01\u16a0\U0001f9ff"  # characters that a tokenizer without bytes does not know
RELOADED = 2000  # tokens whose probabilities are compared after reloading


def pretrain_ngram(recipe: Recipe, folder: RunFolder) -> Iterator[Stage | Scored]:
    """Run a recipe with `model.classic: ngram` in `folder` (already open); yields what happens."""
    assert recipe.model.classic is not None
    options = make_classic(recipe.model.classic)
    assert isinstance(options, NGram)
    check_recipe(recipe)
    folder.notes += unused(recipe, ())
    begun = time.perf_counter()
    cache, characters = folder.cache(recipe.data.cache), options.unit == "characters"
    yield Stage("tokenizer")
    tokenizer = make_tokenizer(recipe, cache, characters=characters)
    check_tokenizer(recipe, tokenizer, options)
    folder.notes += [] if characters else size_notes(recipe, tokenizer)
    stores = yield from make_stores(recipe, tokenizer, cache)
    held_out = HeldOut(recipe, Counted(), tokenizer)
    folder.notes += learnt_before(recipe)
    if held_out.sources:  # read now, as for other models
        yield Stage("held-out text", 0, len(held_out.texts), "sources")
    work = folder.path / "cache" / "counting"
    remove_folder(work)
    with explained(work):
        work.mkdir(parents=True)
        tokens, width, start = join(stores, [s.epochs for s in recipe.data.sources], tokenizer, recipe.seed, work)
        table: Table | None = None
        for done in count_table(tokens, options.order, width, start, width - 1, work):
            if isinstance(done, Table):
                table = done
            else:
                yield Stage("count", done, options.order, "orders")
    assert table is not None
    model = NGramModel(Place("run", str(folder.path), folder.path), tokenizer, table)
    seconds = time.perf_counter() - begun
    folder.rewind_metrics(-1)  # what an interrupted try has logged
    _log_orders(folder, table)
    scores: dict[str, Any] = {}
    for scored in held_out.gathered((model.score(texts) for texts in held_out.texts), 0):
        scores[scored.split] = {"values": scored.values, "intervals": scored.intervals}
        folder.write_metric("score", {"split": scored.split, "step": 0, "final": True, **scored.values})
        yield scored
    _save(recipe, folder, model, options, scores, stores, seconds)


def check_tokenizer(recipe: Recipe, tokenizer: Tokenizer, options: NGram) -> None:
    """Refuse a tokenizer that has no id for some text: bits per byte would be those of another text."""
    named = recipe.model.tokenizer
    if options.unit == "characters" and (isinstance(named, str) or (named is not None and "kind" in named)):
        raise InputError(
            "recipe: model.tokenizer says which tokenizer to take, but unit: characters makes one of its own; give "
            "{vocab_size: n} alone."
        )
    where = named if isinstance(named, str) else "recipe: model.tokenizer"
    unknown = tokenizer.id("unk")
    if unknown is not None and unknown in tokenizer.encode(PROBE, special=False):
        raise InputError(
            f"{where}: this tokenizer has no id for some characters; take one that falls back to "
            "bytes, {vocab_size: n} to train one, or model.classic.unit=characters."
        )


def join(
    stores: Sequence[RaggedStore], shares: Sequence[float], tokenizer: Tokenizer, seed: int, work: Path
) -> tuple[Array, int, int]:
    """All texts end to end, each beginning with `start`; the width of the table; and `start`.

    shares: below 1, so much of a source is read, in whole texts drawn by `seed`; more than once nothing is counted,
    since a count of a text seen twice says nothing new about the language.
    """
    bos, size = tokenizer.id("bos"), len(tokenizer)
    own = bos is None or bos == tokenizer.id("eos")  # then the mark of a beginning is an id of ours
    width = size + 1 if own else size
    start = size if own or bos is None else bos
    kind = np.dtype(np.uint16 if width <= 1 << 16 else np.uint32)
    generator = np.random.default_rng([seed, 4])
    file = work / "tokens.bin"
    with open(file, "wb") as out:
        for store, share in zip(stores, shares, strict=True):
            count = len(store)
            taken = (
                range(count) if share >= 1 else np.sort(generator.permutation(count)[: max(round(share * count), 1)])
            )
            for i in taken:
                row = np.asarray(store[int(i)])[0 if bos is None else 1 :]
                out.write(np.concatenate(([start], row[row != start])).astype(kind).tobytes())
    return np.memmap(file, kind, "r"), width, start


def _log_orders(folder: RunFolder, table: Table) -> None:
    """A line of metrics for each order; and a note where its discounts are not those of the text."""
    for n, (order, size) in enumerate(zip(table.orders, table.sizes, strict=True), 1):
        folder.write_metric(
            "order", {"order": n, "ngrams": size, "discounts": list(order.discounts), "fallback": order.fallback}
        )
    fallen = [str(n) for n, order in enumerate(table.orders, 1) if order.fallback]
    if fallen:
        folder.notes.append(
            f"The counts of order {', '.join(fallen)} give no discounts (too little text or too few tokens); "
            "0.5, 1 and 1.5 stand for them."
        )


def _save(
    recipe: Recipe,
    folder: RunFolder,
    model: NGramModel,
    options: NGram,
    scores: dict[str, Any],
    stores: list[RaggedStore],
    seconds: float,
) -> None:
    table = model.table

    def fill(work: Path) -> None:
        with open(work / ARRAYS, "wb") as out:
            write_arrays(out, table.arrays())
        model.text.save(work)
        write_json(work / RECORD, {"classic": options.model_dump(), "facts": table.facts().model_dump()})

    write_folder(folder.path / "model", fill)
    place = Place("run", str(folder.path), folder.path)
    probe = np.concatenate([np.asarray(s.values[:RELOADED], dtype=np.int64) for s in stores])[:RELOADED]
    if not np.array_equal(
        load_ngram(place, *read_classic(place)).table.probabilities(probe), table.probabilities(probe)
    ):
        raise CheckError(f"{folder.path / 'model'}: the saved counts are not those that were scored.", check="reload")
    sources = [
        {**fact, "share": min(source.epochs, 1.0)}
        for fact, source in zip(source_facts(recipe, stores), recipe.data.sources, strict=True)
    ]
    about = (
        f"An n-gram model of order {options.order} over {len(model.text):,} {options.unit}, interpolated modified "
        f"Kneser-Ney: {model.parameters:,} n-grams of {table.tokens:,} tokens, counted in {seconds:.0f} seconds"
    )
    made = Ledger()
    made.passed("reload")
    facts = {
        "about": about,
        "ngrams": table.sizes,
        "parameters": model.parameters,
        "tokens": table.tokens,
        "sources": sources,
    }
    finish(folder, scores, facts | {"seconds": round(seconds, 3)}, made)
