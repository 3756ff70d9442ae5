"""One file per task: encode, readout, loss, decode, metrics."""

from microtune.tasks import classification, instruction, language_modelling, regression
from microtune.tasks.base import tasks

__all__ = ["classification", "instruction", "language_modelling", "regression", "tasks"]
