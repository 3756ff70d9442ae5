"""What every adaptation method gives back: an `Attachment`.

A method replaces modules that it finds by role, freezes the rest and says where the trunk ends. It knows no family and
no task. `size` is what the short form `name:k` fills in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

from microtune.errors import CheckError, InputError
from microtune.nn.heads import VocabularyHead
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Cut, Stack, Transformer
from microtune.recipe import Choice, Section, validated
from microtune.registry import Registry


class Method(Section):
    """Base of all methods; subclasses are frozen sections registered by name."""

    name: str
    short: ClassVar[str | None] = None  # the field that `name:k` fills
    default_lr: ClassVar[float]
    default_head_lr: ClassVar[float | None] = None

    def attach(self, model: Transformer) -> Attachment:
        """Prepare `model` for training in this way."""
        raise NotImplementedError

    @property
    def made(self) -> list[Method]:
        """The methods that it consists of; most are one, see adapt/several.py."""
        return [self]

    @property
    def virtual_tokens(self) -> int:
        """How many positions before every text the method takes for itself."""
        return 0

    def starting_from(self, start: Mapping[str, Tensor]) -> Self:
        """The same method, with what `Attachment.start` gave in the place of what `attach` would compute."""
        return self


class Attachment:
    """A model prepared for training: what trains, where the trunk ends, how to save, merge and undo."""

    def __init__(
        self,
        model: Transformer,
        *,
        cut: Cut,
        replaced: Mapping[str, tuple[nn.Module, nn.Module]] | None = None,
        merge: Callable[[], None] | None = None,
        before: Mapping[str, Tensor] | None = None,
        tied: ModelSpec | None = None,
        rates: Mapping[str, float] | None = None,
        schedule: Sequence[tuple[int, Cut]] = (),
        start: Sequence[str] = (),
    ) -> None:
        self.model = model
        self.cut = cut
        self.rates = dict(rates or {})  # trainable name -> factor on its learning rate, where it is not 1
        self.defaults: dict[str, float] = {}  # trainable name -> its rate without train.lr, where it is another's
        self.schedule = list(schedule)  # [(epoch, cut)] where not all trains from the start, see adapt/unfreezing.py
        self._start = tuple(start)  # frozen tensors that the method computed, and that nothing else can give back
        self._replaced = dict(replaced or {})  # role -> (original, replacement)
        self._merge = merge
        self._before = dict(before or {})  # values of base weights that will change, for `detach`
        self._tied = tied  # the model's fields before its vocabulary head was parted from the embedding
        self._settle: list[Callable[[bool], None]] = []
        model.cut = cut
        if not self.trainable:
            raise InputError("The method selects nothing to train in this model.")

    @property
    def replaced(self) -> tuple[str, ...]:
        """The roles in whose place a module of the method stands."""
        return tuple(self._replaced)

    @property
    def trainable(self) -> dict[str, int]:
        """Names and sizes of everything that trains; tied weights stand once."""
        return {name: p.numel() for name, p in self.model.named_parameters() if p.requires_grad}

    def parameters(self) -> Iterator[tuple[str, nn.Parameter]]:
        """Names and tensors of everything that trains."""
        return ((name, p) for name, p in self.model.named_parameters() if p.requires_grad)

    def blocks(self) -> list[list[str]]:
        """Names of what trains inside the blocks of the output stack, by block, lowest first."""
        side = "decoder" if self.model.decoder is not None else "encoder"
        found: dict[int, list[str]] = {}
        for name, _ in self.parameters():
            parts = name.split(".")
            if parts[:2] == [side, "blocks"]:
                found.setdefault(int(parts[2]), []).append(name)
        return [found[number] for number in sorted(found)]

    def state(self) -> dict[str, Tensor]:
        """Copies of everything that trains, keyed by role."""
        return {name: p.detach().clone() for name, p in self.parameters()}

    def start(self) -> dict[str, Tensor]:
        """What the method computed when it was attached and a saved run needs: `Method.starting_from` takes it."""
        return {name: self.model.get_parameter(name).detach() for name in self._start}

    @torch.no_grad()
    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Put saved values back; a missing, unknown or misshapen one is an error."""
        parameters = dict(self.parameters())
        missing, unknown = sorted(parameters.keys() - state.keys()), sorted(state.keys() - parameters.keys())
        if missing or unknown:
            raise CheckError(
                f"The saved weights do not fit this model: missing {missing[:3] or 'none'}, "
                f"unknown {unknown[:3] or 'none'}.",
                check="fits",
            )
        for name, parameter in parameters.items():
            if parameter.shape != state[name].shape:
                shapes = f"saved as {tuple(state[name].shape)}, expected {tuple(parameter.shape)}"
                raise CheckError(f"{name}: {shapes}.", check="fits")
            parameter.copy_(state[name])

    def kept(self) -> list[Tensor]:
        """What is kept of the base for `detach`."""
        return list(self._before.values())

    def keep_before(self, before: Mapping[str, Tensor]) -> None:
        """Values of base weights as they were before the method touched them, for `detach`."""
        self._before.update(before)

    def afterwards(self, settle: Callable[[bool], None]) -> None:
        """What merging (True: keep what was learnt) and detaching (False) have to do besides."""
        self._settle.append(settle)

    def merge(self) -> None:
        """Fold what was learnt into the base weights and leave a plain model; InputError where the method cannot."""
        if self._merge is not None:  # first: it may refuse
            self._merge()
        self._settle_all(learnt=True)
        if self._tied is None:  # a parted head stays parted
            self._restore_modules()
        self._replaced, self._tied = {}, None
        self._unfreeze()

    @torch.no_grad()
    def detach(self) -> None:
        """Undo `attach` and everything learnt since; the base is as before, bit for bit."""
        self._settle_all(learnt=False)
        self._restore_modules()
        if self._tied is not None:
            self.model.spec, self._tied = self._tied, None
        self._unfreeze()
        parameters = dict(self.model.named_parameters())
        for name, value in self._before.items():
            parameters[name].copy_(value)

    def _settle_all(self, *, learnt: bool) -> None:
        for settle in self._settle:
            settle(learnt)
        self._settle = []

    def _restore_modules(self) -> None:
        for role, (original, _) in self._replaced.items():
            set_module(self.model, role, original)
        self._replaced = {}

    def _unfreeze(self) -> None:
        self.model.cut = Cut()
        for name, parameter in self.model.named_parameters():
            parameter.requires_grad_(not _fixed_table(self.model, name))


CALLED = {
    "adapter": "bottleneck",
    "adapters": "bottleneck",
    "houlsby": "bottleneck",
    "pfeiffer": "bottleneck",
    "qlora": "lora",
    "dora": "lora",
    "rslora": "lora",
    "peft": "lora",
    "prompt-tuning": "prompt",
    "soft-prompt": "prompt",
    "p-tuning": "prompt",
    "prefix-tuning": "prefix",
    "linear-probe": "head",
    "linear-probing": "head",
    "classifier": "head",
    "last-layer": "top",
    "freeze": "top",
    "bias": "bitfit",
    "full-finetuning": "full",
}  # elsewhere: who writes one of these hears which method is meant
methods: Registry[type[Method]] = Registry("method", CALLED)


def make_method(choice: Choice, where: str = "method") -> Method:
    """`Choice(name="lora", rank=8)` -> the method's own section; `size` fills the field of the short form."""
    kind = methods[choice.name]
    options = choice.options
    if "size" in options:
        if kind.short is None:
            raise InputError(f'method: "{choice.name}:{options["size"]}": {choice.name} takes no number.')
        options[kind.short] = options.pop("size")
    return validated(kind, {"name": choice.name, **options}, where)


def freeze(model: nn.Module) -> None:
    """Nothing trains."""
    for parameter in model.parameters():
        parameter.requires_grad_(False)


def train(module: nn.Module) -> None:
    """Everything inside `module` trains."""
    for parameter in module.parameters():
        parameter.requires_grad_(True)


def train_task_head(model: Transformer) -> bool:
    """A label head is new and always trains; the vocabulary head came with the model and stays as it is."""
    if isinstance(model.head, VocabularyHead):
        return False
    train(model.head)
    return True


def top_cut(model: Transformer, k: int) -> Cut:
    """The cut below the last k blocks of the output stack; an encoder under cross-attention is trunk altogether."""
    stack = model.output_stack
    depth = len(stack.blocks)
    if not 0 <= k <= depth:
        raise InputError(f"method: {k} blocks were asked for, the model has {depth}.")
    if model.decoder is None:
        return Cut(encoder=depth - k)
    return Cut(encoder=len(model.encoder.blocks) if model.encoder is not None else 0, decoder=depth - k)


def top_modules(stack: Stack, k: int) -> list[nn.Module]:
    """The last k blocks and the final norm."""
    return [*list(stack.blocks)[len(stack.blocks) - k :], stack.norm]


def snapshot(model: Transformer) -> dict[str, Tensor]:
    """Copies of the base weights that are about to train (the task's own head is not base)."""
    own = "" if isinstance(model.head, VocabularyHead) else "head."
    return {
        name: p.detach().clone()
        for name, p in model.named_parameters()
        if p.requires_grad and not (own and name.startswith(own))
    }


def set_module(model: nn.Module, role: str, module: nn.Module) -> None:
    """Put `module` where `role` points."""
    parent, _, name = role.rpartition(".")
    setattr(model.get_submodule(parent), name, module)


def _fixed_table(model: Transformer, name: str) -> bool:
    side = name.partition(".")[0]
    stack: Any = getattr(model, side, None)
    return isinstance(stack, Stack) and stack.spec.positions == "sinusoidal" and name == f"{side}.positions.weight"
