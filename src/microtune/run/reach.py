"""Notes before the first step on how far a training goes: too few steps to learn from, or to unfreeze all blocks."""

from __future__ import annotations

from microtune.adapt.base import Attachment
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe
from microtune.run.train import step_counts
from microtune.run.unfreezing import Unfreezing
from microtune.tasks.base import Task
from microtune.tasks.language_modelling import LanguageModelling

FEW = 20  # steps: in fewer the weights hardly leave the base, whatever the loss curve looks like


def notes_on_reach(recipe: Recipe, task: Task, model: Transformer, attachment: Attachment, rows: int) -> list[str]:
    """What a reader should know about the number of steps; rows: items of the training split."""
    epoch, total = step_counts(recipe.train, rows)
    late = Unfreezing(model, attachment, epoch).not_begun(total)
    notes = [] if late is None else [f"{late} Raise train.epochs to {attachment.schedule[-1][0] + 1} or more."]
    # of texts in blocks nobody sees the number: a page of poems is a hundred lines and one block
    if isinstance(task, LanguageModelling) and total < FEW and not recipe.train.max_steps:
        notes.append(
            f"The training text makes {rows} blocks of at most {task.block_size} tokens, which is {total} steps in "
            "all: few to learn from. Raise --epochs, or lower data.block_size or train.batch_size."
        )
    return notes
