"""Blocks from-to: which blocks a method adapts, and how high the trunk ends below what trains.

Numbers count from 0 in each stack, so that in an encoder-decoder a range means the same blocks of both.
"""

from __future__ import annotations

from collections.abc import Iterable

from microtune.errors import InputError
from microtune.nn.transformer import Cut, Stack, Transformer


def stacks(model: Transformer) -> dict[str, Stack]:
    """The stacks that a model has, by name."""
    return {side: stack for side, stack in (("encoder", model.encoder), ("decoder", model.decoder)) if stack}


def check_range(model: Transformer, method: str, first: int, last: int | None) -> None:
    """InputError where no block of the model lies in first..last (None: to the top)."""
    depth = max(len(stack.blocks) for stack in stacks(model).values())
    if last is not None and last < first:
        raise InputError(f"method: {method}: last_block {last} lies below first_block {first}; no block is left.")
    there = f"the model has {depth} blocks, 0 to {depth - 1}."
    if first >= depth:
        raise InputError(f"method: {method} finds nothing from block {first} upwards: {there}")
    if last is not None and last >= depth:
        raise InputError(f"method: {method}: last_block is {last}, but {there}")


def in_range(name: str, first: int, last: int | None) -> bool:
    """Whether a role or parameter, such as `decoder.blocks.3.mlp.up.bias`, lies in a block of first..last."""
    parts = name.split(".")
    if parts[1:2] != ["blocks"] or len(parts) < 3:
        return False
    return first <= int(parts[2]) and (last is None or int(parts[2]) <= last)


def cut_below(model: Transformer, names: Iterable[str]) -> Cut:
    """The highest cut below which none of these roles or parameters lies.

    A final norm and the head stand above all blocks, what stands beside the embedding below them. A decoder sees
    whatever trains in its encoder through cross-attention, so that nothing of it is trunk then.
    """
    lowest = {side: len(stack.blocks) for side, stack in stacks(model).items()}
    reaching = False
    for name in names:
        side, place, *rest = [*name.split("."), ""]
        if side == "head":
            continue
        if side not in lowest:  # a table of embeddings
            return Cut()
        lowest[side] = min(lowest[side], int(rest[0]) if place == "blocks" else 10**9 if place == "norm" else 0)
        reaching |= side == "encoder"
    if reaching and "decoder" in lowest:
        lowest["decoder"] = 0
    return Cut(**lowest)
