"""`microtune plan`: memory and time of a run before it begins. Nothing is written, nothing is printed.

The run is prepared as it would be (rows read, model loaded, method attached), a few of its steps are measured, and
everything is thrown away. For pretraining, the number of tokens is estimated from a sample of the corpus.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import torch

from microtune.data.corpus import Blocks, documents
from microtune.data.text import Tokenizer
from microtune.data.tokenizer_training import Vocabulary, train_tokenizer
from microtune.errors import InputError
from microtune.nn.fused import fast_form
from microtune.recipe import Recipe
from microtune.run import pretrain as pretraining
from microtune.run import tune as tuning
from microtune.run.continued import base_of, goes_on
from microtune.run.objective import fitting, make_items, pretraining_task
from microtune.run.pace import Pace, plan_pace
from microtune.run.plan import MemoryPlan, limit_of, plan_memory
from microtune.run.scratch import build_network, named_tokenizer
from microtune.run.train import Training
from microtune.run.unused import check_pretraining

Result = TypeVar("Result")
GRADUAL = "method.unfreeze: time and memory are those of an epoch in which everything trains; earlier ones take less."
COMPILED = "train.compile: time and memory are those of blocks as they are; compiled ones take less time, more memory."
SAMPLE_CHARACTERS = 1_000_000  # of each source of a corpus


@dataclass(frozen=True)
class Forecast:
    """What a run will take. tokens: of one epoch; fast_blocks: how many blocks go the whole-block path, of `blocks`."""

    memory: MemoryPlan
    pace: Pace
    rows: int
    tokens: int
    precision: str
    blocks: int
    fast_blocks: int
    notes: tuple[str, ...] = ()


def plan(recipe: Recipe) -> Forecast:
    """Predict a tuning or (with `data.sources`) a pretraining run; InputError where it cannot fit into memory."""
    return _plan_pretraining(recipe) if recipe.data.sources else _plan_tuning(recipe)


def _plan_tuning(recipe: Recipe) -> Forecast:
    if recipe.method.name == "auto":
        raise InputError("method auto: what trains is not known before it is chosen; plan a method by its name.")
    recipe, data = tuning.without_memory(recipe)
    ready = _result(tuning.get_ready(recipe, data, _decide))
    training, encoded = ready.training, ready.encoded
    trunks = tuning.make_trunks(training, Path("nowhere"), encoded)
    judged = [encoded[name].items for name in ("validation", "test") if name in encoded]
    memory = plan_memory(training, trunks, judged, limit_of(training))
    training.compute_at_once(memory.micro_tokens)
    pace = plan_pace(training, trunks, encoded.get("validation"))
    notes = [*ready.splits.notes, *([GRADUAL] if training.attachment.schedule else ())]
    return _forecast(training, memory, pace, tuple(notes))


def _plan_pretraining(recipe: Recipe) -> Forecast:
    check_pretraining(recipe)
    if recipe.train.threads:
        torch.set_num_threads(recipe.train.threads)
    samples = [_sample(recipe, number) for number in range(len(recipe.data.sources))]
    task, base = pretraining_task(recipe), base_of(recipe)
    ready, wanted = (base.text, Vocabulary()) if base is not None else named_tokenizer(recipe)
    tokenizer = fitting(train_tokenizer([text for text, _ in samples], wanted) if ready is None else ready, task)
    stores: list[Any] = [_Estimated.of(tokenizer, text, share) for text, share in samples]
    blocks = Blocks(stores, [s.epochs for s in recipe.data.sources], recipe.data.block_size, recipe.seed)
    network = build_network(recipe, tokenizer)[0] if base is None else goes_on(recipe, task, base)
    training = pretraining.make_training(recipe, network, make_items(recipe, task, blocks, tokenizer), _decide)
    memory = plan_memory(training, {}, [], limit_of(training))
    training.compute_at_once(memory.micro_tokens)
    note = "The number of tokens is estimated from the beginning of every source."
    if recipe.data.documents == "separate":
        note += " Time is that of whole blocks, although documents are separate; short ones take a little longer."
    notes = (note, COMPILED) if recipe.train.compile and training.limit is None else (note,)
    return _forecast(training, memory, plan_pace(training, {}, None), notes)


def _forecast(training: Training, memory: MemoryPlan, pace: Pace, notes: tuple[str, ...]) -> Forecast:
    stack = training.model.output_stack
    blocks, virtual = list(stack.blocks), stack.virtual
    plain = blocks[virtual.first_block :] if virtual.ahead else []  # with keys that no token has
    plain = blocks if stack.relative_bias is not None else plain
    return Forecast(
        memory=memory,
        pace=pace,
        rows=len(training.sizes),
        tokens=sum(training.sizes),
        precision=training.precision,
        blocks=len(blocks),
        fast_blocks=sum(fast_form(block) is not None for block in blocks if block not in plain),  # type: ignore[arg-type]
        notes=notes,
    )


def _decide(name: str, decide: Callable[[], Any]) -> Any:
    return decide()


def _result(events: Generator[Any, None, Result]) -> Result:
    """Run a generator of events to its end, for what it returns."""
    while True:
        try:
            next(events)
        except StopIteration as stop:
            found: Result = stop.value
            return found


def _sample(recipe: Recipe, number: int) -> tuple[str, float]:
    """The beginning of a source, and how many times as long the source is, by the size of its files."""
    source = recipe.data.sources[number]
    path = Path(recipe.data.folder or ".") / source.path
    parts: list[str] = []
    room = SAMPLE_CHARACTERS
    texts: Iterator[str] = documents(source, recipe.data, recipe.limits)
    for text in texts:
        parts.append(text[:room])
        room -= len(text)
        if room <= 0:
            break
    kept = sum(map(len, parts))
    if path.suffix == ".txt" and path.is_file() and room <= 0:  # its size says enough; of other files all is read
        return "\n".join(parts), max(1.0, path.stat().st_size / len("".join(parts).encode()))
    return "\n".join(parts), max(1.0, (kept - min(room, 0) + sum(map(len, texts))) / max(kept, 1))


class _Estimated:
    """A token store of the estimated length that repeats the tokens of a sample."""

    def __init__(self, ids: npt.NDArray[np.int64], length: int) -> None:
        self.ids, self.length = ids, length
        self.values = self

    @classmethod
    def of(cls, tokenizer: Tokenizer, text: str, share: float) -> _Estimated:
        """The tokens of `text`, `share` times."""
        ids = np.array(tokenizer.encode(text, special=False) or [0], dtype=np.int64)
        return cls(ids, round(len(ids) * share))

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, part: slice) -> npt.NDArray[np.int64]:
        return self.ids[np.arange(part.start, part.stop) % len(self.ids)]
