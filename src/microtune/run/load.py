"""`Model`: a network with its tokenizer and, after tuning, its task; and `load`, which finds one.

This is the class that users hold. It speaks text and lists of ids; tensors stay inside `nn`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, overload

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.classic.recurrent_spec import FAMILY
from microtune.data.objects import read_object
from microtune.data.text import Tokenizer
from microtune.errors import InputError
from microtune.families.base import load_folder
from microtune.nn.added import New
from microtune.nn.heads import LabelHead, VocabularyHead, pool_mean
from microtune.nn.own_heads import VectorHead
from microtune.nn.parameters import count_parameters
from microtune.nn.shapes import shapes_only
from microtune.nn.spec import LONGEST, ModelSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged
from microtune.recipe import validated
from microtune.run.batched import Question
from microtune.run.beams import search_many
from microtune.run.cores import keep_to_share
from microtune.run.decoding import Decoding, read_generation, strange_ids
from microtune.run.generate import generate_ids
from microtune.run.networks import is_recurrent, network_of, random_network, read_recurrent
from microtune.run.pieces import whole_characters
from microtune.run.sources import Place, is_classic, locate
from microtune.run.terms import terms_of
from microtune.tasks.base import Task
from microtune.tasks.writing import Writing

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}
EMBED_TOKENS = 4096
LONELY_ROWS = 2  # embeddings are padded, published ones by 4 % at most; with a half too many, the vocabulary is another


@dataclass
class Model:
    """A network, its tokenizer (where there is one) and its task (after tuning).

    config, generation: what stands in config.json and generation_config.json; spare: tensors of a label head that came
    with the files; missing_head: parts of the vocabulary head that did not; added: ids of added tokens.
    """

    network: Transformer
    tokenizer: Tokenizer | None
    place: Place | None = None
    family: str = "llama"
    config: dict[str, Any] = field(default_factory=dict)
    generation: dict[str, Any] = field(default_factory=dict)
    spare: dict[str, Tensor] = field(default_factory=dict)
    missing_head: tuple[str, ...] = ()
    normalize: bool = False
    max_length: int | None = None
    task: Task | None = None
    added: New | None = None

    @property
    def spec(self) -> ModelSpec:
        """The fields that describe the network."""
        return self.network.spec

    @property
    def parameters(self) -> int:
        """How many weights there are; tied ones count once."""
        return count_parameters(self.network)[0]

    @property
    def room(self) -> int | None:
        """How many tokens a text may have: the positions that virtual tokens leave, or None where nothing bounds it."""
        limit = self.spec.max_positions
        return None if limit is None else limit - self.network.virtual_tokens

    @property
    def is_encoder_decoder(self) -> bool:
        """Whether an encoder reads the input and a decoder writes the output."""
        return self.spec.encoder is not None and self.spec.decoder is not None

    @property
    def notes(self) -> list[str]:
        """What is odd in the model's files and does no harm until somebody needs it, a sentence each."""
        return strange_ids(self.config, self.generation, self.spec.vocab_size)

    @property
    def text(self) -> Tokenizer:
        """The tokenizer, or an InputError where the model has none."""
        if self.tokenizer is None:
            raise InputError(
                "This model has no tokenizer (no tokenizer.json and no vocabulary in its folder); "
                "it can only be given ids."
            )
        return self.tokenizer

    @torch.inference_mode()
    def logits(self, ids: Sequence[Sequence[int]], targets: Sequence[Sequence[int]] | None = None) -> list[Tensor]:
        """Scores `[T_i, V]` for every token of every row.

        ids: rows of token ids; targets: the decoder's input ids of an encoder-decoder, whose encoder reads `ids`.
        """
        head = self.vocabulary_head()
        if self.is_encoder_decoder != (targets is not None):
            raise InputError(
                "`targets` are the decoder's input ids of an encoder-decoder; give them there and only there."
            )
        if targets is not None and len(targets) != len(ids):
            raise InputError(f"There are {len(ids)} rows of ids, but {len(targets)} of targets.")
        rows = Ragged.from_lists(self.checked(targets if targets is not None else ids))
        sources = Ragged.from_lists(self.checked(ids)) if targets is not None else None
        self.network.eval()
        device = next(self.network.parameters()).device
        hidden = self.network(rows.to(device), sources=None if sources is None else sources.to(device))
        return [head(part) for part in hidden.split(rows.lengths.tolist())]

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Tensor:
        """One vector `[B, D]` per text: the mean over its tokens, normalised where the model's files say so.

        Of an encoder-decoder, what its encoder makes of the text.
        """
        limit = min(x for x in (self.max_length, self.room, 4096) if x)
        rows = [self.text.encode_cut(text, limit)[0] for text in texts]
        order = sorted(range(len(rows)), key=lambda i: len(rows[i]))
        result = torch.zeros(len(rows), self.spec.hidden_size)
        self.network.eval()
        device = next(self.network.parameters()).device
        while order:
            taken = 1
            while taken < len(order) and len(rows[order[taken]]) * (taken + 1) <= EMBED_TOKENS:
                taken += 1
            piece, order = order[:taken], order[taken:]
            ragged = Ragged.from_lists([rows[i] for i in piece]).to(device)
            hidden = self.network.encode(ragged) if self.is_encoder_decoder else self.network(ragged)
            pooled = pool_mean(hidden, ragged.lengths).float()
            head, unit = self.network.head, self.normalize
            if isinstance(head, VectorHead):  # tuned for this
                pooled, unit = head.scores(pooled.to(hidden.dtype)).float(), True
            result[piece] = (F.normalize(pooled, dim=-1) if unit else pooled).cpu()
        return result

    @overload
    def generate(self, prompt: str, *, stream: Literal[False] = False, **options: Any) -> str: ...
    @overload
    def generate(self, prompt: str, *, stream: Literal[True], **options: Any) -> Iterator[str]: ...

    def generate(self, prompt: str, *, stream: bool = False, **options: Any) -> str | Iterator[str]:
        """Text that continues `prompt`, or answers it (encoder-decoders); `stream=True` gives it piece by piece.

        Options: max_new_tokens (64), and those of `tasks.writing.Writing`: beams, temperature, top_k, regex, stops ...
        The answer of beams is known, and given, only at the end. draft: a loaded n-gram model that guesses
        `draft_tokens` (4) ahead, for a decoder of the same tokenizer; beside draws alone.
        """
        pieces = self.continue_ids(self.prompt_ids(prompt), **options)
        return pieces if stream else "".join(pieces)

    def prompt_ids(self, prompt: str) -> list[int]:
        """The ids from which `generate` goes on (of an encoder-decoder, those that it answers)."""
        if self.is_encoder_decoder:
            return self.text.encode(prompt)
        bos = self.text.id("bos")
        ids = [
            *([bos] if bos is not None and bos != self.text.id("eos") else []),
            *self.text.encode(prompt, special=False),
        ]
        if not ids:
            raise InputError("The prompt is empty, and this model has no token to begin with.")
        return ids

    def continue_ids(self, ids: Sequence[int], *, max_new_tokens: int = 64, **options: Any) -> Iterator[str]:
        """Text that continues ready-made ids (an encoder-decoder answers them), in pieces of whole characters."""
        writer = self.text.target
        new = self.next_ids(ids, max_new_tokens=max_new_tokens, stop_ids=writer.stop_ids, **options)
        yield from whole_characters(new, writer, tuple(options.get("stops", ())))

    def next_ids(
        self, ids: Sequence[int], *, max_new_tokens: int = 64, stop_ids: Sequence[int] = (), **options: Any
    ) -> Iterator[int]:
        """New ids after `ids`, up to one of `stop_ids`; of an encoder-decoder, the answer to `ids`.

        Where an encoder-decoder begins and ends, and which ids it may not give, is what its files say.
        """
        self.vocabulary_head()
        row, draft = self.checked([ids])[0], options.pop("draft", None)
        if draft is not None:
            from microtune.run.speculative import drafted_ids

            return drafted_ids(self, draft, row, max_new_tokens=max_new_tokens, stop_ids=stop_ids, **options)
        choice = validated(Writing, options, "decoding")
        if choice.answers > 1:
            raise InputError("decoding.answers: generation in pieces gives one answer; `predict` gives several.")
        asked: Decoding | None = None
        opening = row
        if self.is_encoder_decoder:
            asked = Decoding.of(self.config, self.generation, self.spec.vocab_size)
            opening, stop_ids = [asked.start], [*stop_ids, *asked.stops]
        max_new_tokens = self.new_tokens(len(opening), max_new_tokens)
        writer = self.text.target if choice.is_bound else None
        common: dict[str, Any] = {"max_new_tokens": max_new_tokens, "stop_ids": stop_ids, "asked": asked}
        common["terms"] = terms_of(choice, writer, self.spec.vocab_size, stop_ids)
        if choice.beams > 1:
            question = Question(opening, row if self.is_encoder_decoder else ())
            return iter(next(search_many(self.network, [question], **common))[1][0].ids)
        return generate_ids(self.network, opening, sources=row if self.is_encoder_decoder else None, **common)

    def new_tokens(self, given: int, asked: int) -> int:
        """How many of the tokens `asked` for a decoder can write after `given` ones; InputError where it is none."""
        limit = self.room
        if limit is not None and given >= limit:
            raise InputError(f"The prompt has {given} tokens, but the model has {self.positions}.")
        return asked if limit is None else min(asked, limit - given)

    def vocabulary_head(self) -> VocabularyHead:
        """The head that scores tokens, or an InputError where the model has none."""
        if isinstance(self.network.head, LabelHead):
            raise InputError("This model was tuned for labels; it has no vocabulary head. Use `predict`.")
        if self.missing_head:
            raise InputError(
                "The files of this model hold no vocabulary head; it can be tuned, but not asked for tokens."
            )
        assert isinstance(self.network.head, VocabularyHead)
        return self.network.head

    @property
    def positions(self) -> str:
        """How many tokens it can read, in words."""
        taken = self.network.virtual_tokens
        left = f", of which virtual tokens take {taken}" if taken else ""
        return f"{self.spec.max_positions} positions{left}"

    def checked(self, rows: Sequence[Sequence[int]]) -> list[list[int]]:
        """Rows of ids as they are, or an InputError where the model cannot read one."""
        limit, size = self.room, self.spec.vocab_size
        for number, row in enumerate(rows):
            if not len(row):
                raise InputError(f"Row {number} has no token.")
            if limit is not None and len(row) > limit:
                raise InputError(f"Row {number} has {len(row)} tokens, but the model has {self.positions}.")
            if min(row) < 0 or max(row) >= size:
                raise InputError(f"Row {number} holds an id outside 0..{size - 1}, the model's vocabulary.")
        return [list(row) for row in rows]


def load(
    source: str | Path,
    *,
    dtype: str | None = None,
    weights: Literal["pretrained", "random"] = "pretrained",
    seed: int = 0,
) -> Model:
    """Load a model by name, folder, safetensors file, run folder, PEFT adapter folder or hub id.

    A hub id is `owner/name` or `owner/name@revision`, one of ModelScope `modelscope:owner/name`.

    dtype: float64 | float32 | float16 | bfloat16 (default: float32). weights="random": the same network from scratch.
    """
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f'dtype: unknown value "{dtype}"; known are {", ".join(DTYPES)}.')
    keep_to_share()
    place = locate(str(source))
    if place.kind == "run":
        if is_classic(place.path):
            from microtune.run.classic import load_classic

            model: Model = load_classic(place)
        else:
            from microtune.run.saved import load_run

            model = load_run(place, dtype)
    elif place.kind == "adapter":
        from microtune.run.peft import load_adapter

        model = load_adapter(place, dtype)
    else:
        model = load_base(place, dtype)
    if weights == "random":
        randomize(model, seed)
    return model


def load_base(place: Place, dtype: str | None) -> Model:
    """A folder in Hugging Face form."""
    if is_recurrent(place.path):
        return _recurrent(place, dtype)
    tokenizer = Tokenizer.load(place.path)
    if tokenizer is not None:  # first: what reading and counting takes is free again before the weights come
        len(tokenizer)
    single = place.weights[0] if len(place.weights) == 1 else None
    loaded = load_folder(place.path, DTYPES[dtype or "float32"], weights=single)
    pooling = sentence_pooling(place.path)
    spec = loaded.spec
    if pooling:
        spec = replace(spec, pooling="mean", label_head="normalized", label_bias=True)
    check_ids(tokenizer, spec, place.path)
    with shapes_only():
        network = Transformer(spec)
    state = dict(loaded.state)
    for name in loaded.missing_head:
        state[name] = torch.zeros(network.get_parameter(name).shape, dtype=DTYPES[dtype or "float32"])
    fill(network, state)
    return Model(
        network=network.eval(),
        tokenizer=tokenizer,
        place=place,
        family=loaded.family,
        config=loaded.config,
        generation=read_generation(place.path),
        spare=loaded.spare,
        missing_head=loaded.missing_head,
        normalize=bool(pooling and pooling["normalize"]),
        max_length=pooling["max_length"] if pooling else None,
    )


def _recurrent(place: Place, dtype: str | None) -> Model:
    """A folder of a recurrent network, in our own form."""
    tokenizer = Tokenizer.load(place.path)
    spec, state, config = read_recurrent(place.path, DTYPES[dtype or "float32"])
    check_ids(tokenizer, spec, place.path)
    with shapes_only():
        network = network_of(spec)
    fill(network, state)
    said = {name: value for name, value in config.items() if name not in ("spec", "model_type")}
    return Model(network.eval(), tokenizer, place, family=FAMILY, config=said)


def fill(network: Transformer, state: Mapping[str, Tensor], *, part: bool = False) -> None:
    """Give a network (or `part` of it) these tensors as its parameters, uncopied; tied weights stay one."""
    head = network.head
    tied = isinstance(head, VocabularyHead) and head.out.weight is network.tokens.weight
    tied = tied and isinstance(network.tokens, nn.Embedding)  # else rows of added tokens are apart (nn/added.py)
    if tied and "tokens.weight" in state:
        state = {**state, "head.out.weight": state["tokens.weight"]}
    network.load_state_dict(state, strict=not part, assign=True)
    if tied and isinstance(head, VocabularyHead):  # assigning made a parameter of its own for each of the two names
        head.out.weight = network.tokens.weight


def randomize(model: Model, seed: int) -> None:
    """Fresh weights by the model's own scheme, in place."""
    spec = model.spec
    model.network = random_network(spec, seed).to(next(model.network.parameters()).dtype)
    model.spare, model.missing_head, model.task = {}, (), None
    model.network.eval()


def sentence_pooling(folder: Path) -> dict[str, Any] | None:
    """What a sentence-transformers folder says about pooling, or None where it is not one."""
    path = folder / "1_Pooling" / "config.json"
    if not path.is_file():
        return None
    pooling = read_object(path)
    wanted = [key for key, value in pooling.items() if key.startswith("pooling_mode") and value not in (False, "mean")]
    if wanted not in ([], ["pooling_mode_mean_tokens"]):
        raise InputError(f"{path}: pooling {', '.join(wanted)} is not supported; only the mean over tokens is.")
    modules = (folder / "modules.json").read_bytes() if (folder / "modules.json").is_file() else b""
    limits = folder / "sentence_bert_config.json"
    limit = read_object(limits).get("max_seq_length") if limits.is_file() else None
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or not 2 <= limit <= LONGEST):
        raise InputError(f"{limits}: max_seq_length is {str(limit)[:60]}, but must be a whole number from 2.")
    return {"normalize": b"Normalize" in modules, "max_length": limit}


def check_ids(tokenizer: Tokenizer | None, spec: ModelSpec, folder: Path) -> None:
    """The tokenizer gives no id for which the model has no row, and does not leave most rows without an id."""
    if tokenizer is not None and len(tokenizer) > spec.vocab_size:
        raise InputError(
            f"{folder}: the tokenizer can give ids up to {len(tokenizer) - 1}, but the model's embedding ends at "
            f"{spec.vocab_size - 1}; the two do not belong together."
        )
    if tokenizer is not None and len(tokenizer) * LONELY_ROWS < spec.vocab_size:
        raise InputError(
            f"{folder}: the tokenizer has {len(tokenizer)} ids, but the model's embedding has {spec.vocab_size} rows; "
            "the two do not belong together. Put the tokenizer of this model into the folder."
        )
