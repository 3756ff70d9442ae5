"""What a lint proposes: the task with its fields, three rows as it reads them, a recipe that `microtune tune` takes.

A recipe is tried on the sampled rows before it is shown: the task itself finds its fields and labels in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from microtune import recipe as recipes
from microtune.data.lint.reading import ANSWERING, LEARNT, read_only, spoken
from microtune.data.parallel import is_pair
from microtune.data.shapes import flat
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.run.lint.report import Piece
from microtune.run.prepare import make_task
from microtune.run.quick_lint import FIELDS, roles_of
from microtune.run.unread import unread, used_fields
from microtune.tasks.base import Task
from microtune.tasks.conversation import check_order, messages_of
from microtune.tasks.evidence import Guess
from microtune.tasks.guess import guess

SHOWN_ROWS = 3
SHOWN = 400  # characters of a piece
SUPERVISED = {*LEARNT, "label", "spans", "tags"}


def propose(
    source: Any,
    rows: Sequence[Row],
    *,
    task: str | dict[str, Any] | None = None,
    text_field: str | None = None,
    label_field: str | None = None,
) -> Guess:
    """The guess for a sample of rows, or what the user says the task and its fields are."""
    if task is None and text_field is None and label_field is None:
        if is_pair(source):
            fields = {"source": "source", "target": "target"}
            options = {"source_field": "source", "target_field": "target"}
            return Guess("sequence-to-sequence", "two-files", fields, "two-files", options)
        return guess(rows)
    choice: dict[str, Any] = recipes.parse_short(task) if isinstance(task, str) else dict(task or {})
    if "name" not in choice:
        choice["name"] = guess(rows).task
    section = make_task(recipes.build({"task": choice}, where="lint"))
    prepared = section.prepare({"train": rows}, text_field=text_field, label_field=label_field)
    found = {name: value for name in FIELDS if (value := getattr(prepared, name, None))}
    options = {**found, **{k: v for k, v in choice.items() if k != "name"}}
    return Guess(choice["name"], str(getattr(prepared, "form", "rows")), roles_of(prepared), "named", options)


def recipe_for(
    found: Guess, source: Any, model: str, rows: Sequence[Row], read: Mapping[str, Any], test: Any = None
) -> tuple[dict[str, Any] | None, str]:
    """(recipe values, what would stop it): a recipe where the task has one, tried on the sample."""
    if found.options is None or not _is_path(source):
        return None, ""
    train: Any = dict(source) if is_pair(source) else str(source)
    data = {"train": train, **{key: value for key, value in read.items() if value is not None}}
    if _is_path(test):
        data["test"] = dict(test) if is_pair(test) else str(test)
    values = {
        "task": {"name": found.task, **found.options},
        "model": {"source": model},
        "data": data,
        "method": {"name": "lora"},
    }
    try:
        task = make_task(recipes.build(values, where="recipe"))
        task.prepare({"train": list(rows)}, text_field=None, label_field=None)
        _read_all(task, rows)
    except InputError as error:
        return values, str(error)
    return values, ""


def unread_in(found: Guess, rows: Sequence[Row]) -> list[str]:
    """The fields with text that the proposed task does not read; [] where it cannot be tried."""
    if found.options is None:
        return []
    try:
        task = make_task(recipes.build({"task": {"name": found.task, **found.options}}, where="lint"))
        prepared = task.prepare({"train": list(rows)}, text_field=None, label_field=None)
    except InputError:
        return []
    return [] if prepared.wordings else unread(rows, used_fields(prepared))


def _read_all(task: Task, rows: Sequence[Row]) -> None:
    """Conversations are read turn by turn, for a role that no template knows stops training."""
    field = getattr(task, "messages_field", None)
    if field and getattr(task, "form", "") == "messages":
        for row in rows:
            messages = messages_of(row, field)
            if task.name == "instruction":
                check_order(row, field, messages)


def _is_path(source: Any) -> bool:
    return isinstance(source, (str, Path)) or is_pair(source)


def recipe_text(values: Mapping[str, Any]) -> str:
    """A recipe as YAML."""
    return yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False, width=100)


def rendered(found: Guess, rows: Sequence[Row]) -> list[list[Piece]]:
    """The first rows in pieces, in the order in which the task reads them."""
    return [_pieces(found, row) for row in rows[:SHOWN_ROWS]]


def _pieces(found: Guess, row: Row) -> list[Piece]:
    pieces = []
    for role, names in found.fields.items():
        for name in [names] if isinstance(names, str) else names:
            value = row.data.get(name)
            if role == "messages" and isinstance(value, list):
                pieces += [_turn(turn, place) for place, turn in enumerate(value)]
            elif text := flat(value):
                learnt = role in SUPERVISED or found.task == "language-modelling"
                pieces.append(Piece(role, _shortened(text), learnt))
    return pieces


def _turn(turn: Any, place: int) -> Piece:
    """One turn: the assistant's is learnt; of turns without speakers every second one."""
    if not isinstance(turn, dict):
        return Piece(str(place + 1), _shortened(flat(turn)), place % 2 == 1)
    speaker, said = spoken(turn)
    return Piece(speaker or "turn", _shortened(said), speaker.casefold() in ANSWERING and not read_only(turn))


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
