"""The options that name parallel files, `--source train.en.gz --target train.de.gz`, and what they make of the data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from microtune.errors import InputError

SourceFile = Annotated[
    str | None, typer.Option("--source", help="text to read, line by line; beside a folder as DATA: its ending")
]
TargetFile = Annotated[
    str | None, typer.Option("--target", help="text to write, line by line; beside a folder as DATA: its ending")
]
ValidationSource = Annotated[str | None, typer.Option(help="validation rows as parallel files")]
ValidationTarget = Annotated[str | None, typer.Option(help="validation rows as parallel files")]
TestSource = Annotated[str | None, typer.Option(help="test rows as parallel files")]
TestTarget = Annotated[str | None, typer.Option(help="test rows as parallel files")]


def pair(source: str | None, target: str | None, what: str = "") -> dict[str, str] | None:
    """{source, target}; None where neither is given, an InputError where one is."""
    if source is None and target is None:
        return None
    if source is None or target is None:
        given, other = ("source", "target") if target is None else ("target", "source")
        raise InputError(f"--{what}{given} names one file of two; give --{what}{other} too.")
    return {"source": source, "target": target}


def is_recipe(data: str | None) -> bool:
    """Whether the argument DATA is a recipe."""
    return data is not None and data.endswith((".yaml", ".yml"))


def data_of(
    data: str | None, overrides: list[str] | None, files: dict[str, str] | None
) -> tuple[dict[str, Any], list[str]]:
    """Plain recipe values from the argument DATA and the parallel files, and the overrides.

    Without DATA the first override stands in its place, for both are arguments without a name.
    """
    from microtune import recipe as recipes

    rest = list(overrides or [])
    if data is not None and files is not None and "=" in data and not Path(data).exists():
        rest.insert(0, data)
        data = None
    if data is None and files is None:
        raise InputError("Name the data: a file, a glob, a folder, a recipe (.yaml), or --source and --target.")
    if is_recipe(data):
        values = recipes.override(recipes.load(str(data)), [])
        if files is not None:
            values["data"] = (values.get("data") or {}) | {"train": files}
        return values, rest
    if files is None:
        return {"data": data}, rest
    if data is None:
        return {"data": {"train": files}}, rest
    if not Path(data).is_dir():
        raise InputError(f"{data}: beside --source and --target, DATA is a folder with parallel files; leave it out.")
    return {"data": {"train": {"folder": data, **files}}}, rest
