"""One Transformer for decoder-only, encoder-only and encoder-decoder models.

A `Block` is two or three residual branches (self-attention, cross-attention, MLP); `Residual` alone knows where the
norm stands and holds one empty slot for an adapter. Module paths such as `decoder.blocks.3.attention.q` are the
*roles* by which adaptation methods find their targets; they are equal in all families.

Two things are never computed: what nobody reads (the last block computes queries, MLP and norm for `readout` only) and
gradients below the `Cut` under which nothing trains.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import islice
from typing import Self

import torch
from torch import Tensor, nn

from microtune.nn.attention import Attention
from microtune.nn.flow import Cache as Cache
from microtune.nn.flow import Flow as Flow
from microtune.nn.flow import make_flow
from microtune.nn.fused import fusible, run_block
from microtune.nn.heads import VocabularyHead
from microtune.nn.layers import MLP, dropout, make_norm
from microtune.nn.modes import set_mode
from microtune.nn.positions import RelativeBias, sinusoidal_table
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.virtual import VirtualTokens, opened
from microtune.ragged import Ragged

Branch = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Cut:
    """Lowest block of each stack that trains or sees a trainable; below it lies the trunk."""

    encoder: int = 0
    decoder: int = 0


@dataclass(frozen=True)
class Trunk:
    """States at the cut: `[M, D]` of the encoder, `[N, D]` of the output stack (`[R, D]` above its last block).

    pooled: [B, D], what the head would pool of the final states; then nothing else of the network runs. at: the cut
    of these states where it is lower than the model's own, which rises while upper blocks train alone.
    """

    encoder: Tensor | None = None
    output: Tensor | None = None
    pooled: Tensor | None = None
    at: Cut | None = None


class Residual(nn.Module):
    """x -> x + f(x), with the norm before f, after the sum, on both sides of f, or after f alone."""

    def __init__(self, spec: StackSpec, *, normed: bool = True) -> None:
        super().__init__()
        self.placement = spec.placement
        self.dropout = spec.dropout
        self.norm = make_norm(spec) if normed and spec.placement != "after" else nn.Identity()
        self.after = make_norm(spec) if spec.placement in ("sandwich", "after") else nn.Identity()
        self.slot = nn.Identity()

    def forward(self, x: Tensor, branch: Branch, readout: Tensor | None = None, onto: Tensor | None = None) -> Tensor:
        """[N, D] -> [N, D], or [R, D] where `readout` selects; `branch` selects by itself.

        onto: what the branch is added to instead of the x that it reads (parallel residuals).
        """
        kept = onto if onto is not None else x if readout is None else x[readout]
        inner = branch(x if self.placement == "post" else self.norm(x))
        if self.dropout and self.training:
            inner = dropout(inner, self.dropout)
        if self.placement == "post":
            return self.norm(kept + self.slot(inner))
        return kept + self.slot(self.after(inner))


class Block(nn.Module):
    """Self-attention, cross-attention where the stack has it, MLP."""

    def __init__(self, spec: StackSpec, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.attention = Attention(spec, layer)
        self.attention_residual = Residual(spec, normed=spec.first_norm or layer > 0)
        self.parallel = spec.residuals == "parallel"
        self.cross = Attention(spec, layer, cross=True) if spec.cross_attention else None
        self.cross_residual = Residual(spec) if spec.cross_attention else None
        self.mlp = MLP(spec)
        self.mlp_residual = Residual(spec)

    def forward(self, x: Tensor, flow: Flow) -> Tensor:
        """[N, D] -> [N, D], or [R, D] where the flow has a readout."""
        roles = fusible(self, flow, x)
        if roles is not None:
            return run_block(self, x, flow, roles)
        return self.plain(x, flow)

    def plain(self, x: Tensor, flow: Flow) -> Tensor:
        """The same, module by module: every kind of block, and the reference for the fast path."""
        own, other = flow.caches[self.layer] if flow.caches is not None else (None, None)

        def attend(h: Tensor) -> Tensor:
            return self.attention(
                h,
                flow.layout,
                readout=flow.readout,
                positions=flow.positions,
                bias=flow.bias,
                cache=own,
                places=flow.places,
                prefix=None if flow.prefix is None else flow.prefix[self.layer],
            )

        attended = self.attention_residual(x, attend, flow.readout)
        if self.parallel:
            return self.mlp_residual(x if flow.readout is None else x[flow.readout], self.mlp, onto=attended)
        x = attended
        if self.cross is not None and self.cross_residual is not None:
            cross, layout, memory = self.cross, flow.memory_layout, flow.memory
            x = self.cross_residual(x, lambda h: cross(h, layout, memory=memory, cache=other))
        return self.mlp_residual(x, self.mlp)


class Stack(nn.Module):
    """Positions, blocks and the final norm of an encoder or a decoder."""

    def __init__(self, spec: StackSpec) -> None:
        super().__init__()
        self.spec = spec
        width = spec.embedding_width
        self.positions: nn.Embedding | None = None
        if spec.positions in ("learned", "sinusoidal"):
            assert spec.max_positions is not None
            self.positions = nn.Embedding(spec.max_positions, width)
            if spec.positions == "sinusoidal":
                self.positions.weight.data.copy_(sinusoidal_table(spec.max_positions, width, spec.sinusoids))
                self.positions.weight.requires_grad_(False)
        self.relative_bias = RelativeBias(spec) if spec.positions == "relative" else None
        self.embedding_norm = make_norm(spec, width) if spec.embedding_norm else None
        self.projection = nn.Linear(width, spec.hidden_size) if width != spec.hidden_size else None
        self.virtual = VirtualTokens()  # an empty slot
        self.blocks = nn.ModuleList(Block(spec, layer) for layer in range(spec.num_layers))
        self.norm = make_norm(spec) if spec.final_norm else nn.Identity()

    def embed(self, x: Tensor, positions: Tensor, prompt: Tensor | None = None, order: Tensor | None = None) -> Tensor:
        """Token embeddings (embedding_width each) and their positions [N] -> input of the first block [N, D].

        prompt: [p, embedding_width], read with the tokens in this `order`: indexes into both, end to end.
        """
        if self.spec.embedding_scale != 1.0:
            x = x * torch.tensor(self.spec.embedding_scale, dtype=x.dtype)  # rounded to the weights' type, as in HF
        if prompt is not None:
            x = torch.cat((prompt.to(x.dtype), x))[order]
        if self.positions is not None:
            x = x + self.positions(positions + self.spec.position_offset)
        if self.embedding_norm is not None:
            x = self.embedding_norm(x)
        if self.spec.dropout and self.training:
            x = dropout(x, self.spec.dropout)
        return x if self.projection is None else self.projection(x).to(x.dtype)  # which autocast would narrow

    def run(self, x: Tensor, flow: Flow, first: int, last: int, readout: Tensor | None) -> Tensor:
        """Blocks first..last-1; the very last block of the stack shortens to `readout`."""
        for layer, block in enumerate(islice(self.blocks, first, last), first):  # a slice would be a new module
            asked = readout if layer == len(self.blocks) - 1 else None
            own = flow.below or flow if layer < self.virtual.first_block else flow
            x = block(x, own if asked is None else own.shortened(asked))
        return x

    def upper(self, x: Tensor, flow: Flow, first: int, cut: int, readout: Tensor | None) -> Tensor:
        """The blocks from `first` to the top; those below `cut` without autograd."""
        if first < cut:
            with torch.no_grad():
                x = self.run(x, flow, first, cut, readout)
        return self.run(x, flow, max(first, cut), len(self.blocks), readout)


class Transformer(nn.Module):
    """Token embedding, stacks and one head; what a family's files describe and a method adapts."""

    beside_tokens = 0  # rows that the encoder's states at the cut have beside one for each token
    goes_on = True  # whether the states at a cut are all that the blocks above it need

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self._cut = Cut()
        width = spec.output_stack.embedding_width
        self.tokens = nn.Embedding(spec.vocab_size, width)
        self.targets = nn.Embedding(spec.vocab_size, spec.hidden_size) if spec.target_tokens == "own" else None
        self.types = nn.Embedding(spec.token_types, width) if spec.token_types else None
        self.encoder = Stack(spec.encoder) if spec.encoder else None
        self.decoder = Stack(spec.decoder) if spec.decoder else None
        self.head: nn.Module = VocabularyHead(spec, self.tokens if spec.tied else None)

    @property
    def cut(self) -> Cut:
        """Where the trunk ends; setting it puts the blocks below into evaluation mode, and those above back."""
        return self._cut

    @cut.setter
    def cut(self, cut: Cut) -> None:
        self._cut = cut
        self.train(self.training)

    @property
    def output_stack(self) -> Stack:
        """The stack whose hidden states are read."""
        stack = self.decoder or self.encoder
        assert stack is not None
        return stack

    @property
    def virtual_tokens(self) -> int:
        """How many positions before every text are taken."""
        return max(stack.virtual.count for stack in (self.encoder, self.decoder) if stack is not None)

    @property
    def is_causal(self) -> bool:
        """Whether no token depends on one that follows it, nor on how many follow: a decoder alone."""
        spec = self.decoder.spec if self.encoder is None and self.decoder is not None else None
        return spec is not None and spec.causal and not spec.turns_by_row

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
        """Token ids -> hidden states `[R, D]` at `readout [R]` (ascending indexes into N), or of all tokens `[N, D]`.

        inputs: ids of the output stack; sources: ids of the encoder of an encoder-decoder, which several sequences may
        look at (`Ragged.readers`); types: [N] token types;
        cache: keys and values of earlier tokens (generation); trunk: the states at `self.cut`, where they are known.
        """
        if trunk is not None and trunk.pooled is not None:
            return trunk.pooled
        stack, cut = self.output_stack, self.cut.decoder if self.decoder else self.cut.encoder
        x, at = (trunk.output, trunk.at or self.cut) if trunk is not None else (None, self.cut)
        first, ids = at.decoder if self.decoder else at.encoder, inputs.values
        if x is not None and first == len(stack.blocks):  # the whole stack is trunk
            return stack.norm(x)
        memory, memory_lengths = self._memory(sources, cache, trunk)
        inputs, places = self._opened(stack, inputs, cache)
        if places is not None:  # virtual tokens have no readout
            readout = places if readout is None else places[readout]
        readers = None if sources is None else sources.readers
        flow = self._flow(stack, inputs, memory, memory_lengths, cache, reads=places is not None, readers=readers)
        if x is None:
            x, first = self._lower(stack, ids, types, flow, cut, readout), cut
        x = stack.upper(x, flow, first, cut, readout)
        if cache is not None:
            cache.lengths = flow.key_lengths
        return stack.norm(x)

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
        """The states at the cut, as `forward` computes them on its way; only where a cut is set.

        cut: another than the model's own. below: states at a lower one (its `at`), from which the rest is computed.
        """
        cut, below = cut or self.cut, below or Trunk()
        first = below.at or Cut()
        lower_encoder = None
        if self.decoder is not None and sources is not None and self.encoder is not None and cut.encoder:
            flow, known = self._flow(self.encoder, sources, None, None, None), below.encoder
            if known is None:
                lower_encoder = self._lower(self.encoder, sources.values, None, flow, cut.encoder, None)
            else:
                lower_encoder = self.encoder.run(known, flow, first.encoder, cut.encoder, None)
        stack, last = self.output_stack, cut.decoder if self.decoder else cut.encoder
        if not last:
            return Trunk(lower_encoder, None)
        memory, lengths = self._memory(sources, None, Trunk(lower_encoder, at=cut))
        readers = None if sources is None else sources.readers
        flow = self._flow(stack, inputs, memory, lengths, None, readers=readers)
        if below.output is None:
            return Trunk(lower_encoder, self._lower(stack, inputs.values, types, flow, last, readout))
        begin = first.decoder if self.decoder else first.encoder
        return Trunk(lower_encoder, stack.run(below.output, flow, begin, last, readout))

    def encode(self, sources: Ragged) -> Tensor:
        """What the encoder of an encoder-decoder makes of its ids: `[M, D]`."""
        memory, _ = self._memory(sources, None, None)
        assert memory is not None
        assert self.encoder is not None
        places = self._opened(self.encoder, sources, None)[1]
        return memory if places is None else memory[places]

    def _memory(
        self, sources: Ragged | None, cache: Cache | None, trunk: Trunk | None
    ) -> tuple[Tensor | None, Tensor | None]:
        if self.encoder is None or self.decoder is None:
            return None, None
        if cache is not None and cache.memory_lengths is not None:
            return cache.memory, cache.memory_lengths
        if sources is None:
            raise ValueError("an encoder-decoder needs `sources`, the ids that its encoder reads")
        ids = sources.values
        sources, places = self._opened(self.encoder, sources, None)
        flow = self._flow(self.encoder, sources, None, None, None, reads=places is not None)
        x, first = (trunk.encoder, (trunk.at or self.cut).encoder) if trunk is not None else (None, 0)
        if x is None:
            x, first = self._lower(self.encoder, ids, None, flow, self.cut.encoder, None), self.cut.encoder
        x = self.encoder.norm(self.encoder.upper(x, flow, first, self.cut.encoder, None))
        if cache is not None:
            cache.memory, cache.memory_lengths = x, sources.lengths
        return x, sources.lengths

    def _lower(
        self, stack: Stack, ids: Tensor, types: Tensor | None, flow: Flow, cut: int, readout: Tensor | None
    ) -> Tensor:
        """Embedding and the blocks below the cut; without autograd where there is a cut."""
        with torch.set_grad_enabled(torch.is_grad_enabled() and cut == 0):
            x = (self.targets if self.targets is not None and stack is self.decoder else self.tokens)(ids)
            if self.types is not None:
                x = x + (self.types.weight[0] if types is None else self.types(types))
            if torch.is_autocast_enabled(x.device.type):  # the sum of all branches stays wide, whatever the weights are
                x = x.to(torch.promote_types(x.dtype, torch.float32))
            prompt = None if flow.order is None else stack.virtual.embeddings()
            if prompt is not None and self.types is not None:
                prompt = prompt + self.types.weight[0]
            return stack.run(stack.embed(x, flow.positions, prompt, flow.order), flow, 0, cut, readout)

    @staticmethod
    def _opened(stack: Stack, inputs: Ragged, cache: Cache | None) -> tuple[Ragged, Tensor | None]:
        """The batch with the prompt of a stack before its rows, if this pass brings one; where given tokens stand."""
        if not stack.virtual.read or (cache is not None and not cache.empty):
            return inputs, None
        once = stack.spec.causal and not stack.spec.turns_by_row and cache is None
        found = opened(inputs, stack.virtual.read, once=once)
        return found.inputs, found.places

    def _flow(
        self,
        stack: Stack,
        inputs: Ragged,
        memory: Tensor | None,
        memory_lengths: Tensor | None,
        cache: Cache | None,
        *,
        reads: bool = False,
        readers: Tensor | None = None,
    ) -> Flow:
        """reads: whether a prompt stands before the rows, and the values of `inputs` are the order of `opened`."""
        flow = make_flow(stack.spec, stack.virtual, inputs, memory, memory_lengths, cache, readers)
        return replace(flow, bias=stack.relative_bias, order=inputs.values if reads else None)

    def train(self, mode: bool = True) -> Self:
        """As in torch, but a frozen trunk always runs in evaluation mode: no dropout below the cut."""
        self.training = mode
        set_mode(self.children(), mode)
        for stack, cut in ((self.encoder, self.cut.encoder), (self.decoder, self.cut.decoder)):
            if stack is None or not cut:
                continue
            set_mode(islice(stack.blocks, cut), False)
            stack.training = False  # the embedding's own dropout
        return self
