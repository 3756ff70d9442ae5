"""An adapter onto a base that is already loaded: what a run, or a folder of peft, puts in the place of what.

The adapter is attached to the shared base, a picture is taken of what changed, and the base is as before. A run says
which base it was tuned on, by the hash of its weights; an adapter of peft names its base, and where that name leads to
a model on this computer, its weights are compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from torch import Tensor, nn

from microtune.adapt.base import Method
from microtune.adapt.lora import LoRA, LoRALinear
from microtune.adapt.patch import Patch, SharedNetwork
from microtune.data.text import Tokenizer
from microtune.errors import InputError, RunError, named
from microtune.families.files import read_json
from microtune.nn.frozen import Parts, parts_of
from microtune.run.digest import check_fields, weights_digest
from microtune.run.disk import read_tensors
from microtune.run.load import Model
from microtune.run.peft import adapter_base, put_adapter, read_adapter
from microtune.run.peft.config import AdapterConfig, adapter_config
from microtune.run.peft.update import CONFIG
from microtune.run.peft.virtual import is_virtual
from microtune.run.saved import check_fits, put_on, read_record
from microtune.run.sources import Place, bases, locate
from microtune.tasks.base import Task

WRITTEN = ("plain", "rslora", "dora")  # variants of lora that leave the weights of the base as they are


@dataclass(frozen=True, eq=False)
class Adapter:
    """One adapter on a shared base.

    model: as a tuned model, whose network is the shared one and computes this adapter only while `patch` lies on it.
    method: None of an adapter of peft. trained: names of its own tensors. roles: its low-rank updates; mixes: whether
    they and a head are all that it changes, so that its rows can stand in a batch with rows of others.
    """

    name: str
    model: Model
    patch: Patch
    method: Method | None
    trained: dict[str, Tensor]
    head: nn.Module
    roles: dict[str, LoRALinear]
    mixes: bool
    notes: tuple[str, ...] = ()
    parts: dict[str, Parts] = field(default_factory=dict)

    @property
    def bytes(self) -> int:
        """Memory of its own tensors."""
        storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in self.trained.values()}
        return sum(storages.values())


@dataclass(frozen=True, eq=False)
class SharedBase:
    """A base, the hash of its weights, and the network that patches are laid on."""

    model: Model
    digest: str
    network: SharedNetwork

    def put(self, name: str, source: str | Path) -> Adapter:
        """The adapter of a run or of a folder of peft; InputError where it does not belong on this base."""
        place = locate(str(source))
        if place.kind == "run":
            return self._run(name, place)
        if place.kind == "adapter":
            return self._folder(name, place)
        raise InputError(
            f"{place.name}: a whole model, not an adapter; give a run folder or an adapter folder of peft."
        )

    def attached(
        self, name: str, model: Model, method: Method, trained: dict[str, Tensor], task: Task | None
    ) -> Adapter:
        """The adapter that `method` makes of these tensors, answering as `model` does."""
        with self.network.drawn() as picture:
            put_on(self.network.network, task, method, None, trained)
            self.network.network.eval()
            patch = picture.patch()
        return self._made(name, model, patch, method, ())

    def _run(self, name: str, place: Place) -> Adapter:
        folder = place.path / "model"
        record, method, task = read_record(folder)
        alone = "load it alone, with microtune.load"
        if method.name == "full" or (folder / "frozen.safetensors").is_file():
            raise InputError(f"{place.name}: holds a whole model of its own (method {method.name}); {alone}.")
        if record.added is not None:
            raise InputError(
                f"{place.name}: has {record.added.count} added tokens, so its embedding is its own; {alone}."
            )
        if task.only_reads and self.model.is_encoder_decoder:
            raise InputError(
                f"{place.name}: reads with the encoder alone, while this base has its decoder too; {alone}."
            )
        if isinstance(method, LoRA) and method.variant not in WRITTEN:
            raise InputError(f"{place.name}: {method.variant} changes the weights of its base; {alone}.")
        if record.base.digest != self.digest:
            assert self.model.place is not None
            raise InputError(
                f"{place.name}: was tuned on {record.base.name or 'another base'}, whose weights are not those of "
                f"{self.model.place.name}; give the base that it was tuned on, or tune it again on this one.",
                check="same-base",
            )
        trained = read_tensors(folder / "trained.safetensors")
        with named("fits"):
            check_fits(folder, self.model.spec, task, method, None, trained, None)
        check_fields(folder, record.base.name, record.spec, self.model.spec)
        tokenizer = self._shared(Tokenizer.load(folder))
        model = replace(self.model, task=task, place=place, max_length=record.max_length, tokenizer=tokenizer)
        return self.attached(name, model, method, trained, task)

    def _folder(self, name: str, place: Place) -> Adapter:
        config = _config(place)
        notes = self._same_base(place, config)
        tensors = read_adapter(place.path, config)
        model = replace(self.model, task=None)
        with self.network.drawn() as picture:
            put_adapter(place, config, tensors, model)
            self.network.network.eval().requires_grad_(False)
            patch = picture.patch()
        return self._made(name, model, patch, None, notes)

    def _same_base(self, place: Place, config: AdapterConfig) -> tuple[str, ...]:
        """Compare the base that an adapter names with this one where it can be found without a network; else a note."""
        own, wanted = self.model.place, config.base_model_name_or_path or ""
        assert own is not None
        beside = (place.path / wanted).is_dir() or Path(wanted).is_dir()
        if wanted and (beside or wanted.partition("@")[0] in bases):
            if weights_digest(adapter_base(place, config)) != self.digest:
                raise InputError(
                    f"{place.name}: was made on {wanted}, whose weights are not those of {own.name}; give the base "
                    "that it was made on.",
                    check="same-base",
                )
            return ()
        if wanted and own.kind == "hub" and wanted == own.name:
            return ()
        said = f'names "{wanted[:80]}" as its base, which is not on this computer' if wanted else "names no base"
        return (f"{place.name}: {said}; only the shapes of its tensors were compared.",)

    def _made(self, name: str, model: Model, patch: Patch, method: Method | None, notes: tuple[str, ...]) -> Adapter:
        with self.network.wearing(None) as network:
            base = {id(t) for t in (*network.parameters(), *network.buffers())}
        with self.network.wearing(patch) as network:
            own = {n: t for n, t in (*network.named_parameters(), *network.named_buffers()) if id(t) not in base}
            roles = {role: m for role, m in network.named_modules() if isinstance(m, LoRALinear)}
            head = network.head
        parts = {role: found for role, m in roles.items() if (found := parts_of(m)) is not None}
        mixes = len(parts) == len(roles) and _only_beside(patch, roles, head)
        for tensor in own.values():
            tensor.requires_grad_(False)
        return Adapter(name, model, patch, method, own, head, roles, mixes, notes, parts)

    def _shared(self, tokenizer: Tokenizer | None) -> Tokenizer | None:
        """The base's tokenizer where the adapter's is the same, so that it stands in memory once."""
        base = self.model.tokenizer
        if tokenizer is None or base is None:
            return tokenizer
        return base if (tokenizer.digest, tokenizer.stops) == (base.digest, base.stops) else tokenizer


def _config(place: Place) -> AdapterConfig:
    values = read_json(place.path / CONFIG)
    if is_virtual(values):
        raise InputError(
            f"{place.name}: virtual tokens of peft cannot stand among other adapters; load them alone, with "
            "microtune.load."
        )
    return adapter_config(values, place.path / CONFIG)


def _only_beside(patch: Patch, roles: dict[str, LoRALinear], head: nn.Module) -> bool:
    """Whether a patch does nothing but put updates beside frozen weights of the base, and a head on top."""
    updates = {id(update) for update in roles.values()}
    for change in patch.changes:
        if change.key == "_cut" or change.new is head:
            continue
        if id(change.new) not in updates or change.new.base is not change.old:
            return False
    return True


def base_of(place: Place) -> Place:
    """The base that a run or an adapter folder stands on, the run's own copy of it first."""
    if place.kind == "adapter":
        return adapter_base(place, _config(place))
    if place.kind != "run":
        raise InputError(
            f"{place.name}: a whole model, not an adapter; give a run folder or an adapter folder of peft."
        )
    record, method, _ = read_record(place.path / "model")
    copy = place.path / "model" / "base"
    if copy.is_dir():
        return Place("embedded", record.base.name, copy)
    if not record.base.digest:
        raise RunError(f"{place.name}: has no base that others could share (method {method.name}).")
    return locate(record.base.source)
