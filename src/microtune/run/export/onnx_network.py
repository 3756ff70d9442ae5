"""The network over padded rows, for ONNX: the only place in the package with pad tokens and a mask of them.

It holds the very modules of a Transformer and lays them out for a fixed graph: `input_ids` and `attention_mask`, both
`[B, T]`, rows padded on either side. Positions are counted over the mask, so a padded row gets the numbers of the same
row alone. What this graph does not compute is refused by `require_computable`.

Shape letters: B rows, T tokens, D width, H heads, K key heads, E head width, V vocabulary.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.errors import InputError
from microtune.nn.attention import Attention
from microtune.nn.heads import LabelHead
from microtune.nn.positions import rotary_angles, rotate
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Block, Transformer
from microtune.run.export.expressible import BIASES, SIZES, idle, require
from microtune.run.export.parity import Kind

NORMS = ("norm", "norm_eps", "norm_shift", "norm_bias", "placement", "first_norm", "final_norm", "embedding_norm")
CHOICES = ("residuals", "mlp", "activation", "query_key_norm", "causal", "window", "pattern", "embedding_size")
PLACES = ("rope_theta", "rope_local_theta", "rope_scaling", "rope_layout", "rotary_dim", "position_offset", "sinusoids")
SCALES = ("attention_scale", "attention_softcap", "embedding_scale")
HEADS = ("token_types", "head_transform", "head_activation", "head_transform_bias", "head_bias", "logit_scale")
CAPS = ("logit_softcap",)


def require_computable(spec: ModelSpec) -> None:
    """InputError where the padded graph does not compute a model of this spec."""
    if spec.encoder is not None and spec.decoder is not None:
        raise InputError("ONNX files are written of encoders and of decoders, not of both in one model.")
    stack = spec.output_stack
    positions = ("none", "learned", "sinusoidal", "rotary")
    require(spec, {}, (*HEADS, *CAPS), what="The padded ONNX graph")
    free = (*SIZES, *BIASES, *NORMS, *CHOICES, *PLACES, *SCALES, *idle(stack))
    require(stack, {"positions": positions}, free, what="The padded ONNX graph")


class Padded(nn.Module):
    """`input_ids [B, T]`, `attention_mask [B, T]` -> label scores, logits, hidden states or embeddings."""

    def __init__(self, network: Transformer, kind: Kind, *, normalize: bool) -> None:
        super().__init__()
        self.network = network
        self.kind = kind
        self.normalize = normalize

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> tuple[Tensor, ...]:
        """[B, T] twice -> one tensor, for sentence encoders two: [B, T, D] and [B, D]."""
        network, stack = self.network, self.network.output_stack
        keep = attention_mask > 0
        positions = (keep.to(torch.int64).cumsum(1) - 1).clamp(min=0)
        x = network.tokens(input_ids)
        if network.types is not None:
            x = x + network.types.weight[0]
        x = stack.embed(x, positions)
        gap = positions[:, :, None] - positions[:, None, :]
        for block in stack.blocks:
            assert isinstance(block, Block)
            x = self._block(block, x, keep, positions, gap)
        x = stack.norm(x)
        if self.kind == "label":
            head = network.head
            assert isinstance(head, LabelHead)
            return (head.scores(_pooled(x, keep, head.pooling)),)
        if self.kind == "sentence":
            pooled = _pooled(x, keep, "mean")
            return x, F.normalize(pooled, dim=-1) if self.normalize else pooled
        return (network.head(x) if self.kind == "vocabulary" else x,)

    def _block(self, block: Block, x: Tensor, keep: Tensor, positions: Tensor, gap: Tensor) -> Tensor:
        attention = block.attention
        seen = keep[:, None, :]  # [B, 1, T]
        if self.network.output_stack.spec.causal:
            seen = seen & (gap >= 0)
        if attention.window is not None:
            seen = seen & (gap.abs() < attention.window)

        def attend(h: Tensor) -> Tensor:
            return _attention(attention, h, seen, positions, keep)

        attended = block.attention_residual(x, attend)
        if block.parallel:
            return block.mlp_residual(x, block.mlp, onto=attended)
        return block.mlp_residual(attended, block.mlp)


def _attention(attention: Attention, x: Tensor, seen: Tensor, positions: Tensor, keep: Tensor) -> Tensor:
    """[B, T, D] and which keys each query sees `[B, T, T]` -> [B, T, D]."""
    q = attention.by_heads(attention.q(x), attention.heads, attention.q_norm)
    k = attention.by_heads(attention.k(x), attention.kv_heads, attention.k_norm)
    v = attention.by_heads(attention.v(x), attention.kv_heads, None)
    if attention.theta is not None:
        lengths = keep.to(torch.int64).sum(1, keepdim=True).expand_as(positions).flatten()
        cos, sin = rotary_angles(
            *(positions.flatten(), attention.rotary_size, attention.theta, torch.float32),
            scaling=attention.scaling,
            lengths=lengths,
            layout=attention.rope_layout,
        )
        q, k = (rotate(t.flatten(0, 1), cos, sin, attention.rope_layout).view(t.shape) for t in (q, k))
    times = attention.heads // attention.kv_heads
    if times > 1:
        k, v = (t.repeat_interleave(times, dim=2) for t in (k, v))
    q, k, v = (t.transpose(1, 2) for t in (q, k, v))
    scores = torch.matmul(q * attention.scale, k.transpose(2, 3))
    if attention.softcap is not None:
        scores = attention.softcap * torch.tanh(scores / attention.softcap)
    scores = scores.masked_fill(~seen[:, None], torch.finfo(scores.dtype).min)
    return attention.o(torch.matmul(torch.softmax(scores, -1), v).transpose(1, 2).flatten(2))


def _pooled(x: Tensor, keep: Tensor, pooling: str) -> Tensor:
    """[B, T, D] -> [B, D]: the first or the last real token, or the mean of all real ones."""
    real = keep.to(x.dtype)
    if pooling == "mean":
        return (x * real[:, :, None]).sum(1) / real.sum(1, keepdim=True)
    numbers = keep.to(torch.int64) * torch.arange(1, keep.shape[1] + 1)
    place = numbers.argmax(1) if pooling == "last" else keep.to(torch.int64).argmax(1)
    return x[torch.arange(x.shape[0]), place]
