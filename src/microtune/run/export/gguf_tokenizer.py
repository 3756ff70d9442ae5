"""A tokenizer as GGUF fields: tokens, their types, merges or scores, special ids, and which splitting llama.cpp does.

llama.cpp does not read splitting rules out of a file: it knows names, each with a pattern of its own. A byte-level BPE
whose rules are one of those gets the name; any other is refused, because a wrong name would cut texts elsewhere and
nobody would notice. BPE with byte fallback (Llama 2) becomes a SentencePiece model, whose scores follow from the order
of the merges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microtune.data.text import Tokenizer
from microtune.data.vocabulary_files import QWEN2_PATTERN
from microtune.errors import InputError

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6  # llama.cpp's types of tokens
GPT2_PATTERN = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3_PATTERN = QWEN2_PATTERN.replace(r"|\p{N}|", r"|\p{N}{1,3}|")
# Steps of splitting -> llama.cpp's name for them, and whether it then takes whole words from the vocabulary at once.
KNOWN: dict[tuple[str, ...], tuple[str, bool]] = {
    (GPT2_PATTERN,): ("gpt-2", False),
    ("digits", GPT2_PATTERN): ("smollm", False),
    (QWEN2_PATTERN,): ("qwen2", False),
    (LLAMA3_PATTERN,): ("llama-bpe", True),
}
SPACE = "▁"
STOPS = ("eos", "eot", "eom")  # the ids that llama.cpp stops at


@dataclass(frozen=True)
class Vocabulary:
    """What GGUF keeps of a tokenizer; `special` maps llama.cpp's names (bos, eos, eot ...) to ids."""

    model: str
    pre: str
    tokens: list[str]
    types: list[int]
    merges: list[str]
    scores: list[float]
    special: dict[str, int]
    add_bos: bool
    add_eos: bool


def vocabulary(tokenizer: Tokenizer, size: int) -> Vocabulary:
    """The GGUF fields of a tokenizer for an embedding of `size` rows; InputError where llama.cpp has no such one."""
    file = json.loads(tokenizer.backend.to_str())
    model = file["model"]
    if model.get("type") != "BPE":
        raise _refusal(f"is of the kind {model.get('type')}; only BPE is written")
    if model.get("dropout") or model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        raise _refusal("drops merges or marks the ends of words")
    tokens, types = _tokens(file, size)
    pairs = [pair.split(" ", 1) if isinstance(pair, str) else list(pair) for pair in model["merges"]]
    add_bos, add_eos = _around(tokenizer)
    special = _special(tokenizer)
    if _is_spm(file):
        scores = _scores(model["vocab"], pairs, len(tokens))
        return Vocabulary("llama", "default", tokens, types, [], scores, special, add_bos, add_eos)
    pre = pre_tokenizer(file)
    merges = [" ".join(pair) for pair in pairs]
    return Vocabulary("gpt2", pre, tokens, types, merges, [], special, add_bos, add_eos)


def pre_tokenizer(file: Mapping[str, Any]) -> str:
    """llama.cpp's name for the splitting of a byte-level tokenizer.json; InputError where it knows none."""
    normalizer = file.get("normalizer") or {}
    if normalizer.get("type") not in (None, "NFC"):
        raise _refusal(f"changes texts before it splits them ({normalizer.get('type')})")
    steps = _steps(file.get("pre_tokenizer"))
    name, whole_words = KNOWN.get(steps, ("", False))
    if not name:
        raise _refusal(f"splits texts in a way that llama.cpp has no name for ({' then '.join(steps)[:120] or 'none'})")
    if bool(file["model"].get("ignore_merges")) != whole_words:
        raise _refusal(f'splits as "{name}" does, but treats whole words differently (ignore_merges)')
    return name


def _refusal(reason: str) -> InputError:
    return InputError(f"The tokenizer of this model cannot be written as GGUF: it {reason}.")


def _steps(value: Any) -> tuple[str, ...]:
    """The patterns of a pre-tokenizer in order, `digits` for single digits; whatever else it does ends as its name."""
    parts = (value or {}).get("pretokenizers", [value] if value else [])
    found: list[str] = []
    for part in parts:
        kind = part["type"]
        if kind == "Split" and part.get("behavior") == "Isolated" and not part.get("invert"):
            found.append(next(iter(part["pattern"].values())))
        elif kind == "Digits" and part.get("individual_digits"):
            found.append("digits")
        elif kind == "ByteLevel" and not part.get("add_prefix_space"):
            found += [GPT2_PATTERN] if part.get("use_regex", True) else []
        else:
            found.append(kind)
    if not parts or parts[-1]["type"] != "ByteLevel":
        found.append("no bytes")
    return tuple(found)


def _tokens(file: Mapping[str, Any], size: int) -> tuple[list[str], list[int]]:
    """One token per row of the embedding, rows without one named [PAD n]."""
    tokens, types = [f"[PAD{i}]" for i in range(size)], [UNUSED] * size
    model = file["model"]
    fallback = bool(model.get("byte_fallback"))
    for token, number in model["vocab"].items():
        is_byte = fallback and len(token) == 6 and token.startswith("<0x") and token.endswith(">")
        kind = BYTE if is_byte else UNKNOWN if fallback and token == model.get("unk_token") else NORMAL
        tokens[number], types[number] = token, kind
    for added in file.get("added_tokens", []):
        number = added["id"]
        if types[number] != UNKNOWN:
            types[number] = CONTROL if added["special"] else USER
        tokens[number] = added["content"]
    return tokens, types


def _around(tokenizer: Tokenizer) -> tuple[bool, bool]:
    """Whether a text gets bos in front and eos behind it; `generate` puts bos in front wherever it is not eos too."""
    bos, eos = tokenizer.id("bos"), tokenizer.id("eos")
    plain, whole = tokenizer.encode("a", special=False), tokenizer.encode("a")
    start = next((i for i in range(len(whole) - len(plain) + 1) if whole[i : i + len(plain)] == plain), 0)
    front, back = whole[:start], whole[start + len(plain) :]
    if front not in ([], [bos]) or back not in ([], [eos]):
        raise _refusal("puts other ids around a text than bos and eos")
    return bool(front) or (bos is not None and bos != eos), bool(back)


def _special(tokenizer: Tokenizer) -> dict[str, int]:
    """bos, pad, unk, mask, and the ids that end an answer under the names that llama.cpp stops at."""
    found = {name: tokenizer.id(name) for name in ("bos", "pad", "unk", "mask")}
    stops = tokenizer.stop_ids
    if len(stops) > len(STOPS):
        raise _refusal(f"has {len(stops)} tokens that end an answer; llama.cpp knows {len(STOPS)}")
    return {n: i for n, i in found.items() if i is not None} | dict(zip(STOPS, stops, strict=False))


def _is_spm(file: Mapping[str, Any]) -> bool:
    """Whether a BPE is a converted SentencePiece model: byte fallback, and blanks as ▁ with one in front."""
    if not file["model"].get("byte_fallback"):
        return False
    normalizer, splitter = file.get("normalizer") or {}, file.get("pre_tokenizer") or {}
    steps = normalizer.get("normalizers", [normalizer] if normalizer else [])
    kinds = [(s["type"], s.get("prepend") or s.get("content")) for s in steps]
    classic = kinds == [("Prepend", SPACE), ("Replace", SPACE)] and not splitter
    metaspace = splitter.get("type") == "Metaspace" and splitter.get("replacement") == SPACE
    metaspace = metaspace and splitter.get("prepend_scheme") in ("always", "first") and not splitter.get("split")
    if not classic and not (metaspace and not kinds):
        raise _refusal("has byte fallback, but treats blanks in another way than SentencePiece")
    return True


def _scores(vocab: Mapping[str, int], pairs: Sequence[Sequence[str]], size: int) -> list[float]:
    """A score per token, higher for what merges earlier; InputError where merges are not those of SentencePiece.

    llama.cpp merges any two neighbours that together are a token, the best score first. The order of merges says the
    same only if every way to split a token is a merge, and all merges of one token stand together.
    """
    ranks: dict[str, int] = {}
    previous = ""
    for left, right in pairs:
        token = left + right
        if token != previous and token in ranks:
            raise _refusal("merges one token at two places of its order, which no SentencePiece model does")
        ranks.setdefault(token, len(ranks))
        previous = token
    listed = {(left, right) for left, right in pairs}
    for token in ranks:
        ways = ((token[:i], token[i:]) for i in range(1, len(token)))
        if any(a in vocab and b in vocab and (a, b) not in listed for a, b in ways):
            raise _refusal("was not made of a SentencePiece model: some of its merges are missing")
    scores = [-1e6] * size
    for token, number in vocab.items():
        scores[number] = -float(ranks[token]) if token in ranks else -1e6
    return scores
