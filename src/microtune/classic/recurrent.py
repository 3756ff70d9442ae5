"""Recurrent language models and encoder-decoders, with the face of a `Transformer`.

An encoder of L layers reads the source from h_0 = 0; each layer of the decoder starts from the last state of the
encoder's layer beside it and reads `<s>` and the target (Sutskever, Vinyals and Le, 2014; Cho et al., 2014), with or
without attention to all states of the encoder (Bahdanau et al., 2015; Luong et al., 2015). A decoder alone is a
recurrent language model (Mikolov et al., 2010; Sundermeyer et al., 2012). Since it answers to the same calls as the
Transformer does, training, evaluation, generation and saving need to know nothing about it; blocks are layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from microtune.classic.attending import Laid
from microtune.classic.recurrent_layers import AttendingBlock, Packing, RecurrentBlock, RecurrentStack, State
from microtune.classic.recurrent_spec import RecurrentSpec
from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Cache, Cut, Transformer, Trunk
from microtune.ragged import Ragged, looked_at


@dataclass(frozen=True)
class Memory:
    """What an encoder leaves: its states `[M, D]` by row, and the last states of each of its layers, `[B, D]`."""

    states: Ragged
    finals: list[State]

    def flat(self, count: int) -> Tensor:
        """[M + B * count, D]: behind the states of each row its last ones, zeros where a layer has not run yet."""
        states, B = self.states, len(self.states)
        places, behind = _places(states.lengths, states.rows, states.positions, count)
        flat = states.values.new_zeros(len(states.values) + B * count, states.values.shape[-1])
        flat[places] = states.values
        for number, part in enumerate(part for state in self.finals for part in state):
            flat[behind[:, number]] = part
        return flat

    @classmethod
    def parted(cls, flat: Tensor, lengths: Tensor, layers: int, each: int, *, read: int) -> Memory:
        """The inverse of `flat` for `layers` layers of `each` vectors, of which the first `read` have run."""
        rows = Ragged(torch.zeros(int(lengths.sum()), device=flat.device), lengths)
        places, behind = _places(lengths, rows.rows, rows.positions, layers * each)
        finals = [tuple(flat[behind[:, each * i + j]] for j in range(each)) for i in range(read)]
        return cls(Ragged(flat[places], lengths), finals)


@dataclass
class Kept:
    """What generation keeps between two tokens: the state of each layer of the decoder, and the encoder laid out."""

    states: list[State]
    laid: Laid | None

    def select(self, rows: Tensor, *, sources: bool) -> None:
        """Its rows become those numbered `rows [B']`; sources: whether the encoder laid out follows, see `Cache`."""
        self.states = [tuple(part[rows] for part in state) for state in self.states]
        self.laid = self.laid.chosen(rows) if sources and self.laid is not None else self.laid

    def follow(self, written: Written) -> None:
        """The states after the tokens of a pass over all blocks; rows that brought no token keep theirs."""
        for layer, state in enumerate(written.states):
            pairs = zip(self.states[layer], state, strict=True)
            self.states[layer] = tuple(old.to(new.dtype).index_copy(0, written.rows, new) for old, new in pairs)


@dataclass(frozen=True)
class Written:
    """What a pass of the output stack gives: hidden states, weights `[R, S]` if it attends, states after the last
    tokens of `rows`."""

    hidden: Tensor
    weights: Tensor | None
    states: list[State]
    rows: Tensor


class Recurrent(Transformer):
    """Token embedding, recurrent stacks and one head."""

    methods: ClassVar[tuple[str, ...]] = ("full", "head", "top")
    goes_on = False  # upper layers of a decoder need the last states of the lower ones
    spec: RecurrentSpec

    def __init__(self, spec: RecurrentSpec) -> None:
        nn.Module.__init__(self)
        self.spec = spec
        self._cut = Cut()
        encoder, decoder = spec.recurrent("encoder"), spec.recurrent("decoder")
        self.tokens = nn.Embedding(spec.vocab_size, spec.hidden_size)
        self.targets = nn.Embedding(spec.vocab_size, spec.hidden_size) if spec.target_tokens == "own" else None
        self.types = None
        self.encoder = RecurrentStack(encoder) if encoder else None
        self.decoder = RecurrentStack(decoder) if decoder else None
        self.head: nn.Module = VocabularyHead(spec, self.tokens if spec.tied else None)
        if encoder and decoder:  # the last states of all layers of the encoder
            self.beside_tokens = encoder.num_layers * encoder.state_count

    @property
    def is_causal(self) -> bool:
        """False: no beginning is computed once for several rows."""
        return False

    @property
    def attends(self) -> bool:
        """Whether its decoder looks at the states of an encoder."""
        return self.encoder is not None and self._output.attends

    @property
    def _encoder(self) -> RecurrentStack:
        return cast(RecurrentStack, self.encoder)

    @property
    def _output(self) -> RecurrentStack:
        return cast(RecurrentStack, self.output_stack)

    def forward(
        self,
        inputs: Ragged,
        *,
        readout: Tensor | None = None,
        sources: Ragged | None = None,
        types: Tensor | None = None,
        cache: Cache | None = None,
        trunk: Trunk | None = None,
    ) -> Tensor:
        """As `Transformer.forward`; there are no token types, and a cache keeps states in place of keys and values."""
        if trunk is not None and trunk.pooled is not None:
            return trunk.pooled
        at = self.cut if trunk is None or trunk.at is None else trunk.at
        first = at.decoder if self.decoder is not None else at.encoder
        given = None if trunk is None else trunk.output
        if given is not None and first == len(self._output.blocks):
            return given
        kept = self._begun(len(inputs), sources, cache, trunk)
        written = self._written(inputs, readout, kept, given, first if given is not None else 0)
        if cache is not None:
            kept.follow(written)
        return written.hidden

    @torch.no_grad()
    def compute_trunk(
        self,
        inputs: Ragged,
        *,
        readout: Tensor | None,
        sources: Ragged | None = None,
        types: Tensor | None = None,
        cut: Cut | None = None,
        below: Trunk | None = None,
    ) -> Trunk:
        """The states at the cut, as `forward` computes them on its way; the encoder's with its layers' last states.

        below: not used, see `goes_on`.
        """
        cut, encoder = cut or self.cut, None
        if self.decoder is not None and sources is not None and cut.encoder:
            encoder = self._read(sources, None, cut.encoder).flat(self.beside_tokens)
        last = cut.decoder if self.decoder is not None else cut.encoder
        if not last:
            return Trunk(encoder, None)
        kept = self._begun(len(inputs), sources, None, Trunk(encoder, at=cut))
        return Trunk(encoder, self._written(inputs, readout, kept, None, 0, last=last).hidden)

    def encode(self, sources: Ragged) -> Tensor:
        """What the encoder of an encoder-decoder makes of its ids: `[M, D]`."""
        return self._read(sources, None, len(self._encoder.blocks)).states.values

    @torch.inference_mode()
    def attention_weights(self, inputs: Ragged, sources: Ragged) -> list[Tensor]:
        """For each row `[T, S]`: how much each token of `inputs` looks at each one of the source."""
        if not self.attends:
            raise ValueError("this network has no attention")
        self.eval()
        kept = self._begun(len(inputs), sources, None, None)
        weights = self._written(inputs, None, kept, None, 0).weights
        assert weights is not None
        parts = zip(weights.split(inputs.lengths.tolist()), sources.lengths.tolist(), strict=True)
        return [part[:, :length] for part, length in parts]

    def _begun(self, rows: int, sources: Ragged | None, cache: Cache | None, trunk: Trunk | None) -> Kept:
        """What the output stack starts from."""
        if cache is not None and isinstance(cache.kept, Kept):
            return cache.kept
        stack = self._output
        if self.encoder is None or self.decoder is None:
            zeros = self.tokens.weight.new_zeros(rows, stack.spec.hidden_size)
            kept = Kept([(zeros,) * stack.spec.state_count for _ in stack.blocks], None)
        elif sources is None:
            raise ValueError("an encoder-decoder needs `sources`, the ids that its encoder reads")
        else:
            memory = self._read(sources, trunk, len(self._encoder.blocks))
            top = stack.blocks[-1]
            kept = Kept(memory.finals, top.attention.lay(memory.states) if isinstance(top, AttendingBlock) else None)
            if sources.readers is not None:
                kept.select(looked_at(sources.readers, rows), sources=True)
        if cache is not None:
            cache.kept = kept
        return kept

    def _read(self, sources: Ragged, trunk: Trunk | None, last: int) -> Memory:
        """The encoder up to block `last`, on from where its stored states stand."""
        stack, cut = self._encoder, self.cut.encoder
        packing = Packing.of(sources)
        first, finals = 0, []
        if trunk is not None and trunk.encoder is not None:
            first = (trunk.at or self.cut).encoder
            each = stack.spec.state_count
            found = Memory.parted(trunk.encoder, sources.lengths, len(stack.blocks), each, read=first)
            x, finals = found.states.values[packing.order], found.finals
        else:
            x = self._embedded(self.tokens, sources.values, cut)[packing.order]
        x, states = stack.read(x, packing, [None] * len(stack.blocks), first, last, cut)
        finals = [*finals, *(tuple(_scattered(part, packing.rows, len(sources)) for part in s) for s in states)]
        return Memory(sources.map(lambda _: x[packing.back]), finals)

    def _written(
        self, inputs: Ragged, readout: Tensor | None, kept: Kept, given: Tensor | None, first: int, last: int = 10**9
    ) -> Written:
        """The output stack from block `first` up to `last`, or to its top; given: states below `first`, where known."""
        stack, top = self._output, len(self._output.blocks)
        cut = self.cut.decoder if self.decoder is not None else self.cut.encoder
        packing = Packing.of(inputs)
        table = self.targets if self.targets is not None and self.decoder is not None else self.tokens
        x = (self._embedded(table, inputs.values, cut) if given is None else given)[packing.order]
        begun = [tuple(part[packing.rows] for part in state) for state in kept.states]
        starts: Sequence[State | None] = [None] * top if stack.spec.bidirectional else begun
        x, states = stack.read(x, packing, starts, first, min(last, top - stack.attends), cut)
        if last < top:
            return Written(x[packing.back], None, states, packing.rows)
        block = cast(RecurrentBlock, stack.blocks[-1])
        if kept.laid is None or not isinstance(block, AttendingBlock):
            x = x[packing.back]
            x = x if readout is None else x[readout]
            return Written(block.dropped(x), None, states, packing.rows)
        with torch.set_grad_enabled(torch.is_grad_enabled() and top - 1 >= cut):
            x, state, weights = block.attend(x, packing, begun[-1], kept.laid, _asked(inputs, readout))
        return Written(block.dropped(x), weights, [*states, state], packing.rows)

    def _embedded(self, table: nn.Module, ids: Tensor, cut: int) -> Tensor:
        """[N, D]; without autograd where the embedding is trunk."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and cut == 0):
            return cast(Tensor, table(ids))


def _places(lengths: Tensor, rows: Tensor, positions: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Where tokens [M] and `count` further vectors [B, count] of each row stand in `Memory.flat`."""
    starts = lengths.cumsum(0) - lengths + count * torch.arange(len(lengths), device=lengths.device)
    behind = (starts + lengths)[:, None] + torch.arange(count, device=lengths.device)
    return starts[rows] + positions, behind


def _scattered(part: Tensor, rows: Tensor, count: int) -> Tensor:
    """The states of `rows` [B', D] -> those of all rows [count, D]; a row without a token has zeros."""
    return part.new_zeros(count, part.shape[-1]).index_copy(0, rows, part)


def _asked(inputs: Ragged, readout: Tensor | None) -> Ragged:
    """Indexes of the tokens that are read, by row."""
    if readout is None:
        return inputs.map(lambda ids: torch.arange(len(ids), device=ids.device))
    return Ragged(readout, torch.bincount(inputs.rows[readout], minlength=len(inputs)))
