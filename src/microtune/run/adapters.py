"""Many adapters on one base: `load_adapters`, and the object that it gives.

The base stands in memory once. Each adapter adds its own tensors and nothing else; which one answers is chosen by name,
for all calls (`use`), for one call, or for each row of a batch, whose rows are then computed in one pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from microtune.adapt.patch import SharedNetwork
from microtune.errors import InputError, RunError, suggest
from microtune.run.combining import Combination, How, checked_weights, combination
from microtune.run.digest import weights_digest
from microtune.run.load import DTYPES, load_base
from microtune.run.mixed import Mixed
from microtune.run.onto import Adapter, SharedBase, base_of
from microtune.run.predict import task_of
from microtune.run.sources import Place, locate
from microtune.run.written import COMBINED, write_adapter
from microtune.tasks.base import Prediction, Task

MIX = "\0mix"  # no source is called so
AdapterNames = str | None | Sequence[str | None]


class Adapters:
    """Several adapters on one base, by name; made by `load_adapters`.

    Calls from several threads are safe and wait for each other: one pass runs at a time.
    """

    def __init__(self, base: SharedBase) -> None:
        self._base = base
        self._adapters: dict[str, Adapter] = {}
        self._combined: dict[str, dict[str, Any]] = {}
        self._active: str | None = None

    @property
    def names(self) -> list[str]:
        """The adapters, in the order in which they came."""
        return list(self._adapters)

    @property
    def active(self) -> str | None:
        """The adapter in use; None is the plain base."""
        return self._active

    @property
    def notes(self) -> list[str]:
        """What could not be verified, a sentence each."""
        return [note for adapter in self._adapters.values() for note in adapter.notes]

    @property
    def bytes(self) -> dict[str, int]:
        """What each adapter takes of memory beside the base."""
        return {name: adapter.bytes for name, adapter in self._adapters.items()}

    def task(self, name: str) -> Task:
        """What an adapter was tuned for; one of PEFT without a task goes on with texts where its base is a decoder."""
        self._known(name)
        return task_of(self._adapters[name].model)

    def use(self, name: str | None) -> None:
        """Answer with this adapter from now on, bit for bit as its run alone does; None: with the plain base."""
        if name is not None:
            self._known(name)
        self._active = name

    def add(self, name: str, place: str | Path) -> None:
        """Put another run, or adapter folder of peft, on the base; InputError where it belongs on another one."""
        self._free(name)
        self._enter(self._base.put(name, place))

    def remove(self, name: str) -> None:
        """Forget an adapter; where it was in use, the plain base is."""
        self._known(name)
        del self._adapters[name]
        self._combined.pop(name, None)
        self._active = None if self._active == name else self._active
        self.__dict__.pop("_mixed", None)

    def predict(
        self,
        texts: str | Sequence[str],
        adapters: AdapterNames = None,
        *,
        min_confidence: float = 0.0,
        max_new_tokens: int = 128,
    ) -> list[Prediction]:
        """One Prediction per text, by the task of its adapter; rows of several adapters are computed together.

        adapters: one name for all, one for each text, or None for the adapter in use. Answers are written
        as the `decoding` of each task says.
        """
        given = [texts] if isinstance(texts, str) else list(texts)
        owners = self._owners(adapters, len(given))
        named = [name for name in owners if name is not None]
        if len(named) != len(owners):
            raise InputError(
                "The plain base was not tuned for a task; name the adapter of each text, or choose one with `use`."
            )
        options = {"min_confidence": min_confidence, "max_new_tokens": max_new_tokens}
        return self._mixed.predict(given, named, **options)  # type: ignore[arg-type]

    def logits(
        self,
        ids: Sequence[Sequence[int]],
        adapters: AdapterNames = None,
        targets: Sequence[Sequence[int]] | None = None,
    ) -> list[Tensor]:
        """Scores `[T_i, V]` for every token of every row, as `Model.logits` gives them with the adapter of each row.

        adapters: one name for all, one for each row (None in the list is the plain base), or None for the one in use.
        """
        owners = self._owners(adapters, len(ids))
        if len(set(owners)) == 1:  # one adapter alone: bit for bit what it gives without the others
            with self._mixed.worn(owners[0]) as model:
                return model.logits(ids, targets)
        if targets is not None and len(targets) != len(ids):
            raise InputError(f"There are {len(ids)} rows of ids, but {len(targets)} of targets.")
        if self._base.model.is_encoder_decoder != (targets is not None):
            raise InputError(
                "`targets` are the decoder's input ids of an encoder-decoder; give them there and only there."
            )
        return self._mixed.logits(ids, owners, targets)

    def generate(
        self, prompt: str, adapter: str | None = None, *, stream: bool = False, **options: Any
    ) -> str | Iterator[str]:
        """`Model.generate` with an adapter (None: the one in use); other calls may come between two pieces."""
        owner = self._owners(adapter, 1)[0]
        with self._mixed.worn(owner) as model:
            pieces = model.continue_ids(model.prompt_ids(prompt), **options)
        steps = self._stepwise(owner, pieces)
        return steps if stream else "".join(steps)

    def generate_many(
        self, prompts: Sequence[str], adapters: AdapterNames = None, *, max_new_tokens: int = 64
    ) -> list[str]:
        """The likeliest continuation of each prompt with its adapter, all rows together; for decoders.

        adapters: as of `logits`.
        """
        return self._mixed.generate(prompts, self._owners(adapters, len(prompts)), max_new_tokens)

    def combine(
        self, name: str, weights: Mapping[str, float], *, how: How = "linear", rank: int | None = None
    ) -> float:
        """Enter the weighted sum of LoRA adapters as a new one; returns the share of the updates that is lost.

        linear: exact (lost is 0), its rank is the sum of theirs. svd: the nearest update of `rank` (default: the
        largest of theirs), and lost is the relative Frobenius norm of the difference. InputError for adapters of
        different tasks or labels and for methods without a low-rank form.
        """
        self._free(name)
        for own in weights:
            self._known(own)
        made = combination([(self._adapters[own], weight) for own, weight in weights.items()], how=how, rank=rank)
        self._enter(self._attached(name, made))
        self._combined[name] = made.facts
        return made.lost

    def save(self, name: str, path: str | Path) -> Path:
        """Write an adapter as a folder that `mt.load` reads: a run where it has a task, else a folder of peft."""
        self._known(name)
        target = Path(path)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise RunError(f"{target}: exists already; choose another folder.")
        write_adapter(target, self._adapters[name], self._base, self._combined.get(name))
        return target

    def __len__(self) -> int:
        return len(self._adapters)

    def __contains__(self, name: object) -> bool:
        return name in self._adapters

    def __repr__(self) -> str:
        return f"Adapters({self._base.model.place.name if self._base.model.place else 'base'!r}, {self.names})"

    @cached_property
    def _mixed(self) -> Mixed:
        return Mixed(self._base.model, self._base.network, self._adapters)

    def _attached(self, name: str, made: Combination) -> Adapter:
        return self._base.attached(name, made.model, made.method, made.tensors, made.model.task)

    def _enter(self, adapter: Adapter) -> None:
        self._adapters[adapter.name] = adapter
        self.__dict__.pop("_mixed", None)

    def _stepwise(self, owner: str | None, pieces: Iterator[str]) -> Iterator[str]:
        """The pieces, each computed with the adapter on the network."""
        mixed = self._mixed
        while True:
            with mixed.worn(owner):
                piece = next(pieces, None)
            if piece is None:
                return
            yield piece

    def _owners(self, adapters: AdapterNames, count: int) -> list[str | None]:
        """The adapter of each of `count` rows."""
        if adapters is None:
            return [self._active] * count
        found: list[str | None] = [adapters] * count if isinstance(adapters, str) else list(adapters)
        if len(found) != count:
            raise InputError(f"There are {count} rows, but {len(found)} names of adapters; give one for each row.")
        for name in found:
            if name is not None:
                self._known(name)
        return found

    def _known(self, name: str) -> None:
        if name not in self._adapters:
            raise InputError(f'There is no adapter "{name}". {suggest(str(name), self._adapters)}')

    def _free(self, name: str) -> None:
        if not isinstance(name, str) or not name:
            raise InputError("The name of an adapter is a text that is not empty.")
        if name in self._adapters:
            raise InputError(f'There is an adapter "{name}" already; remove it first, or choose another name.')


def load_adapters(
    base: str | Path, adapters: Mapping[str, str | Path] | None = None, *, dtype: str | None = None
) -> Adapters:
    """Load a base once and several adapters on it, by name.

    base: a name, model folder or hub id, as `load` takes it. adapters: name -> run folder or LoRA folder of peft; each
    must have been tuned on this base (InputError otherwise). dtype: float64 | float32 | float16 | bfloat16.
    """
    if dtype is not None and dtype not in DTYPES:
        raise InputError(f'dtype: unknown value "{dtype}"; known are {", ".join(DTYPES)}.')
    place = locate(str(base))
    if place.kind in ("run", "adapter"):
        raise InputError(f"{base}: an adapter, not a base; give the base that it was tuned on.")
    return _on(place, adapters or {}, dtype)


def _on(place: Place, adapters: Mapping[str, str | Path], dtype: str | None = None) -> Adapters:
    model = load_base(place, dtype)
    many = Adapters(SharedBase(model, weights_digest(place), SharedNetwork(model.network)))
    for name, source in adapters.items():
        many.add(name, source)
    return many


@dataclass(frozen=True)
class Combined:
    """A combination on disk: where it stands, its rank, and the share of the updates that is lost."""

    path: Path
    rank: int
    lost: float
    notes: list[str]


def combine(
    sources: Sequence[str | Path],
    *,
    out: str | Path,
    weights: Sequence[float] | None = None,
    how: How = "linear",
    rank: int | None = None,
    overwrite: bool = False,
) -> Combined:
    """Combine the adapters of runs or of peft folders into a new folder, which loads and answers as a run does.

    weights: one for each (default: equal shares that sum to 1). overwrite: replace an earlier combination.
    """
    target = Path(out)
    if len(sources) < 2:
        raise InputError("Give two runs or more to combine.")
    given = checked_weights(len(sources), weights if weights is not None else [1 / len(sources)] * len(sources))
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        if not (target / COMBINED).is_file():
            raise RunError(f"{target}: exists and is not a combination; choose another folder with --out.")
        if not overwrite:
            raise RunError(f"{target}: holds a combination already; choose another folder, or give --overwrite.")
    names = _names(sources)
    many = _on(base_of(locate(str(sources[0]))), dict(zip(names, sources, strict=True)), "float32")
    lost = many.combine(MIX, dict(zip(names, given, strict=True)), how=how, rank=rank)
    facts = many._combined[MIX]
    write_adapter(target, many._adapters[MIX], many._base, facts)
    return Combined(target, facts["rank"], lost, many.notes)


def _names(sources: Sequence[str | Path]) -> list[str]:
    """What to call the sources in messages and in the record: as they were given; repeated ones are numbered."""
    found: list[str] = []
    for number, source in enumerate(map(str, sources), 1):
        found.append(source if source not in found else f"{source} ({number})")
    return found
