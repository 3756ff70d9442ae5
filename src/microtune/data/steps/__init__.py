"""Preparation of rows in named steps; importing the package fills the registry."""

from microtune.data.steps import characters, filters, markup, personal, sampling, sentence_rows, substitution, words
from microtune.data.steps.apply import prepared_rows, run_steps, step_warnings, text_changer
from microtune.data.steps.base import RowStep, Step, StepReport, TextStep, make_step, steps

__all__ = [
    "RowStep",
    "Step",
    "StepReport",
    "TextStep",
    "characters",
    "filters",
    "make_step",
    "markup",
    "personal",
    "prepared_rows",
    "run_steps",
    "sampling",
    "sentence_rows",
    "step_warnings",
    "steps",
    "substitution",
    "text_changer",
    "words",
]
