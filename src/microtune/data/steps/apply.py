"""Runs the steps of a recipe, in their order, and counts what each did."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from microtune.data.sources import Row
from microtune.data.steps.base import RowStep, Step, StepReport, TextStep, View, changed_row, make_step, steps
from microtune.errors import InputError, at


def run_steps(
    found: Sequence[Step],
    parts: Mapping[str, Sequence[Row]],
    fields: Sequence[str],
    *,
    label: Callable[[Row], Any] | None = None,
    seed: int = 0,
    task: str = "",
    guesser: Callable[[str], Any] | None = None,
) -> tuple[dict[str, list[Row]], list[StepReport]]:
    """The splits after all steps; text steps run on each of them, row steps on `train` alone.

    fields: those that the task reads, for steps that name none. task: its name, for steps that make no sense for some.
    guesser: loads a masked model by its name, for steps that ask one.
    """
    rows = {name: list(part) for name, part in parts.items()}
    reports = []
    for number, step in enumerate(found):
        step.check()
        used = tuple(step.fields or fields)
        _check_fields(step, used, rows)
        report = StepReport(step.name, rows=sum(map(len, rows.values())))
        if isinstance(step, TextStep):
            rows = {name: [changed_row(step, row, used, report) for row in part] for name, part in rows.items()}
        elif isinstance(step, RowStep):
            before = rows["train"]
            report.rows = len(before)
            view = View(used, label, random.Random(f"{seed} {number}"), task, report, guesser)
            rows["train"] = step.choose(before, view)
            _count(report, before, rows["train"], replaces=step.replaces)
            if not rows["train"]:
                raise InputError(f"The step {step.name} leaves no row of the training split.")
        reports.append(report)
    return rows, reports


def prepared_rows(kept: Sequence[Mapping[str, Any]], rows: Sequence[Row], fields: Sequence[str]) -> list[Row]:
    """Rows for prediction: the text steps alone, as in training."""
    change = text_changer([make_step(dict(values)) for values in kept], fields)
    return [change(row) for row in rows]


def text_changer(found: Sequence[Step], fields: Sequence[str]) -> Callable[[Row], Row]:
    """Row -> the row after the text steps among `found`."""
    ways = [(step, tuple(step.fields or fields)) for step in found if isinstance(step, TextStep)]
    for step, _ in ways:
        step.check()

    def change(row: Row) -> Row:
        for step, used in ways:
            row = changed_row(step, row, used)
        return row

    return change


def field_changer(kept: Sequence[Mapping[str, Any]]) -> Callable[[str, str], str]:
    """(name of a field, a text of it) -> the text after the text steps, for texts that are read one by one."""
    ways = [step for step in (make_step(dict(values)) for values in kept) if isinstance(step, TextStep)]

    def change(name: str, text: str) -> str:
        for step in ways:
            text = step.change(text) if not step.fields or name in step.fields else text
        return text

    return change


def step_warnings(names: Sequence[str], *, cased: bool) -> list[str]:
    """One sentence for each step that is likely to hurt; cased: the tokenizer tells upper from lower case."""
    return [
        f"The step {name} is likely to hurt: {steps[name].hurts}."
        for name in dict.fromkeys(names)
        if steps[name].hurts and (cased or name != "lowercase")
    ]


def _check_fields(step: Step, used: Sequence[str], rows: Mapping[str, Sequence[Row]]) -> None:
    for name in used:
        if not any(name in row.data for row in rows["train"][:1000]):
            first = next(iter(rows["train"]), None)
            known = ", ".join(list(first.data)[:12]) if first else "none"
            raise InputError(f'data.steps, {step.name}: no row has the field "{name}"; there are {known}.')


def _count(report: StepReport, before: Sequence[Row], after: Sequence[Row], *, replaces: bool) -> None:
    """Rows that are gone, and rows that came; a row that stands there twice came once.

    replaces: those that are gone became others, of which each has one that is not new.
    """
    there, now = Counter(map(id, before)), Counter(map(id, after))
    report.dropped = sum((there - now).values())
    report.added = sum((now - there).values())
    if replaces:
        report.touched, report.dropped, report.added = report.dropped, 0, len(after) - len(before)
        return
    gone = [row for row in before if not now[id(row)]]
    if gone:
        first = gone[0]
        report.place = at(first.path, first.line)
