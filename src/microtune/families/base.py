"""Families: a Hugging Face folder -> ModelSpec and tensors by our names, and back.

A family is a difference, not a model: how its `config.json` fills in the fields of a ModelSpec, and a table of names.
Everything else stands here once for all of them: checking folders, tied heads, files of the bare base model, heads with
labels, writing. What a folder promises and does not hold, or holds and nobody expects, is refused before a model is
built.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors.torch import save_file
from torch import Tensor

from microtune.errors import InputError, RunError, suggest
from microtune.families.files import CONFIG, WEIGHTS, TensorFiles, foreign_code, read_json
from microtune.families.rules import Part, Place, Rules
from microtune.families.twins import OUT, TOKENS, fill_absent, find_places, settle_embeddings
from microtune.nn.heads import LabelHead
from microtune.nn.shapes import shapes_only
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.registry import Registry

Head = Literal["vocabulary", "label", "none"]
Config = dict[str, Any]
LABEL_FIELDS = ("pooling", "label_head", "label_bias")
TRAINING_FIELDS = ("dropout", "label_dropout", "initializer_range")  # do not change what the model computes
FOREIGN = ("torch_dtype", "transformers_version", "auto_map", "_name_or_path")  # not true of what we write


@dataclass(frozen=True)
class Family:
    """What one `model_type` differs in.

    read: config.json -> ModelSpec; write: ModelSpec and the earlier config (or {}) -> the fields that follow from the
    spec; rules: names, for the given spec (None: the form that most files have); architectures: the class that
    transformers builds, by head; by_file: fields of a spec that not config.json decides but the tensors in the file.
    """

    model_type: str
    read: Callable[[Config], ModelSpec]
    write: Callable[[ModelSpec, Config], Config]
    rules: Callable[[ModelSpec | None], Rules]
    architectures: Mapping[Head, str]
    by_file: tuple[str, ...] = ()

    def to_spec(self, config: Config) -> ModelSpec:
        """The ModelSpec that a config.json describes; an unsupported value is an InputError without a path."""
        return self.read(config)

    def to_config(self, spec: ModelSpec, config_in: Config | None = None, *, head: Head = "vocabulary") -> Config:
        """A config.json for `spec`, over the fields of `config_in` that the spec does not decide.

        A spec that this family cannot express is an InputError: the file would describe another model.
        """
        if head not in self.architectures:
            raise InputError(f"transformers has no {self.model_type} with this head ({head}): save in our own form.")
        kept = {key: value for key, value in (config_in or {}).items() if key not in FOREIGN}
        try:
            config = kept | self.write(spec, kept)
            read = self.read(config)
            read = replace(read, **{name: getattr(spec, name) for name in self.by_file})
            different = _differences(spec, read, labels=head == "label")
        except InputError as error:
            different = [f"this model ({str(error).rstrip('.')})"]
        if different:
            raise InputError(f"A {self.model_type} file cannot express {'; '.join(different)}: save in our own form.")
        return config | {"model_type": self.model_type, "architectures": [self.architectures[head]]}


@dataclass(frozen=True)
class Loaded:
    """What a folder holds.

    state: by our names, ready for `Transformer(spec).load_state_dict` (the tied head included, as the same tensor),
    without the names in missing_head. spare: tensors of a label head or a pooler, as `LabelHead` names them
    (`head.out.weight`, `head.pooler.bias`), those that both heads share included. head: `label` where a whole label
    head is there, else `vocabulary` where that head is whole (a tied one always is), else `none`.
    """

    family: str
    spec: ModelSpec
    config: Config
    state: dict[str, Tensor]
    spare: dict[str, Tensor]
    head: Head
    missing_head: tuple[str, ...]
    num_labels: int | None = None
    id2label: dict[int, str] | None = None


families: Registry[Family] = Registry("family")  # by model_type; filled in families/__init__.py


def read_spec(folder: Path) -> tuple[Family, Config, ModelSpec]:
    """What the config.json of a folder describes; an unknown family or value is an InputError."""
    place = folder / CONFIG
    config = read_json(place)
    model_type = config.get("model_type")
    if not isinstance(model_type, str) or model_type not in families:
        code = f" {foreign_code(config)}" if foreign_code(config) else ""
        raise InputError(
            f'{place}: model_type "{model_type}" is not supported.{code} {suggest(str(model_type), families)}'
        )
    family = families[model_type]
    try:
        return family, config, family.to_spec(config)
    except InputError as error:
        raise InputError(f"{place}: {error}") from None


def load_folder(path: str | Path, dtype: torch.dtype | None = None, *, weights: str | None = None) -> Loaded:
    """Read a model in Hugging Face form. dtype: of the tensors returned (default: as in the file).

    weights: one safetensors file of the folder that holds them all (default: model.safetensors, or its index).

    Raises InputError, with file and tensor, for whatever does not fit together.
    """
    folder = Path(path)
    family, config, spec = read_spec(folder)
    place = folder / CONFIG
    with TensorFiles(folder, weights) as files:
        layers = sum(stack.num_layers for stack in (spec.encoder, spec.decoder) if stack)
        if layers > len(files):  # before anything is built from a number in a file
            raise InputError(f"{place}: promises {layers} layers, but the weights are {len(files)} tensors.")
        spec = settle_embeddings(spec, family.rules, files)
        return _load(family, spec, config, files, dtype)


def save_folder(
    path: str | Path,
    spec: ModelSpec,
    state: Mapping[str, Tensor],
    *,
    family: str,
    config: Config | None = None,
    dtype: torch.dtype | None = None,
    head: Head = "vocabulary",
    labels: Sequence[str] | None = None,
) -> None:
    """Write config.json and model.safetensors so that transformers loads them.

    state: `state_dict()` of the model with the head that `head` names (none: head tensors but a pooler are refused).
    config: the config.json that the model came with, for the fields that no spec decides. dtype: of the file (default:
    as in `state`). labels: their names, for a label head.
    """
    record = families[family]
    out = record.to_config(spec, config, head=head)
    rules = record.rules(spec)
    given = {name: tensor.detach() for name, tensor in state.items()}
    if spec.tied and head == "vocabulary" and OUT in given:
        if TOKENS in given and not _same(given[OUT], given[TOKENS]):
            raise InputError(f"{OUT} differs from {TOKENS}, but spec.tied promises one tensor: set tied=False.")
        del given[OUT]
    _check_complete(given, spec, head, rules)
    top = {name: given.pop(name) for name in list(given) if head != "vocabulary" and name.startswith("head.")}
    theirs = rules.to_theirs(given) | rules.to_theirs(top, "label")
    if head == "none":
        theirs = {name.removeprefix(rules.prefix): tensor for name, tensor in theirs.items()}
    if head == "label":
        names = _label_names(labels, top[OUT].shape[0])
        out |= {"id2label": {str(i): n for i, n in enumerate(names)}, "label2id": {n: i for i, n in enumerate(names)}}
    else:
        out = {key: value for key, value in out.items() if key not in ("id2label", "label2id")}
    tensors = _own_storage(theirs, dtype)
    out["dtype"] = str(next(iter(tensors.values())).dtype).removeprefix("torch.")
    _write(Path(path), out, tensors)


def module_name(
    family: str, role: str, *, spec: ModelSpec | None = None, head: Head = "vocabulary"
) -> tuple[str, int, int]:
    """Our role -> (their module, which part of it, of how many): GPT-2 holds q, k, v in one `c_attn`, of 3 parts."""
    rules = families[family].rules(spec)
    part: Part = "label" if head == "label" and role.startswith("head.") else "model"
    place = rules.locate(f"{role}.weight", part)
    if place is None:
        raise InputError(f'The family {family} has no module for the role "{role}".')
    return place.theirs.removesuffix(".weight"), place.ours.index(f"{role}.weight"), len(place.ours)


def roles(family: str, module: str, *, spec: ModelSpec | None = None) -> tuple[str, ...]:
    """Their module name -> our roles, in the order in which it holds them; the inverse of `module_name`."""
    place = families[family].rules(spec).place(f"{module}.weight")
    if place is None:
        raise InputError(f'The family {family} has no module "{module}".')
    return tuple(name.removesuffix(".weight") for name in place.ours)


def expected_shapes(spec: ModelSpec, num_labels: int | None = None) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a model's state, with its vocabulary head or (`num_labels` given) a label head."""
    return dict(_expected_shapes(spec, num_labels))


@lru_cache(maxsize=4)  # a run reads its base several times
def _expected_shapes(spec: ModelSpec, num_labels: int | None) -> dict[str, tuple[int, ...]]:
    with shapes_only():
        model = Transformer(spec)
        model.head = model.head if num_labels is None else LabelHead(spec, num_labels)
    return {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


def _load(family: Family, spec: ModelSpec, config: Config, files: TensorFiles, dtype: torch.dtype | None) -> Loaded:
    places = find_places(family.rules(spec), files)
    rows = next((files.shape(name)[:1] for name, p in places.items() if p.part == "label" and OUT in p.ours), ())
    shapes: dict[Part, dict[str, tuple[int, ...]]] = {"model": expected_shapes(spec)}
    with shapes_only():
        head_only = LabelHead(spec, rows[0] if rows else 1)
    shapes["label"] = {f"head.{name}": tuple(tensor.shape) for name, tensor in head_only.state_dict().items()}
    shapes["spare"] = _spare_shapes(family.rules(spec), spec)
    found: dict[Part, dict[str, Tensor]] = {"model": {}, "label": {}, "spare": {}}
    sources: dict[tuple[Part, str], str] = {}
    for name in sorted(places, key=lambda n: (places[n].rule.twin != "none", OUT in places[n].ours)):
        place = places[name]  # a twin, or a tied head, comes after what it repeats
        parts = _fitting(place, name, files, shapes[place.part])
        if _needless(place, spec, found[place.part]):
            continue
        stored = [(1, *part) for part in parts] if place.rule.row else parts
        tensors = files.read(name, stored, dtype, place.rule)
        tensors = [tensor[0] for tensor in tensors] if place.rule.row else tensors
        for ours, tensor in zip(place.ours, tensors, strict=True):
            other = found[place.part].get(ours)
            if other is not None and (place.rule.twin == "none" or not torch.equal(other, tensor)):
                raise InputError(
                    f'{files.where(name)} is a second version of "{sources[place.part, ours]}"; keep one of them.'
                )
            found[place.part].setdefault(ours, tensor)
            sources.setdefault((place.part, ours), name)
    state, spare = found["model"], found["label"] | found["spare"]
    spare |= {name: state[name] for name in shapes["label"] if name in state and name.startswith("head.transform.")}
    _tie(spec, state)
    fill_absent(spec, family.rules(spec), shapes["model"], state, dtype)
    missing = [name for name in shapes["model"] if name not in state]
    _refuse_missing(family.rules(spec), files, [name for name in missing if not name.startswith("head.")])
    whole = all(name in spare for name in shapes["label"])
    head: Head = "label" if whole else "none" if missing else "vocabulary"
    ordered = {name: state[name] for name in shapes["model"] if name in state}
    loaded = Loaded(family.model_type, spec, config, ordered, spare, head, tuple(missing))
    return replace(loaded, **_labels(config, spare[OUT].shape[0], files.folder / CONFIG)) if whole else loaded


def _needless(place: Place, spec: ModelSpec, found: Mapping[str, Tensor]) -> bool:
    """Whether a tensor says again what is read already: a dead twin, or the head of a model that is really tied."""
    if place.rule.twin == "dead":
        return place.ours[0] in found
    return spec.tied and place.part == "model" and place.ours == (OUT,) and TOKENS in found


def _fitting(
    place: Place, name: str, files: TensorFiles, shapes: Mapping[str, tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """The shapes of our parts of one tensor, after a look at the file's."""
    if any(ours not in shapes for ours in place.ours):
        raise InputError(f"{files.where(name)} has no place in the model that {CONFIG} describes.")
    parts = [shapes[ours] for ours in place.ours]
    asked, found = place.rule.shape(parts), files.shape(name)
    if asked != found:
        raise InputError(f"{files.where(name)} has shape {list(found)}, but {CONFIG} asks for {list(asked)}.")
    return parts


def _tie(spec: ModelSpec, state: dict[str, Tensor]) -> None:
    """One tensor under both names, whichever of them the file had."""
    if spec.tied and (TOKENS in state or OUT in state):
        state[TOKENS] = state[OUT] = state[TOKENS] if TOKENS in state else state[OUT]


def _refuse_missing(rules: Rules, files: TensorFiles, missing: list[str]) -> None:
    if not missing:
        return
    place = rules.locate(missing[0])
    name = place.theirs if place is not None else missing[0]
    more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
    raise InputError(f'{files.folder}: tensor "{name}"{more} is missing; the folder is incomplete.')


def _labels(config: Config, count: int, place: Path) -> dict[str, Any]:
    table = config.get("id2label")
    if table is None:
        return {"num_labels": count, "id2label": {i: f"LABEL_{i}" for i in range(count)}}
    if not isinstance(table, dict) or sorted(map(str, table)) != sorted(map(str, range(count))):
        raise InputError(f"{place}: id2label must name the labels 0 to {count - 1}, one per row of the label head.")
    return {"num_labels": count, "id2label": {i: str(table[str(i)]) for i in range(count)}}


def _label_names(labels: Sequence[str] | None, count: int) -> list[str]:
    names = [f"LABEL_{i}" for i in range(count)] if labels is None else list(labels)
    if len(names) != count or len(set(names)) != count:
        raise InputError(f"labels: {len(names)} names ({len(set(names))} different) for a head with {count} rows.")
    return names


def _check_complete(given: Mapping[str, Tensor], spec: ModelSpec, head: Head, rules: Rules) -> None:
    """Refuse to write a state that is not the model which the spec describes."""
    rows = given[OUT].shape[0] if head == "label" and OUT in given else None
    shapes = expected_shapes(spec, rows if rows is not None or head == "vocabulary" else 1)
    if spec.tied and head == "vocabulary":
        del shapes[OUT]
    if head == "none":
        shapes = {n: s for n, s in shapes.items() if not n.startswith("head.")} | _poolers(given, rules, spec)
    wrong = sorted(set(shapes) ^ set(given)) or [n for n, shape in shapes.items() if tuple(given[n].shape) != shape]
    if wrong:
        kind = "missing" if wrong[0] not in given else "unexpected" if wrong[0] not in shapes else "of the wrong shape"
        raise InputError(f'The state to save does not fit its spec: "{wrong[0]}" is {kind}.')


def _spare_shapes(rules: Rules, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Of tensors that no model of ours has: weight and bias of square layers."""
    return _square([name for rule in rules.spare for name in rule.ours], spec)


def _poolers(given: Mapping[str, Tensor], rules: Rules, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Of the layer that files of the bare model hold, whichever head reads it here, if any."""
    spare = _spare_shapes(rules, spec)
    return _square([n for n in given if n in spare or (".pooler." in n and rules.locate(n, "label"))], spec)


def _square(names: Iterable[str], spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    return {name: (spec.hidden_size,) * (2 if name.endswith(".weight") else 1) for name in names}


def _same(first: Tensor, second: Tensor) -> bool:
    """Whether two tensors are one, or equal (one tensor of NaNs is not equal to itself)."""
    return first.data_ptr() == second.data_ptr() or torch.equal(first, second)


def _own_storage(tensors: Mapping[str, Tensor], dtype: torch.dtype | None) -> dict[str, Tensor]:
    """Contiguous tensors on the CPU that share no memory, as safetensors asks."""
    out: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in tensors.items():
        own = tensor.to("cpu", dtype or tensor.dtype).contiguous()
        storage = own.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != own.nbytes:
            own = own.clone()
        seen.add(own.untyped_storage().data_ptr())
        out[name] = own
    return out


def _write(folder: Path, config: Config, tensors: dict[str, Tensor]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(config, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    try:
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    except Exception as error:
        raise RunError(f"{folder / WEIGHTS}: could not be written ({error}).") from error


def _differences(wanted: ModelSpec, got: ModelSpec, *, labels: bool) -> list[str]:
    """`field value` for everything that two specs compute differently."""
    skipped = TRAINING_FIELDS if labels else TRAINING_FIELDS + LABEL_FIELDS
    first, second = _meaning(wanted), _meaning(got)
    names = [n for n in first | second if n.rpartition(".")[2] not in skipped and first.get(n) != second.get(n)]
    return [f"{name}: {first.get(name)}" for name in names]


def _meaning(spec: ModelSpec) -> dict[str, Any]:
    """The fields of a spec, flat, with defaults spelled out and without those that do nothing."""
    flat = {name: value for name, value in asdict(spec).items() if name not in ("encoder", "decoder")}
    flat["head_activation"] = spec.head_activation or spec.output_stack.activation
    for name in () if spec.head_transform else ("head_activation", "head_transform_bias"):
        del flat[name]
    for side, stack in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        if stack is not None:
            flat |= {f"{side}.{name}": value for name, value in asdict(stack).items() if name not in _idle(stack)}
            scale = stack.head_size**-0.5 if stack.attention_scale is None else stack.attention_scale
            flat |= {f"{side}.num_kv_heads": stack.kv_heads, f"{side}.head_dim": stack.head_size}
            flat |= {f"{side}.attention_scale": scale, f"{side}.embedding_size": stack.embedding_width}
            if "L" in stack.pattern:
                flat[f"{side}.pattern"] = "".join("GL"[stack.windowed(i)] for i in range(stack.num_layers))
            if stack.positions == "rotary":
                flat[f"{side}.rotary_dim"] = stack.rotary_size
            if "L" in stack.pattern and stack.positions == "rotary":
                same = stack.rope_theta if stack.rope_scaling is None else None  # a local base is never scaled
                flat[f"{side}.rope_local_theta"] = stack.rope_local_theta or same
    return flat


def _idle(stack: StackSpec) -> Iterable[str]:
    if stack.positions not in ("learned", "sinusoidal"):
        yield from ("max_positions", "position_offset")
    if stack.positions != "sinusoidal":
        yield "sinusoids"
    if stack.positions != "rotary":
        yield from ("rope_theta", "rope_local_theta", "rope_scaling", "rope_layout", "rotary_dim")
    if stack.positions != "relative":
        yield from ("relative_buckets", "relative_max_distance")
    yield "norm_bias" if stack.norm == "rms" else "norm_shift"
    if "L" not in stack.pattern:
        yield from ("window", "pattern", "rope_local_theta")
