"""LoRA in PEFT's form.

Our runs keep an update per role; PEFT keeps one per module of transformers. They differ where a family fuses weights
(q, k and v of GPT-2 in one `c_attn`): several updates become one of stacked A and block-diagonal B, and one update of a
fused module becomes several that share A.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microtune.adapt.base import set_module
from microtune.adapt.lora import DoRALinear, LoRA, LoRALinear, magnitude_of
from microtune.errors import InputError
from microtune.families.base import roles
from microtune.run.load import Model
from microtune.run.peft.config import AdapterConfig
from microtune.run.peft.modules import (
    by_module,
    linear_of,
    rule_of,
    saved_modules,
    selected,
    split_rows,
    targets,
    task_type,
    transposed,
    write_files,
)
from microtune.run.peft.update import A_END, B_END, CONFIG, MAGNITUDE, PREFIX, WEIGHTS, Update, adapted, check_shapes


def write_lora(
    folder: Path, model: Model, method: LoRA, head: Mapping[str, Tensor], *, base_name: str, digest: str
) -> None:
    """Write the updates of `model`, and the head that trained under their names, as `peft` does."""
    found = by_module(model, LoRALinear)
    dora = any(isinstance(update, DoRALinear) for parts in found.values() for update in parts.values())
    updates = {module: _joined(model, module, parts, dora=dora) for module, parts in found.items()}
    if not updates:
        raise InputError("This model holds no LoRA update, so there is no adapter to write.")
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in head.items()}
    for module, update in updates.items():
        tensors[f"{PREFIX}{module}{A_END}"] = update.A
        tensors[f"{PREFIX}{module}{B_END}"] = update.B
        if update.magnitude is not None:
            tensors[f"{PREFIX}{module}{MAGNITUDE}"] = update.magnitude
    ranks = {module: len(update.A) for module, update in updates.items()}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    stable = method.variant == "rslora"
    sizes = {module: math.sqrt(r) if stable else r for module, r in ranks.items()}
    alphas = {module: _number(update.scale * sizes[module]) for module, update in updates.items()}
    alpha = Counter(alphas[module] for module, r in ranks.items() if r == rank).most_common(1)[0][0]
    config = {
        "peft_type": "LORA",
        "task_type": task_type(model),
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": method.dropout,
        "target_modules": targets(model, list(updates)),
        "rank_pattern": _pattern(model, ranks, rank),
        "alpha_pattern": _pattern(model, alphas, alpha),
        "modules_to_save": saved_modules(head),
        "fan_in_fan_out": any(transposed(model, module) for module in updates),
        "bias": "none",
        "use_rslora": stable,
        "use_dora": any(update.magnitude is not None for update in updates.values()),
        "init_lora_weights": True,
    }
    write_files(folder, tensors, config, digest)


def _joined(model: Model, module: str, parts: Mapping[int, LoRALinear], *, dora: bool) -> Update:
    """Several updates of one fused module as one: stacked A, block-diagonal B; ratios of scales go into B.

    Where the module holds its parts head by head, so do B and DoRA's magnitude: their rows are those of the fused
    weight. A part without an update has the magnitude that leaves it as it is.
    """
    members = roles(model.family, module, spec=model.spec)
    scale = next(iter(parts.values())).scale
    magnitude: Tensor | None = None
    if dora:
        columns = [magnitude_of(model.network.get_submodule(role))[:, None] for role in members]
        magnitude = torch.cat(rule_of(model, module).pieces(columns))[:, 0]
    factors = {i: update.factors() for i, update in parts.items()}
    if len(members) == 1:
        return Update(*factors[0], scale, magnitude)
    ranks = [len(factors[i][0]) if i in parts else 0 for i in range(len(members))]
    dtype = next(iter(factors.values()))[1].dtype
    rows = [torch.zeros(linear_of(model.network, role).out_features, sum(ranks), dtype=dtype) for role in members]
    for i, update in parts.items():
        column = sum(ranks[:i])
        block = factors[i][1].cpu()
        rows[i][:, column : column + ranks[i]] = block if update.scale == scale else block * (update.scale / scale)
    A = torch.cat([factors[i][0].cpu() for i in sorted(parts)])
    return Update(A, torch.cat(rule_of(model, module).pieces(rows)), scale, magnitude)


def _pattern(model: Model, values: Mapping[str, Any], usual: Any) -> dict[str, Any]:
    """Exceptions from the usual value; keys select modules by their ends, as in `_targets`."""
    found: dict[str, Any] = {}
    for value in sorted(set(values.values()) - {usual}):
        names = [module for module, own in values.items() if own == value]
        found |= dict.fromkeys(targets(model, names), value)
    return found


def _number(value: float) -> float | int:
    rounded = round(value)
    return rounded if abs(value - rounded) < 1e-9 * max(1.0, abs(value)) else value


def take_updates(folder: Path, tensors: dict[str, Tensor], *, dora: bool) -> dict[str, dict[str, Tensor]]:
    """Take A, B and with DoRA the magnitudes out of `tensors`: module -> end of its name -> tensor."""
    found: dict[str, dict[str, Tensor]] = {}
    ends = (A_END, B_END, MAGNITUDE) if dora else (A_END, B_END)
    for module in sorted({name.removesuffix(end) for name in tensors for end in ends if name.endswith(end)}):
        for end in ends:
            if module + end not in tensors:
                raise InputError(
                    f'{folder / WEIGHTS}: tensor "{PREFIX}{module}{end}" is missing; save the adapter again.'
                )
        found[module] = {end: tensors.pop(module + end) for end in ends}
    stray = sorted(name for name in tensors if name.endswith(MAGNITUDE))
    if stray:
        raise InputError(
            f'{folder / WEIGHTS}: tensor "{PREFIX}{stray[0]}" is one of DoRA, which {CONFIG} does not name (use_dora); '
            "save the adapter again."
        )
    return found


def attach_updates(folder: Path, model: Model, config: AdapterConfig, updates: dict[str, dict[str, Tensor]]) -> None:
    """Put updates on their roles; whatever does not fit is an InputError."""
    path = folder / WEIGHTS
    chosen = selected(folder, model, config, set(updates), what="an update", end=A_END)
    for name, members in chosen.items():
        found, rule = updates[name], rule_of(model, name)
        rank, scale = config.rank(name), config.scale(name)
        linears = [linear_of(model.network, role) for role in members]
        sizes = [linear.out_features for linear in linears]
        check_shapes(path, name, found, rank=rank, inputs=linears[0].in_features, outputs=sum(sizes))
        rows = split_rows(rule, found[B_END], sizes)
        lengths: list[Tensor] | list[None] = [None] * len(sizes)
        if config.use_dora:
            lengths = [part[:, 0] for part in split_rows(rule, found[MAGNITUDE][:, None], sizes)]
        for role, linear, B, length in zip(members, linears, rows, lengths, strict=True):
            set_module(model.network, role, adapted(linear, Update(found[A_END], B, scale, length)))
