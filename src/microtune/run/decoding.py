"""What the files of an encoder-decoder ask of its decoder: where it begins and ends, what it must and must not write.

config.json says it, and generation_config.json, where there is one, says it better. Only ids are taken from there: how
to search (beams, penalties, lengths) is the caller's choice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtune.data.objects import read_object
from microtune.errors import InputError

GENERATION = "generation_config.json"


@dataclass(frozen=True)
class Decoding:
    """start: what the decoder reads first; first, last: ids forced at both ends; stops: ids that end; words: banned."""

    start: int
    first: int | None = None
    last: int | None = None
    stops: tuple[int, ...] = ()
    words: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, config: Mapping[str, Any], generation: Mapping[str, Any], vocab_size: int) -> Decoding:
        """From the two files. An id that generation needs and that is not there, or has no row, is an InputError."""
        said = {**config, **{key: value for key, value in generation.items() if value is not None}}

        def ids(key: str) -> tuple[int, ...]:
            found = _ids(said.get(key), key)
            for number in found:
                if not 0 <= number < vocab_size:
                    raise InputError(f"{key} is {number}, but the embedding of this model ends at {vocab_size - 1}.")
            return found

        start = ids("decoder_start_token_id") or ids("bos_token_id")
        if not start:
            raise InputError("The files of this model do not say with which id its decoder begins; set "
                             "decoder_start_token_id in its config.json.")  # fmt: skip
        stops, first, last = ids("eos_token_id"), ids("forced_bos_token_id"), ids("forced_eos_token_id")
        words = _words(said.get("bad_words_ids"))
        words += tuple((number,) for number in _ids(said.get("suppress_tokens"), "suppress_tokens"))
        return cls(
            start=start[0],
            first=first[0] if first else None,
            last=min(last) if last else None,
            stops=stops,
            words=tuple(word for word in words if word[-1] < vocab_size and not (len(word) == 1 and word[0] in stops)),
        )

    def forced(self, step: int, steps: int) -> int | None:
        """The id that must come at this step (from 0) of `steps`, or None."""
        if step == steps - 1 and self.last is not None:
            return self.last
        return self.first if step == 0 else None

    def banned(self, written: Sequence[int]) -> list[int]:
        """Ids that would end a banned word after what is `written`, the start included."""
        return [w[-1] for w in self.words if len(w) == 1 or tuple(written[1 - len(w) :]) == w[:-1]]


def read_generation(folder: Path) -> dict[str, Any]:
    """generation_config.json of a folder; {} where there is none."""
    path = folder / GENERATION
    return read_object(path) if path.is_file() else {}


def strange_ids(config: Mapping[str, Any], generation: Mapping[str, Any], vocab_size: int) -> list[str]:
    """One sentence for each special id (`..._token_id`) that the embedding has no row for; reading takes no offence."""
    found = []
    for name, values in (("config.json", config), (GENERATION, generation)):
        for key, value in values.items():
            numbers = _whole(value) if key.endswith("_token_id") else []
            beyond = [number for number in numbers if not 0 <= number < vocab_size]
            found += [f"{name}: {key} is {number}, but the embedding ends at {vocab_size - 1}." for number in beyond]
    return found


def _whole(value: object) -> list[int]:
    values = value if isinstance(value, list) else [value]
    return [n for n in values if isinstance(n, int) and not isinstance(n, bool)]


def _ids(value: object, key: str) -> tuple[int, ...]:
    """An id or a list of ids; nothing is an empty one."""
    values = value if isinstance(value, list) else [] if value is None else [value]
    found = _whole(value)
    if len(found) != len(values):
        raise InputError(f"{key} is {str(value)[:60]}, but must be an id or a list of ids.")
    return tuple(found)


def _words(value: object) -> tuple[tuple[int, ...], ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise InputError(f"bad_words_ids is {str(value)[:60]}, but must be a list of lists of ids.")
    return tuple(word for word in (_ids(list_, "bad_words_ids") for list_ in value) if word)
