"""What of a run's answers an exported model does not hold, so that whoever uses it has to do it beside the model.

A standardised target, the preparation of texts, a threshold of several labels, the longest text: our own `predict` does
all of that from task.json, other programs know nothing of it, and would give other answers without a word.
"""

from __future__ import annotations

from microtune.run.load import Model
from microtune.tasks.classification import Classification
from microtune.tasks.question_answering import QuestionAnswering
from microtune.tasks.regression import Regression


def beside(model: Model) -> list[str]:
    """Sentences for a reader, and for parity.json."""
    task, notes = model.task, []
    if task is None:
        return []
    if isinstance(task, Regression):
        notes.append(
            f"The exported model gives a standardised number: an answer is its output x {task.deviation:.10g} + "
            f"{task.mean:.10g}."
        )
    if isinstance(task, Classification) and task.form == "multi":
        notes.append(f"A label is given where the sigmoid of its score reaches {task.threshold:g}.")
    if isinstance(task, Classification) and task.form != "multi" and task.temperature != 1.0:
        notes.append(f"Confidences are calibrated by scores divided by {task.temperature:.6g} before the softmax.")
    if isinstance(task, QuestionAnswering) and task.unanswerable:
        notes.append(f"An answer is given where it is surer than none by more than {task.threshold:.6g}.")
    if task.steps:
        names = ", ".join(str(step.get("name")) for step in task.steps)
        notes.append(f"Texts are prepared by the steps {names} first; whoever reads the exported model has to do so.")
    if task.wordings:
        names = ", ".join(f"task.{option}" for option, _ in task.wordings)
        notes.append(f"Texts are put together by the templates {names} first (see recipe.yaml).")
    return notes
