"""Which blocks a method works on: from `first_block` to `last_block`, both included, and where the trunk then ends."""

from __future__ import annotations

from collections.abc import Iterable

from microtune.errors import InputError
from microtune.nn.transformer import Cut, Transformer


def block_of(role: str) -> int:
    """The number of the block in which a role such as `decoder.blocks.3.attention.q` stands."""
    return int(role.split(".")[2])


def blocks_between(name: str, model: Transformer, first: int, last: int | None) -> range:
    """The numbers from `first` to `last`, both included (None: to the top), for the method `name`.

    Both stacks of an encoder-decoder count their blocks from 0. InputError where no block is left, or `last` is none.
    """
    depth = max(len(stack.blocks) for stack in (model.encoder, model.decoder) if stack is not None)
    if last is not None and last >= depth:
        raise InputError(f"method.last_block: {last} was asked for, but the blocks are 0 to {depth - 1}.")
    if first >= depth:
        raise InputError(
            f"method: {name} finds nothing from block {first} upwards: there are fewer blocks (0 to {depth - 1})."
        )
    if last is not None and first > last:
        raise InputError(f"method.first_block: {first} lies above last_block {last}: no block is between them.")
    return range(first, depth if last is None else last + 1)


def cut_below(model: Transformer, roles: Iterable[str]) -> Cut:
    """The cut below the lowest blocks in which one of these roles stands."""
    lowest = {"encoder": len(model.encoder.blocks) if model.encoder else 0}
    lowest["decoder"] = len(model.decoder.blocks) if model.decoder else 0
    for role in roles:
        side = role.partition(".")[0]
        lowest[side] = min(lowest[side], block_of(role))
    if model.encoder is not None and model.decoder is not None and lowest["encoder"] < len(model.encoder.blocks):
        lowest["decoder"] = 0  # the decoder sees a trainable through cross-attention
    return Cut(**lowest)
