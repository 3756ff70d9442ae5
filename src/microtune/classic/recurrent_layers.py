"""Recurrent layers over ragged batches: LSTM (Hochreiter and Schmidhuber, 1997) and GRU (Cho et al., 2014).

A block is one layer. The topmost block of a decoder may also attend to an encoder (attending.py). torch's own kernels
compute the layers; they read a batch token by token, the first of all rows, then the second ones, and so on, which
needs no padding either (`Packing`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from microtune.classic.attending import ContextAttention, Laid, side_by_side
from microtune.classic.recurrent_spec import RecurrentStackSpec
from microtune.nn.layers import dropout
from microtune.nn.transformer import Stack
from microtune.nn.virtual import VirtualTokens
from microtune.ragged import Ragged

State = tuple[Tensor, ...]  # (output,) or (output, memory cell), [B, D] each


@dataclass(frozen=True)
class Packing:
    """The order of a recurrent layer: by place in the row, the longest row first.

    order, back: [N], from ragged to packed and back; sizes: [T] on the CPU, how many rows have a token at each place;
    rows: [B'], those that have a token at all, the longest first.
    """

    order: Tensor
    back: Tensor
    sizes: Tensor
    rows: Tensor

    @classmethod
    def of(cls, inputs: Ragged) -> Packing:
        """The order for these rows."""
        if inputs.shared:
            raise ValueError("a recurrent network reads no beginning that rows share")
        lengths = inputs.lengths
        rows = lengths.argsort(descending=True, stable=True)
        rank = torch.empty_like(rows)
        rank[rows] = torch.arange(len(rows), device=rows.device)
        places = inputs.positions
        order = (places * len(rows) + rank[inputs.rows]).argsort()
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order), device=order.device)
        return cls(order, back, torch.bincount(places).cpu(), rows[: int((lengths > 0).sum())])


class RecurrentBlock(nn.Module):
    """One layer: dropout on what it reads (Zaremba et al., 2014), then the recurrence."""

    def __init__(self, spec: RecurrentStackSpec, *, reads: int | None = None) -> None:
        super().__init__()
        self.dropout = spec.dropout
        width = spec.hidden_size // (2 if spec.bidirectional else 1)
        kind = nn.LSTM if spec.cell == "lstm" else nn.GRU
        self.rnn = kind(reads or spec.hidden_size, width, bidirectional=spec.bidirectional)
        if spec.cell == "lstm":
            open_gates(self.rnn, width)

    def forward(self, x: Tensor, packing: Packing, start: State | None) -> tuple[Tensor, State]:
        """Packed tokens `[N, D]` and the states `[B', D]` before them (None: zeros) -> `[N, D]` and the last states."""
        begun = None
        if start is not None:
            parts = tuple(part[None].to(self.dtype) for part in start)
            begun = parts if len(parts) > 1 else parts[0]
        if x.is_cuda:
            self.rnn.flatten_parameters()
        with torch.autocast(x.device.type, enabled=False):  # sums over many steps stay wide
            found, last = self.rnn(PackedSequence(self.dropped(x).to(self.dtype), packing.sizes), begun)
        ends = last if isinstance(last, tuple) else (last,)
        return found.data, tuple(end.transpose(0, 1).flatten(1) for end in ends)  # both directions side by side

    @property
    def dtype(self) -> torch.dtype:
        """That of the weights, in which the recurrence computes."""
        return cast(Tensor, self.rnn.weight_ih_l0).dtype

    def dropped(self, x: Tensor) -> Tensor:
        """`x` with the layer's dropout, in training."""
        return dropout(x, self.dropout) if self.dropout and self.training else x


class AttendingBlock(RecurrentBlock):
    """The topmost layer of a decoder that attends: tanh(C [context; state]) is what the head reads.

    dot: the context follows from the state of the same token, above the layer (Luong et al., 2015), so that the layer
    runs in one go and only tokens that somebody reads attend. additive: it follows from the state before, and the layer
    reads it beside its input (Bahdanau et al., 2015), token by token.
    """

    def __init__(self, spec: RecurrentStackSpec) -> None:
        size = spec.hidden_size
        self.fed = spec.attention == "additive"
        super().__init__(spec, reads=2 * size if self.fed else size)
        self.attention = ContextAttention(size, spec.attention)
        self.combine = nn.Linear(2 * size, size, bias=False)

    def attend(
        self, x: Tensor, packing: Packing, start: State, laid: Laid, asked: Ragged
    ) -> tuple[Tensor, State, Tensor]:
        """Packed `[N, D]` -> what the head reads at `asked`, the last states, and the weights there `[R, S]`.

        laid: the encoder's states of all rows of the batch; asked: indexes into the N tokens as they stood, by row.
        """
        if self.fed:
            states, contexts, weights, last = self._fed(
                self.dropped(x).to(self.dtype), packing, start, laid.chosen(packing.rows)
            )
            found = [part[packing.back][asked.values] for part in (states, contexts, weights)]
            states, contexts, weights = found
        else:
            states, last = self(x, packing, start)
            states = states[packing.back][asked.values]
            contexts, weights = self._above(asked.map(lambda _: states), laid)
        return torch.tanh(self.combine(torch.cat((contexts, states), -1))), last, weights

    def _above(self, states: Ragged, laid: Laid) -> tuple[Tensor, Tensor]:
        """States `[R, D]` by row -> contexts `[R, D]` and weights `[R, S]`."""
        contexts, weights = self.attention(side_by_side(states), laid)
        return contexts[states.rows, states.positions], weights[states.rows, states.positions]

    def _fed(self, x: Tensor, packing: Packing, start: State, laid: Laid) -> tuple[Tensor, Tensor, Tensor, State]:
        """States, contexts and weights of all tokens, packed, and the last states; token by token."""
        sizes = packing.sizes.tolist()
        state: State = tuple(part.to(self.dtype) for part in start)
        found: list[tuple[Tensor, ...]] = []
        ended: list[State] = []
        for rows, tokens in zip(sizes, x.split(sizes), strict=True):
            if rows < len(state[0]):
                ended.append(tuple(part[rows:] for part in state))
                state = tuple(part[:rows] for part in state)
            contexts, weights = self.attention(state[0][:, None], laid.first(rows))
            state = self._step(torch.cat((tokens, contexts[:, 0].to(tokens.dtype)), -1), state)
            found.append((state[0], contexts[:, 0], weights[:, 0]))
        ended.append(state)
        last = tuple(torch.cat(parts) for parts in zip(*reversed(ended), strict=True))
        states, contexts, weights = (torch.cat(parts) for parts in zip(*found, strict=True))
        return states, contexts, weights, last

    def _step(self, x: Tensor, state: State) -> State:
        """One token of each row; the very weights that the whole layer would use."""
        with torch.autocast(x.device.type, enabled=False):
            if isinstance(self.rnn, nn.LSTM):
                return torch.lstm_cell(x, list(state), *self.rnn.all_weights[0])
            return (torch.gru_cell(x, state[0], *self.rnn.all_weights[0]),)


class RecurrentStack(Stack):
    """The layers of an encoder or a decoder; in the shape of a Transformer's stack, with nothing but blocks in it."""

    def __init__(self, spec: RecurrentStackSpec) -> None:
        nn.Module.__init__(self)
        self.spec: RecurrentStackSpec = spec
        self.positions = self.relative_bias = self.embedding_norm = self.projection = None
        self.virtual = VirtualTokens()  # always empty
        count = spec.num_layers - (spec.attention != "none")
        self.blocks = nn.ModuleList(RecurrentBlock(spec) for _ in range(count))
        if spec.attention != "none":
            self.blocks.append(AttendingBlock(spec))
        self.norm = nn.Identity()

    @property
    def attends(self) -> bool:
        """Whether its topmost block looks at an encoder."""
        return self.spec.attention != "none"

    def read(
        self, x: Tensor, packing: Packing, starts: Sequence[State | None], first: int, last: int, cut: int
    ) -> tuple[Tensor, list[State]]:
        """Blocks first..last-1 over packed tokens `[N, D]`, those below `cut` without autograd; and their last states.

        starts: of every block of the stack, in packed order.
        """
        found = []
        for layer in range(first, last):
            with torch.set_grad_enabled(torch.is_grad_enabled() and layer >= cut):
                x, state = self.blocks[layer](x, packing, starts[layer])
            found.append(state)
        return x, found


@torch.no_grad()
def open_gates(rnn: nn.RNNBase, width: int) -> None:
    """Biases begin at 0, those of an LSTM's forget gates at 1 (Gers et al., 2000; Jozefowicz et al., 2015)."""
    for name, parameter in rnn.named_parameters():
        if "bias" in name:
            parameter.zero_()
            if name.startswith("bias_ih"):
                parameter[width : 2 * width].fill_(1.0)
