"""Layer-wise learning-rate decay: lower blocks learn more slowly, for what they know is more general.

The topmost block has the rate of the run, the one below it `decay` times that, and so on (Howard and Ruder, 2018; Sun
et al., 2019); the embedding lies below the lowest block (Clark et al., 2020), and head and final norms are not slowed.
In an encoder-decoder each stack is counted from its own top: the topmost block of the decoder reads the encoder's
output as all others do, so the encoder's top is as near to the loss as the decoder's.
"""

from __future__ import annotations

from collections.abc import Iterable

from microtune.nn.transformer import Transformer


def decayed(model: Transformer, names: Iterable[str], decay: float) -> dict[str, float]:
    """The factor on the learning rate of each named parameter where it is not 1."""
    return {name: decay**below for name in names if decay != 1.0 and (below := blocks_above(model, name))}


def blocks_above(model: Transformer, name: str) -> int:
    """How many blocks of its own stack stand above a parameter: 0 for heads, final norms and the topmost block.

    What both stacks read, as the embedding of an encoder-decoder, lies below the deeper one.
    """
    side, *rest = name.split(".")
    depths = {key: len(stack.blocks) for key in ("encoder", "decoder") if (stack := getattr(model, key)) is not None}
    if side == "head":
        return 0
    if side not in depths:  # tokens, targets, types
        return max(depths.values())
    if rest[0] == "blocks":
        return depths[side] - 1 - int(rest[1])
    return 0 if rest[0] == "norm" else depths[side]
