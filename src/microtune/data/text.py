"""Tokenizers: train, load, encode; and segments, the one way from text to ids and a loss mask.

A `Tokenizer` wraps the `tokenizers` library and knows its special ids and its chat template. Training, evaluation, chat
and serving all build their ids here, from the same segments, so that the ids used in training are the ids of
generation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from microtune.data.chat_files import MORE, read_stops, read_templates
from microtune.data.sentencepiece_tokens import HIDDEN
from microtune.data.special_tokens import read_settings
from microtune.data.templates import render
from microtune.data.tokenizer_file import largest_id, sound, without_prefix
from microtune.data.tokenizer_folder import TARGET, Found, read_tokenizer
from microtune.data.vocabulary_files import QWEN2_PATTERN
from microtune.errors import InputError, MicrotuneError
from microtune.recipe import Limits

PROBE = "qzxv"  # an answer that no template writes by itself
CORE_TOKENS = {
    "bos": "<|bos|>",
    "eos": "<|eos|>",
    "pad": "<|pad|>",
    "mask": "<|mask|>",
    "system": "<|system|>",
    "user": "<|user|>",
    "assistant": "<|assistant|>",
    "end": "<|end|>",
}
RESERVED_TOKENS = (
    *CORE_TOKENS.values(),
    *(f"<|sentinel_{i}|>" for i in range(32)),
    *(f"<|spare_{i}|>" for i in range(16)),
)
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


class Window(NamedTuple):
    """Two texts as one input, or a part of the second: its tokens stand from `start` on, at `places` (characters)."""

    ids: list[int]
    types: list[int]
    start: int
    places: list[tuple[int, int]]


class Tokenizer:
    """Text <-> ids, with the special ids and the chat template that belong to a model.

    special: names ("bos", "eos", "pad", "mask", "cls", "sep", "unk") -> token strings. stops: further tokens that end
    an answer, such as the end-of-turn mark. templates: further chat templates by name; "tool_use" is taken for
    conversations with tools. target: the tokenizer of the texts to write, where a model has another one for them.
    known: ids from here on are no token of the model and become that of "unk" (Marian).
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        special: dict[str, str],
        *,
        chat_template: str | None = None,
        templates: Mapping[str, str] | None = None,
        stops: Sequence[str] = (),
        target: Tokenizer | None = None,
        known: int | None = None,
    ) -> None:
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend
        self.special = {name: token for name, token in special.items() if backend.token_to_id(token) is not None}
        self.chat_template = chat_template
        self.templates = dict(templates or {})
        self.target = target or self
        self.known = known
        self._largest: dict[int, int] = {}  # see largest_id: to lay a whole vocabulary down takes a while, and memory
        self.limits = Limits()  # of the chat template; a recipe may raise them
        self.stops = tuple(token for token in stops if backend.token_to_id(token) is not None)

    def __len__(self) -> int:
        """Number of ids that it can give, added ones included."""
        with sound("The tokenizer fails"):
            size = largest_id(self.backend, self._largest) + 1
        return size if self.known is None else min(size, self.known)

    def id(self, name: str) -> int | None:
        """The id of a special token ("bos", "eos" ...), or None where the tokenizer has none."""
        token = self.special.get(name)
        return None if token is None else self.backend.token_to_id(token)

    @property
    def stop_ids(self) -> list[int]:
        """Ids that end a generated answer; the first one is what training appends to a plain completion."""
        ids = [self.backend.token_to_id(token) for token in self.stop_tokens]
        return list(dict.fromkeys(i for i in ids if i is not None))

    @property
    def stop_tokens(self) -> list[str]:
        """The same as text: eos, the further stops of the files, and what the chat template writes after an answer."""
        return list(dict.fromkeys(t for t in (self.special.get("eos"), *self.stops, self._turn_end) if t))

    @cached_property
    def marks(self) -> list[str]:
        """Special tokens, and others that end an answer, that a text could spell."""
        tokens = self.backend.get_added_tokens_decoder().values()
        own = {self.special.get("eos"), *self.stops}
        return [t.content for t in tokens if (t.special or t.content in own) and len(t.content) > 1]

    @cached_property
    def _turn_end(self) -> str | None:
        """The special token that the chat template writes after an answer; None where there is none."""
        if self.chat_template is None:
            return None
        asked = {"role": "user", "content": "a"}
        try:
            text = self.chat([asked, {"role": "assistant", "content": PROBE}], prompt=False)
        except MicrotuneError:  # the template will say so again when it is used
            return None
        after = text.rpartition(PROBE)[2].lstrip() if PROBE in text else ""
        return max((token for token in self.marks if after.startswith(token)), key=len, default=None)

    def encode(self, text: str, *, special: bool = True, parse: bool = False, behind: bool = False) -> list[int]:
        """Ids of `text`; `special` adds what the model expects around a text ([CLS] ... [SEP], a leading bos).

        Text is data: "<|end|>" inside it is encoded letter by letter unless `parse` says that it is a rendered
        template. behind: other text stands before it, so that no space is put there.
        """
        backend = self._behind if behind else self.backend
        backend.encode_special_tokens = not parse
        with sound("The tokenizer cannot read a text"):
            return self._ours(backend.encode(text, add_special_tokens=special))

    @cached_property
    def _behind(self) -> tokenizers.Tokenizer:
        return without_prefix(self.backend)

    def encode_cut(self, text: str, max_length: int) -> tuple[list[int], bool]:
        """`encode`, with the text cut so that all special tokens still fit; and whether it was cut."""
        ids = self.encode(text)
        if len(ids) <= max_length:
            return ids, False
        with sound("The tokenizer cannot read a text"):
            encoding = self.backend.encode(text, add_special_tokens=False)
            encoding.truncate(max(max_length - self.backend.num_special_tokens_to_add(False), 0))
            return self._ours(self.backend.post_process(encoding))[:max_length], True

    def encode_places(self, text: str, max_length: int) -> tuple[list[int], list[tuple[int, int]], bool]:
        """`encode_cut` with the place (start, end) of every id in the text, in characters; (0, 0) of special tokens.

        The pieces of one character, such as those of an emoji in bytes, all have its place.
        """
        backend = self.backend
        with sound("The tokenizer cannot read a text"):
            backend.encode_special_tokens = True
            encoding = backend.encode(text, add_special_tokens=False)
            room = max(max_length - backend.num_special_tokens_to_add(False), 0)
            cut = len(encoding) > room
            if cut:
                encoding.truncate(room)
            encoding = backend.post_process(encoding)
        special = encoding.special_tokens_mask
        places = [(0, 0) if mark else place for mark, place in zip(special, encoding.offsets, strict=True)]
        return self._ours(encoding)[:max_length], places[:max_length], cut

    def encode_windows(
        self, first: str, second: str, max_length: int, overlap: int, separator: str | None = None
    ) -> list[Window]:
        """`encode_two` with as many windows on `second` as it takes to read all of it, `overlap` tokens in common.

        With a separator, one stands behind the second text too. A first text that is longer than half of `max_length`
        is cut.
        """
        backend = self.backend
        if separator is None and backend.num_special_tokens_to_add(True) == backend.num_special_tokens_to_add(False):
            separator = "\n"
        with sound("The tokenizer cannot read a text"):
            backend.encode_special_tokens = self._behind.encode_special_tokens = True
            one = backend.encode(first, add_special_tokens=False)
            one.truncate(max(max_length // 2, 1))
            two = (backend if separator is None else self._behind).encode(second, add_special_tokens=False)
            marks = backend.num_special_tokens_to_add(separator is None)
            between = None if separator is None else self._behind.encode(separator, add_special_tokens=False)
            room = max(max_length - marks - len(one) - (0 if between is None else 2 * len(between)), 1)
            if len(two) > room:
                two.truncate(room, stride=min(overlap, room // 2))
            found = []
            for part in (two, *two.overflowing):
                if between is None:
                    encoding = backend.post_process(one, part)
                    start = encoding.sequence_ids.index(1) if len(part) else len(encoding)
                else:
                    encoding = backend.post_process(tokenizers.Encoding.merge([one, between, part, between]))
                    begin = next((i for i, mark in enumerate(encoding.special_tokens_mask) if not mark), 0)
                    start = begin + len(one) + len(between)
                found.append(Window(self._ours(encoding), encoding.type_ids, start, part.offsets))
        return found

    def encode_pair(self, first: str, second: str) -> tuple[list[int], list[int]]:
        """Ids and token types of two texts as one input."""
        self.backend.encode_special_tokens = True
        with sound("The tokenizer cannot read a text"):
            encoding = self.backend.encode(first, second)
        return self._ours(encoding), encoding.type_ids

    def encode_two(
        self, first: str, second: str, max_length: int, separator: str | None = None
    ) -> tuple[list[int], list[int], bool]:
        """Ids and token types of two texts as one input of at most `max_length` ids, and whether they were cut.

        separator: what stands between; without one (None) the tokenizer's own form of a pair, or a line feed where it
        has none. The longer text is cut first, then both alike.
        """
        backend = self.backend
        marks = backend.num_special_tokens_to_add(True)
        if separator is None and marks == backend.num_special_tokens_to_add(False):
            separator = "\n"
        with sound("The tokenizer cannot read a text"):
            backend.encode_special_tokens = self._behind.encode_special_tokens = True
            one = backend.encode(first, add_special_tokens=False)
            between = [] if separator is None else [self._behind.encode(separator, add_special_tokens=False)]
            two = (self._behind if between else backend).encode(second, add_special_tokens=False)
            if between:
                marks = backend.num_special_tokens_to_add(False) + len(between[0])
            room = max(max_length - marks, 0)
            cut = len(one) + len(two) > room
            if cut:
                half = room // 2
                short = min(len(one), len(two), half)
                lengths = (short, room - short) if len(one) < len(two) else (room - short, short)
                one.truncate(lengths[0])
                two.truncate(lengths[1])
            if between:
                encoding = backend.post_process(tokenizers.Encoding.merge([one, *between, two]))
            else:
                encoding = backend.post_process(one, two)
        return self._ours(encoding)[:max_length], encoding.type_ids[:max_length], cut

    def encode_many(self, texts: Sequence[str], *, special: bool = True, parse: bool = False) -> list[list[int]]:
        """`encode` for many texts at once, in parallel."""
        self.backend.encode_special_tokens = not parse
        with sound("The tokenizer cannot read a text"):
            found = self.backend.encode_batch_fast(list(texts), add_special_tokens=special)
        return [self._ours(encoding) for encoding in found]

    def _ours(self, encoding: tokenizers.Encoding) -> list[int]:
        """Ids of the model: pieces without a row are unknown, and what no piece covers may be a token as it stands."""
        unknown = self.id("unk")
        if self.known is None or unknown is None:
            return encoding.ids
        ids = []
        for i, text in zip(encoding.ids, encoding.tokens, strict=True):
            hidden = self.backend.token_to_id(HIDDEN + text) if i == unknown else None
            ids.append(hidden if hidden is not None else i if i < self.known else unknown)
        return ids

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Text of `ids`; special tokens are left out unless asked for."""
        with sound("The tokenizer cannot write a text"):
            return self.backend.decode(list(ids), skip_special_tokens=not special)

    def chat(
        self, messages: Sequence[dict[str, Any]], *, prompt: bool, tools: Sequence[dict[str, Any]] | None = None
    ) -> str:
        """Messages in the model's chat format; `prompt` adds the opening of the assistant's next turn.

        tools: what the assistant may call, as JSON schemas of functions.
        """
        template = self.chat_template if tools is None else self.templates.get("tool_use", self.chat_template)
        if template is None:
            raise InputError("This model has no chat template; give `prompt` and `completion` fields instead.")
        names = {f"{name}_token": token for name, token in self.special.items()}
        return render(template, messages, prompt=prompt, tools=tools, names=names, limits=self.limits)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides ids: vocabulary, merges, rules, special tokens, template."""
        parts = [self.backend.to_str(), json.dumps(self.special, sort_keys=True), str(self.chat_template)]
        if self.templates or self.known is not None or self.target is not self:
            parts += [json.dumps(self.templates, sort_keys=True), str(self.known)]
            parts += [self.target.digest] if self.target is not self else []
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def save(self, folder: str | Path) -> None:
        """Write `tokenizer.json` and `tokenizer_config.json`, which transformers reads too."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "tokenizer.json").write_text(self.backend.to_str(pretty=False), encoding="utf-8")
        config: dict[str, Any] = {f"{name}_token": token for name, token in self.special.items()}
        config |= {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False}
        if self.stops:
            config["stop_tokens"] = list(self.stops)
        if self.chat_template:
            config["chat_template"] = self.chat_template
        if self.known is not None:
            config["known_ids"] = self.known
        for name, template in self.templates.items():
            (folder / MORE).mkdir(exist_ok=True)
            (folder / MORE / f"{name}.jinja").write_text(template, encoding="utf-8", newline="\n")
        if self.target is not self:
            self.target.save(folder / TARGET)
        text = json.dumps(config, ensure_ascii=False, indent=1, sort_keys=True)
        (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer | None:
        """The tokenizer of a model folder, or None where the folder holds none."""
        folder = Path(folder)
        config = read_settings(folder)
        found = read_tokenizer(folder, config)
        if found is None:
            return None
        return cls._of(found, read_templates(folder, config), read_stops(folder, config, found.backend))

    @classmethod
    def _of(cls, found: Found, templates: Mapping[str, str], stops: Sequence[str]) -> Tokenizer:
        return cls(
            found.backend,
            found.special,
            chat_template=templates.get("default"),
            templates={name: text for name, text in templates.items() if name != "default"},
            stops=stops,
            target=None if found.target is None else cls._of(found.target, {}, stops),
            known=found.known,
        )


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE (Sennrich et al., 2016; Radford et al., 2019) with Qwen2's pre-tokenizer pattern.

    The first ids are reserved: bos, eos, pad, mask, the chat roles and end of turn, 32 sentinels, 16 spares.
    """
    return with_marks(byte_level(models.BPE(), trainers.BpeTrainer, texts, vocab_size))


def byte_level(model: Any, trainer: Any, texts: Iterable[str], vocab_size: int) -> tokenizers.Tokenizer:
    """A model of `tokenizers` learnt over bytes, so that it can write every text, by the trainer of its kind."""
    backend = tokenizers.Tokenizer(model)
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    reserved = list(RESERVED_TOKENS)
    learner = trainer(vocab_size=vocab_size, special_tokens=reserved, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(texts, learner)
    return backend


def with_marks(backend: tokenizers.Tokenizer, **more: str) -> Tokenizer:
    """A newly learnt tokenizer with the marks that all of ours have; more: further special tokens by name."""
    special = {name: token for name, token in CORE_TOKENS.items() if name in ("bos", "eos", "pad", "mask")}
    return Tokenizer(backend, special | more, chat_template=CHAT_TEMPLATE, stops=[CORE_TOKENS["end"]])
