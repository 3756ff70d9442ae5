"""Writing a base model in Hugging Face form after pretraining, with its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microtune.classic.recurrent import Recurrent
from microtune.data.text import Tokenizer
from microtune.errors import CheckError
from microtune.families.base import load_folder, save_folder
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe
from microtune.run.card import write_base_card
from microtune.run.checks import Ledger
from microtune.run.disk import write_folder
from microtune.run.folder import RunFolder, read_metrics
from microtune.run.networks import is_recurrent, read_recurrent, write_recurrent
from microtune.run.report import write_report

SAVED = torch.bfloat16


def save_base(
    folder: RunFolder,
    recipe: Recipe,
    network: Transformer,
    tokenizer: Tokenizer,
    scores: dict[str, Any],
    facts: dict[str, Any],
    checks: Sequence[str] = (),
    config: Mapping[str, Any] | None = None,
) -> None:
    """Weights, config, tokenizer and card as `model/`, scores beside them; what was written is read back.

    checks: those that the run has passed; config: fields of config.json that no spec decides.
    """
    state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
    steps = [m for m in read_metrics(folder.path / "metrics.jsonl") if m.get("kind") == "step"]
    facts = {**facts, "steps": len(steps), "seconds": round(sum(m["seconds"] for m in steps))}

    def fill(work: Path) -> None:
        if isinstance(network, Recurrent):
            write_recurrent(work, network.spec, state, config=dict(config or {}), dtype=SAVED)
        else:
            save_folder(work, network.spec, state, family=recipe.model.family, config=dict(config or {}), dtype=SAVED)
        tokenizer.save(work)
        write_base_card(work / "README.md", recipe, scores, facts)

    write_folder(folder.path / "model", fill)
    again = _written(folder.path / "model")
    if any(not torch.equal(again[name], state[name].float()) for name in again):
        raise CheckError(f"{folder.path / 'model'}: the saved weights are not those that were scored.", check="reload")
    made = Ledger()
    made.passed(*checks, "reload")
    record = {"scores": scores, "facts": facts, "checks": made.record()}
    write_report(folder.path, record=record)
    folder.finish(record)


def _written(path: Path) -> dict[str, Tensor]:
    """The tensors of a folder as they are read back; of a recurrent one a tied head is not among them."""
    return read_recurrent(path, torch.float32)[1] if is_recurrent(path) else load_folder(path, torch.float32).state
