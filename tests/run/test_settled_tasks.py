"""What a task is told about the model that will write for it: by what it declares, never by its class."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

import pytest
from tiny_pairs import make_pair_base
from tiny_runs import make_base

from microtune.run import answers
from microtune.run.answers import settled
from microtune.run.load import load
from microtune.tasks import tasks
from microtune.tasks.language_modelling import LikelihoodTask
from microtune.tasks.multiple_choice import MultipleChoice
from microtune.tasks.sequence_to_sequence import SequenceToSequence

FIELDS = {"start", "first"}


class Opening(LikelihoodTask):
    """A task that nobody knows of."""

    name: Literal["opening"] = "opening"  # type: ignore[assignment]
    start: int | None = None
    first: int | None = None

    opens: ClassVar[bool] = True


def test_tasks_that_open_have_the_ids_and_no_others_do() -> None:
    found = {name for name in tasks if tasks[name].opens}
    assert found == {"multiple-choice", "preference", "sequence-to-sequence"}
    for name in tasks:
        assert (set(tasks[name].model_fields) >= FIELDS) == (name in found)
        assert name.title().replace("-", "") not in vars(answers)  # no task is named there


@pytest.mark.parametrize("kind", ["t5", "bart"])
def test_any_task_that_opens_is_told_the_ids(kind: str, tmp_path: Path) -> None:
    model = load(make_pair_base(tmp_path / kind, kind))
    told = settled(Opening(), model)
    known = settled(SequenceToSequence(source_field="a", target_field="b"), model)
    assert isinstance(told, Opening)
    assert isinstance(known, SequenceToSequence)
    assert told.start is not None
    assert (told.start, told.first) == (known.start, known.first)
    assert known.form == "encoder-decoder"
    head = settled(MultipleChoice(question_field="q", form="head"), model)
    assert isinstance(head, MultipleChoice)
    assert head.start is None, "a head over options reads with the encoder alone"


def test_a_decoder_alone_begins_with_the_prompt(tmp_path: Path) -> None:
    model = load(make_base(tmp_path / "base"))
    told, known = settled(Opening(), model), settled(SequenceToSequence(), model)
    assert isinstance(told, Opening)
    assert isinstance(known, SequenceToSequence)
    assert told.start is None
    assert (known.form, known.start) == ("decoder", None)
