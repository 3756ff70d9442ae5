"""What somebody types to ask an exported model something: the text, and that it gives the ids that the model learnt.

A model that was tuned on prompts answers only what looks like them. So a text is taken through the task as `predict`
does, written out again with its marks, and held against the tokenizer: what would give other ids is not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from microtune.errors import MicrotuneError
from microtune.run.load import Model
from microtune.run.predict import asked_ids, text_rows
from microtune.run.prepare import items_limit
from microtune.tasks.base import EncodingReport
from microtune.tasks.sequence_to_sequence import SequenceToSequence
from microtune.tasks.texts import TextTask

EXAMPLES = ("Where is my parcel?", "It has not arrived.")


@dataclass(frozen=True)
class Asked:
    """A question to a model.

    text: one that gives the ids; second: of a pair; special: the tokenizer adds its marks; types: the model reads which
    token belongs to which text of a pair.
    """

    ids: list[int]
    text: str | None = None
    second: str | None = None
    special: bool = True
    types: bool = False


def example(model: Model) -> Asked | None:
    """A question as this model reads it; None of a model without a tokenizer, or where one text makes no question."""
    if model.tokenizer is None:
        return None
    try:
        ids = _ids(model)
    except MicrotuneError:  # a template over several fields, a tokenizer that cannot read the text
        return None
    if _is_pair(model) and model.task.joined != "separator":  # type: ignore[union-attr]
        return Asked(ids, *EXAMPLES, types=model.task.joined == "types")  # type: ignore[union-attr]
    for text, special in _spellings(model, ids):
        if model.text.encode(text, special=special, parse=True) == ids:
            return Asked(ids, text, special=special)
    return Asked(ids)


def _is_pair(model: Model) -> bool:
    return isinstance(model.task, TextTask) and model.task.pair_field is not None


def _ids(model: Model) -> list[int]:
    task = model.task
    if task is None:
        return model.prompt_ids(EXAMPLES[0]) if model.spec.decoder is not None else model.text.encode(EXAMPLES[0])
    rows = task.ready(text_rows(task, [EXAMPLES] if _is_pair(model) else [EXAMPLES[0]]), answers=False)
    limit = items_limit(model, None, model.network.virtual_tokens)
    if isinstance(task, TextTask):
        return task.read_text(rows[0], 0, model.text, limit, EncodingReport(rows=1))[0]
    if isinstance(task, SequenceToSequence):
        sources, opening, _ = task.question(rows[0], model.text, limit)
        return sources or opening
    return asked_ids(model, task, rows[0])


def _spellings(model: Model, ids: Sequence[int]) -> Iterator[tuple[str, bool]]:
    """Texts that may give these ids, and whether the tokenizer has to add its marks."""
    if not _is_pair(model):
        yield EXAMPLES[0], True
    for start in (1, 0):
        for end in (1, 0):
            inner = ids[start : len(ids) - end]
            yield model.text.decode(inner, special=True), True
    yield model.text.decode(ids, special=True), False
