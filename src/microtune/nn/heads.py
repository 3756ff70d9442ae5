"""What stands on top of the hidden states: a vocabulary or labels.

`[R, V]` logits never exist as a whole in training or evaluation: vocabulary losses run in chunks, and each chunk's
gradient is computed while its logits are still there (the idea of Liger and of cut cross-entropy, Wijmans et al., 2024,
in plain torch). Soft-capping, T5's scale, BART's bias and BERT's transform live here, because they belong to the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from microtune.nn.layers import ACTIVATIONS, dropout, make_norm
from microtune.nn.spec import LabelHeadKind, ModelSpec

CHUNK_ELEMENTS = 8_000_000  # logits that exist at one time, 32 MB in float32; half as many cost a fifth of the rate
LOSS_BYTES = 8  # of memory for each of them where gradients are taken by formula: four times as many rows in 16 bits
SOFTMAX_ELEMENTS = 400_000  # what goes through the softmax at one time, so that it stays near the processor
GPU_CHUNK_ELEMENTS = 64_000_000  # 0.4 GB in both types; more rows at once keep a GPU busy


class HeadTransform(nn.Module):
    """BERT's dense layer, activation and norm before the vocabulary, at the width of the embedding."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        stack = spec.output_stack
        self.dense = nn.Linear(stack.hidden_size, stack.embedding_width, bias=spec.head_transform_bias)
        self.norm = make_norm(stack, stack.embedding_width)
        self.activation = ACTIVATIONS[spec.head_activation or stack.activation]

    def forward(self, hidden: Tensor) -> Tensor:
        """[R, D] -> [R, embedding_width]."""
        return self.norm(self.activation(self.dense(hidden)))


class VocabularyHead(nn.Module):
    """Hidden states -> scores of the next (or the masked) token."""

    def __init__(self, spec: ModelSpec, tokens: nn.Embedding | None) -> None:
        super().__init__()
        self.transform = HeadTransform(spec) if spec.head_transform else None
        self.out = nn.Linear(spec.output_stack.embedding_width, spec.vocab_size, bias=spec.head_bias)
        if tokens is not None:
            self.out.weight = tokens.weight
        self.logit_scale = spec.logit_scale
        self.softcap = spec.logit_softcap
        self.label_smoothing = 0.0  # of `loss` alone; set by who trains

    def forward(self, hidden: Tensor) -> Tensor:
        """[R, D] -> logits [R, V]."""
        return self._logits(self._prepared(hidden), self.out.weight, self.out.bias, self._added)

    @property
    def _added(self) -> Tensor | None:
        """The rows of added tokens where they alone train (nn/added.py), else None."""
        rows = getattr(self.out, "added", None)
        return rows[1] if rows is not None and torch.is_grad_enabled() and rows[1].requires_grad else None

    def loss(self, hidden: Tensor, targets: Tensor, weights: Tensor | None = None) -> Tensor:
        """Sum of the cross-entropies of `targets [R]` (times `weights [R]`), without ever holding [R, V].

        With `label_smoothing` x (Szegedy et al., 2016) a target has probability 1 - x, and x is spread over all ids.
        """
        parameters = (self.out.weight, self.out.bias, self._added)
        return _ChunkedLoss.apply(self, self._prepared(hidden), targets, weights, *parameters)  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def log_probabilities(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """log p(target) `[R]`, in chunks."""
        wide = torch.promote_types(hidden.dtype, torch.float32)
        out, done = torch.empty(len(hidden), dtype=wide, device=hidden.device), 0
        for h, t in self.chunks(self._prepared(hidden), targets):
            out[done : done + len(h)] = -self.losses(h, t, None)
            done += len(h)
        return out

    @torch.no_grad()
    def top_k(self, hidden: Tensor, k: int) -> tuple[Tensor, Tensor]:
        """The k best log-probabilities and ids, `[R, k]` each, in chunks."""
        wide, device = torch.promote_types(hidden.dtype, torch.float32), hidden.device
        # Filled in place: small results kept between two chunks would pin each chunk's memory (measured: 1.2 GB).
        values = torch.empty(len(hidden), k, dtype=wide, device=device)
        ids = torch.empty(len(hidden), k, dtype=torch.int64, device=device)
        done = 0
        for h in torch.split(self._prepared(hidden), self.chunk_rows()):
            part = slice(done, done + len(h))
            done = part.stop
            logits = self._logits(h, self.out.weight, self.out.bias).to(wide)
            best, ids[part] = logits.topk(k, -1)
            values[part] = best - logits.logsumexp(-1, keepdim=True)
        return values, ids

    @torch.no_grad()
    def judge(self, hidden: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """log p(target) `[R]`, and whether the target is the most probable id `[R]`, from one pass over the chunks."""
        wide = torch.promote_types(hidden.dtype, torch.float32)
        logp = torch.empty(len(hidden), dtype=wide, device=hidden.device)
        right = torch.empty(len(hidden), dtype=torch.bool, device=hidden.device)
        done = 0
        for h, t in self.chunks(self._prepared(hidden), targets):
            part = slice(done, done + len(h))
            done = part.stop
            logits = self._logits(h, self.out.weight, self.out.bias).to(wide)
            right[part] = logits.argmax(-1) == t
            logp[part] = -F.cross_entropy(logits, t, reduction="none")
        return logp, right

    def _prepared(self, hidden: Tensor) -> Tensor:
        if self.transform is not None:
            hidden = self.transform(hidden)
        return hidden * self.logit_scale if self.logit_scale != 1.0 else hidden

    def _logits(self, prepared: Tensor, weight: Tensor, bias: Tensor | None, added: Tensor | None = None) -> Tensor:
        """added: rows that stand in for those of `weight` from the first added id on, and take their gradient."""
        if added is None:
            logits = F.linear(prepared, weight, bias)
        else:
            first, stop = self.first_added, self.first_added + len(added)
            parts = [F.linear(prepared, rows) for rows in (weight[:first], added, weight[stop:])]
            logits = torch.cat(parts, -1) if bias is None else torch.cat(parts, -1) + bias
        return logits if self.softcap is None else self.softcap * torch.tanh(logits / self.softcap)

    def chunk_rows(self) -> int:
        """How many rows of logits exist at one time."""
        elements = GPU_CHUNK_ELEMENTS if self.out.weight.is_cuda else CHUNK_ELEMENTS
        return max(16, elements // self.out.weight.shape[0])

    def loss_rows(self, dtype: torch.dtype) -> int:
        """The same where losses and gradients are computed by formula, in place, with logits in `dtype`."""
        if self.out.weight.is_cuda:
            return self.chunk_rows()
        return max(16, CHUNK_ELEMENTS * LOSS_BYTES // dtype.itemsize // self.out.weight.shape[0])

    @property
    def first_added(self) -> int:
        """The id of the first row of those that train alone."""
        return int(self.out.added[0])  # type: ignore[index]

    def losses(
        self, prepared: Tensor, targets: Tensor, parameters: Sequence[Tensor | None] | None, smoothing: float = 0.0
    ) -> Tensor:
        """Cross-entropy of each target [R], with the given weight, bias and added rows in place of the head's own."""
        weight, bias, added = (self.out.weight, self.out.bias, None) if parameters is None else parameters
        assert weight is not None
        logits = self._logits(prepared, weight, bias, added)
        wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
        return F.cross_entropy(wide, targets, reduction="none", label_smoothing=smoothing)

    def chunks(self, prepared: Tensor, targets: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Hidden states and targets, `chunk_rows` at a time."""
        rows = self.chunk_rows()
        return zip(prepared.split(rows), targets.split(rows), strict=True)


class _ChunkedLoss(torch.autograd.Function):
    """Sum of cross-entropies whose gradient is taken chunk by chunk during the forward pass."""

    @staticmethod
    def forward(
        ctx: Any, head: VocabularyHead, hidden: Tensor, targets: Tensor, weights: Any, *params: Tensor | None
    ) -> Tensor:
        ctx.needed = [ctx.needs_input_grad[1], *ctx.needs_input_grad[4:]]
        plain = head.softcap is None and params[1] is None
        compute = _plain_gradients if plain else _capped_gradients
        total, grads = compute(head, hidden, targets, weights, params, ctx.needed)
        ctx.save_for_backward(*(t for t in grads if t is not None))
        return total

    @staticmethod
    def backward(ctx: Any, outer: Tensor) -> tuple[Tensor | None, ...]:
        saved = iter(ctx.saved_tensors)
        grads = [next(saved) * outer if need else None for need in ctx.needed]
        return (None, grads[0], None, None, *grads[1:])


def _plain_gradients(
    head: VocabularyHead,
    hidden: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    params: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> tuple[Tensor, list[Tensor | None]]:
    """Loss and gradients of `softmax(h W)` by formula, in buffers that all chunks share.

    Fresh buffers of this size cost more than the arithmetic in them (page faults), and casting W for every chunk as
    much.
    """
    device = hidden.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
    wide = torch.promote_types(dtype, torch.float32)
    own, _, added = params
    assert own is not None
    weight, h = own.to(dtype), hidden.to(dtype)
    rows, smoothing = _even(len(h), head.loss_rows(dtype)), head.label_smoothing
    logits = torch.empty(rows, len(weight), dtype=dtype, device=h.device)
    few = rows if h.is_cuda else min(rows, max(2 * torch.get_num_threads(), SOFTMAX_ELEMENTS // len(weight)))
    scores, shares = (torch.empty(few, len(weight), dtype=wide, device=h.device) for _ in range(2))
    total = torch.zeros((), dtype=wide, device=h.device)
    grad_h = torch.empty_like(hidden) if needed[0] else None
    grad_w = torch.zeros_like(own) if needed[1] else None
    grad_a = torch.zeros_like(added) if added is not None and needed[3] else None
    for first in range(0, len(h), rows):
        part = slice(first, min(first + rows, len(h)))
        n = part.stop - part.start
        torch.mm(h[part], weight.t(), out=logits[:n])
        for begin in range(first, part.stop, few):
            asked = slice(begin, min(begin + few, part.stop))
            own_logits = logits[begin - first : asked.stop - first]
            own_weights = None if weights is None else weights[asked]
            total += _deltas(own_logits, targets[asked], own_weights, smoothing, (scores, shares))
        if grad_h is not None:
            grad_h[part] = logits[:n] @ weight
        if grad_w is not None:
            grad_w += logits[:n].t() @ h[part]
        if grad_a is not None:
            grad_a += logits[:n, head.first_added : head.first_added + len(grad_a)].t() @ h[part]
    return total, [grad_h, grad_w, None, grad_a]


def _even(rows: int, most: int) -> int:
    """Rows of a chunk where `rows` are cut into as few as `most` allows, of one size: a small last one is slow."""
    return max(1, math.ceil(rows / max(1, math.ceil(rows / most))))


def _deltas(
    logits: Tensor, targets: Tensor, weights: Tensor | None, smoothing: float, buffers: tuple[Tensor, Tensor]
) -> Tensor:
    """Logits `[n, V]` become their gradients; returns the sum of the (weighted) cross-entropies of the targets `[n]`.

    buffers: two of at least n rows in the type that sums are made in.
    """
    scores, shares = (buffer[: len(logits)] for buffer in buffers)
    scores.copy_(logits)
    known = scores.gather(1, targets[:, None])
    if smoothing:
        known = torch.lerp(known, scores.mean(-1, keepdim=True), smoothing)
    torch.softmax(scores, -1, out=shares)
    # The log of the sum of exponentials follows from the greatest score and its share, which is never near zero.
    losses = scores.amax(-1, keepdim=True).sub_(shares.amax(-1, keepdim=True).log_()).sub_(known)[:, 0]
    shares[torch.arange(len(shares), device=shares.device), targets] -= 1 - smoothing
    if smoothing:
        shares -= smoothing / shares.shape[1]
    if weights is not None:
        losses, shares = losses * weights, shares.mul_(weights[:, None])
    logits.copy_(shares)
    return losses.sum()


def _capped_gradients(
    head: VocabularyHead,
    hidden: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    params: Sequence[Tensor | None],
    needed: Sequence[bool],
) -> tuple[Tensor, list[Tensor | None]]:
    """The same through autograd inside each chunk, for heads with a soft cap or a bias."""
    total = torch.zeros((), dtype=torch.promote_types(hidden.dtype, torch.float32), device=hidden.device)
    pairs = list(zip(params, needed[1:], strict=True))
    leaves = tuple(None if p is None else p.detach().requires_grad_(need) for p, need in pairs)
    sums = [torch.zeros_like(p) if p is not None and need else None for p, need in pairs]
    grad = torch.zeros_like(hidden) if needed[0] else None
    done = 0
    for chunk, chunk_targets in head.chunks(hidden, targets):
        rows = slice(done, done + len(chunk))
        done = rows.stop
        with torch.enable_grad():
            leaf = chunk.detach().requires_grad_(needed[0])
            losses = head.losses(leaf, chunk_targets, leaves, head.label_smoothing)
            loss = (losses if weights is None else losses * weights[rows]).sum()
        total += loss.detach()
        wanted = [t for t, need in zip((leaf, *leaves), needed, strict=True) if t is not None and need]
        found = iter(torch.autograd.grad(loss, wanted) if wanted else ())
        if grad is not None:
            grad[rows] = next(found)
        for store in sums:
            if store is not None:
                store += next(found)
    return total, [grad, *sums]


INNER: dict[LabelHeadKind, Callable[[Tensor], Tensor]] = {  # what stands between pooling and scores
    "tanh_pooler": torch.tanh,  # came with the model (BERT)
    "tanh_dense": torch.tanh,  # is new (RoBERTa)
    "gelu_dense": F.gelu,  # ELECTRA
    "relu_dense": F.relu,  # DistilBERT
}
DROPPED_TWICE = ("tanh_dense", "gelu_dense")  # dropout before the dense layer, too


class LabelHead(nn.Module):
    """Pooled hidden states -> one score per label, as the architecture's `ForSequenceClassification` does it.

    Pooling happens before: a task reads the first token, the last one, or all of them (`mean`).
    """

    def __init__(self, spec: ModelSpec, num_labels: int) -> None:
        super().__init__()
        D, kind = spec.hidden_size, spec.label_head
        self.pooling = spec.pooling
        self.kind = kind
        self.dropout = spec.label_dropout
        self.pooler = nn.Linear(D, D) if kind == "tanh_pooler" else None
        self.dense = nn.Linear(D, D) if kind in INNER and kind != "tanh_pooler" else None
        self.transform = HeadTransform(spec) if kind == "transform" else None
        width = spec.output_stack.embedding_width if kind == "transform" else D
        self.out = nn.Linear(width, num_labels, bias=spec.label_bias)
        below = (m for m in self.modules() if isinstance(m, nn.Linear) and m is not self.out)
        for part in (self.out, *below):  # the order in which a seed draws
            nn.init.normal_(part.weight, 0.0, spec.initializer_range)
            if part.bias is not None:
                nn.init.zeros_(part.bias)

    def forward(self, hidden: Tensor, counts: Tensor) -> Tensor:
        """Hidden states [R, D] of B sequences with `counts [B]` positions each -> scores [B, labels]."""
        return self.scores(pool_mean(hidden, counts) if self.pooling == "mean" else hidden)

    def scores(self, x: Tensor) -> Tensor:
        """Pooled states [B, D] -> scores [B, labels]."""
        if self.kind == "normalized":  # unit root mean square, so that one learning rate serves every model
            x = F.normalize(x, dim=-1) * x.shape[-1] ** 0.5
        inner = self.pooler if self.dense is None else self.dense
        if inner is not None:
            x = self._dropped(x) if self.kind in DROPPED_TWICE else x
            x = INNER[self.kind](inner(x))
        if self.transform is not None:
            x = self.transform(x)
        return self.out(self._dropped(x))

    def _dropped(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout) if self.dropout and self.training else x

    def take(self, spare: Mapping[str, Tensor]) -> None:
        """Everything below the scores from what came with the model's files (`Loaded.spare`), if all of it did."""
        below = [name for name in self.state_dict() if not name.startswith("out.")]
        if all(f"head.{name}" in spare for name in below):
            self.load_state_dict({name: spare[f"head.{name}"] for name in below}, strict=False)


def pool_mean(hidden: Tensor, counts: Tensor) -> Tensor:
    """Mean of each sequence's positions: [R, D] and counts [B] -> [B, D], summed in at least float32."""
    if len(hidden) == len(counts):  # one position each
        return hidden
    wide = torch.promote_types(hidden.dtype, torch.float32)
    if hidden.is_cuda:  # `index_add` adds in any order there, so that no two passes would agree
        sums = torch.segment_reduce(hidden.to(wide), "sum", lengths=counts, unsafe=True)
        return (sums / counts[:, None].to(wide)).to(hidden.dtype)
    rows = torch.repeat_interleave(torch.arange(len(counts), device=counts.device), counts)
    sums = torch.zeros(len(counts), hidden.shape[-1], dtype=wide, device=hidden.device)
    return (sums.index_add(0, rows, hidden.to(wide)) / counts[:, None].to(wide)).to(hidden.dtype)
