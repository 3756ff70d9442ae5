"""Writing models: a base in Hugging Face form after pretraining."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from microtune.data.text import Tokenizer
from microtune.nn.transformer import Transformer
from microtune.recipe import Recipe
from microtune.run.disk import write_folder
from microtune.run.folder import RunFolder


def save_base(
    folder: RunFolder,
    recipe: Recipe,
    network: Transformer,
    tokenizer: Tokenizer,
    scores: dict[str, Any],
    facts: dict[str, Any],
) -> None:
    """Weights, config and tokenizer as `model/`, scores beside them."""

    from microtune.families.base import save_folder

    def fill(work: Path) -> None:
        state = {name: value.detach().cpu() for name, value in network.state_dict().items()}
        save_folder(work, network.spec, state, family=recipe.model.family, dtype=torch.bfloat16)
        tokenizer.save(work)

    write_folder(folder.path / "model", fill)
    folder.finish({"scores": scores, "facts": facts})
