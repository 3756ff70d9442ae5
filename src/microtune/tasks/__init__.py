"""One file per task: encode, readout, loss, decode, metrics."""

from microtune.tasks import classification, instruction, language_modelling

__all__ = ["classification", "instruction", "language_modelling"]
