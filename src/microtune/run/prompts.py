"""The check `prompt-ids`: the ids before an answer in training are the ids from which generation starts.

Both are built by the same functions; the check holds them against each other on rows of this very run, with the chat
template and the tokenizer of this very model.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from microtune.data.batches import sequences
from microtune.data.sources import Row
from microtune.errors import CheckError, at
from microtune.run.load import Model
from microtune.run.predict import prompt_ids
from microtune.run.prepare import items_limit
from microtune.tasks.base import Encoded, Task
from microtune.tasks.conversation import last_learnt
from microtune.tasks.instruction import Instruction, messages_of
from microtune.tasks.preference import Preference
from microtune.tasks.sequence_to_sequence import SequenceToSequence

LOOKED_AT = 200  # rows: each costs another rendering


def check_prompts(model: Model, task: Task, encoded: Encoded, rows: Sequence[Row]) -> bool:
    """Compare the prompts of the first rows; False where the task has none."""
    if not isinstance(task, (Instruction, SequenceToSequence)):
        return False
    limit = items_limit(model, None, model.network.virtual_tokens)
    for index in range(min(len(encoded.items), LOOKED_AT)):
        item = encoded.items[index]
        row = rows[item.row]
        learnt, read = [int(i) for i in item.ids], {int(i) for i in item.readout}
        if isinstance(task, Instruction):
            row = _up_to_the_answer(task, row)
            asked = prompt_ids(model, task, row)
            if len(item.sources):  # the prompt is what the encoder reads, all of it
                learnt = [int(i) for i in sequences(item)[0].sources]
                read = {len(learnt) - 1}
        else:
            asked = task.question(row, model.text, limit)[1]
        place = len(asked) - 1
        if asked and (learnt[: len(asked)] != asked or place not in read):
            raise CheckError(
                f"{at(row.path, row.line)}: generation would start from other ids than training has before the answer "
                f"(they part at token {_parting(asked, learnt)}): the model would be asked what it never learnt. "
                "Please report this with the chat template.",
                check="prompt-ids",
            )
    return True


def _up_to_the_answer(task: Instruction, row: Row) -> Row:
    """The row without what follows its last answer, which is not learnt."""
    if isinstance(task, Preference):
        return task.prompt_row(row)
    if task.form != "messages":
        return row
    field = task.messages_field or "messages"
    messages = messages_of(row, field)
    return replace(row, data={**row.data, field: messages[: last_learnt(messages) + 1]})


def _parting(one: Sequence[int], other: Sequence[int]) -> int:
    for place, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return place
    return min(len(one), len(other))
