"""Blocks from-to: which blocks a method adapts, and how high the trunk ends below what trains.

Numbers count from 0 in each stack, so that in an encoder-decoder a range means the same blocks of both.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from microtune.adapt.base import Attachment, Method, freeze, snapshot, train_task_head
from microtune.errors import InputError
from microtune.nn.transformer import Cut, Stack, Transformer


def stacks(model: Transformer) -> dict[str, Stack]:
    """The stacks that a model has, by name."""
    return {side: stack for side, stack in (("encoder", model.encoder), ("decoder", model.decoder)) if stack}


class Ranged(Method):
    """Base of the methods that may be limited to blocks from-to."""

    first_block: int = Field(default=0, ge=0, description="only blocks from this one upwards, the lowest is 0")
    last_block: int | None = Field(default=None, ge=0, description="and up to this one, included; default: the last")

    def check_range(self, model: Transformer) -> None:
        """InputError where no block of the model lies in the range."""
        depth = max(len(stack.blocks) for stack in stacks(model).values())
        first, last, method = self.first_block, self.last_block, self.name
        if last is not None and last < first:
            raise InputError(f"method: {method}: last_block {last} lies below first_block {first}; no block is left.")
        there = f"the model has {depth} blocks, 0 to {depth - 1}."
        if first >= depth:
            raise InputError(f"method: {method} finds nothing from block {first} upwards: {there}")
        if last is not None and last >= depth:
            raise InputError(f"method: {method}: last_block is {last}, but {there}")

    def in_blocks(self, name: str) -> bool:
        """Whether a role or parameter, such as `decoder.blocks.3.mlp.up.bias`, lies in a block of the range."""
        parts = name.split(".")
        if parts[1:2] != ["blocks"] or len(parts) < 3:
            return False
        return self.first_block <= int(parts[2]) and (self.last_block is None or int(parts[2]) <= self.last_block)

    def covers(self, model: Transformer, name: str) -> bool:
        """Whether a role or parameter lies in the range, or beside the blocks and belongs to it.

        The final norm goes with the last block, the embedding's norm and projection with the first. The final norm of
        an encoder that has no block in the range stays: a decoder above it would have to learn through cross-attention.
        """
        side, _, rest = f"{name}.".partition(".")
        if side not in stacks(model):
            return False
        if rest.startswith("norm."):
            return self.last_block is None and self.first_block < len(stacks(model)[side].blocks)
        beside = rest.startswith(("embedding_norm.", "projection."))
        return self.first_block == 0 if beside else self.in_blocks(name)

    def train_these(self, model: Transformer, names: Iterable[str]) -> Attachment:
        """Freeze everything but these parameters and a label head."""
        chosen = list(names)
        freeze(model)
        for name in chosen:
            model.get_parameter(name).requires_grad_(True)
        train_task_head(model)
        return Attachment(model, cut=cut_below(model, chosen), before=snapshot(model))


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
