"""One file per task: encode, readout, loss, decode, metrics."""

from microtune.tasks import (
    classification,
    instruction,
    language_modelling,
    multiple_choice,
    preference,
    question_answering,
    regression,
    sequence_to_sequence,
    similarity,
    token_labelling,
)
from microtune.tasks.base import tasks

__all__ = [
    "classification",
    "instruction",
    "language_modelling",
    "multiple_choice",
    "preference",
    "question_answering",
    "regression",
    "sequence_to_sequence",
    "similarity",
    "tasks",
    "token_labelling",
]
