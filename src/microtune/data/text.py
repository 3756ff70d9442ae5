"""Tokenizers: train, load, encode; and segments, the one way from text to ids and a loss mask.

A `Tokenizer` wraps the `tokenizers` library and knows its special ids and its chat template. Training, evaluation, chat
and serving all build their ids here, from the same segments, so that the ids used in training are the ids of
generation.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import tokenizers
from tokenizers import Regex, decoders, models, normalizers, pre_tokenizers, trainers

from microtune.data.objects import first_line, read_object
from microtune.data.templates import LONGEST_TEMPLATE, render
from microtune.data.tokenizer_file import largest_id, read_backend, sound
from microtune.errors import InputError
from microtune.recipe import Limits

# The pre-tokenizer pattern of Qwen2: contractions, words, single digits, punctuation, line breaks, blanks.
QWEN2_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
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


class Tokenizer:
    """Text <-> ids, with the special ids and the chat template that belong to a model.

    special: names ("bos", "eos", "pad", "mask", "cls", "sep", "unk") -> token strings. stops: further tokens that end
    an answer, such as the end-of-turn mark.
    """

    def __init__(
        self,
        backend: tokenizers.Tokenizer,
        special: dict[str, str],
        *,
        chat_template: str | None = None,
        stops: Sequence[str] = (),
    ) -> None:
        backend.no_padding()
        backend.no_truncation()
        self.backend = backend
        self.special = {name: token for name, token in special.items() if backend.token_to_id(token) is not None}
        self.chat_template = chat_template
        self.limits = Limits()  # of the chat template; a recipe may raise them
        self.stops = tuple(token for token in stops if backend.token_to_id(token) is not None)

    def __len__(self) -> int:
        """Number of ids that it can give, added ones included."""
        with sound("The tokenizer fails"):
            return largest_id(self.backend) + 1

    def id(self, name: str) -> int | None:
        """The id of a special token ("bos", "eos" ...), or None where the tokenizer has none."""
        token = self.special.get(name)
        return None if token is None else self.backend.token_to_id(token)

    @property
    def stop_ids(self) -> list[int]:
        """Ids that end a generated answer; the first one is what training appends to a plain completion."""
        ids = [self.id("eos"), *(self.backend.token_to_id(token) for token in self.stops)]
        return list(dict.fromkeys(i for i in ids if i is not None))

    def encode(self, text: str, *, special: bool = True, parse: bool = False) -> list[int]:
        """Ids of `text`; `special` adds what the model expects around a text ([CLS] ... [SEP], a leading bos).

        Text is data: "<|end|>" inside it is encoded letter by letter unless `parse` says that it is a rendered
        template.
        """
        self.backend.encode_special_tokens = not parse
        with sound("The tokenizer cannot read a text"):
            return self.backend.encode(text, add_special_tokens=special).ids

    def encode_cut(self, text: str, max_length: int) -> tuple[list[int], bool]:
        """`encode`, with the text cut so that all special tokens still fit; and whether it was cut."""
        ids = self.encode(text)
        if len(ids) <= max_length:
            return ids, False
        with sound("The tokenizer cannot read a text"):
            encoding = self.backend.encode(text, add_special_tokens=False)
            encoding.truncate(max(max_length - self.backend.num_special_tokens_to_add(False), 0))
            return self.backend.post_process(encoding).ids[:max_length], True

    def encode_pair(self, first: str, second: str) -> tuple[list[int], list[int]]:
        """Ids and token types of two texts as one input."""
        self.backend.encode_special_tokens = True
        with sound("The tokenizer cannot read a text"):
            encoding = self.backend.encode(first, second)
        return encoding.ids, encoding.type_ids

    def encode_many(self, texts: Sequence[str], *, special: bool = True, parse: bool = False) -> list[list[int]]:
        """`encode` for many texts at once, in parallel."""
        self.backend.encode_special_tokens = not parse
        with sound("The tokenizer cannot read a text"):
            return [e.ids for e in self.backend.encode_batch_fast(list(texts), add_special_tokens=special)]

    def decode(self, ids: Sequence[int], *, special: bool = False) -> str:
        """Text of `ids`; special tokens are left out unless asked for."""
        with sound("The tokenizer cannot write a text"):
            return self.backend.decode(list(ids), skip_special_tokens=not special)

    def chat(self, messages: Sequence[dict[str, Any]], *, prompt: bool) -> str:
        """Messages in the model's chat format; `prompt` adds the opening of the assistant's next turn."""
        if self.chat_template is None:
            raise InputError("This model has no chat template; give `prompt` and `completion` fields instead.")
        names = {f"{name}_token": token for name, token in self.special.items()}
        return render(self.chat_template, messages, prompt=prompt, names=names, limits=self.limits)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of everything that decides ids: vocabulary, merges, rules, special tokens, template."""
        parts = (self.backend.to_str(), json.dumps(self.special, sort_keys=True), str(self.chat_template))
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
        text = json.dumps(config, ensure_ascii=False, indent=1, sort_keys=True)
        (folder / "tokenizer_config.json").write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: str | Path) -> Tokenizer | None:
        """The tokenizer of a model folder, or None where the folder holds none."""
        folder = Path(folder)
        path = folder / "tokenizer.json"
        if not path.is_file():
            return None
        backend = read_backend(path)
        config: dict[str, Any] = {}
        for name in ("special_tokens_map.json", "tokenizer_config.json"):
            config |= read_object(folder / name) if (folder / name).is_file() else {}
        special = {}
        for key, value in config.items():
            token = value.get("content") if isinstance(value, dict) else value
            if key.endswith("_token") and isinstance(token, str):
                special[key.removesuffix("_token")] = token
        template = config.get("chat_template")
        if (folder / "chat_template.jinja").is_file():
            template = _template(folder / "chat_template.jinja")
        listed = config.get("stop_tokens")
        stops = [token for token in listed if isinstance(token, str)] if isinstance(listed, list) else []
        return cls(backend, special, chat_template=template if isinstance(template, str) else None, stops=stops)


def train_bpe(texts: Iterable[str], vocab_size: int) -> Tokenizer:
    """A byte-level BPE (Sennrich et al., 2016; Radford et al., 2019) with Qwen2's pre-tokenizer pattern.

    The first ids are reserved: bos, eos, pad, mask, the chat roles and end of turn, 32 sentinels, 16 spares.
    """
    backend = tokenizers.Tokenizer(models.BPE())
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(QWEN2_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(RESERVED_TOKENS),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    special = {name: token for name, token in CORE_TOKENS.items() if name in ("bos", "eos", "pad", "mask")}
    return Tokenizer(backend, special, chat_template=CHAT_TEMPLATE, stops=[CORE_TOKENS["end"]])


def _template(path: Path) -> str:
    try:
        if path.stat().st_size > 4 * LONGEST_TEMPLATE:
            raise InputError(f"{path}: too long; a chat template has at most {LONGEST_TEMPLATE} characters.")
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as UTF-8 text ({first_line(error)}).") from error
