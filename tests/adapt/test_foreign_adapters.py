"""Other tools call a file adapter_config.json too; theirs are told from peft's, and named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from microtune.errors import InputError
from microtune.run.load import load

FOREIGN: dict[str, tuple[dict[str, Any], str]] = {
    "mlx-lm": (
        {"fine_tune_type": "lora", "num_layers": 4, "lora_parameters": {"rank": 8, "scale": 20.0}},
        "an adapter of mlx-lm, not of peft",
    ),
    "adapters": (
        {"config": {"architecture": "lora", "alpha": 8, "r": 8}, "config_id": "625403edad0bf919"},
        r"an adapter of the library adapters \(AdapterHub\), not of peft",
    ),
    "nobody known": ({"r": 8}, "only LORA adapters are read"),
}


@pytest.mark.parametrize("tool", list(FOREIGN))
def test_files_of_other_tools_are_named(tool: str, tmp_path: Path) -> None:
    values, message = FOREIGN[tool]
    (tmp_path / "adapter_config.json").write_text(json.dumps(values))
    with pytest.raises(InputError, match=message):
        load(tmp_path)
