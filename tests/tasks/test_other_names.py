"""What a task is called elsewhere leads to a task that there is."""

from __future__ import annotations

from microtune.tasks import tasks
from microtune.tasks.other_names import OTHER_NAMES


def test_every_name_leads_to_a_task_and_is_none_itself() -> None:
    assert set(OTHER_NAMES.values()) == set(tasks)
    assert not set(OTHER_NAMES) & set(tasks)
    assert all(name == name.casefold() for name in OTHER_NAMES)
