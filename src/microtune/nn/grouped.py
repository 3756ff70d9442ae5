"""Many low-rank updates on one frozen linear layer, each for its own tokens of a batch.

One product with the frozen weight serves all tokens; then every update reads the tokens of its own rows alone, and what
it makes of them is added in their places (Punica, Chen et al., 2023; S-LoRA, Sheng et al., 2023; here in plain torch).
A role does not see rows, only tokens, and not always all of them: the last block computes queries and MLP for the
readout alone, and cross-attention reads keys from the encoder. Which of the three a role reads follows from its name;
`Turns` knows whose each token is for as long as a pass runs, so that nothing of it stands in the Transformer.

For inference, one pass at a time: `Turns` is one object for the whole network, and its caller keeps others out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from microtune.nn.frozen import Parts
from microtune.nn.spec import ModelSpec
from microtune.ragged import Ragged

Stream = Literal["inputs", "readout", "sources"]
Places = slice | Tensor  # where tokens stand: end to end, or one by one


class Turns:
    """Whose the tokens of the running pass are, by what a role reads."""

    def __init__(self) -> None:
        self._streams: dict[Stream, tuple[int, list[tuple[str, Places]]]] = {}

    @contextmanager
    def during(
        self, owners: Sequence[str | None], inputs: Ragged, readout: Tensor | None, sources: Ragged | None
    ) -> Iterator[None]:
        """For one pass over `inputs` with `readout [R]` and `sources`: `owners` names the update of each row, or None.

        ValueError where rows share a beginning: one state cannot be that of several updates.
        """
        if inputs.shared:
            raise ValueError("rows of several adapters share no beginning")
        if len(owners) != len(inputs):
            raise ValueError(f"{len(owners)} owners for {len(inputs)} rows")
        self._streams = {"inputs": (len(inputs.values), owned(owners, inputs.rows))}
        self._streams["readout"] = self._streams["inputs"]
        if readout is not None:
            self._streams["readout"] = (len(readout), owned(owners, inputs.rows[readout]))
        if sources is not None:
            self._streams["sources"] = (len(sources.values), owned(owners, sources.rows))
        try:
            yield
        finally:
            self._streams = {}

    def of(self, stream: Stream, tokens: int) -> list[tuple[str, Places]]:
        """Each owner in this pass and the places of its tokens, of which there are `tokens` in all."""
        if stream not in self._streams:
            raise RuntimeError(f"a role reads {stream} outside of a pass that says whose they are")
        expected, groups = self._streams[stream]
        if tokens != expected:
            raise RuntimeError(f"a role that reads {stream} was given {tokens} tokens, not {expected}")
        return groups


def owned(owners: Sequence[str | None], rows: Tensor) -> list[tuple[str, Places]]:
    """The places of the tokens of each owner, for tokens of the given `rows [N]`."""
    numbers = {name: i for i, name in enumerate(dict.fromkeys(n for n in owners if n is not None))}
    whose = rows.new_tensor([-1 if name is None else numbers[name] for name in owners])[rows]
    found: list[tuple[str, Places]] = []
    for name, number in numbers.items():
        places = (whose == number).nonzero()[:, 0]
        if not len(places):
            continue
        first, stop = int(places[0]), int(places[-1]) + 1
        found.append((name, slice(first, stop) if stop - first == len(places) else places))
    return found


def stream_of(role: str, spec: ModelSpec) -> Stream:
    """What a linear role inside the blocks reads, such as `decoder.blocks.3.attention.q`."""
    side, _, block, branch, *_, name = role.split(".")
    keys = name in ("k", "v")
    if (side == "encoder" and spec.decoder is not None) or (branch == "cross" and keys):
        return "sources"
    last = int(block) == spec.output_stack.num_layers - 1
    return "readout" if last and not (branch == "attention" and keys) else "inputs"


class GroupedLinear(nn.Module):
    """y = W x, and for the tokens of each owner what its update makes of it.

    updates: owner -> what it is made of (`Parts`), all over the weight of `base`; an owner without one has W x.
    """

    def __init__(self, base: nn.Module, updates: Mapping[str, Parts], turns: Turns, stream: Stream) -> None:
        super().__init__()
        self.base = base
        self.updates = dict(updates)
        self.turns, self.stream = turns, stream

    def forward(self, x: Tensor) -> Tensor:
        """[N, I] -> [N, O]."""
        y: Tensor = self.base(x)
        for owner, places in self.turns.of(self.stream, len(x)):
            parts = self.updates.get(owner)
            if parts is not None:
                _put(x, y, places, parts)
        return y


def _put(x: Tensor, y: Tensor, places: Places, parts: Parts) -> None:
    """What `parts` adds to the rows `places` of y, and then their factors, in place."""
    rows = x[places]
    for update in parts.updates:
        inner = F.linear(rows.to(update.A.dtype), update.A)
        if isinstance(places, Tensor):
            y.index_add_(0, places, F.linear(inner, update.B).to(y.dtype), alpha=update.scale)
        elif y.dtype == inner.dtype:
            y[places].addmm_(inner, update.B.t(), alpha=update.scale)
        else:
            y[places] += (F.linear(inner, update.B) * update.scale).to(y.dtype)
    if parts.rescale is None:
        return
    factor, own = parts.rescale.magnitude / parts.rescale.norm(), y[places]
    scaled = factor * own  # the bias is in it, and the factor is not for the bias: the rest of it follows
    y[places] = (scaled if parts.bias is None else scaled + (1 - factor) * parts.bias).to(y.dtype)
