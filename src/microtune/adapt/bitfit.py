"""BitFit: every bias trains and nothing else (Ben Zaken, Ravfogel and Goldberg, 2022).

A thousandth of a BERT is biases: those of linear roles and of norms inside the blocks, of the norm behind the embedding
and of the final norm. Most decoders of today have none, and are refused.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field
from torch import nn

from microtune.adapt.base import Attachment, Method, freeze, methods, snapshot, train_task_head
from microtune.adapt.ranges import check_range, cut_below, in_range, stacks
from microtune.errors import InputError
from microtune.nn.layers import LayerNorm, RMSNorm
from microtune.nn.transformer import Transformer


class BitFit(Method):
    """Train all biases, and a label head."""

    name: Literal["bitfit"] = "bitfit"
    first_block: int = Field(default=0, ge=0, description="only blocks from this one upwards")
    last_block: int | None = Field(default=None, ge=0, description="only blocks up to this one; default: the last")
    default_lr: ClassVar[float] = 4e-3
    default_head_lr: ClassVar[float | None] = 4e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze everything but the biases; InputError where there is none."""
        check_range(model, self.name, self.first_block, self.last_block)
        names = [name for name, _ in model.named_parameters() if name.endswith(".bias") and self._trains(model, name)]
        if not names:
            raise InputError(f"method: bitfit: {self._what_has_none(model)} Choose norms, ia3 or lora.")
        freeze(model)
        for name in names:
            model.get_parameter(name).requires_grad_(True)
        train_task_head(model)
        return Attachment(model, cut=cut_below(model, names), before=snapshot(model))

    def _trains(self, model: Transformer, name: str) -> bool:
        side, _, rest = name.partition(".")
        if side not in stacks(model):
            return False
        if rest.startswith("blocks."):
            return in_range(name, self.first_block, self.last_block)
        return rest_trains(model, side, rest, self.first_block, self.last_block)

    def _what_has_none(self, model: Transformer) -> str:
        inside = {r: m for r, m in model.named_modules() if in_range(r, self.first_block, self.last_block)}
        linear = list(dict.fromkeys(r.rpartition(".")[2] for r, m in inside.items() if isinstance(m, nn.Linear)))
        norms = {"RMS norms" if isinstance(m, RMSNorm) else "layer norms" for m in inside.values() if is_norm(m)}
        where = "" if self.first_block == 0 and self.last_block is None else " in these blocks"
        return (
            f"there is no bias to train{where}: no linear role ({', '.join(linear)}) and no norm "
            f"({', '.join(sorted(norms)) or 'there is none'}) has one."
        )


def is_norm(module: nn.Module) -> bool:
    """Whether a module is one of the norms."""
    return isinstance(module, (LayerNorm, RMSNorm))


def rest_trains(model: Transformer, side: str, rest: str, first: int, last: int | None) -> bool:
    """Whether a method limited to blocks first..last also trains `rest`, a parameter of a stack outside its blocks.

    The final norm goes with the last block, the embedding's norm and projection with the first. The final norm of an
    encoder that has no block in the range stays: a decoder above it would have to learn through cross-attention.
    """
    if rest.startswith("norm."):
        return last is None and first < len(stacks(model)[side].blocks)
    return first == 0 and rest.startswith(("embedding_norm.", "projection."))


methods.add("bitfit", BitFit)
