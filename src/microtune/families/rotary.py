"""Rotary positions in a config.json: the base, the share of a head that turns, and the scalings.

transformers 4 says `rope_theta`, `rope_scaling` and `partial_rotary_factor`; transformers 5 puts all three into
`rope_parameters`. Both are read; two that disagree, a `rope_type` that we do not compute, or a number that belongs to
another one, are refused: each of them would change every angle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from microtune.errors import InputError, suggest
from microtune.families.config import Fields
from microtune.nn.spec import LONGEST, RopeKind, RopeScaling, StackSpec

SCALING, PARAMETERS, ORIGINAL = "rope_scaling", "rope_parameters", "original_max_position_embeddings"
COMMON = ("rope_type", "type", "rope_theta", "partial_rotary_factor")
OWN: dict[str, tuple[str, ...]] = {
    "default": (),
    "linear": ("factor",),
    "dynamic": ("factor",),
    "llama3": ("factor", ORIGINAL, "low_freq_factor", "high_freq_factor"),
    "yarn": ("factor", ORIGINAL, "attention_factor", "beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate"),
    "longrope": ("factor", ORIGINAL, "attention_factor", "short_factor", "long_factor"),
}
TINY = 1e-9


@dataclass(frozen=True, kw_only=True)
class RopeForm:
    """How a family writes its rotary positions, and what holds where its file says nothing.

    partial: whether its code can turn a share of each head only; kinds: the scalings that its code computes; original:
    its own default of the length of the first training.
    """

    theta: float = 10_000.0
    share: float = 1.0
    theta_key: str = "rope_theta"
    share_key: str = "partial_rotary_factor"
    partial: bool = False
    kinds: tuple[str, ...] = get_args(RopeKind)
    older: Mapping[str, str] | None = None  # other words for a rope_type
    original: int | None = None


@dataclass(frozen=True)
class Rope:
    """What a config.json says about rotary positions."""

    theta: float
    share: float
    scaling: RopeScaling | None

    def fields(self, head_size: int) -> dict[str, Any]:
        """As fields of a StackSpec."""
        turned = int(head_size * self.share)
        return {
            "positions": "rotary",
            "rope_theta": self.theta,
            "rope_scaling": self.scaling,
            "rotary_dim": None if turned == head_size else turned,
        }


def read_rope(config: Mapping[str, Any], max_positions: int, form: RopeForm) -> Rope:
    """The rotary positions of a config.json; whatever is unknown or contradicts itself is an InputError."""
    found: list[tuple[str, RopeScaling | None]] = []
    thetas: set[float] = set()
    shares: set[float] = set()
    least = 0.0 if form.partial else 1.0
    for key in (SCALING, PARAMETERS):
        values = config.get(key)
        if values is None or values == {}:
            continue
        if not isinstance(values, dict):
            raise InputError(f"{key} is {str(values)[:80]}, but must be an object.")
        found.append((key, _scaling(key, values, config, max_positions, form)))
        inner = Fields(values)
        thetas |= _numbers(inner, ("rope_theta",), 1.0, 1e12)
        shares |= _numbers(inner, ("partial_rotary_factor",), least, 1.0)
    outer = Fields(config)
    thetas |= _numbers(outer, (form.theta_key, "rope_theta"), 1.0, 1e12)
    shares |= _numbers(outer, (form.share_key, "partial_rotary_factor"), least, 1.0)
    if len(found) == 2 and found[0][1] != found[1][1]:
        raise InputError(f"{SCALING} and {PARAMETERS} say different things; keep one of them.")
    theta = _one(thetas, form.theta_key, form.theta)
    return Rope(theta, _one(shares, form.share_key, form.share), found[0][1] if found else None)


def write_rope(stack: StackSpec, config: Mapping[str, Any], form: RopeForm) -> dict[str, Any]:
    """The fields of config.json for the rotary positions of a stack; a file that says the same keeps its own words."""
    theta = {form.theta_key: stack.rope_theta}
    if any(config.get(key) for key in (SCALING, PARAMETERS, form.theta_key)):
        try:
            rope = read_rope(config, written_positions(stack, form), form)
        except InputError:
            rope = None
        same = (stack.rope_theta, stack.rope_scaling, stack.rotary_size)
        if rope is not None and (rope.theta, rope.scaling, int(stack.head_size * rope.share)) == same:
            return {}
    share = {form.share_key: stack.rotary_size / stack.head_size} if form.partial else {}
    original = {} if config.get(ORIGINAL, form.original) is None else {ORIGINAL: _original_of(stack, form)}
    gone = {SCALING: None} if SCALING in config else {}
    return theta | share | gone | original | {PARAMETERS: rope_parameters(stack, form.partial)}


def rope_parameters(stack: StackSpec, partial: bool = False) -> dict[str, Any]:
    """The object that transformers 5 calls `rope_parameters`."""
    scaling = stack.rope_scaling
    out: dict[str, Any] = {"rope_type": scaling.kind if scaling else "default", "rope_theta": stack.rope_theta}
    if partial:
        out["partial_rotary_factor"] = stack.rotary_size / stack.head_size
    if scaling is None:
        return out
    known = {
        "factor": scaling.factor,
        ORIGINAL: scaling.original_max_positions,
        "attention_factor": scaling.attention_factor,
        "low_freq_factor": scaling.low_freq_factor,
        "high_freq_factor": scaling.high_freq_factor,
        "beta_fast": scaling.beta_fast,
        "beta_slow": scaling.beta_slow,
        "truncate": scaling.truncate,
        "short_factor": list(scaling.short_factor),
        "long_factor": list(scaling.long_factor),
    }
    return out | {name: known[name] for name in OWN[scaling.kind] if name in known}


def written_positions(stack: StackSpec, form: RopeForm | None = None) -> int:
    """`max_position_embeddings` of a stack: with dynamic scaling it is the length of the first training."""
    scaling = stack.rope_scaling
    if scaling is not None and scaling.kind == "dynamic":
        return scaling.original_max_positions or 1
    return stack.max_positions or 2048


def _original_of(stack: StackSpec, form: RopeForm) -> int | None:
    scaling = stack.rope_scaling
    return scaling.original_max_positions if scaling and scaling.kind != "dynamic" else form.original


def _scaling(
    key: str, values: Mapping[str, Any], config: Mapping[str, Any], max_positions: int, form: RopeForm
) -> RopeScaling | None:
    """One of the two objects as a RopeScaling; None: no scaling."""
    kinds = {str(values[name]) for name in ("rope_type", "type") if values.get(name) is not None} or {"default"}
    kinds = {(form.older or {}).get(kind, kind) for kind in kinds}
    if len(kinds) > 1:
        raise InputError(f"{key}: rope_type is given as {' and as '.join(sorted(kinds))}; keep one.")
    kind = kinds.pop()
    known = ("default", *form.kinds)
    if kind not in known:
        raise InputError(f'{key}: rope_type "{kind[:60]}" is not supported. {suggest(kind, known)}')
    for name in values:
        if name not in COMMON and name not in OWN[kind]:
            raise InputError(f'{key}: the field "{str(name)[:60]}" is not supported with the {kind} rope_type.')
    if kind == "default":
        return None
    return RopeScaling(kind=kind, **_own_numbers(kind, values, config, max_positions, form))  # type: ignore[arg-type]


def _own_numbers(
    kind: str, values: Mapping[str, Any], config: Mapping[str, Any], max_positions: int, form: RopeForm
) -> dict[str, Any]:
    """The numbers of a RopeScaling of this kind."""
    fields = Fields(values)
    if kind == "linear":
        return {"factor": fields.number("factor", least=1.0)}
    if kind == "dynamic":  # its code takes the longest text of all for that of the first training
        return {"factor": fields.number("factor", least=1.0), "original_max_positions": max_positions}
    original = _original(values, config, max_positions, form)
    if kind == "longrope":
        factor = fields.number("factor", max(1.0, max_positions / original), least=1.0)
        usual = math.sqrt(1 + math.log(factor) / math.log(original))
        numbers: dict[str, Any] = {name: _list(values, name) for name in ("short_factor", "long_factor")}
        numbers["attention_factor"] = fields.number("attention_factor", usual, least=TINY)
    elif kind == "llama3":
        factor = fields.number("factor", least=1.0)
        numbers = {name: fields.number(name, least=TINY) for name in ("low_freq_factor", "high_freq_factor")}
    else:
        factor = fields.number("factor", least=1.0)
        bounds = (("beta_fast", 32.0), ("beta_slow", 1.0))
        numbers = {name: fields.number(name, usual, least=TINY) for name, usual in bounds}
        numbers |= {"truncate": fields.flag("truncate", True), "attention_factor": _yarn_attention(fields, factor)}
    return numbers | {"factor": factor, "original_max_positions": original}


def _original(values: Mapping[str, Any], config: Mapping[str, Any], max_positions: int, form: RopeForm) -> int:
    """The length of the first training; some files say it beside the object, not in it."""
    inner = Fields(values).optional(ORIGINAL)
    outer = Fields(config).optional(ORIGINAL) or form.original
    if inner is not None and outer is not None and inner != outer:
        raise InputError(f"{ORIGINAL} is given as {inner} and as {outer}; keep one.")
    found = inner or outer or max_positions
    if not 2 <= found <= LONGEST:
        raise InputError(f"{ORIGINAL} is {found}, but must be a whole number from 2 to {LONGEST}.")
    return found


def _yarn_attention(fields: Fields, factor: float) -> float:
    """What sharpens attention: given, or from the factor as the paper and DeepSeek have it."""
    one, all_dim = (fields.number(name, 0.0) for name in ("mscale", "mscale_all_dim"))
    usual = 0.1 * math.log(factor) + 1.0
    if one and all_dim:
        usual = (0.1 * one * math.log(factor) + 1.0) / (0.1 * all_dim * math.log(factor) + 1.0)
    return fields.number("attention_factor", usual, least=TINY)


def _list(values: Mapping[str, Any], name: str) -> tuple[float, ...]:
    numbers = values.get(name)
    if not isinstance(numbers, list) or len(numbers) > LONGEST:
        raise InputError(f"{name} is {str(numbers)[:80]}, but must be a list of numbers.")
    return tuple(Fields({name: number}).number(name, least=TINY) for number in numbers)


def _numbers(fields: Fields, keys: tuple[str, ...], least: float, most: float) -> set[float]:
    return {fields.number(key, 0.0, least=least, most=most) for key in keys if fields.config.get(key) is not None}


def _one(values: set[float], key: str, default: float) -> float:
    if len(values) > 1:
        raise InputError(f"{key} is given as {' and as '.join(f'{v:g}' for v in sorted(values))}; keep one.")
    return values.pop() if values else default
