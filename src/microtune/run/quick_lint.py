"""The part of a lint that every run makes before its first step: what one pass over the training rows can see.

Contradictory labels, copies, classes spelled twice, encoding damage, personal data. It takes some 30 microseconds a row
and gives one sentence at most; `microtune lint` (run/lint) looks for more and names every place.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microtune.data.lint.base import Finding, Measurement
from microtune.data.lint.classes import Classes
from microtune.data.lint.duplicates import Duplicates
from microtune.data.lint.encoding import Encoding
from microtune.data.lint.personal import PersonalData
from microtune.data.lint.reading import Reader
from microtune.data.sources import Row
from microtune.errors import at
from microtune.run.checks import Ledger
from microtune.tasks.base import Task

ROWS = 100_000  # looked at
CHARACTERS = 50_000_000
SAID_ELSEWHERE = {"rare-classes", "class-imbalance", "one-class"}  # the task's own remarks and checks
FIELDS = {  # field of a task -> role that a reader knows
    "text_field": "text",
    "pair_field": "pair",
    "label_field": "label",
    "source_field": "source",
    "prompt_field": "prompt",
    "input_field": "input",
    "target_field": "target",
    "completion_field": "completion",
    "messages_field": "messages",
    "question_field": "question",
    "context_field": "context",
    "choices_field": "options",
    "choice_columns": "options",
    "tokens_field": "tokens",
    "chosen_field": "chosen",
    "rejected_field": "rejected",
    "negative_field": "negative",
}
LABELS = {  # what a reader calls the label of these tasks
    "regression": "score",
    "similarity": "score",
    "question-answering": "answer",
    "multiple-choice": "answer",
}


def roles_of(task: Task) -> dict[str, Any]:
    """Role -> field of a task that knows its fields."""
    roles = {role: value for name, role in FIELDS.items() if (value := getattr(task, name, None))}
    if task.name in LABELS and "label" in roles:
        roles[LABELS[task.name]] = roles.pop("label")
    return roles


def quick_lint(task: Task, rows: Sequence[Row], ledger: Ledger) -> list[str]:
    """At most one note about the training rows."""
    reader = Reader(task.name, roles_of(task), getattr(task, "sign", ""))
    measures: list[Measurement] = [Duplicates(task.name), Classes(), Encoding(), PersonalData()]
    read = number = 0
    once = list({id(row): row for row in rows[:ROWS]}.values())  # what a rate repeats is no copy in the data
    for number, row in enumerate(once, 1):
        seen = reader.see(row, number)
        for measure in measures:
            measure.add(seen)
        read += len(seen.text) + len(seen.target)
        if read > CHARACTERS:
            break
    ledger.passed("data-faults")
    found = [finding for measure in measures for finding in measure.findings()]
    told = [finding for finding in found if finding.severity != "note" and finding.kind not in SAID_ELSEWHERE]
    return [ledger.warned("data-faults", _sentence(told, number))] if told else []


def _sentence(found: Sequence[Finding], rows: int) -> str:
    parts = []
    for finding in found:
        first = finding.places[0] if finding.places else None
        where = f" (first: {at(first.path, first.line)})" if first else ""
        parts.append(f"{finding.kind} in {finding.count:,}{where}")
    return f"Of {rows:,} training rows: {'; '.join(parts)}. `microtune lint` shows them and says what to do."
