"""Models from nothing: the tokenizer that a recipe asks for, and the network that its `model.spec` describes.

`pretrain` learns one from a corpus. `tune` learns one from the rows of a task alone, as the Transformer was made for
translation (Vaswani et al., 2017); its vocabulary is learnt from the training rows, sources and targets together
(Sennrich et al., 2016).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from microtune.classic.recurrent_spec import FAMILY, RecurrentSpec
from microtune.data.sources import Row
from microtune.data.store import content_key
from microtune.data.text import Tokenizer
from microtune.data.tokenizer_training import Vocabulary, framing, train_tokenizer
from microtune.errors import InputError
from microtune.families import families
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe, validated
from microtune.run.continued import begin_with_vectors
from microtune.run.disk import verify_folder, write_folder
from microtune.run.load import Model
from microtune.run.networks import random_network, spec_of
from microtune.run.objective import special_ids
from microtune.run.sources import bases, locate
from microtune.run.vectors import vectors_file
from microtune.tasks.base import Task

TOKENIZER_CHARACTERS = 30_000_000


def build_network(recipe: Recipe, tokenizer: Tokenizer) -> tuple[Transformer, list[str]]:
    """The network that `model.spec` describes, with random weights drawn from the recipe's seed; and notes about it."""
    if recipe.model.spec is None:
        raise InputError("recipe: model.spec is missing: the shape of the new model.")
    if recipe.model.added_tokens:
        raise InputError("recipe: model.added_tokens belongs to tuning a base; a new model gets its tokens from text.")
    spec = spec_of(recipe.model.family, {"vocab_size": len(tokenizer), **recipe.model.spec})
    if spec.vocab_size < len(tokenizer):
        raise InputError(f"recipe: model.spec.vocab_size {spec.vocab_size} is less than the {len(tokenizer)} tokens.")
    try:  # what could not be saved is refused before it is trained
        if recipe.model.family != FAMILY:
            families[recipe.model.family].to_config(spec)
    except InputError as error:
        raise InputError(f"recipe: model.family: {error}") from None
    network = random_network(spec, recipe.seed)
    notes = size_notes(recipe, tokenizer)
    if recipe.model.vectors is not None:
        notes.append(begin_with_vectors(network, vectors_file(recipe.model.vectors), tokenizer, recipe.limits))
    return network, notes


def named_tokenizer(recipe: Recipe) -> tuple[Tokenizer | None, Vocabulary]:
    """The tokenizer of the folder or base that the recipe names, or None; and which one is to be trained."""
    choice = recipe.model.tokenizer
    if not isinstance(choice, str):
        return None, validated(Vocabulary, choice or {}, "recipe: model.tokenizer")
    loaded = Tokenizer.load(locate(choice).path if choice in bases else choice)
    if loaded is None:
        raise InputError(f"{choice}: there is no tokenizer.json in this folder, and no vocabulary.")
    return loaded, Vocabulary()


def kept_tokenizer(
    wanted: Vocabulary,
    texts: Callable[[], Iterable[str]],
    folder: Path | None,
    train: Callable[[Iterable[str], Vocabulary], Tokenizer] | None = None,
) -> Tokenizer:
    """The tokenizer that an earlier sitting of the run left in `folder`, or a new one, which is left there."""
    train = train or train_tokenizer
    if folder is None:
        return train(texts(), wanted)
    done = Tokenizer.load(folder) if verify_folder(folder) is None else None
    if done is None:
        done = train(texts(), wanted)
        write_folder(folder, done.save)
    return done


def size_notes(recipe: Recipe, tokenizer: Tokenizer) -> list[str]:
    """Says that a text was too short for the vocabulary that was asked for; the model has the smaller one."""
    choice = recipe.model.tokenizer
    wanted = None if isinstance(choice, str) else validated(Vocabulary, choice or {}, "recipe: model.tokenizer")
    if wanted is None or len(tokenizer) >= wanted.vocab_size:
        return []
    return [
        f"model.tokenizer: the text supports a vocabulary of {len(tokenizer):,}, fewer than the "
        f"{wanted.vocab_size:,} asked for; the model has {len(tokenizer):,}."
    ]


def new_model(recipe: Recipe, task: Task, rows: Sequence[Row], cache: Path | None) -> tuple[Model, list[str]]:
    """A model with random weights for the rows of a task, and notes about it.

    cache: folder of the run in which its tokenizer is kept.
    """
    ready, wanted = named_tokenizer(recipe)
    if ready is None:
        texts = _sample([text for row in rows for text in task.texts(row)])
        if not any(texts):
            raise InputError("model.tokenizer: the training rows hold no text from which a vocabulary could be learnt.")
        key = content_key(wanted.kind, wanted.vocab_size, texts)
        ready = kept_tokenizer(wanted, lambda: texts, None if cache is None else cache / f"tokenizer-{key}")
    reads_only = (recipe.model.spec or {}).get("decoder") is None
    tokenizer = framing(ready) if reads_only else ready  # whose first or last token is what an encoder's head reads
    network, notes = build_network(recipe, tokenizer)
    start = "bos" if recipe.model.family == FAMILY else "pad"  # a recurrent decoder begins with <s>
    config = special_ids(tokenizer, None if reads_only else start)
    return Model(network.eval(), tokenizer, family=recipe.model.family, config=config), notes


def _sample(texts: list[str]) -> list[str]:
    """Texts from all over, about as many characters as a vocabulary is learnt from at most."""
    return texts[:: max(1, -(-sum(map(len, texts)) // TOKENIZER_CHARACTERS))]


def check_stacks(spec: ModelSpec) -> None:
    """Refuse a decoder that would see what it is to write, or one that would not see the encoder."""
    decoder = spec.decoder
    if isinstance(spec, RecurrentSpec):  # which reads in order, and gets its first states from the encoder
        return
    if decoder is not None and not decoder.causal:
        raise InputError(
            "recipe: model.spec.decoder needs causal: true, or it would read the text that it is to write."
        )
    if decoder is not None and spec.encoder is not None and not decoder.cross_attention:
        raise InputError("recipe: model.spec.decoder needs cross_attention: true, or it would not read the source.")
