"""Saved runs read again by a process that has never seen them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import load_file

import fresh_process
from microtune.run.export.parity import outputs, stored_rows
from microtune.run.load import load

CODE = """
import sys, torch; torch.set_num_threads(1)
from pathlib import Path
from microtune.run.load import load; from microtune.run.export.parity import outputs, stored_rows
from safetensors.torch import save_file
for i, path in enumerate(sys.argv[2:]):
    model = load(path)
    found = {str(j): t.contiguous() for j, t in enumerate(outputs(model, stored_rows(model)))}
    save_file(found, Path(sys.argv[1]) / f"{i}.safetensors")
"""


def check_read_afresh(paths: Iterable[Path], folder: Path) -> None:
    """The same outputs for the stored rows, bit for bit, on one thread here and there; all runs in one child."""
    paths = list(paths)
    fresh_process.run(CODE, folder, *paths)
    for number, path in enumerate(paths):
        model, there = load(path), load_file(folder / f"{number}.safetensors")
        here = outputs(model, stored_rows(model))
        assert len(here) == len(there) > 3, path
        assert all(torch.equal(t, there[str(i)]) for i, t in enumerate(here)), path
