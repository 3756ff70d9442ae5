"""Adapters of other tools, which call their files as PEFT does and mean something else by them: named, never misread.

Several tools write an `adapter_config.json`, each with its own schema; and PEFT itself keeps twenty methods in one pair
of files. Whoever holds such a folder is told whose it is and what can be done with it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from microtune.errors import InputError

MERGE = "merge it into its base with peft (`merge_and_unload`) and load the result"
PROMPT = "it adds virtual tokens and cannot be merged; use it with peft"
PEFT_TYPES = {
    "ADALORA": ("AdaLoRA, ranks that differ and a third factor", MERGE),
    "ADAPTION_PROMPT": ("LLaMA-Adapter", PROMPT),
    "BOFT": ("butterfly orthogonal factors", MERGE),
    "CPT": ("context-aware prompt tuning", PROMPT),
    "FOURIERFT": ("Fourier coefficients", MERGE),
    "LOHA": ("LoHa of LyCORIS, Hadamard products", MERGE),
    "LOKR": ("LoKr of LyCORIS, Kronecker products", MERGE),
    "LN_TUNING": ("norms", MERGE),
    "MULTITASK_PROMPT_TUNING": ("prompt tuning", PROMPT),
    "OFT": ("orthogonal factors", MERGE),
    "P_TUNING": ("prompt tuning by an encoder", PROMPT),
    "VERA": ("VeRA, shared random projections", MERGE),
    "XLORA": ("a mixture of LoRAs", "use it with peft"),
}
READ = "IA3, LORA, PREFIX_TUNING and PROMPT_TUNING"
# Whose -> (keys of an adapter_config.json, all of which it has and PEFT does not; what to do).
SCHEMAS = {
    "mlx-lm": (("lora_parameters",), "fuse it with `mlx_lm.fuse --de-quantize` and load the result"),
    "AdapterHub's `adapters`": (
        ("config", "model_class"),
        "merge or retrain it; only LoRA in the form of peft is read",
    ),
    "LitGPT": (
        ("lora_r", "lora_alpha"),
        "merge it with `litgpt merge_lora`, convert it with `litgpt convert_from_litgpt`",
    ),
    "LyCORIS": (("algo", "linear_dim"), "merge it with LyCORIS and load the result"),
    "kohya's sd-scripts": (("network_module",), "it belongs to an image model, which is not read"),
    "OpenDelta": (("delta_type",), "merge it with OpenDelta and load the result"),
}
# Parts of tensor names -> whose.
TENSORS = {
    ".hada_w": "LoHa (LyCORIS)",
    ".lokr_w": "LoKr (LyCORIS)",
    ".oft_": "orthogonal fine-tuning",
    ".vera_lambda": "VeRA",
    ".ia3_l": "IA3",
    ".lora_E": "AdaLoRA",
    ".lora_a": "mlx-lm",
    ".lora_down.": "kohya's sd-scripts",
    "prompt_embeddings": "prompt or prefix tuning",
    "adaption_prompt": "LLaMA-Adapter",
    ".adapters.": "AdapterHub's `adapters`",
}


def refuse_schema(values: Mapping[str, Any], path: Path) -> None:
    """Refuse an adapter_config.json of another tool, or of another method of PEFT, by its name."""
    kind = values.get("peft_type")
    if kind in ("LORA", "IA3"):
        return
    if isinstance(kind, str) and kind in PEFT_TYPES:
        method, then = PEFT_TYPES[kind]
        raise InputError(
            f'{path}: peft_type "{kind}" is not supported ({method}); only {READ} adapters are read: {then}.'
        )
    for whose, (keys, then) in SCHEMAS.items():
        if kind is None and all(key in values for key in keys):
            raise InputError(
                f'{path}: an adapter of {whose}, which only shares the file name with PEFT ("{keys[0]}" is its field); '
                f"{then}."
            )
    raise InputError(f'{path}: peft_type "{str(kind)[:40]}" is not supported; only {READ} adapters are read.')


def refuse_tensors(names: Iterable[str], path: Path) -> None:
    """Refuse tensors of another method than LoRA under the name of PEFT's file, by the first one."""
    for name in sorted(names):
        whose = next((whose for part, whose in TENSORS.items() if part in name), None)
        if whose is not None:
            raise InputError(
                f'{path}: tensor "{name}" is one of {whose}, not of LoRA as peft writes it; merge the adapter with the '
                "tool that made it and load the result."
            )
