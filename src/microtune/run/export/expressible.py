"""Which fields of a spec another form can express: everything that is not listed must stand at its default.

A field that is added to the spec later is therefore refused by every form that does not know it yet, and never dropped
in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any

from microtune.errors import InputError
from microtune.nn.spec import ModelSpec, StackSpec

SIZES = ("num_layers", "hidden_size", "num_heads", "num_kv_heads", "head_dim", "intermediate_size", "max_positions")
BIASES = ("query_bias", "key_bias", "value_bias", "output_bias", "mlp_bias")
IDLE_STACK = ("dropout", "relative_buckets", "relative_max_distance")
IDLE_MODEL = ("encoder", "decoder", "vocab_size", "tied", "pooling", "label_head", "label_bias", "label_dropout")


def require(
    spec: StackSpec | ModelSpec, allowed: Mapping[str, tuple[Any, ...]], free: Iterable[str], *, what: str
) -> None:
    """InputError that names `what` and the first fields of `spec` beyond it.

    allowed: field -> the values it may have; free: fields that may have any; all others keep their default.
    """
    known = {*free, *(IDLE_MODEL if isinstance(spec, ModelSpec) else IDLE_STACK), "initializer_range"}
    wrong = [
        f"{field.name} {getattr(spec, field.name)}"
        for field in fields(spec)
        if field.name not in known and getattr(spec, field.name) not in allowed.get(field.name, (field.default,))
    ]
    if wrong:
        raise InputError(f"{what} cannot express this model ({', '.join(wrong[:4])}).")


def idle(stack: StackSpec) -> tuple[str, ...]:
    """Fields that do nothing in a stack of these positions and layers."""
    found: tuple[str, ...] = ()
    if stack.positions != "rotary":
        found += ("rope_theta", "rope_local_theta", "rope_scaling", "rope_layout", "rotary_dim")
    if stack.positions not in ("learned", "sinusoidal"):
        found += ("position_offset",)
    if stack.positions != "sinusoidal":
        found += ("sinusoids",)
    found += ("norm_bias",) if stack.norm == "rms" else ("norm_shift",)
    if "L" not in stack.pattern:
        found += ("window", "pattern", "rope_local_theta")
    return found
