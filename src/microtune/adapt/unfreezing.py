"""Gradual unfreezing: training begins at the top, and each epoch one more block joins (ULMFiT, Howard and Ruder, 2018).

A schedule is `[(epoch, cut)]`: from that epoch (the first is 0) everything above the cut trains. It ends with the cut
of the attachment itself, so whatever else trains below the blocks (the embedding, norms) begins with the last of them.
An encoder lies below its decoder: its blocks follow when all of the decoder's train.
"""

from __future__ import annotations

from microtune.nn.transformer import Cut, Transformer

Schedule = list[tuple[int, Cut]]


def one_by_one(model: Transformer, blocks: int, cut: Cut) -> Schedule:
    """The topmost block in epoch 0, one more in each that follows, all of `blocks` and the rest above `cut` at last."""
    encoder, decoder = (0 if stack is None else len(stack.blocks) for stack in (model.encoder, model.decoder))
    found = []
    for count in range(1, blocks):
        above = min(count, decoder)
        found.append((count - 1, Cut(encoder=encoder - (count - above), decoder=decoder - above)))
    return [*found, (blocks - 1, cut)]


def lies_above(model: Transformer, name: str, cut: Cut) -> bool:
    """Whether a parameter stands above a cut; the head always does, the embedding only where nothing is cut off."""
    side, *rest = name.split(".")
    if side not in ("encoder", "decoder"):
        return side == "head" or cut == Cut()
    stack, below = getattr(model, side), int(getattr(cut, side))
    if rest[0] == "blocks":
        return int(rest[1]) >= below
    if rest[0] == "norm":  # above the topmost block, which in an encoder that is trunk does not train
        return stack is model.output_stack or below < len(stack.blocks)
    return below == 0
