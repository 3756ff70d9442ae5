"""LoRA (and IA3, in ia3.py) adapters in PEFT's form: written so that `peft` loads them, and read strictly.

Our runs keep an update per role; PEFT keeps one per module of transformers. They differ where a family fuses weights
(q, k and v of GPT-2 in one `c_attn`): several updates become one of stacked A and block-diagonal B, and one update of a
fused module becomes several that share A. Reading refuses whatever would change the mathematics; every tensor must have
a place.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from microtune.adapt.base import Method, set_module
from microtune.adapt.ia3 import IA3, IA3Linear
from microtune.adapt.lora import DoRALinear, LoRA, LoRALinear, magnitude_of
from microtune.adapt.virtual import VirtualMethod
from microtune.errors import InputError, RunError, named
from microtune.families.base import families, module_name, roles
from microtune.families.files import read_json
from microtune.families.rules import Rule
from microtune.nn.heads import LabelHead
from microtune.nn.hidden_layer import HiddenLayer
from microtune.nn.ordinal import OrdinalHead
from microtune.nn.transformer import Transformer
from microtune.run.digest import check_base, header
from microtune.run.disk import read_tensors, write_json, write_tensors
from microtune.run.hub import is_id
from microtune.run.load import Model, load_base
from microtune.run.peft.config import AdapterConfig, adapter_config
from microtune.run.peft.foreign import refuse_tensors
from microtune.run.peft.label_head import attach_label_head, in_label_head
from microtune.run.peft.update import A_END, B_END, CONFIG, MAGNITUDE, PREFIX, WEIGHTS, Update, adapted, check_shapes
from microtune.run.peft.virtual import is_virtual, load_virtual, virtual_config, write_virtual
from microtune.run.sources import Place, locate

PICKLE = "adapter_model.bin"
WHOLE = ("classifier", "score")  # modules that PEFT itself saves of a SEQ_CLS model, with all that is inside


def write_peft(folder: Path, model: Model, method: Method, *, base_name: str, digest: str = "") -> None:
    """Write the LoRA updates of `model`, its IA3 factors or virtual tokens, and its label head, as `peft` does.

    PiSSA becomes LoRA of twice the rank. base_name: what `base_model_name_or_path` says; digest: of its weights
    (`weights_digest`), which loading compares. Raises InputError where transformers has no such label head, or peft no
    such adapter.
    """
    if isinstance(method, IA3):
        from microtune.run.peft.ia3 import write_ia3  # which reads names by the functions below

        write_ia3(folder, model, base_name=base_name, digest=digest)
    elif isinstance(method, VirtualMethod):
        head = _their_head(model)
        write_virtual(folder, model, base_name=base_name, head=head, saved=_saved_modules(head), digest=digest)
    else:
        assert isinstance(method, LoRA)
        _write_lora(folder, model, method, base_name, digest)


def _write_lora(folder: Path, model: Model, method: LoRA, base_name: str, digest: str) -> None:
    found = _by_module(model)
    dora = any(isinstance(update, DoRALinear) for parts in found.values() for update in parts.values())
    updates = {module: _joined(model, module, parts, dora=dora) for module, parts in found.items()}
    if not updates:
        raise InputError("This model holds no LoRA update, so there is no adapter to write.")
    head = _their_head(model)
    tensors = {f"{PREFIX}{name}": tensor for name, tensor in head.items()}
    for module, update in updates.items():
        tensors[f"{PREFIX}{module}{A_END}"] = update.A
        tensors[f"{PREFIX}{module}{B_END}"] = update.B
        if update.magnitude is not None:
            tensors[f"{PREFIX}{module}{MAGNITUDE}"] = update.magnitude
    ranks = {module: len(update.A) for module, update in updates.items()}
    rank = Counter(ranks.values()).most_common(1)[0][0]
    stable = method.variant == "rslora"
    sizes = {module: math.sqrt(r) if stable else r for module, r in ranks.items()}
    alphas = {module: _number(update.scale * sizes[module]) for module, update in updates.items()}
    alpha = Counter(alphas[module] for module, r in ranks.items() if r == rank).most_common(1)[0][0]
    config = {
        "peft_type": "LORA",
        "task_type": _task_type(model),
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "r": rank,
        "lora_alpha": alpha,
        "lora_dropout": method.dropout,
        "target_modules": _targets(model, list(updates)),
        "rank_pattern": _pattern(model, ranks, rank),
        "alpha_pattern": _pattern(model, alphas, alpha),
        "modules_to_save": _saved_modules(head),
        "fan_in_fan_out": any(_transposed(model, module) for module in updates),
        "bias": "none",
        "use_rslora": stable,
        "use_dora": any(update.magnitude is not None for update in updates.values()),
        "init_lora_weights": True,
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / WEIGHTS, {name: t.detach().cpu() for name, t in tensors.items()}, header(digest))
    write_json(folder / CONFIG, config)


def _task_type(model: Model) -> str | None:
    """What peft calls the class of transformers that has this head."""
    if isinstance(model.network.head, LabelHead):
        return "SEQ_CLS"
    if model.network.decoder is None:
        return None
    return "SEQ_2_SEQ_LM" if model.is_encoder_decoder else "CAUSAL_LM"


def _saved_modules(head: Mapping[str, Tensor]) -> list[str] | None:
    """The modules that hold a label head; a part of one that PEFT takes whole must not be named beside it."""
    modules = {name.rpartition(".")[0] for name in head}
    outer = {name: name.partition(".")[0] for name in modules}
    return sorted({outer[name] if outer[name] in WHOLE else name for name in modules}) or None


def has_peft_form(model: Model) -> bool:
    """Whether transformers has a class for the head of `model`, so that `write_peft` can serve it."""
    try:
        _their_head(model)
    except InputError:
        return False
    return True


def _by_module(model: Model) -> dict[str, dict[int, LoRALinear]]:
    """Their module -> our updates inside it, by the part of it that they belong to."""
    found: dict[str, dict[int, LoRALinear]] = {}
    for role, update in model.network.named_modules():
        if isinstance(update, LoRALinear):
            module, part, _ = module_name(model.family, role, spec=model.spec)
            found.setdefault(module, {})[part] = update
    return found


def _joined(model: Model, module: str, parts: Mapping[int, LoRALinear], *, dora: bool) -> Update:
    """Several updates of one fused module as one: stacked A, block-diagonal B; ratios of scales go into B.

    Where the module holds its parts head by head, so do B and DoRA's magnitude: their rows are those of the fused
    weight. A part without an update has the magnitude that leaves it as it is.
    """
    members = roles(model.family, module, spec=model.spec)
    scale = next(iter(parts.values())).scale
    magnitude: Tensor | None = None
    if dora:
        columns = [magnitude_of(model.network.get_submodule(role))[:, None] for role in members]
        magnitude = torch.cat(_rule(model, module).pieces(columns))[:, 0]
    factors = {i: update.factors() for i, update in parts.items()}
    if len(members) == 1:
        return Update(*factors[0], scale, magnitude)
    ranks = [len(factors[i][0]) if i in parts else 0 for i in range(len(members))]
    dtype = next(iter(factors.values()))[1].dtype
    rows = [torch.zeros(_linear(model.network, role).out_features, sum(ranks), dtype=dtype) for role in members]
    for i, update in parts.items():
        column = sum(ranks[:i])
        block = factors[i][1].cpu()
        rows[i][:, column : column + ranks[i]] = block if update.scale == scale else block * (update.scale / scale)
    A = torch.cat([factors[i][0].cpu() for i in sorted(parts)])
    return Update(A, torch.cat(_rule(model, module).pieces(rows)), scale, magnitude)


def _rule(model: Model, module: str) -> Rule:
    place = families[model.family].rules(model.spec).place(f"{module}.weight")
    assert place is not None
    return place.rule


def _split(rule: Rule, B: Tensor, sizes: list[int]) -> list[Tensor]:
    """The rows of B that belong to each part of a fused module, in memory of their own."""
    parts = [B.new_empty(size, B.shape[1]) for size in sizes]
    pieces = rule.pieces(parts)
    for piece, rows in zip(pieces, torch.split(B, [len(piece) for piece in pieces]), strict=True):
        piece.copy_(rows)
    return parts


def _their_head(model: Model) -> dict[str, Tensor]:
    """The label head under transformers' names; empty for a vocabulary head, which is part of the base."""
    head, spec = model.network.head, model.spec
    if not isinstance(head, LabelHead):
        return {}
    if isinstance(head.out, HiddenLayer):
        raise InputError("transformers has no classifier with a hidden layer under its scores; save in our own form.")
    if isinstance(head, OrdinalHead):
        raise InputError("transformers has no classifier of an ordered scale; save in our own form.")
    family = families[model.family]
    if (head.pooling, head.kind) != (spec.pooling, spec.label_head):
        raise InputError(
            f"transformers has no {model.family} classifier that reads {head.pooling}; save in our own form."
        )
    family.to_config(spec, model.config, head="label")  # refuses what that class does not compute
    state = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    return family.rules(spec).to_theirs(state, "label")


def _targets(model: Model, wanted: list[str]) -> list[str]:
    """Endings of names that select the `wanted` modules and no other, or the full names where there are none."""
    endings = sorted({name.split(".", _depth(name))[-1] for name in wanted})
    everything = list(_modules(model, bare=False))
    matched = [name for name in everything if any(name.endswith(f".{ending}") for ending in endings)]
    return endings if sorted(matched) == sorted(wanted) else sorted(wanted)


def _depth(module: str) -> int:
    """How many parts of a name lead to, and include, the number of its block."""
    return next(i for i, part in enumerate(module.split(".")) if part.isdigit()) + 1


def _pattern(model: Model, values: Mapping[str, Any], usual: Any) -> dict[str, Any]:
    """Exceptions from the usual value; keys select modules by their ends, as in `_targets`."""
    found: dict[str, Any] = {}
    for value in sorted(set(values.values()) - {usual}):
        names = [module for module, own in values.items() if own == value]
        found |= dict.fromkeys(_targets(model, names), value)
    return found


def _number(value: float) -> float | int:
    rounded = round(value)
    return rounded if abs(value - rounded) < 1e-9 * max(1.0, abs(value)) else value


def _transposed(model: Model, module: str) -> bool:
    place = families[model.family].rules(model.spec).place(f"{module}.weight")
    return place is not None and place.rule.transposed


def load_adapter(place: Place, dtype: str | None) -> Model:
    """The base that an adapter folder names, with the adapter in place; whatever does not fit is an InputError."""
    values = read_json(place.path / CONFIG)
    if is_virtual(values):
        tokens = virtual_config(values, place.path / CONFIG)
        return load_virtual(place, tokens, adapter_base(place, tokens.carrier), dtype)
    config = adapter_config(values, place.path / CONFIG)
    tensors = read_adapter(place.path, config)
    base = adapter_base(place, config)
    model = load_base(base, dtype)
    check_base(place.path / WEIGHTS, base)
    put_adapter(place, config, tensors, model)
    model.network.eval().requires_grad_(False)
    return model


def put_adapter(place: Place, config: AdapterConfig, tensors: dict[str, Tensor], model: Model) -> None:
    """Put the adapter of a folder, whose `tensors` are taken out one by one, on a base; InputError as above."""
    factors = config.peft_type == "IA3"
    model.place = place
    with named("fits"):
        updates = {} if factors else _take_updates(place.path, tensors, dora=config.use_dora)
        in_head = {}
        if config.task_type == "SEQ_CLS":  # such as BERT's pooler, which "all-linear" selects
            named_by = families[model.family].rules(model.spec)
            in_head = {name: updates.pop(name) for name in list(updates) if in_label_head(named_by, f"{name}.weight")}
        if factors:
            from microtune.run.peft.ia3 import attach_factors  # which reads names by the functions below

            attach_factors(place.path, model, config, tensors)
        else:
            _attach(place.path, model, config, updates)
        if config.task_type == "SEQ_CLS":
            attach_label_head(place.path, model, config, tensors, in_head)
        elif tensors:
            where = f'{place.path / WEIGHTS}: tensor "{min(tensors)}"'
            raise InputError(f"{where} is not part of {'an IA3' if factors else 'a LoRA'}; it cannot be read.")


def adapter_base(place: Place, config: AdapterConfig) -> Place:
    """The plain model that an adapter names, a folder beside it first; an adapter or a run there is an InputError."""
    name, path = config.base_model_name_or_path, place.path / CONFIG
    if not name:
        raise InputError(
            f'{path}: the field "base_model_name_or_path" is missing; name the base of this adapter there.'
        )
    try:
        beside = (place.path / name).resolve()
        pinned = f"{name}@{config.revision}" if config.revision and is_id(name) and not Path(name).exists() else name
        found = locate(str(beside) if beside.is_dir() else pinned)
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: base_model_name_or_path "{name[:80]}" is not a usable name ({error}).') from None
    except InputError as error:
        raise InputError(f"{path}: the base of this adapter cannot be found: {error}") from None
    if found.kind in ("run", "adapter"):
        raise InputError(f'{path}: the base "{name}" is a folder with an adapter or a run; name a plain model.')
    return found


def read_adapter(folder: Path, config: AdapterConfig) -> dict[str, Tensor]:
    """All tensors of an adapter, without the prefix that PEFT puts in front."""
    path = folder / WEIGHTS
    if not path.is_file():
        if (folder / PICKLE).is_file():
            raise InputError(
                f"{folder / PICKLE}: pickled weights can run code and are not read; save it as safetensors."
            )
        raise InputError(f"{path}: there is no such file; the adapter is incomplete, copy its folder again.")
    try:
        tensors = read_tensors(path)
    except RunError as error:
        raise InputError(str(error)) from None
    factors = config.peft_type == "IA3"
    refuse_tensors((name for name in tensors if not (factors and name.endswith(".ia3_l"))), path)
    for name, tensor in tensors.items():
        if not name.startswith(PREFIX):
            raise InputError(
                f'{path}: tensor "{name}" does not begin with "{PREFIX}"; only adapters written by peft are read.'
            )
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise InputError(
                f'{path}: tensor "{name}" holds values that are no finite numbers; save the adapter again.'
            )
    return {name.removeprefix(PREFIX): tensor for name, tensor in tensors.items()}


def _take_updates(folder: Path, tensors: dict[str, Tensor], *, dora: bool) -> dict[str, dict[str, Tensor]]:
    """Take A, B and with DoRA the magnitudes out of `tensors`: module -> end of its name -> tensor."""
    found: dict[str, dict[str, Tensor]] = {}
    ends = (A_END, B_END, MAGNITUDE) if dora else (A_END, B_END)
    for module in sorted({name.removesuffix(end) for name in tensors for end in ends if name.endswith(end)}):
        for end in ends:
            if module + end not in tensors:
                raise InputError(
                    f'{folder / WEIGHTS}: tensor "{PREFIX}{module}{end}" is missing; save the adapter again.'
                )
        found[module] = {end: tensors.pop(module + end) for end in ends}
    stray = sorted(name for name in tensors if name.endswith(MAGNITUDE))
    if stray:
        raise InputError(
            f'{folder / WEIGHTS}: tensor "{PREFIX}{stray[0]}" is one of DoRA, which {CONFIG} does not name (use_dora); '
            "save the adapter again."
        )
    return found


def _modules(model: Model, *, bare: bool) -> dict[str, tuple[str, ...]]:
    """Their linear modules inside the blocks -> our roles; `bare`: as the model without a head names them."""
    prefix = families[model.family].rules(model.spec).prefix if bare else ""
    found: dict[str, tuple[str, ...]] = {}
    for role, module in model.network.named_modules():
        plain = isinstance(module, nn.Linear) and not role.endswith(".base")
        if ".blocks." in role and (plain or isinstance(module, (LoRALinear, IA3Linear))):
            name = module_name(model.family, role, spec=model.spec)[0]
            found[name.removeprefix(prefix)] = roles(model.family, name, spec=model.spec)
    return found


def _attach(folder: Path, model: Model, config: AdapterConfig, updates: dict[str, dict[str, Tensor]]) -> None:
    modules = _modules(model, bare=config.task_type == "FEATURE_EXTRACTION")
    targets = {name: members for name, members in modules.items() if config.targets(name)}
    path = folder / WEIGHTS
    for name in sorted(targets.keys() ^ updates.keys()):
        if name in targets:
            raise InputError(f'{path}: tensor "{PREFIX}{name}.lora_A.weight" is missing, which {CONFIG} promises.')
        if name not in modules:
            raise InputError(
                f'{path}: "{name}" has an update and is no linear layer inside the blocks of this base; merge the '
                "adapter into its base with peft (`merge_and_unload`) and load the result."
            )
        raise InputError(f'{path}: {CONFIG} does not select a linear layer "{name}" inside the blocks of this base.')
    if not targets:
        raise InputError(f"{folder / CONFIG}: target_modules selects no linear layer inside the blocks of this base.")
    for name, members in targets.items():
        found, rule = updates[name], _rule(model, name)
        rank, scale = config.rank(name), config.scale(name)
        linears = [_linear(model.network, role) for role in members]
        sizes = [linear.out_features for linear in linears]
        check_shapes(path, name, found, rank=rank, inputs=linears[0].in_features, outputs=sum(sizes))
        rows = _split(rule, found[B_END], sizes)
        lengths: list[Tensor] | list[None] = [None] * len(sizes)
        if config.use_dora:
            lengths = [part[:, 0] for part in _split(rule, found[MAGNITUDE][:, None], sizes)]
        for role, linear, B, length in zip(members, linears, rows, lengths, strict=True):
            set_module(model.network, role, adapted(linear, Update(found[A_END], B, scale, length)))


def _linear(network: Transformer, role: str) -> nn.Linear:
    module = network.get_submodule(role)
    linear = module.base if isinstance(module, (LoRALinear, IA3Linear)) else module
    assert isinstance(linear, nn.Linear)
    return linear
