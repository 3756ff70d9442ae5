"""Prompts and prefixes in PEFT's form: `PROMPT_TUNING` and `PREFIX_TUNING`, written so that `peft` loads them.

One tensor holds them, `prompt_embeddings`: a vector per virtual token of a prompt, or keys and values of all blocks in
one row per token of a prefix. What PEFT would compute otherwise is refused: a prompt under a head that reads the first
token (PEFT reads the first virtual one), a prefix of some blocks only, and in encoder-decoders one whose blocks differ
where PEFT gives two of them the same keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from microtune.adapt.base import set_module
from microtune.adapt.prefix import PrefixTuning
from microtune.adapt.prompt import PromptTuning
from microtune.adapt.virtual import VirtualMethod
from microtune.errors import InputError, named
from microtune.nn.heads import LabelHead
from microtune.nn.virtual import Prefix, Prompt, VirtualTokens
from microtune.recipe import validated
from microtune.run.digest import check_base
from microtune.run.load import Model, load_base
from microtune.run.peft.config import AdapterConfig
from microtune.run.peft.label_head import attach_label_head
from microtune.run.peft.modules import read_file, saved_modules, task_type, their_head, write_files
from microtune.run.peft.update import CONFIG, WEIGHTS
from microtune.run.sources import Place

KINDS: dict[str, type[VirtualMethod]] = {"PROMPT_TUNING": PromptTuning, "PREFIX_TUNING": PrefixTuning}
TENSOR, HEAD = "prompt_embeddings", "base_model."  # names: of the tokens, and before those of a label head
TASK_TYPES = ("CAUSAL_LM", "SEQ_CLS", "SEQ_2_SEQ_LM", "FEATURE_EXTRACTION")
# These say how the tokens began, or nothing about what they compute: the file holds what a projection makes.
HARMLESS = (
    *("auto_mapping", "encoder_hidden_size", "inference_mode", "init_weights", "num_attention_heads", "num_layers"),
    *("peft_version", "prefix_projection", "prompt_tuning_init", "prompt_tuning_init_text", "runtime_config"),
    *("token_dim", "tokenizer_kwargs", "tokenizer_name_or_path"),
)

Count = Annotated[int, Field(ge=1, le=2**16)]


class VirtualConfig(BaseModel):
    """The fields of `adapter_config.json` that are read."""

    model_config = ConfigDict(frozen=True, extra="allow")

    peft_type: str
    base_model_name_or_path: str | None = None
    revision: str | None = None
    task_type: str
    num_virtual_tokens: Count
    num_transformer_submodules: Annotated[int, Field(ge=1, le=2)] = 1
    modules_to_save: list[str] = []

    @property
    def method(self) -> VirtualMethod:
        """The method that makes such tokens; a loaded adapter brings their values."""
        return KINDS[self.peft_type](tokens=self.num_virtual_tokens, init="random")  # type: ignore[call-arg]

    @property
    def carrier(self) -> AdapterConfig:
        """What it has in common with a LoRA's: its base, and a label head of whole modules."""
        return AdapterConfig(
            peft_type=self.peft_type,
            base_model_name_or_path=self.base_model_name_or_path,
            revision=self.revision,
            task_type=self.task_type,
            target_modules=[],
        )


def is_virtual(values: Mapping[str, Any]) -> bool:
    """Whether an `adapter_config.json` is one of virtual tokens that are read here."""
    kind = values.get("peft_type")
    return isinstance(kind, str) and kind in KINDS


def virtual_config(values: Mapping[str, Any], path: Path) -> VirtualConfig:
    """Check the contents of an `adapter_config.json`; an option that would change the result is an InputError."""
    config = validated(VirtualConfig, {key: value for key, value in values.items() if value is not None}, str(path))
    for key, value in (config.model_extra or {}).items():
        if value and key not in HARMLESS:
            raise InputError(f'{path}: the option "{key}" is not supported; use the adapter with peft.')
    if config.task_type not in TASK_TYPES:
        known = ", ".join(TASK_TYPES)
        raise InputError(f'{path}: task_type "{config.task_type[:40]}" is not supported; known are {known}.')
    return config


def write_virtual(folder: Path, model: Model, *, base_name: str, digest: str) -> None:
    """Write the virtual tokens of `model` as `peft` does, and its label head.

    InputError where PEFT has no form that computes the same, or transformers no such label head.
    """
    head = their_head(model)
    network = model.network
    found = [m for m in network.modules() if isinstance(m, VirtualTokens) and m.count]
    if not found:
        raise InputError("This model holds no virtual tokens, so there is no adapter to write.")
    virtual, both = found[0], model.is_encoder_decoder
    _check_pooling(model, virtual, "This model")
    stack = network.output_stack.spec
    config: dict[str, Any] = {"num_transformer_submodules": 1, "num_attention_heads": stack.num_heads}
    if isinstance(virtual, Prefix):
        tensor = _joined(virtual, len(network.output_stack.blocks), both=both)
        config |= {"peft_type": "PREFIX_TUNING", "token_dim": stack.kv_heads * stack.head_size}
        config |= {"num_attention_heads": stack.kv_heads, "prefix_projection": False}
        config |= {"num_transformer_submodules": 2 if both else 1}
    else:
        assert isinstance(virtual, Prompt)
        tensor = virtual.weight
        config |= {"peft_type": "PROMPT_TUNING", "prompt_tuning_init": "RANDOM", "token_dim": tensor.shape[1]}
    config |= {
        "task_type": task_type(model) or "FEATURE_EXTRACTION",  # which peft needs of virtual tokens
        "base_model_name_or_path": base_name,
        "inference_mode": True,
        "num_virtual_tokens": virtual.count,
        "num_layers": stack.num_layers,
        "modules_to_save": saved_modules(head),
    }
    tensors = {TENSOR: tensor, **{f"{HEAD}{name}": value for name, value in head.items()}}
    write_files(folder, tensors, config, digest)


def _check_pooling(model: Model, virtual: VirtualTokens, who: str) -> None:
    """A head that reads the first token reads the first virtual one in PEFT."""
    head = model.network.head
    if virtual.read and isinstance(head, LabelHead) and head.pooling == "first":
        raise InputError(
            f"{who} has a label head that reads the first token of a text; under a prompt peft reads the first virtual "
            "token instead, which is another model. Use a prefix, or the run itself."
        )


def _order(layers: int, *, both: bool) -> list[int]:
    """Which pair of keys and values in a row each block reads.

    For an encoder-decoder PEFT cuts the row, laid down twice, into fours (self- and cross-attention) and reads the
    first two of each, so block i has the pair 2 i modulo the number of blocks.
    """
    return [(2 * i) % layers if both else i for i in range(layers)]


def _joined(prefix: Prefix, layers: int, *, both: bool) -> Tensor:
    """Keys and values of all blocks as PEFT's `[p, 2 L K E]`."""
    if prefix.first_block:
        raise InputError(
            f"This prefix stands in the blocks from {prefix.first_block} on only; a prefix of peft stands in all. Use "
            "the run itself."
        )
    dense = prefix.dense().detach()
    rows = torch.zeros_like(dense)
    for block, place in enumerate(_order(layers, both=both)):
        if both and layers % 2 == 0 and block >= layers // 2 and not torch.equal(rows[place], dense[block]):
            raise InputError(
                f"peft gives blocks {block - layers // 2} and {block} of a decoder the same prefix, here they differ; "
                "use the run itself, or a prompt."
            )
        rows[place] = dense[block]
    return rows.permute(2, 0, 1, 3, 4).flatten(1)


def load_virtual(place: Place, config: VirtualConfig, base: Place, dtype: str | None) -> Model:
    """The base with the virtual tokens of an adapter folder before every text; what does not fit is an InputError."""
    tensors = _read(place.path)
    model = load_base(base, dtype)
    check_base(place.path / WEIGHTS, base)
    model.place = place
    with named("fits"):
        _attach(place.path / WEIGHTS, model, config, tensors)
        if config.task_type == "SEQ_CLS":
            attach_label_head(place.path, model, config.carrier, tensors, {})
        elif tensors:
            raise InputError(f'{place.path / WEIGHTS}: tensor "{HEAD}{min(tensors)}" belongs to no virtual token.')
        _check_pooling(model, model.network.output_stack.virtual, f"{place.path}: this adapter")
    model.network.eval().requires_grad_(False)
    return model


def _read(folder: Path) -> dict[str, Tensor]:
    """All tensors of an adapter, those of a label head without the prefix that PEFT puts in front."""
    tensors = read_file(folder)
    strange = next((name for name in tensors if name != TENSOR and not name.startswith(HEAD)), None)
    if strange is not None:
        raise InputError(f'{folder / WEIGHTS}: tensor "{strange}" is not one that peft writes for virtual tokens.')
    return {name.removeprefix(HEAD): tensor for name, tensor in tensors.items()}


def _attach(path: Path, model: Model, config: VirtualConfig, tensors: dict[str, Tensor]) -> None:
    """Take the virtual tokens out of `tensors` and put them into the slot of their stack."""
    network, both, count = model.network, model.is_encoder_decoder, config.num_virtual_tokens
    if both != (config.task_type == "SEQ_2_SEQ_LM"):
        raise InputError(f"{path.parent / CONFIG}: task_type {config.task_type} does not fit a model of this kind.")
    found = tensors.pop(TENSOR, None)
    if found is None:
        raise InputError(f'{path}: tensor "{TENSOR}" is missing; save the adapter again.')
    prompt = config.peft_type == "PROMPT_TUNING"
    reader = network.encoder if prompt and network.encoder is not None else network.output_stack
    config.method.check_room(reader)
    spec, layers = reader.spec, len(reader.blocks)
    width = spec.embedding_width if prompt else layers * 2 * spec.kv_heads * spec.head_size
    rows = count * config.num_transformer_submodules if prompt else count
    if list(found.shape) != [rows, width]:
        raise InputError(
            f'{path}: tensor "{TENSOR}" has shape {list(found.shape)}, but the base and {CONFIG} ask for '
            f"{[rows, width]}."
        )
    dtype = torch.promote_types(network.tokens.weight.dtype, torch.float32)
    found = found[:count].to(network.tokens.weight.device, dtype)  # what peft keeps for a decoder, it never reads
    if prompt:
        virtual: VirtualTokens = Prompt(found)
    else:
        parts = found.view(count, layers, 2, spec.kv_heads, spec.head_size).permute(1, 2, 0, 3, 4)
        virtual = Prefix(parts[_order(layers, both=both)].contiguous(), 0)
    set_module(network, "encoder.virtual" if reader is network.encoder else "decoder.virtual", virtual)
