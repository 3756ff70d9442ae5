"""Which one adapter of peft holds all that the method of a run has trained, or the part that has no place in one.

An adapter of peft is of one kind (LoRA, IA3, virtual tokens), and keeps a head beside it as modules of its own
(`modules_to_save`). So a list of methods has a form where its parts are of one kind, and heads; but virtual tokens are
kept beside label heads alone.
"""

from __future__ import annotations

from torch import nn

from microtune.adapt.base import Method
from microtune.adapt.head import Head
from microtune.adapt.ia3 import IA3
from microtune.adapt.lora import LoRA
from microtune.adapt.several import Several
from microtune.adapt.virtual import VirtualMethod
from microtune.errors import InputError
from microtune.nn.heads import LabelHead

KINDS = (LoRA, IA3, VirtualMethod)


def carrier(method: Method, head: nn.Module, where: str) -> Method:
    """The method in whose form the adapter is written; InputError that names `where` and what has no form.

    head: of the model.
    """
    if not isinstance(method, Several):
        if not isinstance(method, KINDS):
            raise InputError(f"{where}: tuned with {method.name}, which has no PEFT form; use --format hf.")
        return method
    parts = method.made
    title = "+".join(part.name for part in parts)
    tokens = any(isinstance(part, VirtualMethod) for part in parts)
    known = KINDS if tokens and not isinstance(head, LabelHead) else (*KINDS, Head)
    strange = next((part for part in parts if not isinstance(part, known)), None)
    forms = [part for part in parts if isinstance(part, KINDS)]
    if strange is not None or not forms:
        name = (strange or parts[0]).name
        raise InputError(f"{where}: tuned with {title}, of which {name} has no PEFT form; use --format hf.")
    kinds = [_kind(part) for part in forms]
    other = next((kind for kind in kinds if kind != kinds[0]), None)
    if other is not None:
        raise InputError(
            f"{where}: tuned with {title}; one adapter of peft cannot hold {kinds[0]} and {other} together; use "
            "--format hf."
        )
    return forms[0]


def trains_vocabulary_head(method: Method, head: nn.Module) -> bool:
    """Whether a head that came with the base has learnt, and has to go along."""
    heads = isinstance(method, Several) and any(isinstance(part, Head) for part in method.made)
    return heads and not isinstance(head, LabelHead)


def _kind(method: Method) -> str:
    """What an adapter is throughout; DoRA is switched on for all its modules."""
    return "dora" if isinstance(method, LoRA) and method.variant == "dora" else method.name
