"""A recurrent network as a folder in our own form, a base that can be tuned further; read back and compared."""

from __future__ import annotations

from pathlib import Path

import torch

from microtune.classic.recurrent import Recurrent
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.run.export.parity import COMPARED, Parity, gap_of, kind_of, outputs
from microtune.run.load import Model, load
from microtune.run.networks import write_recurrent


def check_own(model: Model, format: str) -> None:
    """The own form is for recurrent networks, and theirs alone."""
    recurrent = isinstance(model.network, Recurrent)
    if recurrent and format != "own":
        raise InputError(f"format: no other tool reads a recurrent network, so there is no {format} of it; take own.")
    if not recurrent and format == "own":
        raise InputError("format: own is for recurrent networks; for this model take hf.")
    if recurrent and isinstance(model.network.head, LabelHead):
        raise InputError("format: own keeps a network with its vocabulary head; this one was tuned for labels.")


def write_own(work: Path, model: Model) -> None:
    """config.json, model.safetensors and the tokenizer."""
    write_recurrent(work, model.spec, model.network.state_dict(), config=model.config, dtype=torch.float32)
    model.text.save(work)


def check_read(work: Path, model: Model, rows: list[list[int]]) -> Parity:
    """Our own reading, the only one there is, must give the very same numbers."""
    gap = gap_of(outputs(model, rows), outputs(load(work), rows))
    compared = COMPARED[kind_of(model)]
    return Parity("own", "microtune itself", False, compared, len(rows), gap, 0.0, "the same weights")
