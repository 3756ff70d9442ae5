"""One embedding under many names: what a file holds once, twice or not at all, settled before a model is built.

An embedding of tokens can be the table that an encoder reads, the one that a decoder reads, and the vocabulary head; a
file names it up to four times, and its config.json is not always right about which of them are one. The tensors
themselves are. transformers decides in the same way since version 5 (`tie_weights`): two tensors that a file holds with
different values are two.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from microtune.errors import InputError
from microtune.families.files import TensorFiles
from microtune.families.rules import Place, Rules
from microtune.nn.positions import sinusoidal_table
from microtune.nn.spec import ModelSpec

OUT, TOKENS, TARGETS = "head.out.weight", "tokens.weight", "targets.weight"


def find_places(rules: Rules, files: TensorFiles) -> dict[str, Place]:
    """Tensor in the files -> its place, for all that is not ignored."""
    places: dict[str, Place] = {}
    for name in files.files:
        place = rules.place(name)
        if place is not None:
            places[name] = place
        elif not rules.ignores(name):
            raise InputError(f"{files.where(name)} has no place in this family; was the file made for another head?")
    return places


def settle_embeddings(spec: ModelSpec, rules: Callable[[ModelSpec], Rules], files: TensorFiles) -> ModelSpec:
    """`spec` as the tensors say: with a head of its own, and a decoder that reads its own tokens, where they differ."""
    if spec.tied and _differ(rules(spec), files, TOKENS, OUT):
        spec = replace(spec, tied=False)
    if spec.encoder is None or spec.decoder is None or spec.tied or spec.target_tokens == "own":
        return spec
    own = replace(spec, target_tokens="own")
    return own if _differ(rules(own), files, TOKENS, TARGETS) else spec


def _differ(rules: Rules, files: TensorFiles, first: str, second: str) -> bool:
    """Whether a file holds two tensors by these names of ours, of one shape and of different values."""
    found: dict[tuple[str, ...], str] = {}
    for name, place in sorted(find_places(rules, files).items(), key=lambda pair: pair[1].rule.twin == "none"):
        if place.part == "model":  # a twin counts where the tensor that it repeats is not there
            found[place.ours] = name
    one, other = found.get((first,)), found.get((second,))
    if one is None or other is None or files.shape(one) != files.shape(other):
        return False  # a wrong shape is reported with the others
    return not files.equal(one, other)


def fill_absent(
    spec: ModelSpec,
    rules: Rules,
    shapes: Mapping[str, tuple[int, ...]],
    state: dict[str, Tensor],
    dtype: torch.dtype | None,
) -> None:
    """What a file may leave out, because it follows from the rest: sinusoidal tables, and what `rules.absent` names."""
    tables = {
        f"{side}.positions.weight": stack.sinusoids
        for side, stack in (("encoder", spec.encoder), ("decoder", spec.decoder))
        if stack is not None and stack.positions == "sinusoidal"
    }
    kind = dtype or next((tensor.dtype for tensor in state.values()), torch.float32)
    for name, sinusoids in tables.items():
        if name not in state:
            rows, size = shapes[name]
            state[name] = sinusoidal_table(rows, size, sinusoids).to(kind)
    for name, source in rules.absent:
        if name in shapes and name not in state:
            if source is None:
                state[name] = torch.zeros(shapes[name], dtype=kind)
            elif source in state:
                state[name] = state[source].clone()
