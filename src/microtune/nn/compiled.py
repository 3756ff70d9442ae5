"""Blocks compiled by torch (`torch.compile`) for batches of one shape, as pretraining has them.

A block is a dozen products and three dozen small kernels between them; compiled, the small ones become a few. The
compiler takes up to half a minute for a shape, so one is compiled and all others run as before. The arithmetic is the
same, its order is not: results agree to the rounding of the type computed in. On a CPU torch needs a C++ compiler;
where it cannot compile, blocks run as before, too, and `Compilation.failed` says why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from microtune.nn.flow import Flow
from microtune.nn.fused import compute_type
from microtune.nn.transformer import Block, Transformer

BACKEND = "inductor"


class Compilation:
    """The compiled form of all blocks: the only shape it is for, as (tokens, rows), and why there is none."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self.failed = ""
        self.run = torch.compile(Block.plain, backend=BACKEND, fullgraph=True, dynamic=False)


class CompiledBlock:
    """What stands in for `Block.forward` of one block."""

    def __init__(self, block: Block, compilation: Compilation) -> None:
        self.block, self.compilation = block, compilation

    def __call__(self, x: Tensor, flow: Flow) -> Tensor:
        """[N, D] -> [N, D]; compiled where rows are all of one length, and have the shape that is compiled."""
        compilation = self.compilation
        shape = (len(x), len(flow.lengths))
        fits = torch.is_grad_enabled() and flow.readout is None and flow.caches is None and _uniform(flow, len(x))
        if not fits or shape != compilation.shape or compilation.failed:
            return Block.forward(self.block, x, flow)
        attention = self.block.attention  # what all blocks share is made once, and not inside what is compiled
        if attention.theta is not None:
            attention.angles(flow.layout, flow.positions, compute_type(x))
        if flow.layout.packed is None:
            flow.layout.mask(0, attention.window, compute_type(x))
        try:
            return compilation.run(self.block, x, flow)
        except torch._dynamo.exc.TorchDynamoException as error:  # no compiler, or nothing that it can compile
            lines = [line for line in str(getattr(error, "inner_exception", error)).splitlines() if line.strip()]
            compilation.failed = lines[0].strip(" .") if lines else type(error).__name__
            return Block.forward(self.block, x, flow)


@contextmanager
def compiled(network: Transformer, shape: tuple[int, int]) -> Iterator[Compilation]:
    """The blocks of a network compiled while this lasts; shape: tokens and rows of the batches that are to be so."""
    from torch._inductor import config

    compilation = Compilation(shape)
    blocks = [module for module in network.modules() if isinstance(module, Block)]
    for block in blocks:
        block.forward = CompiledBlock(block, compilation)  # type: ignore[method-assign]
    try:
        with config.patch(compile_threads=1):  # else processes that stay, each with a torch of its own
            yield compilation
    finally:
        for block in blocks:
            del block.forward


def _uniform(flow: Flow, tokens: int) -> bool:
    """Whether all rows have one length."""
    layout = flow.layout
    if layout.packed is not None:
        return layout.packed.longest[0] * len(flow.lengths) == tokens
    return len(layout.groups) == 1 and layout.query_order is None
