"""A pretraining corpus: several sources, tokenised once, cut into blocks, mixed by how often each is seen.

Each source becomes one memory-mapped array of token ids, documents end to end. A block is T + 1 consecutive tokens of
one source, whatever documents they belong to (`Blocks`), or a piece of one document, so that no token sees another
document (`Pieces`); `epochs` of a source says how often its blocks stand in one pass over the corpus.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from microtune.data.batches import Item
from microtune.data.sources import Row, iter_rows
from microtune.data.steps.apply import field_changer
from microtune.data.store import RaggedStore, content_key
from microtune.data.text import CORE_TOKENS, Tokenizer
from microtune.errors import InputError, at
from microtune.recipe import Choice, Data, Limits, Source

ENCODE_TEXTS = 512  # at once,
ENCODE_CHARACTERS = 4_000_000  # and no more once so many are together: the encodings of whole books take gigabytes
SPEAKERS = {
    "user": "user",
    "usr": "user",
    "customer": "user",
    "assistant": "assistant",
    "sys": "assistant",
    "system": "assistant",
}


def documents(source: Source, data: Data, limits: Limits, path: str | None = None) -> Iterator[str]:
    """The texts of one source."""
    folder = Path(data.folder) if data.folder else Path()
    prepared = field_changer([choice.model_dump() for choice in data.steps])
    found = False
    for row in iter_rows(str(folder / (path or source.path)), encoding=data.encoding, limits=limits):
        if any(str(row.data.get(key)) not in values for key, values in source.where.items()):
            continue
        text = source.join.join(part for field in source.fields for part in _parts(row, field, source.join, prepared))
        if text.strip():
            found = True
            yield text
    if not found:
        raise InputError(f"{path or source.path}: no row has text in {', '.join(source.fields)}.")


def _parts(row: Row, field: str, join: str, prepared: Callable[[str, str], str]) -> list[str]:
    """`text`, `lines` (a list of strings) or `messages.content` (a field of every element of a list).

    prepared: (name of the field, text) -> the text as it should be.
    """
    name, _, inner = field.partition(".")
    if name not in row.data:
        names = ", ".join(row.data)
        raise InputError(
            f'{at(row.path, row.line)}: there is no field "{name}"; the row has {names}; name it with --text-field, or '
            "as `fields` of the source."
        )
    value: Any = row.data[name]
    if inner == "chat":
        return [_chat(value, lambda text: prepared(name, text))]
    if inner and isinstance(value, list):
        value = [element.get(inner, "") for element in value if isinstance(element, dict)]
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [join.join(prepared(name, str(v)) for v in values)] if values or isinstance(value, list) else []


def is_chat(source: Source) -> bool:
    """Whether its texts hold the marks of dialogue turns, each of which is one token."""
    return any(field.endswith(".chat") for field in source.fields)


def _chat(turns: Any, prepared: Callable[[str], str]) -> str:
    """Dialogue turns in the chat format: `{role | speaker, content | text}` each."""
    parts = []
    for turn in turns if isinstance(turns, list) else []:
        role = SPEAKERS.get(str(turn.get("role") or turn.get("speaker")).lower(), "user")
        said = prepared(str(turn.get("content") or turn.get("text") or ""))
        parts.append(f"{CORE_TOKENS[role]}{said}{CORE_TOKENS['end']}")
    return "".join(parts)


def tokenise(texts: Iterator[str], tokenizer: Tokenizer, folder: Path, key: str, *, chat: bool) -> RaggedStore:
    """Texts -> token ids between bos and eos, kept under `folder/key`; done once per key."""
    target = folder / key
    if RaggedStore.exists(target):
        return RaggedStore(target)
    bos, eos = tokenizer.id("bos"), tokenizer.id("eos")
    dtype = "uint16" if len(tokenizer) <= 65536 else "uint32"

    def rows() -> Iterator[npt.NDArray[Any]]:
        for chunk in _chunks(texts):
            for ids in tokenizer.encode_many(chunk, special=False, parse=chat):
                framed = [*([bos] if bos is not None else []), *ids, *([eos] if eos is not None else [])]
                yield np.array(framed, dtype=dtype)

    return RaggedStore.write(target, rows(), dtype=dtype)


def _chunks(texts: Iterator[str]) -> Iterator[list[str]]:
    """Texts in their order, as many together as are encoded at once; a text above the bound stands alone."""
    chunk: list[str] = []
    size = 0
    for text in texts:
        if chunk and (len(chunk) == ENCODE_TEXTS or size + len(text) > ENCODE_CHARACTERS):
            yield chunk
            chunk, size = [], 0
        chunk.append(text)
        size += len(text)
    if chunk:
        yield chunk


def source_key(source: Source, tokenizer: Tokenizer, file_hash: str, steps: Sequence[Choice] = ()) -> str:
    """Hash of content, tokenizer and options; steps: that prepare the texts."""
    prepared = [[choice.model_dump() for choice in steps]] if steps else []
    options = source.model_dump(exclude={"epochs", "held_out", "name", "language"})
    return content_key(file_hash, tokenizer.digest, options, *prepared)


class Blocks:
    """Blocks of several token arrays as items; source i stands `epochs[i]` times in one pass.

    places: [blocks, 3], of each the number of its array, its first token there, and how many tokens it has.
    """

    def __init__(self, stores: Sequence[RaggedStore], epochs: Sequence[float], size: int, seed: int) -> None:
        self.stores, self.size = list(stores), size
        generator = np.random.default_rng([seed, 4])
        places = []
        for number, (store, times) in enumerate(zip(stores, epochs, strict=True)):
            found = self._cut(store)
            whole, part = int(times), times - int(times)
            chosen = [np.arange(len(found))] * whole
            if part:
                chosen.append(np.sort(generator.permutation(len(found))[: round(part * len(found))]))
            taken = found[np.concatenate(chosen)] if chosen else found[:0]
            places.append(np.concatenate([np.full((len(taken), 1), number), taken], axis=1))
        self.places = np.concatenate(places).astype(np.int64)
        self.sizes: list[int] = self.places[:, 2].tolist()
        if not len(self.places):
            raise InputError(
                f"The corpus is shorter than one block of {size} tokens; add text or lower data.block_size."
            )

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Item:
        values = self.tokens(index, 1)
        return Item(values[:-1], np.arange(len(values) - 1), values[1:])  # type: ignore[arg-type]

    def tokens(self, index: int, more: int = 0) -> npt.NDArray[np.int64]:
        """The tokens of one block, and `more` that follow."""
        number, start, length = self.places[index]
        return np.asarray(self.stores[number].values[start : start + length + more], dtype=np.int64)

    def _cut(self, store: RaggedStore) -> npt.NDArray[np.int64]:
        """First token and length of every block of one array."""
        starts = np.arange(max(len(store.values) - 1, 0) // self.size, dtype=np.int64) * self.size
        return np.stack([starts, np.full(len(starts), self.size)], axis=1)


class Pieces(Blocks):
    """Documents, each in pieces of at most `size` tokens; no piece holds tokens of two documents.

    ahead: 1 where every token is asked for its successor, which the last of a document has not; 0 where not.
    """

    def __init__(
        self, stores: Sequence[RaggedStore], epochs: Sequence[float], size: int, seed: int, *, ahead: int = 1
    ) -> None:
        self.ahead = ahead
        super().__init__(stores, epochs, size, seed)

    def _cut(self, store: RaggedStore) -> npt.NDArray[np.int64]:
        lengths = np.maximum(store.lengths - self.ahead, 0)
        counts = -(-lengths // self.size)
        number = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)  # of a piece in its document
        at = number * self.size
        pieces = np.stack(
            [np.repeat(store.starts, counts) + at, np.minimum(np.repeat(lengths, counts) - at, self.size)]
        )
        return pieces.T[pieces[1] > 1 - self.ahead]  # of one token alone nothing can be hidden and guessed


def sample_texts(sources: Sequence[Source], read: Callable[[Source], Iterator[str]], characters: int) -> Iterator[str]:
    """About `characters` of text for training a tokenizer: of every text its beginning, as much as the mix sees of it.

    A source counts by its length times its epochs, as in the training itself, but no text is given twice.
    """
    lengths = [sum(len(text) for text in read(source)) for source in sources]
    seen = sum(length * source.epochs for length, source in zip(lengths, sources, strict=True))
    for source in sources:
        share = min(characters * source.epochs / seen, 1.0)
        for text in read(source):
            yield text[: math.ceil(share * len(text))]
