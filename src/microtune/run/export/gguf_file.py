"""A decoder as one GGUF file, the form that llama.cpp runs (Gerganov et al., 2023), written with the `gguf` package.

The table below is keyed by `model_type` and says which fields llama.cpp computes for it; a model beyond them is
refused. llama.cpp turns neighbouring pairs of a Llama head where Hugging Face files turn halves, so the rows of q and k
are put in that order for the architectures that it stores so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from microtune.errors import InputError
from microtune.families.base import families
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.run.export.expressible import BIASES, SIZES, idle, require
from microtune.run.export.gguf_tokenizer import Vocabulary, vocabulary
from microtune.run.export.parity import kind_of
from microtune.run.export.readers import optional
from microtune.run.load import Model

FILE = "model.gguf"
BLOCK = 32  # values of a q8_0 block, which share one scale
LARGEST_HALF = 65504.0
MISSING = 'GGUF files need the package gguf: pip install "microtune[export]".'
NO_BIAS: dict[str, tuple[Any, ...]] = dict.fromkeys(BIASES, (False,))
ROTARY: dict[str, tuple[Any, ...]] = {
    "causal": (True,),
    "norm": ("rms",),
    "mlp": ("gated",),
    "activation": ("silu",),
    "positions": ("rotary",),
}


@dataclass(frozen=True)
class Architecture:
    """What llama.cpp computes under one of its names.

    allowed: field of the stack -> values beside the default; free: fields that may have any value; paired: whether
    rotary positions turn neighbouring pairs.
    """

    name: str
    allowed: Mapping[str, tuple[Any, ...]]
    free: tuple[str, ...] = field(default=())
    paired: bool = False


LLAMA = Architecture("llama", ROTARY, ("rope_theta", *BIASES), paired=True)
ARCHITECTURES = {
    "gpt2": Architecture(
        "gpt2", {"causal": (True,), "activation": ("gelu_tanh",), "positions": ("learned",), "head_dim": (None,)}
    ),
    "llama": LLAMA,
    "mistral": LLAMA,
    "qwen2": Architecture(
        "qwen2",
        {**ROTARY, **NO_BIAS, "query_bias": (True,), "key_bias": (True,), "value_bias": (True,)},
        ("rope_theta",),
    ),
}


def write_gguf(work: Path, model: Model, kind: str) -> None:
    """Write `model` into `work / "model.gguf"`. kind: float32 | float16 | q8_0; norms and biases stay float32."""
    gguf = optional("gguf")
    if gguf is None:
        raise InputError(MISSING)
    architecture, stack = architecture_of(model)
    words = vocabulary(model.text, model.spec.vocab_size)
    writer = gguf.GGUFWriter(str(work / FILE), architecture.name)
    _write_shape(writer, gguf, model, stack, kind)
    _write_vocabulary(writer, words, model)
    for name, tensor in tensors(model, architecture, gguf):
        data, number = encoded(gguf, name, tensor, kind)
        writer.add_tensor(name, data, raw_dtype=number)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def architecture_of(model: Model) -> tuple[Architecture, StackSpec]:
    """The architecture that llama.cpp runs this model as, and its stack; InputError where there is none."""
    if kind_of(model) == "label":
        raise InputError("GGUF files hold models that write text; this one was tuned for labels. Use hf or onnx.")
    if model.family not in ARCHITECTURES:
        known = ", ".join(sorted(ARCHITECTURES))
        raise InputError(f'GGUF files are written of {known}, not of "{model.family}".')
    model.vocabulary_head()
    architecture, spec = ARCHITECTURES[model.family], model.spec
    stack = spec.decoder
    assert stack is not None
    what = f"llama.cpp's {architecture.name}"
    require(spec, {}, (), what=what)
    scale = stack.head_size**-0.5
    allowed = {"attention_scale": (None, scale), **architecture.allowed}
    free = [*SIZES, "norm_eps", *architecture.free, *idle(stack)]
    require(stack, allowed, [name for name in free if name not in architecture.allowed], what=what)
    return architecture, stack


def tensors(model: Model, architecture: Architecture, gguf: Any) -> Iterator[tuple[str, Tensor]]:
    """llama.cpp's names and the tensors under them, `[out, in]` in float32; a tied head is left out, as there."""
    rules, spec = families[model.family].rules(model.spec), model.spec
    state = model.network.state_dict()
    arch = {name: key for key, name in gguf.MODEL_ARCH_NAMES.items()}[architecture.name]
    names = gguf.get_tensor_name_map(arch, spec.output_stack.num_layers)
    done: set[str] = set()
    for ours in state:
        place = rules.locate(ours)
        if place is None or place.theirs in done or (spec.tied and ours == "head.out.weight"):
            continue
        done.add(place.theirs)
        name = names.get_name(place.theirs, try_suffixes=(".weight", ".bias"))
        if name is None:
            raise InputError(f'llama.cpp\'s {architecture.name} has no tensor for "{place.theirs}".')
        parts = [state[part].detach().float().cpu() for part in place.ours]
        yield name, _arranged(torch.cat(parts), ours, spec, paired=architecture.paired)


def _arranged(tensor: Tensor, ours: str, spec: ModelSpec, *, paired: bool) -> Tensor:
    """Rows of q and k with the two halves of every head interleaved; everything else as it is."""
    role = ours.rpartition(".")[0].rpartition(".")[2]
    if not paired or role not in ("q", "k"):
        return tensor
    stack = spec.output_stack
    heads = stack.num_heads if role == "q" else stack.kv_heads
    halves = tensor.view(heads, 2, stack.head_size // 2, *tensor.shape[1:])
    return halves.transpose(1, 2).reshape(tensor.shape)


def encoded(gguf: Any, name: str, tensor: Tensor, kind: str) -> tuple[np.ndarray[Any, Any], Any]:
    """Bytes of a tensor and their type: float32 for vectors and positions, q8_0 where its rows are whole blocks."""
    types, array = gguf.GGMLQuantizationType, tensor.contiguous().numpy()
    if kind == "float32" or tensor.dim() < 2 or name.startswith("position_embd"):
        return array, types.F32
    if kind == "q8_0" and tensor.shape[-1] % BLOCK == 0:
        return gguf.quants.quantize(array, types.Q8_0), types.Q8_0
    if float(tensor.abs().max()) > LARGEST_HALF:
        raise InputError(f'Tensor "{name}" holds values beyond float16; export with --dtype float32.')
    return array.astype(np.float16), types.F16


def _write_shape(writer: Any, gguf: Any, model: Model, stack: StackSpec, kind: str) -> None:
    """Everything about the network that is no tensor."""
    writer.add_type(gguf.GGUFType.MODEL)
    writer.add_name(Path(model.place.name).name if model.place is not None else "model")
    writer.add_context_length(stack.max_positions or 2048)
    writer.add_embedding_length(stack.hidden_size)
    writer.add_block_count(stack.num_layers)
    writer.add_feed_forward_length(stack.intermediate_size)
    writer.add_head_count(stack.num_heads)
    writer.add_head_count_kv(stack.kv_heads)
    writer.add_vocab_size(model.spec.vocab_size)
    if stack.norm == "rms":
        writer.add_layer_norm_rms_eps(stack.norm_eps)
    else:
        writer.add_layer_norm_eps(stack.norm_eps)
    if stack.positions == "rotary":
        writer.add_rope_dimension_count(stack.head_size)
        writer.add_rope_freq_base(stack.rope_theta)
        writer.add_key_length(stack.head_size)
        writer.add_value_length(stack.head_size)
    types = gguf.LlamaFileType
    writer.add_file_type({"float32": types.ALL_F32, "float16": types.MOSTLY_F16, "q8_0": types.MOSTLY_Q8_0}[kind])
    if kind == "q8_0":
        writer.add_quantization_version(gguf.GGML_QUANT_VERSION)


def _write_vocabulary(writer: Any, words: Vocabulary, model: Model) -> None:
    """Tokens, special ids, and the chat template."""
    writer.add_tokenizer_model(words.model)
    writer.add_tokenizer_pre(words.pre)
    writer.add_token_list(words.tokens)
    writer.add_token_types(words.types)
    if words.scores:
        writer.add_token_scores(words.scores)
    if words.merges:
        writer.add_token_merges(words.merges)
    for name, number in words.special.items():
        getattr(writer, f"add_{name}_token_id")(number)
    writer.add_add_bos_token(words.add_bos)
    writer.add_add_eos_token(words.add_eos)
    if words.model == "llama":
        writer.add_add_space_prefix(True)
    if model.text.chat_template:
        writer.add_chat_template(model.text.chat_template)
