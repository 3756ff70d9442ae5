"""`microtune export` and `microtune merge`: a model for other tools."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from microtune.cli.console import again, out, plain, show_note
from microtune.cli.language import named, said

Folder = Annotated[str, typer.Option("--out", help="folder to write")]
Overwrite = Annotated[bool, typer.Option(help="replace an earlier export")]
AsJson = Annotated[bool, typer.Option("--json", help="the report as JSON on stdout")]


def export(
    source: Annotated[str, typer.Argument(metavar="RUN_OR_MODEL", help="run, adapter folder, model folder, name")],
    folder: Folder,
    form: Annotated[str, typer.Option("--format", help="hf, peft, gguf, onnx or own")],
    dtype: Annotated[
        str | None, typer.Option(help="hf: float32, bfloat16, float16; gguf: float16, float32, q8_0")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Write a model for other tools, and have one of them read it back."""
    from microtune.run.export import export as run_export

    _show(run_export(source, format=form, out=folder, dtype=dtype, overwrite=overwrite, lang=named()), as_json)


def merge(
    source: Annotated[str, typer.Argument(metavar="RUN", help="run or adapter folder")],
    folder: Folder,
    dtype: Annotated[str | None, typer.Option(help="float32, bfloat16 or float16 [default: float32]")] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Fold an adapter into its base, and write the whole model in Hugging Face form."""
    from microtune.run.export import merge as run_merge

    _show(run_merge(source, out=folder, dtype=dtype, overwrite=overwrite, lang=named()), as_json)


def _show(made: Any, as_json: bool) -> None:
    parity = made.parity
    told = {"notes": made.notes} if made.notes else {}
    if as_json:
        print(json.dumps({"path": str(made.path), **parity.record(), **made.facts, **told}, ensure_ascii=False))
        return
    if parity.note:
        show_note(parity.note)
    facts = made.facts
    for note in made.notes:
        show_note(note)
    if "merge_gap" in facts:
        form = "{count} updates merged; outputs moved by at most {gap} (allowed: {bound})"
        gaps = {"gap": f"{facts['merge_gap']:.2g}", "bound": f"{facts['merge_bound']:.2g}"}
        out.print(said(form, count=facts["merged_updates"], **gaps), soft_wrap=True)
        for name, old in facts.get("test_before", {}).items():
            scores = {"old": f"{old:.4f}", "new": f"{facts['test_after'][name]:.4f}"}
            out.print(said("  test {metric}: {old} before, {new} after", metric=plain(name), **scores), soft_wrap=True)
        if "test" in facts:
            out.print(said("  test split {reason}", reason=plain(again(facts["test"]))), soft_wrap=True)
    form = "{compared} of {rows} rows, read by {reader}: largest difference {gap} (allowed: {bound}, {reason})"
    read = {"compared": plain(again(parity.compared)), "rows": parity.rows, "reader": plain(again(parity.reader))}
    gaps = {"gap": f"{parity.gap:.2g}", "bound": f"{parity.bound:.2g}", "reason": plain(again(parity.reason))}
    out.print(said(form, **read, **gaps), soft_wrap=True)
    for name, value in parity.facts:
        heading = again(name.replace("_", " "))
        out.print(said("  {name}: {value}", name=plain(heading), value=plain(again(str(value)))), soft_wrap=True)
    out.print(said("saved: {path}", path=plain(made.path)), soft_wrap=True)
