"""BitFit: every bias trains and nothing else (Ben Zaken, Ravfogel and Goldberg, 2022).

A thousandth of a BERT is biases: those of linear roles and of norms inside the blocks, of the norm behind the embedding
and of the final norm. Most decoders of today have none, and are refused.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import nn

from microtune.adapt.base import Attachment, methods
from microtune.adapt.ranges import Ranged
from microtune.errors import InputError
from microtune.nn.layers import LayerNorm, RMSNorm
from microtune.nn.transformer import Transformer


class BitFit(Ranged):
    """Train all biases, and a label head."""

    name: Literal["bitfit"] = "bitfit"
    default_lr: ClassVar[float] = 4e-3
    default_head_lr: ClassVar[float | None] = 4e-3

    def attach(self, model: Transformer) -> Attachment:
        """Freeze everything but the biases; InputError where there is none."""
        self.check_range(model)
        names = [name for name, _ in model.named_parameters() if name.endswith(".bias") and self.covers(model, name)]
        if not names:
            raise InputError(f"method: bitfit: {self._what_has_none(model)} Choose norms, ia3 or lora.")
        return self.train_these(model, names)

    def _what_has_none(self, model: Transformer) -> str:
        inside = {role: module for role, module in model.named_modules() if self.in_blocks(role)}
        linear = list(dict.fromkeys(r.rpartition(".")[2] for r, m in inside.items() if isinstance(m, nn.Linear)))
        found = [m for m in inside.values() if isinstance(m, (LayerNorm, RMSNorm))]
        norms = {"RMS norms" if isinstance(m, RMSNorm) else "layer norms" for m in found}
        where = "" if self.first_block == 0 and self.last_block is None else " in these blocks"
        return (
            f"there is no bias to train{where}: no linear role ({', '.join(linear)}) and no norm "
            f"({', '.join(sorted(norms)) or 'there is none'}) has one."
        )


methods.add("bitfit", BitFit)
