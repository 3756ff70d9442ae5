"""The label head of an adapter folder: whole modules that PEFT saved beside the updates, or updates of the base's own.

PEFT saves what `modules_to_save` names, and of its own accord every module whose name ends in "classifier" or "score".
What else stands below the scores is the base's: a layer that the base lacked was drawn at random and is in no file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from microtune.errors import InputError
from microtune.families.base import families
from microtune.families.rules import Rules
from microtune.nn.heads import LabelHead
from microtune.run.load import Model
from microtune.run.peft.config import AdapterConfig
from microtune.run.peft.update import A_END, B_END, CONFIG, MAGNITUDE, PREFIX, WEIGHTS, Update, check_shapes, folded
from microtune.tasks.classification import Classification


def in_label_head(rules: Rules, theirs: str) -> str | None:
    """Our name, inside the label head, of a tensor of theirs; None for a tensor of another place."""
    place = rules.place(theirs)
    home = None if place is None else rules.locate(place.ours[0], "label")
    if place is None or home is None or home.theirs != place.theirs:
        return None
    return place.ours[0].removeprefix("head.")


def attach_label_head(
    folder: Path,
    model: Model,
    config: AdapterConfig,
    tensors: dict[str, Tensor],
    updates: Mapping[str, dict[str, Tensor]],
) -> None:
    """The label head that PEFT saved with `modules_to_save`; what it lacks below the scores is the base's.

    `updates` of layers in the head (BERT's pooler, which "all-linear" selects) go into their weights.
    """
    family, path = families[model.family], folder / WEIGHTS
    spec = family.to_spec(model.config)
    rules = family.rules(spec)
    given: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        own = in_label_head(rules, name)
        if own is None:
            raise InputError(f'{path}: tensor "{PREFIX}{name}" is neither LoRA nor label head; it cannot be read.')
        given[own] = tensor
    if "out.weight" not in given:
        raise InputError(f"{path}: holds no label head, which task_type SEQ_CLS promises; save the adapter again.")
    head = LabelHead(spec, len(given["out.weight"]))
    below = {n.removeprefix("head."): t for n, t in model.spare.items() if not n.startswith("head.out.")}
    state = {name: tensor for name, tensor in (below | given).items() if name in head.state_dict() or name in given}
    for name, tensor in head.state_dict().items():
        if name not in state:
            raise InputError(
                f'{path}: "{name}" of the label head is neither in the adapter nor in its base; what it was in '
                "training is lost: train again with that layer in modules_to_save."
            )
        if state[name].shape != tensor.shape:
            raise InputError(
                f'{path}: "{name}" of the label head has shape {list(state[name].shape)}, not {list(tensor.shape)}.'
            )
    _fold(path, config, rules, updates, state, given)
    if len(state) != len(head.state_dict()):
        raise InputError(f"{path}: the label head has more tensors than a {model.family} classifier.")
    head.load_state_dict(state)
    model.network.head = head.to(next(model.network.parameters()).dtype)
    count = head.out.out_features
    names = model.config.get("id2label")
    known = isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(count)))
    labels = tuple(str(names[str(i)]) if known and names else f"LABEL_{i}" for i in range(count))
    model.task = Classification(labels=labels, text_field="text", pooling=spec.pooling)


def _fold(
    path: Path,
    config: AdapterConfig,
    rules: Rules,
    updates: Mapping[str, dict[str, Tensor]],
    state: dict[str, Tensor],
    given: Mapping[str, Tensor],
) -> None:
    """Put the updates of layers in the head into the weights of `state`; those that PEFT saved whole have none."""
    weights = {name: rules.locate(f"head.{name}", "label") for name, t in state.items() if t.ndim == 2}
    modules = {place.theirs.removesuffix(".weight"): n for n, place in weights.items() if place and n not in given}
    for module in sorted(updates.keys() | {module for module in modules if config.targets(module)}):
        if module not in updates:
            raise InputError(f'{path}: tensor "{PREFIX}{module}{A_END}" is missing, which {CONFIG} promises.')
        if module not in modules or not config.targets(module):
            raise InputError(f'{path}: {CONFIG} does not select a linear layer "{module}" of this label head.')
        own, found = modules[module], updates[module]
        outputs, inputs = state[own].shape
        check_shapes(path, module, found, rank=config.rank(module), inputs=inputs, outputs=outputs)
        state[own] = folded(state[own], Update(found[A_END], found[B_END], config.scale(module), found.get(MAGNITUDE)))
