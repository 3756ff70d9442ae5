"""Training, with the step in plain sight: `Training.fit()` is a generator of `Step`s.

Progress bars, metric files, reports and tests are readers of the same steps; there are no callbacks. Between two
steps a `Training` holds all that decides the rest (weights, optimizer, place in the plan, random state), so whoever
iterates may save it and a resumed run continues bit for bit.

The loss of an optimizer step is the sum over all its supervised tokens divided once by their weight, however the step
is cut into micro-batches.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from microtune.adapt.base import Attachment, Method
from microtune.data.batches import Batch, Items, collate, epoch_plan, item_sizes, joined
from microtune.data.sources import Row
from microtune.errors import InputError, RunError
from microtune.nn.heads import VocabularyHead
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Cut, Transformer
from microtune.recipe import Train, parse_size
from microtune.run.coupled import joint_gradients
from microtune.run.diverged import not_finite
from microtune.run.memory import available, keep_freed, stay_below
from microtune.run.movement import Movement
from microtune.run.optimizers import Optimizers
from microtune.run.precision import Precision, autocast
from microtune.run.trunk import TrunkCache
from microtune.run.unfreezing import Unfreezing
from microtune.tasks.base import Task

KEPT_BYTES = 384_000_000  # what the blocks keep for one micro-batch, roughly, where nothing else is said
NO_CUT = Cut()
CPU = torch.device("cpu")
GPU_SHARE, GPU_MOST_TOKENS = 8, 65_536  # of free memory: the plainest path keeps about three times as much
FEWEST_TOKENS, MOST_TOKENS = 512, 4096  # between them products run at the same rate, and kernels cost next to nothing


@dataclass(frozen=True)
class Step:
    """One optimizer step. `tokens` counts supervised and context tokens; `seconds` since the previous step ended."""

    step: int
    epoch: float
    loss: float
    lr: float
    grad_norm: float
    tokens: int
    supervised: int
    seconds: float


class Training:
    """A training in progress."""

    def __init__(
        self,
        model: Transformer,
        task: Task,
        method: Method,
        attachment: Attachment,
        items: Items,
        settings: Train,
        *,
        seed: int,
        precision: Precision,
        trunk: TrunkCache | None = None,
    ) -> None:
        keep_freed()
        if task.coupled and settings.batch_size < 2:
            raise InputError("train.batch_size: this task learns by comparing the rows of a batch; take 2 or more.")
        self.model, self.task, self.attachment = model, task, attachment
        self.items, self.settings, self.seed, self.precision = items, settings, seed, precision
        self.sizes = item_sizes(items)
        self.device = next(model.parameters()).device
        on_cpu = self.device.type == "cpu"
        self.limit = parse_size(settings.memory) if settings.memory and on_cpu else None  # of this process
        self.trunk = trunk
        self.micro_tokens = settings.micro_tokens or micro_tokens(model.spec, attachment.cut, self.device)
        self.skip_broken = False  # a step whose loss is no number: left out, instead of an error
        self.step = 0
        self.seconds = 0.0  # of all steps so far
        self.steps_per_epoch, self.total_steps = step_counts(settings, len(items))
        self.optimizers = Optimizers(attachment, settings, method, self.total_steps)
        self.movement = Movement(model, attachment)
        self.unfreezing = Unfreezing(model, attachment, self.steps_per_epoch)
        _smooth(model, task, settings.label_smoothing)
        self.rows: Sequence[Row] = ()  # where items come from, for what has to be said about one of them

    def fit(self) -> Iterator[Step]:
        """Optimizer steps from the current one to the last; stop iterating whenever you like."""
        try:
            yield from self._steps()
        finally:
            self.unfreezing.end()

    def _steps(self) -> Iterator[Step]:
        last = time.perf_counter()
        while self.step < self.total_steps:
            epoch, place = divmod(self.step, self.steps_per_epoch)
            self._begin(epoch)
            for batch in self.plan(epoch)[place:]:
                if not self.model.training:  # whoever reads the steps may evaluate in between
                    self.model.train()
                self._seed(_mix(self.seed, self.step))  # dropout: the same after a resume
                loss, norm, tokens, supervised = self.optimize(batch)
                broken = not math.isfinite(loss + norm)
                if broken and not self.skip_broken:
                    raise not_finite(self, batch, loss, norm)
                if not broken:
                    self.movement.see_gradients(max(self.sizes[i] for piece in batch for i in piece))
                lr = 0.0 if broken else self.optimizers.step(self.place_in_schedule)
                self.step += 1
                self.movement.check(self.step, lr)
                now = time.perf_counter()
                done = self.step / self.steps_per_epoch
                self._count(now - last)
                yield Step(self.step, done, loss, lr, norm, tokens, supervised, now - last)
                last = time.perf_counter()
                if self.step >= self.total_steps:
                    break

    @property
    def place_in_schedule(self) -> int:
        """The step that the schedule is asked for: the current one, or as far as the clock of `train.minutes` is."""
        if self.settings.minutes is None:
            return self.step
        planned = self.optimizers.total_steps
        return min(max(self.step, int(self.seconds / (60 * self.settings.minutes) * planned)), planned - 1)

    def _count(self, seconds: float) -> None:
        """Note the time of a step; where it was the last that `train.minutes` allows, the run ends with it."""
        self.seconds += seconds
        if self.settings.minutes is not None and self.seconds >= 60 * self.settings.minutes:
            self.total_steps = min(self.step, self.total_steps)

    def _begin(self, epoch: int) -> None:
        """What joins in this epoch, or changes; on from the middle of it after a resume, too."""
        begin = getattr(self.items, "begin", None)  # of items that are made anew for every epoch
        if begin is not None:
            begin(epoch)
        if self.attachment.schedule:
            self.unfreezing.begin(epoch)
            self.movement.begin(self.unfreezing.since(epoch), self.step)

    @property
    def shares(self) -> bool:
        """Whether a prompt that all rows of a micro-batch begin with is computed once: not beside stored states."""
        return self.trunk is None and self.model.is_causal

    def _seed(self, seed: int) -> None:
        """Seed the generators in use; `torch.manual_seed` keeps a stack trace of every call where there is no GPU."""
        torch.default_generator.manual_seed(seed)
        if self.device.type == "cuda":
            torch.cuda.manual_seed_all(seed)

    def plan(self, epoch: int, micro_tokens: int | None = None) -> list[list[list[int]]]:
        """The optimizer batches of an epoch (from 0), each a list of micro-batches of item indexes."""
        settings = self.settings
        return epoch_plan(
            self.sizes,
            batch_size=settings.batch_size,
            micro_tokens=micro_tokens or self.micro_tokens,
            seed=self.seed,
            epoch=epoch,
        )

    def compute_at_once(self, micro_tokens: int) -> None:
        """Cut micro-batches anew; the rows of each step stay the same."""
        self.micro_tokens = micro_tokens

    def optimize(self, micro_batches: list[list[int]]) -> tuple[float, float, int, int]:
        """Gradients of one optimizer step -> (loss, gradient norm, tokens, supervised)."""
        self.optimizers.zero_grad()
        items = [self.items[i] for piece in micro_batches for i in piece]
        weight = sum(map(self.task.weight, items))
        weighted = any(len(item.weights) for item in items)  # targets count as many as they are, whatever they weigh
        supervised = sum(len(item.targets) for item in items) if weighted else int(weight)
        losses: list[Tensor | float] = []
        tokens = 0
        if self.shares:
            micro_batches = joined(micro_batches, self.items, self.sizes, self.micro_tokens)
        with self.unfreezing.at_rest():
            if self.task.coupled:
                total, tokens = joint_gradients(self, micro_batches, weight)
                losses, micro_batches = [total], []
            for piece in micro_batches:
                if self.limit is not None:
                    stay_below(self.limit)
                loss = self.loss(self.collate(piece), piece) / weight
                loss.backward()
                losses.append(loss.detach())  # read at the end: a GPU need not stop for it
                tokens += sum(self.sizes[i] for i in piece)
        return sum(map(float, losses)), self.optimizers.clip(), tokens, supervised

    def collate(self, piece: Sequence[int]) -> Batch:
        """The items with these indexes as one batch, on the device."""
        items = [self.items[i] for i in piece]
        batch = collate(items, share=self.shares) if self.trunk is None else self.trunk.collate(items)
        return batch.to(self.device)

    def loss(self, batch: Batch, piece: list[int]) -> Tensor:
        """The summed loss of one micro-batch, whose items have the indexes `piece`."""
        with autocast(self.device, self.precision):
            loss, _ = self.task.loss(self.model.head, self.hidden(batch, piece), batch)
        return loss

    @property
    def head(self) -> nn.Module:
        """The network's head."""
        return self.model.head

    def hidden(self, batch: Batch, piece: list[int]) -> Tensor:
        """What the network says at the positions that are read."""
        trunk = None if self.trunk is None else self.trunk.states(batch, piece)
        # Where each token is read there is nothing to select; runs with a trunk do as those whose trunk is stored.
        every = self.model.cut == NO_CUT and len(batch.readout) == len(batch.inputs.values)
        readout = None if every else batch.readout
        return self.model(batch.inputs, readout=readout, sources=batch.sources, types=batch.types, trunk=trunk)

    def state(self, *, copies: bool = True) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Tensors and plain values from which `load_state` continues bit for bit.

        copies: without them, the tensors are those that the next step changes; enough for who writes them at once.
        """
        tensors, plain = self.optimizers.state(copies=copies)
        weights = self.attachment.state() if copies else {n: p.detach() for n, p in self.attachment.parameters()}
        tensors |= {f"weights.{name}": value for name, value in weights.items()}
        where = {"step": self.step, "seconds": self.seconds}
        return tensors, {**where, "optimizers": plain, "frozen": self.movement.frozen}

    def load_state(self, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """Put a saved state back; refused where the frozen weights are not those it was made with."""
        if plain["frozen"] != self.movement.frozen:
            raise RunError(
                "The base model has changed since this run began; put the old files back, or begin anew in another "
                "folder with --out.",
                check="same-base",
            )
        weights = {k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")}
        self.attachment.load_state(weights)
        moments = {k: v for k, v in tensors.items() if not k.startswith("weights.")}
        self.optimizers.load_state(moments, plain["optimizers"])
        self.step = self.movement.steps = int(plain["step"])
        self.seconds = float(plain.get("seconds", 0.0))
        self._count(0.0)  # the time may have been up already


def _smooth(model: Transformer, task: Task, share: float) -> None:
    """Let the vocabulary head smooth the targets of training; a head of labels has none to smooth."""
    if isinstance(model.head, VocabularyHead):
        model.head.label_smoothing = share
    elif share:
        raise InputError(f"train.label_smoothing is for tasks that learn tokens, not for {task.name}; leave it out.")


def step_counts(settings: Train, rows: int) -> tuple[int, int]:
    """Optimizer steps of one epoch over `rows`, and of the whole run."""
    epoch = math.ceil(rows / settings.batch_size)
    planned = max(1, round(settings.epochs * epoch))
    return epoch, min(planned, settings.max_steps) if settings.max_steps else planned


def micro_tokens(spec: ModelSpec, cut: Cut = NO_CUT, device: torch.device = CPU) -> int:
    """Tokens to compute at once: a multiple of 256 whose kept states take about KEPT_BYTES; below `cut` none are.

    On a GPU a share of its free memory takes the place of KEPT_BYTES, and larger batches keep it busy.
    """
    kept, most = KEPT_BYTES, MOST_TOKENS
    if device.type == "cuda":
        kept, most = (available(device) or 0) // GPU_SHARE, GPU_MOST_TOKENS
    each = 0
    for stack, below in ((spec.encoder, cut.encoder), (spec.decoder, cut.decoder)):
        if stack is not None:
            gates = 2 if stack.mlp == "gated" else 1
            heads = 2 * (stack.num_heads + stack.kv_heads) * stack.head_size
            block = 8 * stack.hidden_size + 2 * heads + 2 * gates * stack.intermediate_size
            each += max(stack.num_layers - below, 1) * block
    return min(max(kept // each // 256 * 256, FEWEST_TOKENS), most)


def _mix(seed: int, step: int) -> int:
    return (seed * 1_000_003 + step * 7_919 + 12_345) % 2**63
