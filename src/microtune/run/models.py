"""Writing a base model in Hugging Face form after pretraining, with its card."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from microtune.data.text import Tokenizer
from microtune.errors import CheckError
from microtune.families.base import load_folder, save_folder
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe
from microtune.run.card import write_base_card
from microtune.run.checks import Ledger
from microtune.run.disk import write_folder
from microtune.run.folder import RunFolder, read_metrics
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
        save_folder(work, network.spec, state, family=recipe.model.family, config=dict(config or {}), dtype=SAVED)
        tokenizer.save(work)
        write_base_card(work / "README.md", recipe, scores, facts)

    write_folder(folder.path / "model", fill)
    again = load_folder(folder.path / "model", torch.float32).state
    if any(not torch.equal(again[name], value.float()) for name, value in state.items()):
        raise CheckError(f"{folder.path / 'model'}: the saved weights are not those that were scored.", check="reload")
    made = Ledger()
    made.passed(*checks, "reload")
    record = {"scores": scores, "facts": facts, "checks": made.record()}
    write_report(folder.path, record=record)
    folder.finish(record)
