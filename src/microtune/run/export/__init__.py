"""`microtune export` and `microtune merge`: write a model in the form of other tools, and have them read it.

Everything is written beside its place and renamed at the end. Before that, a reader that is not ours opens the files
and its answers for stored prompts are compared with ours; what came of it stands in parity.json beside them. A failed
check leaves nothing behind.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from microtune.adapt.virtual import refuse_virtual
from microtune.errors import InputError, RunError, suggest
from microtune.run.disk import write_folder, write_json
from microtune.run.export.beside import beside
from microtune.run.export.card import Made, write_card
from microtune.run.export.label_folder import with_its_labels
from microtune.run.export.merging import fold, merged, refuse_slots
from microtune.run.export.own_folder import check_own, check_read, write_own
from microtune.run.export.parity import Parity, outputs, run_items, stored_rows
from microtune.run.load import DTYPES, Model, load
from microtune.run.report.words import Words

Format = Literal["hf", "peft", "gguf", "onnx", "own"]
KINDS: dict[str, tuple[str, ...]] = {  # format -> number formats of its weights, the usual one first
    "hf": ("float32", "bfloat16", "float16"),
    "peft": ("float32",),
    "gguf": ("float16", "float32", "q8_0"),
    "onnx": ("float32",),
    "own": ("float32",),
}
REPORT = "parity.json"


@dataclass(frozen=True)
class Exported:
    """An exported folder, and what came of reading it."""

    path: Path
    parity: Parity
    facts: dict[str, Any]
    notes: list[str] = field(default_factory=list)  # what of the run's answers the files do not hold


def export(
    source: str | Path,
    *,
    format: str,
    out: str | Path,
    dtype: str | None = None,
    overwrite: bool = False,
    lang: str | None = None,
) -> Exported:
    """Write a model, a run or an adapter for other tools, and check with one of them what was written.

    format: hf (transformers, sentence-transformers), peft (the adapter alone), gguf (llama.cpp), onnx, own (a base for
    further tuning, of recurrent networks). dtype: number format of the weights: hf float32 | bfloat16 | float16, gguf
    float16 | float32 | q8_0. overwrite: replace an earlier export. lang: of its card, "en" or "zh" (default: that of
    the run's own). InputError where the form cannot express the model, CheckError where a reader computes something
    else.
    """
    kind = _number_format(format, dtype)
    Words(lang or "en")
    target = _target(out, overwrite)
    model = with_its_labels(load(source, dtype="float32"))
    refuse_slots(source, model.network)
    check_own(model, format)
    if format == "peft":
        return _export_peft(model, target, lang)
    refuse_virtual(model.network)
    rows = stored_rows(model, run_items(model)[0])
    updates = fold(model.network)
    facts = {"merged_updates": updates} if updates else {}
    write, check = _writers(format, model, kind, rows)
    return _finish(model, Made(format, target, kind, facts, lang), write, check)


def merge(
    source: str | Path, *, out: str | Path, dtype: str | None = None, overwrite: bool = False, lang: str | None = None
) -> Exported:
    """Fold the adapter of a run or of an adapter folder into its base, and write the whole model in Hugging Face form.

    Refused (CheckError) where outputs, or the score of the run's test split, move by more than rounding explains.
    """
    kind = _number_format("hf", dtype)
    Words(lang or "en")
    target = _target(out, overwrite)
    made = merged(source)
    write, check = _writers("hf", made.model, kind, made.rows)
    return _finish(made.model, Made("hf", target, kind, made.record(), lang), write, check)


def _number_format(format: str, dtype: str | None) -> str:
    if format not in KINDS:
        raise InputError(f'format: unknown value "{format}". {suggest(format, KINDS)}')
    if dtype is not None and dtype not in KINDS[format]:
        raise InputError(f'dtype: {format} files are not written in "{dtype}"; known are {", ".join(KINDS[format])}.')
    return dtype or KINDS[format][0]


def _target(out: str | Path, overwrite: bool) -> Path:
    """The folder to write, which must be new, empty, or with `overwrite` an earlier export."""
    path = Path(out)
    if path.is_dir() and any(path.iterdir()):
        if not (path / REPORT).is_file():
            raise RunError(f"{path}: exists and is not an export; choose another folder with --out.")
        if not overwrite:
            raise RunError(f"{path}: holds an export already; choose another folder, or replace it with --overwrite.")
    elif path.exists() and not path.is_dir():
        raise RunError(f"{path}: exists and is not a folder; choose another with --out.")
    return path


def _finish(model: Model, made: Made, write: Callable[[Path], None], check: Callable[[Path], Parity]) -> Exported:
    """Write into a working folder, check there, and let the folder appear only when the check has passed."""
    found: list[Parity] = []
    notes = beside(model)

    def fill(work: Path) -> None:
        write(work)
        found.append(check(work).require())
        write_json(work / REPORT, {**found[0].record(), **made.facts, **({"notes": notes} if notes else {})})
        write_card(work, model, made, found[0])

    write_folder(made.target, fill)
    return Exported(made.target, found[0], made.facts, notes)


def _writers(
    format: str, model: Model, kind: str, rows: list[list[int]]
) -> tuple[Callable[[Path], None], Callable[[Path], Parity]]:
    """How to write one of the forms of a whole model, and how to check it."""
    if format == "gguf":
        from microtune.run.export.gguf_check import check_gguf
        from microtune.run.export.gguf_file import write_gguf

        return (lambda work: write_gguf(work, model, kind)), (lambda work: check_gguf(work, model, kind, rows))
    if format == "own":
        return (lambda work: write_own(work, model)), (lambda work: check_read(work, model, rows))
    if format == "onnx":
        from microtune.run.export.onnx_file import check_onnx, write_onnx

        return (lambda work: write_onnx(work, model)), (lambda work: check_onnx(work, model, rows))
    from microtune.run.export.hf_folder import write_hf
    from microtune.run.export.readers import check_hf

    number = DTYPES[kind]

    def check(work: Path) -> Parity:
        return check_hf(work, model, rows, _as_stored(model, rows, number))

    return (lambda work: write_hf(work, model, number)), check


@torch.no_grad()
def _as_stored(model: Model, rows: list[list[int]], number: torch.dtype) -> list[Tensor]:
    """The outputs of the weights as the file keeps them, so that only the reading is compared, not the rounding."""
    if number == torch.float32:
        return outputs(model, rows)
    for tensor in (*model.network.parameters(), *model.spare.values()):
        tensor.copy_(tensor.to(number))
    return outputs(model, rows)


def _export_peft(model: Model, target: Path, lang: str | None) -> Exported:
    from microtune.run.export.peft_folder import base_of, write_adapter
    from microtune.run.export.readers import check_peft

    base = base_of(model)
    rows = stored_rows(model, run_items(model)[0])
    return _finish(
        model,
        Made("peft", target, "float32", {"base": base.name}, lang, base=base.name, inside=base.inside),
        lambda work: write_adapter(work, model, base),
        lambda work: check_peft(work, base.path if not base.inside else work / base.name, model, rows),
    )
