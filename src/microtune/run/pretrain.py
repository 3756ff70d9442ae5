"""Pretraining: from text to a base model in Hugging Face form.

The same training loop as everywhere, with a tokenizer trained on the corpus, blocks read from memory-mapped storage,
and at the end bits per byte on held-out text for every source.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from microtune.adapt.base import make_method
from microtune.data.batches import Items
from microtune.data.characters import train_characters
from microtune.data.corpus import documents, is_chat, sample_texts, source_key, tokenise
from microtune.data.store import RaggedStore, content_key
from microtune.data.text import Tokenizer
from microtune.data.tokenizer_training import train_tokenizer
from microtune.errors import InputError
from microtune.nn.compiled import compiled
from microtune.nn.parameters import count_parameters
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe, Source
from microtune.run import precision as number_format
from microtune.run.adjust import Decision
from microtune.run.averaging import Snapshots, put, rounded
from microtune.run.continued import as_written, base_of, goes_on
from microtune.run.cores import use_threads
from microtune.run.disk import explained
from microtune.run.diverged import good_checkpoints
from microtune.run.folder import RunFolder
from microtune.run.hashes import file_hash
from microtune.run.held_out import HeldOut, learnt_before, source_names, watched
from microtune.run.invariants import check_rates, check_tied
from microtune.run.models import save_base
from microtune.run.objective import fitting, make_blocks, make_items, pretraining_task, token_ids
from microtune.run.plan import fitted
from microtune.run.scratch import TOKENIZER_CHARACTERS, build_network, kept_tokenizer, named_tokenizer
from microtune.run.session import Choice, Scored, Stage, run_training
from microtune.run.tokenizer_report import tokenizer_report
from microtune.run.train import Step, Training, micro_tokens
from microtune.run.vectors import vectors_hash


def source_hashes(recipe: Recipe) -> dict[str, str]:
    """Hash of every source, by which a run notices that its corpus has changed."""
    return {source.path: _hash(recipe, source) for source in recipe.data.sources} | vectors_hash(recipe)


def pretrain(recipe: Recipe, folder: RunFolder) -> Iterator[Stage | Step | Scored | Decision]:
    """Run a pretraining recipe in `folder` (already open); yields what happens."""
    if not recipe.data.sources:
        raise InputError("recipe: data.sources is missing: the files that the model shall learn from.")
    use_threads(recipe.train.threads)
    cache = folder.cache(recipe.data.cache)
    task, base = pretraining_task(recipe), base_of(recipe)
    yield Stage("tokenizer")
    tokenizer = fitting(make_tokenizer(recipe, cache) if base is None else base.text, task)
    stores = yield from make_stores(recipe, tokenizer, cache)
    blocks = make_blocks(recipe, task, stores)
    items = make_items(recipe, task, blocks, tokenizer, stores, folder)
    network, notes = build_network(recipe, tokenizer) if base is None else (goes_on(recipe, task, base), [])
    folder.notes.extend(notes)
    held_out = HeldOut(recipe, task, tokenizer)
    folder.notes.extend(learnt_before(recipe))
    if held_out.sources:  # read now: it may be gone after days of training
        yield Stage("held-out text", 0, len(held_out.encoded), "sources")
    training = make_training(recipe, network, items, folder.remembered)
    training.compute_at_once(folder.remembered("micro_tokens", lambda: fitted(training, {}, [])))
    if len(blocks) < recipe.train.batch_size:
        folder.notes.append(
            f"The corpus has {len(blocks)} blocks, fewer than train.batch_size {recipe.train.batch_size}: every step "
            "sees all of it."
        )
    total, _ = count_parameters(network)
    yield Stage(f"train {total / 1e6:.1f} M parameters on {len(blocks)} blocks", 0, training.total_steps, "steps")
    check_rates(training.optimizers)
    check_tied(network)
    kept = Snapshots(folder.path / "cache" / "averaged", recipe.train.average, training)
    kept.check(held_out)
    with good_checkpoints(training, folder), _compiled(recipe, training, folder):
        events = kept.taken(run_training(training, folder, Choice("loss", False), None))
        yield from watched(events, held_out, training, folder, recipe.train.evaluate_tokens)
    training.movement.finish(training.step)
    check_tied(network)
    scores: dict[str, Any] = {}
    for scored in _final(training, held_out, kept, folder):
        scores[scored.split] = {"values": scored.values, "intervals": scored.intervals}
        folder.write_metric("score", {"split": scored.split, "step": scored.step, "final": True, **scored.values})
        yield scored
    facts = {"parameters": total, "tokens": _tokens_seen(training), "sources": source_facts(recipe, stores)}
    facts |= {"tokenizer": tokenizer_report(recipe, tokenizer, stores)}
    made = ("rate-zero", "tied", "finite", *training.movement.made)
    config = token_ids(tokenizer, task) if base is None else base.config
    save_base(folder, as_written(recipe, base), network, tokenizer, scores, facts, made, config)


def _final(training: Training, held_out: HeldOut, kept: Snapshots, folder: RunFolder) -> list[Scored]:
    """The scores of the weights that are saved: the last ones, or the mean of the last checkpoints if it is better."""
    network = training.model
    training.attachment.merge()
    last = rounded(network)
    scores = list(held_out.scores(network, training.step))
    if not kept.count or len(kept) < 2:
        return scores
    loss = held_out.loss
    put(network, kept.mean())
    rounded(network)
    again = list(held_out.scores(network, training.step))
    better = held_out.loss < loss
    if not better:
        put(network, last)
    folder.notes.append(
        f"The mean of the last {len(kept)} checkpoints has a loss of {held_out.loss:.4f} on held-out text, the last "
        f"weights {loss:.4f}: {'the mean is' if better else 'the last ones are'} saved."
    )
    return again if better else scores


def make_training(
    recipe: Recipe, network: Transformer, items: Items, remembered: Callable[[str, Callable[[], Any]], Any]
) -> Training:
    """The training of a network on blocks or what was made of them; remembered: as for `tune.get_ready`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    precision = remembered(
        "precision",
        lambda: number_format.resolve(
            recipe.train.precision,
            device,
            width=network.spec.hidden_size,
            rows=recipe.train.micro_tokens or micro_tokens(network.spec, device=device),
            ragged=False,
        ),
    )
    method = make_method(recipe.method)
    return Training(
        network,
        pretraining_task(recipe),
        method,
        method.attach(network),
        items,
        recipe.train,
        seed=recipe.seed,
        precision=precision,
    )


@contextmanager
def _compiled(recipe: Recipe, training: Training, folder: RunFolder) -> Iterator[None]:
    """Blocks compiled while this lasts, where the recipe asks for it: for the batches that an epoch begins with."""
    if not recipe.train.compile:
        yield
        return
    if training.limit is not None:  # what was measured to stay below it was the blocks as they are
        folder.notes.append(
            "train.compile is left out under train.memory: compiled blocks keep more than was measured to fit."
        )
        yield
        return
    piece = training.plan(0)[0][0]  # the same after a resume
    with compiled(training.model, (sum(training.sizes[i] for i in piece), len(piece))) as compilation:
        yield
    if compilation.failed:
        folder.notes.append(
            f"train.compile: torch compiles nothing here, blocks ran as they are ({compilation.failed})."
        )


def make_tokenizer(recipe: Recipe, cache: Path, *, characters: bool = False) -> Tokenizer:
    """The tokenizer that the recipe names, or one that is learnt from the corpus, once per cache.

    characters: one whose ids are characters, whatever kind the recipe would have had.
    """
    ready, wanted = named_tokenizer(recipe)
    if ready is not None:
        return ready
    kind = "characters" if characters else wanted.kind
    key = content_key(
        wanted.vocab_size,
        [s.model_dump() for s in recipe.data.sources],
        [_hash(recipe, s) for s in recipe.data.sources],
        *([] if kind == "bpe" else [kind]),
    )
    return kept_tokenizer(
        wanted,
        lambda: sample_texts(recipe.data.sources, lambda s: _read(recipe, s), TOKENIZER_CHARACTERS),
        cache / f"tokenizer-{key}",
        train_characters if characters else train_tokenizer,
    )


def make_stores(recipe: Recipe, tokenizer: Tokenizer, cache: Path) -> Generator[Stage, None, list[RaggedStore]]:
    """The tokens of every source, read and encoded once per cache."""
    stores = []
    for number, source in enumerate(recipe.data.sources):
        yield Stage("tokenise", number, len(recipe.data.sources), "sources")
        key = source_key(source, tokenizer, _hash(recipe, source), recipe.data.steps)
        with explained(cache / key):
            stores.append(tokenise(_read(recipe, source), tokenizer, cache, key, chat=is_chat(source)))
    return stores


def _read(recipe: Recipe, source: Source) -> Iterator[str]:
    return documents(source, recipe.data, recipe.limits)


def _hash(recipe: Recipe, source: Source) -> str:
    return file_hash(Path(recipe.data.folder or ".") / source.path)


def source_facts(recipe: Recipe, stores: list[RaggedStore]) -> list[dict[str, Any]]:
    """What the model card says about each source."""
    return [
        {"name": name, "language": s.language, "tokens": len(store.values), "epochs": s.epochs}
        for s, name, store in zip(recipe.data.sources, source_names(recipe.data.sources), stores, strict=True)
    ]


def _tokens_seen(training: Training) -> int:
    return round(training.step * training.settings.batch_size * float(np.mean(training.sizes)))
