"""Options that several commands share, and the words they say; nothing is loaded for them."""

from __future__ import annotations

from typing import Annotated

import typer

TASKS = (
    "classification, regression, token-labelling, question-answering, multiple-choice, similarity, instruction, "
    "preference, sequence-to-sequence, language-modelling"
)
NO_TASK = f"Say what the data is for, with --task (`microtune lint` guesses it): {TASKS}."
TaskName = Annotated[str | None, typer.Option("--task", help=TASKS)]
DataName = Annotated[str | None, typer.Argument(help="data (file, glob, folder, or `tickets`) or a recipe (.yaml)")]
ModelName = Annotated[
    str | None, typer.Option("--model", help="base, folder, file, hub id[@revision] [default: sprout]")
]
MethodName = Annotated[
    str | None, typer.Option("--method", help="full, head, top:2, lora:8, head+bitfit, auto [default: lora]")
]
Epochs = Annotated[float | None, typer.Option("--epochs", help="passes over the training rows [default: 3]")]
Validation = Annotated[str | None, typer.Option("--validation", help="rows for choosing [default: cut from the data]")]
Test = Annotated[str | None, typer.Option("--test", help="rows for the final score [default: cut from the data]")]
Split = Annotated[
    str | None, typer.Option("--split", help="name of a field that says train, validation or test; or `none`")
]
TextField = Annotated[str | None, typer.Option("--text-field", help="field with the text [default: detected]")]
LabelField = Annotated[str | None, typer.Option("--label-field", help="field with the label [default: detected]")]
TheirText = Annotated[
    str | None, typer.Option("--text-field", help="field of these rows with the text [default: as in training]")
]
TheirLabel = Annotated[
    str | None, typer.Option("--label-field", help="field of these rows with the label [default: as in training]")
]
Encoding = Annotated[str | None, typer.Option("--encoding", help="text encoding [default: recognised]")]
Header = Annotated[bool | None, typer.Option("--header/--no-header", help="tables have a header [default: recognised]")]
RunFolder = Annotated[
    str | None, typer.Option("--out", help="run folder [default: runs/<data>-<task>-<method>-<hash>]")
]
Lang = Annotated[
    str | None,
    typer.Option("--lang", help="language of the pages: en or zh [default: MICROTUNE_LANG, or en]"),
]
