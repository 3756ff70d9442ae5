"""One file per task: encode, readout, loss, decode, metrics."""

from microtune.tasks import classification, instruction, language_modelling, regression, sequence_to_sequence
from microtune.tasks.base import tasks

__all__ = ["classification", "instruction", "language_modelling", "regression", "sequence_to_sequence", "tasks"]
