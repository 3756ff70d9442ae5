"""A vocabulary head that was trained beside an adapter, in PEFT's form: the whole module, named in `modules_to_save`.

PEFT puts a copy of the module in its place, so that a head tied to the embedding is parted from it, as `head` parts it
here. It saves modules by their names in memory: a head whose weights stand in several places of transformers' class has
no form, and neither has one whose module is called otherwise in other versions (GPT-NeoX: embed_out, then lm_head).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn

from microtune.adapt.base import set_module
from microtune.adapt.head import OUT
from microtune.errors import InputError
from microtune.families.base import families
from microtune.nn.heads import VocabularyHead
from microtune.run.load import Model
from microtune.run.peft.config import AdapterConfig
from microtune.run.peft.update import CONFIG, PREFIX, WEIGHTS

MODULE = "lm_head"


def vocabulary_head(model: Model) -> dict[str, Tensor]:
    """The head under transformers' names; InputError where it is not one linear module there."""
    head = model.network.head
    assert isinstance(head, VocabularyHead)
    rules = families[model.family].rules(replace(model.spec, tied=False))
    state = {f"head.{name}": tensor for name, tensor in head.state_dict().items()}
    names = {name: place.theirs if (place := rules.locate(name)) is not None else "" for name in state}
    simple = all(theirs == f"{MODULE}.{name.removeprefix(f'{OUT}.')}" for name, theirs in names.items())
    if not simple:
        raise InputError(
            f"peft saves modules by their names, and the vocabulary head of {model.family} is not one module lm_head "
            "in every version of transformers, so a trained one has no PEFT form; use --format hf."
        )
    return {names[name]: tensor for name, tensor in state.items()}


@torch.no_grad()
def attach_vocabulary_head(folder: Path, model: Model, config: AdapterConfig, tensors: dict[str, Tensor]) -> None:
    """Take a head that `modules_to_save` names out of `tensors`, and put it on the network as one of its own.

    InputError where it does not fit; other modules are left for the caller to refuse.
    """
    if not config.modules_to_save or not isinstance(model.network.head, VocabularyHead):
        return
    try:
        wanted = vocabulary_head(model)
    except InputError:  # not one module of theirs
        return
    if MODULE not in config.modules_to_save:
        return
    path, head = folder / WEIGHTS, model.network.head
    own = nn.Linear(head.out.in_features, head.out.out_features, bias=f"{MODULE}.bias" in wanted, device="meta")
    for theirs, tensor in wanted.items():
        found = tensors.pop(theirs, None)
        if found is None:
            raise InputError(f'{path}: tensor "{PREFIX}{theirs}" is missing, which {CONFIG} promises.')
        if found.shape != tensor.shape:
            raise InputError(
                f'{path}: tensor "{PREFIX}{theirs}" has shape {list(found.shape)}, but the base and {CONFIG} ask for '
                f"{list(tensor.shape)}."
            )
        setattr(own, theirs.rpartition(".")[2], nn.Parameter(found.to(tensor)))
    set_module(model.network, OUT, own)
    model.network.spec = replace(model.network.spec, tied=False)
