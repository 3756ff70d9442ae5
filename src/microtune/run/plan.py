"""What a run will take, before it begins: memory by parts, and time; and micro-batches cut until it fits.

Weights, gradients and the optimizer's state are counted. What the activations take is measured, for it depends on the
path that each block goes: one real micro-batch, the largest of the run, goes forward and back under a `Meter`; where
that one might not fit, one of its rows does, and the rest is proportion. The recipe, and so the result, stays as it is:
only how many tokens are computed at once changes.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from microtune.data.batches import Batch, Item, Items, collate, in_order, item_sizes
from microtune.errors import InputError
from microtune.nn.fused import role_parts
from microtune.nn.padded import computed
from microtune.nn.products import WORTH, onednn_is_faster
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer, Trunk
from microtune.recipe import parse_size
from microtune.run.evaluate import EVALUATION_TOKENS
from microtune.run.memory import available, give_back, in_words, resident
from microtune.run.meter import Meter
from microtune.run.precision import autocast, compute_type
from microtune.run.train import Training
from microtune.run.trunk import TrunkCache

Where = Literal["memory", "disk"]
SAFE_SHARE = 0.5  # of the room: what roughly takes less is not worth measuring, and may be run whole to be measured
OVERHEAD = 1.05  # what the allocator rounds up and leaves between tensors that come and go
ATTEMPTS = 8
ROWS_LOOKED_AT = 2_000_000  # over all epochs; of longer runs the first epochs stand for the others
MOST_KERNELS, KERNEL_BYTES = 1300, 660_000  # prepared products of oneDNN: 0.66 MB each, at most 850 MB (measured)
KERNELS = min(int(os.environ.get("ONEDNN_PRIMITIVE_CACHE_CAPACITY") or MOST_KERNELS), MOST_KERNELS)
GONE_BYTES, MOST_GONE = 500_000, 400_000_000  # what those that made way leave in the heap; fitted to six runs
LIBRARIES = 330_000_000  # of torch and what it brings once it computes, where the system does not say


@dataclass(frozen=True)
class Part:
    """One part of the memory (or disk) that a run takes, in bytes."""

    name: str
    bytes: int
    where: Where = "memory"


@dataclass(frozen=True)
class MemoryPlan:
    """Parts that stand at the same time at the peak; `micro_tokens` may be less than the recipe's."""

    parts: tuple[Part, ...]
    micro_tokens: int
    limit: int | None

    @property
    def peak(self) -> int:
        """Bytes at the peak."""
        return sum(part.bytes for part in self.parts if part.where == "memory")


def rough_bytes(spec: ModelSpec, lengths: Sequence[int]) -> int:
    """No less than a training step keeps of one micro-batch on the plainest path, in bytes; nothing is measured.

    Per token and block: about a dozen vectors of the width, four of the MLP's, and three scores per head and key.
    """
    total = 0
    for stack in (spec.encoder, spec.decoder):
        if stack is not None:
            wide = 14 * stack.hidden_size + 6 * stack.num_heads * stack.head_size + 5 * stack.intermediate_size
            scores = 3 * stack.num_heads * sum(n * n for n in lengths)
            total += stack.num_layers * (wide * sum(lengths) + scores)
    head = min(sum(lengths) * spec.vocab_size, 4_000_000 + 16 * spec.vocab_size)
    return 4 * (total + 4 * head + 4 * sum(lengths) * spec.hidden_size)


def largest(training: Training, micro_tokens: int) -> list[int]:
    """The items of the micro-batch that takes most, of all that the run will compute."""
    epochs = math.ceil(training.total_steps / training.steps_per_epoch)
    looked_at = min(epochs, max(1, ROWS_LOOKED_AT // len(training.sizes)))
    pieces = (piece for epoch in range(looked_at) for batch in training.plan(epoch, micro_tokens) for piece in batch)
    spec, sizes = training.model.spec, training.sizes
    taken = training.model.virtual_tokens
    return max(pieces, key=lambda piece: rough_bytes(spec, [sizes[i] + taken for i in piece]))


@dataclass(frozen=True)
class Known:
    """A stand-in for a filled trunk cache: the states of a few micro-batches, computed before."""

    cache: TrunkCache
    found: Mapping[tuple[int, ...], Trunk]

    @classmethod
    def of(cls, cache: TrunkCache, pieces: Iterable[Sequence[int]]) -> Known:
        """Compute the states of `pieces`, in the form in which the storage gives them back."""
        device = next(cache.model.parameters()).device
        cache.model.eval()
        found = {
            tuple(piece): cache.computed(collate([cache.items[i] for i in piece]).to(device), wide=True)
            for piece in pieces
        }
        return cls(cache, found)

    def shifted(self) -> Known:
        """The same for items that stand alone, from 0."""
        return Known(self.cache, {tuple(range(len(piece))): trunk for piece, trunk in self.found.items()})

    def collate(self, items: Sequence[Item]) -> Batch:
        """As a filled `TrunkCache` does."""
        return self.cache.as_stored(items)

    def states(self, batch: Batch, indexes: Sequence[int]) -> Trunk:
        """As `TrunkCache.states`."""
        return self.found[tuple(indexes)]


def activations(training: Training, piece: list[int], trunk: TrunkCache | None) -> int:
    """Bytes alive at most, beside the gradients, while a micro-batch goes forward and back; leaves nothing behind."""
    before = training.trunk
    training.trunk = None if trunk is None else Known.of(trunk, [piece])  # type: ignore[assignment]
    batch = training.collate(piece)
    training.model.train()
    trainable = [p for _, p in training.attachment.parameters()]
    several = any(len(pieces) > 1 for pieces in training.plan(0))
    for p in trainable:  # of an earlier micro-batch of the same step
        p.grad = torch.zeros_like(p) if several else None
    with torch.random.fork_rng(devices=[]), Meter() as meter:
        training.loss(batch, piece).backward()
    training.trunk = before
    training.optimizers.zero_grad()
    return max(meter.peak - (0 if several else sum(p.nbytes for p in trainable)), 0)


@torch.inference_mode()
def passing(training: Training, items: Items) -> int:
    """Bytes alive at most while the largest batch of an evaluation, or of filling a cache, goes through the model."""
    sizes, spec = item_sizes(items), training.model.spec
    piece = max(in_order(sizes, EVALUATION_TOKENS), key=lambda p: rough_bytes(spec, [sizes[i] for i in p]))
    batch = collate([items[i] for i in piece]).to(training.device)
    training.model.eval()
    with Meter() as meter, autocast(training.device, training.precision):
        hidden = training.model(batch.inputs, readout=batch.readout, sources=batch.sources, types=batch.types)
        for _ in training.task.decode(training.model.head, hidden, batch):
            pass
    return meter.peak


def counted(training: Training, trunks: Mapping[str, TrunkCache]) -> list[Part]:
    """What is known without a look at the machine: weights, what trains with its copies and moments, the cache."""
    trains = sum(p.nbytes for _, p in training.attachment.parameters())
    mapped = sum(trunk.bytes for trunk in trunks.values())
    return [
        Part("weights", _bytes([*training.model.parameters(), *training.model.buffers()])),
        Part("weights as they were, for undoing", _bytes(training.attachment.kept())),
        Part("weights at the start, then the best", trains),
        Part("gradients", trains),
        Part("optimizer state", training.optimizers.state_bytes()),
        *(
            [Part("frozen trunk's states, mapped", mapped), Part("frozen trunk's states", mapped, "disk")]
            * bool(mapped)
        ),
    ]


def _bytes(tensors: Iterable[Tensor]) -> int:
    """Bytes of tensors, what they share counted once."""
    found = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in tensors}
    return sum(found.values())


def libraries(training: Training, parts: Sequence[Part]) -> int:
    """What the process holds beside tensors: libraries, rows, tokenizer; not what is free and will be used again."""
    give_back()
    held = resident()
    if held is None or training.device.type != "cpu":
        return LIBRARIES if training.device.type == "cpu" else 0
    return max(held - sum(part.bytes for part in parts[:3]), 0)


def kernels(training: Training, trunks: Mapping[str, TrunkCache], judged: Sequence[Items], micro_tokens: int) -> int:
    """Bytes of what oneDNN prepares for products: code for every new shape, and ragged batches bring many."""
    dtype = compute_type(training.precision, training.device)
    if training.device.type != "cpu" or (dtype == torch.float32 and not onednn_is_faster()):
        return 0
    model = training.model
    large = _large(model) if dtype == torch.float32 else None
    cut = model.cut.decoder if model.decoder is not None else model.cut.encoder
    width, products = model.spec.hidden_size, _products(model)
    first = training.items[0]
    some = len(first.readout) not in (1, len(first.ids))  # positions read, of which every batch has as many as it has
    inside = 6 if len(first.readout) == len(first.ids) else 12  # the last block asks from other positions
    found: set[tuple[int, ...]] = set()
    if "train" not in trunks or cut < len(model.output_stack.blocks):  # else no block is computed in a step
        for epoch in range(min(math.ceil(training.total_steps / training.steps_per_epoch), 4)):
            for number, piece in enumerate(piece for batch in training.plan(epoch, micro_tokens) for piece in batch):
                lengths = [training.sizes[i] for i in piece]
                if large is not None:
                    found |= large(sum(lengths), 2)
                    continue
                found |= _shapes(lengths, width, products, inside)
                found |= {(kind, -epoch - 1, number) for kind in range(products * some)}
    for items in (*judged, *(trunk.items for trunk in trunks.values())):
        sizes = item_sizes(items)
        for piece in in_order(sizes, EVALUATION_TOKENS):
            lengths = [sizes[i] for i in piece]
            found |= _shapes(lengths, width, 4, 2) if large is None else large(sum(lengths), 1)
    gone = max(len(found) - KERNELS, 0)
    return min(len(found), KERNELS) * KERNEL_BYTES + min(gone * GONE_BYTES, MOST_GONE)


def _products(network: Transformer) -> int:
    """Products over all tokens of one block, there and back: for its weights, and for low-rank updates beside them."""
    roles = {} if not network.output_stack.blocks else role_parts(network.output_stack.blocks[-1])  # type: ignore[arg-type]
    found = (roles or {}).values()
    return 8 + 4 * any(parts.weight.requires_grad for parts in found) + 24 * any(parts.updates for parts in found)


def _large(network: Transformer) -> Callable[[int, int], set[tuple[int, ...]]]:
    """(tokens, ways) -> the products of a block, there (1) or there and back (2), that oneDNN forms in float32."""
    roles = {} if not network.output_stack.blocks else role_parts(network.output_stack.blocks[-1]) or {}  # type: ignore[arg-type]
    sizes = [sum(roles[n].weight.numel() for n in names if n in roles) for names in (("q", "k", "v"), ("gate", "up"))]
    sizes += [roles[name].weight.numel() for name in ("o", "down") if name in roles]

    def shapes(tokens: int, ways: int) -> set[tuple[int, ...]]:
        return {(kind, way, tokens) for kind, size in enumerate(sizes) for way in range(ways) if tokens * size >= WORTH}

    return shapes


def _shapes(lengths: Sequence[int], width: int, products: int, inside: int) -> set[tuple[int, ...]]:
    """One entry for each product of a block: over all tokens, and inside attention over the texts of one group."""
    tokens, groups = computed(lengths, width)
    over = {(kind, tokens) for kind in range(products)}
    return over | {(kind, length, count) for kind in range(inside) for length, count in groups}


def plan_memory(
    training: Training, trunks: Mapping[str, TrunkCache], judged: Sequence[Items], limit: int | None
) -> MemoryPlan:
    """Predict the peak, with micro-batches cut until it is at most `limit`; InputError where even one row does not fit.

    judged: the splits that are evaluated. Weights and random state are as before when it returns.
    """
    trunk, sizes = trunks.get("train"), training.sizes
    activations(training, [min(range(len(sizes)), key=lambda i: sizes[i])], trunk)  # loads kernels, which stay
    parts = counted(training, trunks)
    held = Part("libraries and data", libraries(training, parts))
    others = _others(training, [*judged, *(t.items for t in trunks.values())])
    micro_tokens = training.micro_tokens
    for _ in range(ATTEMPTS):
        prepared = Part("prepared products", kernels(training, trunks, judged, micro_tokens))
        fixed = (held, prepared, *parts)
        piece = largest(training, micro_tokens)
        tokens = sum(sizes[i] for i in piece)
        size = round(_measured(training, piece, trunk, limit) * OVERHEAD)
        name = f"activations of {len(piece)} rows with {tokens} tokens"
        plan = MemoryPlan((*fixed, max(Part(name, size), others, key=lambda part: part.bytes)), micro_tokens, limit)
        if limit is None or plan.peak <= limit:
            return plan
        room = limit - (plan.peak - plan.parts[-1].bytes)
        if others.bytes > room:
            plan = replace(plan, parts=(*fixed, others))
            break
        if len(piece) == 1:
            break
        micro_tokens = max(min(int(0.95 * tokens * room / size), tokens - 1), 1)
    raise InputError(_refusal(plan, training))


def _measured(training: Training, piece: list[int], trunk: TrunkCache | None, limit: int | None) -> int:
    """Activations of a micro-batch; where it might not fit, those of its longest rows, in proportion to the tokens."""
    sizes, free, taken = training.sizes, available(training.device), training.model.virtual_tokens
    room = math.inf if free is None else SAFE_SHARE * free
    if limit is not None and training.device.type == "cpu":
        room = min(room, limit - (resident() or 0))  # to be measured it has to stay below the limit, too
    rows = sorted(piece, key=lambda i: (-sizes[i], i))
    while len(rows) > 1 and rough_bytes(training.model.spec, [sizes[i] + taken for i in rows]) >= room:
        rows = rows[: len(rows) // 2]
    found = activations(training, piece if len(rows) == len(piece) else sorted(rows), trunk)
    return round(found * sum(sizes[i] for i in piece) / sum(sizes[i] for i in rows))


def _others(training: Training, splits: Sequence[Items]) -> Part:
    """What takes most beside weights and optimizer when no micro-batch is at work."""
    whole = sum(p.numel() for p in training.model.parameters()) * torch.float32.itemsize
    found = [
        Part("evaluation", max((passing(training, items) for items in splits), default=0)),
        Part("better weights beside the best", sum(p.nbytes for _, p in training.attachment.parameters())),
        Part("the base, read again at the end", whole if training.precision != "float32" else 0),
    ]
    return max(found, key=lambda part: part.bytes)


def _refusal(plan: MemoryPlan, training: Training) -> str:
    """One sentence: what is needed, what takes it, what would help."""
    parts = sorted(plan.parts, key=lambda part: -part.bytes)
    most = ", ".join(f"{part.name} {in_words(part.bytes)}" for part in parts[:3] if part.where == "memory")
    said = training.settings.memory
    limit = f"train.memory is {said}" if said else f"{in_words(plan.limit or 0)} are free"
    cache = "set train.cache=false, " if any(part.where == "disk" for part in plan.parts) else ""
    return (
        f"The run does not fit into memory: {limit}, but it needs about {in_words(plan.peak)} even with one row "
        f"computed at a time ({most}); {cache}lower model.max_length, choose a lighter method (top:1, lora) or a "
        f"smaller model{', or raise train.memory' if said else ''}."
    )


def limit_of(training: Training) -> int | None:
    """Bytes that the run may take: `train.memory`, else what it holds and what is free, in its container too."""
    if training.settings.memory is not None:
        return parse_size(training.settings.memory)
    free = available(training.device)
    return None if free is None else free + (resident() or 0 if training.device.type == "cpu" else 0)


def fitted(training: Training, trunks: Mapping[str, TrunkCache], judged: Sequence[Items]) -> int:
    """`micro_tokens` with which the run fits into its memory; InputError where it cannot.

    Without `train.memory`, nothing is measured where a rough look says that there is room in plenty.
    """
    limit = limit_of(training)
    if training.settings.memory is None:
        piece = largest(training, training.micro_tokens)
        total = (
            rough_bytes(training.model.spec, [training.sizes[i] + training.model.virtual_tokens for i in piece])
            + KERNELS * KERNEL_BYTES
        )
        total += 3 * sum(part.bytes for part in counted(training, trunks) if part.where == "memory")
        free = available(training.device)
        if free is None or total < SAFE_SHARE * free:
            return training.micro_tokens
    found = plan_memory(training, trunks, judged, limit).micro_tokens
    give_back()  # what was measured; code that oneDNN makes later would come beside it
    return found
