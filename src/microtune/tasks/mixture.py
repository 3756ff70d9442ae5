"""Several tasks in one model: everything is text, and each row says which task it is.

T5 (Raffel et al., 2020) and instruction tuning (FLAN: Wei et al., 2022) learn many tasks with one vocabulary head: what
tells them apart is the wording of the question. Here every task has templates of its own, by its name; a row names its
task, and is worded by it. A task whose answers need a head of their own (a label, a number) cannot be mixed this way.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Self

from pydantic import Field, model_validator

from microtune.data.sources import Row
from microtune.errors import InputError, at, suggest
from microtune.tasks.base import Task
from microtune.tasks.wording import ANSWERS, is_template, name_of, rendered

TASK = "(task)"  # field with the name of a row's task, once it is read
GIVEN = "task"  # field in which a file names it


class Mixture(Task):
    """What the tasks have in common that several tasks may be written as."""

    mixture: dict[str, dict[str, str]] = Field(
        default_factory=dict, description="templates of several tasks by name; set by `data.tasks`"
    )

    @model_validator(mode="after")
    def _templates_of_each(self) -> Self:
        for name, found in self.mixture.items():
            if set(found) != set(self.templates):
                raise ValueError(f"the task {name} needs the templates {' and '.join(self.templates)}")
            for template in found.values():
                is_template(template)
        return self

    def naming_fields(self) -> Self:
        """With the fields that the templates of its tasks make."""
        if not self.mixture:
            return super().naming_fields()
        for option, field in self.templates.items():
            if getattr(self, option) is not None or getattr(self, field) not in (None, name_of(option)):
                used = option if getattr(self, option) is not None else field
                raise InputError(f"task.{used}: each task of data.tasks has its own templates; leave it out here.")
        fields = {field: name_of(option) for option, field in self.templates.items()}
        return self.model_copy(update={**fields, **self.with_templates})

    def ready(self, rows: Sequence[Row], *, answers: bool = True) -> list[Row]:
        """Rows worded by the task that each names; one that is worded already keeps its words."""
        if self.mixture:
            rows = [self._worded(row, answers) for row in rows]
        return super().ready(rows, answers=answers)

    def stratum(self, rows: Sequence[Row]) -> Callable[[Row], Any] | None:
        """Each part of a split has its share of every task."""
        return named_task if self.mixture else super().stratum(rows)

    def check_named(self, rows: Sequence[Row]) -> None:
        """Refuse a row that is worded, but does not say which of the tasks it is: nobody could score it."""
        for row in rows if self.mixture else ():
            if not named_task(row):
                raise InputError(f"{at(row.path, row.line)}: {self._unnamed}")

    @property
    def _unnamed(self) -> str:
        return f'this row names no task; write one of {", ".join(self.mixture)} into the field "{GIVEN}".'

    def _worded(self, row: Row, answers: bool) -> Row:
        options = [option for option in self.templates if answers or option not in ANSWERS]
        missing = [option for option in options if name_of(option) not in row.data]
        name = row.data.get(TASK, row.data.get(GIVEN))
        if not missing and TASK in row.data:
            return row
        if not isinstance(name, str) or name not in self.mixture:
            if not missing and name is None:
                return row
            said = self._unnamed
            if name is not None:
                known = suggest(str(name)[:60], list(self.mixture))
                said = f'the field "{GIVEN}" names the task {str(name)[:60]!r}, which is not known. {known}'
            raise InputError(f"{at(row.path, row.line)}: {said}")
        templates = self.mixture[name]
        new = {name_of(option): rendered(f"{option} ({name})", templates[option], row) for option in missing}
        return Row({**row.data, **new, TASK: name}, row.path, row.line)


def named_task(row: Row) -> str:
    """The name of a row's task; "" where it has none."""
    return str(row.data.get(TASK, ""))
