"""Words that several commands say: which tasks there are, and where to read about them without loading them."""

from __future__ import annotations

from typing import Annotated

import typer

TASKS = "classification, regression, instruction, sequence-to-sequence, language-modelling"
NO_TASK = f"Say what the data is for, with --task: {TASKS}."
TaskName = Annotated[str | None, typer.Option("--task", help=TASKS)]
