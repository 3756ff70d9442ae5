"""Pretraining: from text to a base model in Hugging Face form.

The same training loop as everywhere, with a tokenizer trained on the corpus, blocks read from memory-mapped storage,
and at the end bits per byte on held-out text for every source.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import torch

from microtune.adapt.base import make_method
from microtune.data.corpus import Blocks, documents, sample_texts, source_key, tokenise
from microtune.data.sources import Row
from microtune.data.store import RaggedStore, content_key
from microtune.data.text import Tokenizer, train_bpe
from microtune.errors import InputError
from microtune.nn.parameters import count_parameters, initialize
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe, Source
from microtune.run import precision as number_format
from microtune.run.adjust import Decision
from microtune.run.disk import explained, verify_folder, write_folder
from microtune.run.diverged import good_checkpoints
from microtune.run.evaluate import evaluate_items
from microtune.run.folder import RunFolder
from microtune.run.hashes import file_hash
from microtune.run.invariants import check_rates, check_tied
from microtune.run.models import SAVED, save_base
from microtune.run.plan import fitted
from microtune.run.session import Choice, Scored, Stage, run_training
from microtune.run.sources import bases, locate
from microtune.run.train import Step, Training, micro_tokens
from microtune.tasks.base import Encoded
from microtune.tasks.language_modelling import LanguageModelling

TOKENIZER_CHARACTERS = 30_000_000
HELD_OUT_CHARACTERS = 200_000


def source_hashes(recipe: Recipe) -> dict[str, str]:
    """Hash of every source, by which a run notices that its corpus has changed."""
    vectors = {"word vectors": file_hash(recipe.model.vectors)} if recipe.model.vectors is not None else {}
    return {source.path: _hash(recipe, source) for source in recipe.data.sources} | vectors


def pretrain(recipe: Recipe, folder: RunFolder) -> Iterator[Stage | Step | Scored | Decision]:
    """Run a pretraining recipe in `folder` (already open); yields what happens."""
    if not recipe.data.sources:
        raise InputError("recipe: data.sources is missing: the files that the model shall learn from.")
    cache = folder.path / "cache"
    yield Stage("tokenizer")
    tokenizer = make_tokenizer(recipe, cache)
    stores = []
    for number, source in enumerate(recipe.data.sources):
        yield Stage("tokenise", number, len(recipe.data.sources), "sources")
        stores.append(make_store(recipe, source, tokenizer, cache))
    blocks = Blocks(stores, [s.epochs for s in recipe.data.sources], recipe.data.block_size, recipe.seed)
    network = build_network(recipe, tokenizer)
    if recipe.model.vectors is not None:
        from microtune.run.vectors import start_from

        folder.notes.append(start_from(network, tokenizer, recipe.model.vectors))
    training = make_training(recipe, network, blocks, folder.remembered)
    training.compute_at_once(folder.remembered("micro_tokens", lambda: fitted(training, {}, [])))
    total, _ = count_parameters(network)
    yield Stage(f"train {total / 1e6:.1f} M parameters on {len(blocks)} blocks", 0, training.total_steps, "steps")
    check_rates(training.optimizers)
    check_tied(network)
    with good_checkpoints(training, folder):
        yield from run_training(training, folder, Choice("loss", False), None)
    training.movement.finish(training.step)
    check_tied(network)
    network.to(SAVED).to(torch.float32)  # what is scored is what is saved
    scores: dict[str, Any] = {}
    for scored in _held_out(recipe, network, tokenizer, training):
        scores[scored.split] = {"values": scored.values, "intervals": scored.intervals}
        folder.write_metric("score", {"split": scored.split, "step": scored.step, "final": True, **scored.values})
        yield scored
    facts = {"parameters": total, "tokens": _tokens_seen(training), "sources": source_facts(recipe, stores)}
    made = ("rate-zero", "tied", "finite", *training.movement.made)
    save_base(folder, recipe, network, tokenizer, scores, facts, made)


def build_network(recipe: Recipe, tokenizer: Tokenizer) -> Transformer:
    """The network that `model.spec` describes, with random weights drawn from the recipe's seed."""
    if recipe.model.spec is None:
        raise InputError("recipe: model.spec is missing: the shape of the model to pretrain.")
    if recipe.model.added_tokens:
        raise InputError("recipe: model.added_tokens belongs to tuning; a pretrained model gets its tokens from text.")
    spec = ModelSpec.from_dict({"vocab_size": len(tokenizer), **recipe.model.spec})
    if spec.vocab_size < len(tokenizer):
        raise InputError(f"recipe: model.spec.vocab_size {spec.vocab_size} is less than the {len(tokenizer)} tokens.")
    torch.manual_seed(recipe.seed)
    network = Transformer(spec)
    initialize(network, spec.initializer_range, num_layers=spec.output_stack.num_layers)
    return network


def make_training(
    recipe: Recipe, network: Transformer, blocks: Blocks, remembered: Callable[[str, Callable[[], Any]], Any]
) -> Training:
    """The training of a network on blocks; remembered: as for `tune.get_ready`."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network.to(device)
    precision = remembered(
        "precision",
        lambda: number_format.resolve(
            recipe.train.precision,
            device,
            width=network.spec.hidden_size,
            rows=recipe.train.micro_tokens or micro_tokens(network.spec),
            ragged=False,
        ),
    )
    method = make_method(recipe.method)
    return Training(
        network,
        LanguageModelling(block_size=recipe.data.block_size),
        method,
        method.attach(network),
        blocks,
        recipe.train,
        seed=recipe.seed,
        precision=precision,
    )


def named_tokenizer(recipe: Recipe) -> tuple[Tokenizer | None, int]:
    """The tokenizer of the folder that the recipe names, or None; and how many entries a new one shall have."""
    choice = recipe.model.tokenizer
    if not isinstance(choice, str):
        return None, int((choice or {}).get("vocab_size", 16_384))
    loaded = Tokenizer.load(locate(choice).path if choice in bases else choice)
    if loaded is None:
        raise InputError(f"{choice}: there is no tokenizer.json in this folder, and no vocabulary.")
    return loaded, len(loaded)


def make_tokenizer(
    recipe: Recipe, cache: Path, train: Callable[[Iterable[str], int], Tokenizer] = train_bpe
) -> Tokenizer:
    """The tokenizer that the recipe names, or one that `train` makes of the corpus, once per cache."""
    ready, size = named_tokenizer(recipe)
    if ready is not None:
        return ready
    key = content_key(
        size, [s.model_dump() for s in recipe.data.sources], [_hash(recipe, s) for s in recipe.data.sources]
    )
    folder = cache / f"tokenizer-{key}"
    done = Tokenizer.load(folder) if verify_folder(folder) is None else None
    if done is None:
        done = train(sample_texts(recipe.data.sources, lambda s: _read(recipe, s), TOKENIZER_CHARACTERS), size)
        write_folder(folder, done.save)
    return done


def make_store(recipe: Recipe, source: Source, tokenizer: Tokenizer, cache: Path) -> RaggedStore:
    """The tokens of one source, read and encoded once per cache."""
    key = source_key(source, tokenizer, _hash(recipe, source))
    with explained(cache / key):
        return tokenise(_read(recipe, source), tokenizer, cache, key, chat=_is_chat(source))


def _is_chat(source: Source) -> bool:
    return any(field.endswith(".chat") for field in source.fields)


def _read(recipe: Recipe, source: Source) -> Iterator[str]:
    return documents(source, recipe.data, recipe.limits)


def _hash(recipe: Recipe, source: Source) -> str:
    return file_hash(Path(recipe.data.folder or ".") / source.path)


def _held_out(recipe: Recipe, network: Transformer, tokenizer: Tokenizer, training: Training) -> Iterator[Scored]:
    """Bits per byte of every source that names held-out text, on at most 200,000 characters of each."""
    for source in recipe.data.sources:
        if not source.held_out:
            continue
        rows = held_out_rows(recipe, source)
        task = LanguageModelling(text_field="text", block_size=recipe.data.block_size)
        encoded: Encoded = task.encode_all(rows, tokenizer, recipe.data.block_size, training=False)
        score = evaluate_items(network, task, encoded, precision="float32")
        yield Scored(source_title(source), training.step, score.values, score.intervals)


def held_out_rows(recipe: Recipe, source: Source) -> list[Row]:
    """The first 200,000 characters of a source's held-out text."""
    rows: list[Row] = []
    room = HELD_OUT_CHARACTERS
    for text in documents(source, recipe.data, recipe.limits, source.held_out):
        rows.append(Row({"text": text[:room]}, source.held_out, len(rows) + 1))
        room -= len(text)
        if room <= 0:
            break
    return rows


def source_title(source: Source) -> str:
    """The name of a source with its language, where one is given."""
    return f"{source_name(source)} ({source.language})" if source.language else source_name(source)


def source_facts(recipe: Recipe, stores: list[RaggedStore]) -> list[dict[str, Any]]:
    """What the model card says about each source."""
    return [
        {"name": source_name(s), "language": s.language, "tokens": len(store.values), "epochs": s.epochs}
        for s, store in zip(recipe.data.sources, stores, strict=True)
    ]


def source_name(source: Source) -> str:
    """What a source is called in reports."""
    return source.name or Path(source.path).parent.name or Path(source.path).name.partition(".")[0]


def _tokens_seen(training: Training) -> int:
    return training.step * training.settings.batch_size * training.sizes[0]
