"""One file per task: encode, readout, loss, decode, metrics."""

from microtune.tasks import language_modelling

__all__ = ["language_modelling"]
