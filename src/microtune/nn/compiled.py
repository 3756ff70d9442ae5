"""Blocks compiled by torch (`torch.compile`) for batches of one shape, as pretraining on a GPU has them.

A block is a dozen products and three dozen small kernels between them; compiled, the small ones become a few. The
compiler takes half a minute for every shape, so only the first shape that is seen is compiled and all others run as
before. The arithmetic is the same, its order is not: results agree to the rounding of the type computed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from microtune.nn.flow import Flow
from microtune.nn.fused import compute_type
from microtune.nn.transformer import Block, Transformer

BACKEND = "inductor"


class CompiledBlock:
    """What stands in for `Block.forward` of one block."""

    def __init__(
        self, block: Block, run: Callable[[Block, Tensor, Flow], Tensor], shapes: set[tuple[int, int]]
    ) -> None:
        self.block, self.run, self.shapes = block, run, shapes

    def __call__(self, x: Tensor, flow: Flow) -> Tensor:
        """[N, D] -> [N, D]; compiled for the first shape of rows, all of one length, that comes."""
        shape = (len(x), len(flow.lengths))
        fits = torch.is_grad_enabled() and flow.readout is None and flow.caches is None and _uniform(flow, len(x))
        if fits and not self.shapes:
            self.shapes.add(shape)
        if not fits or shape not in self.shapes:
            return Block.forward(self.block, x, flow)
        attention = self.block.attention  # what all blocks share is made once, and not inside what is compiled
        if attention.theta is not None:
            attention.angles(flow.layout, flow.positions, compute_type(x))
        if flow.layout.packed is None:
            flow.layout.mask(0, attention.window, compute_type(x))
        return self.run(self.block, x, flow)


@contextmanager
def compiled(network: Transformer) -> Iterator[None]:
    """The blocks of a network compiled while this lasts; for batches whose rows all have one length."""
    run = torch.compile(Block.plain, backend=BACKEND, fullgraph=True, dynamic=False)
    shapes: set[tuple[int, int]] = set()
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    for block in blocks:
        block.forward = CompiledBlock(block, run, shapes)  # type: ignore[method-assign]
    try:
        yield
    finally:
        for block in blocks:
            del block.forward


def _uniform(flow: Flow, tokens: int) -> bool:
    """Whether all rows have one length."""
    layout = flow.layout
    if layout.packed is not None:
        return layout.packed.longest[0] * len(flow.lengths) == tokens
    return len(layout.groups) == 1 and layout.query_order is None
