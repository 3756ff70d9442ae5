"""T5 (Raffel et al., 2020), its version 1.1 (Shazeer, 2020) and mT5 (Xue et al., 2021).

RMS norms and no biases anywhere, attention without a scale, relative positions whose table the first block of each
stack holds for all of them. The first version has a plain MLP and a head that is the embedding, scaled; later ones a
gated MLP and a head of their own, which config.json does not say: the tensors in the file do.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from microtune.errors import InputError
from microtune.families.base import Family
from microtune.families.config import ACTIVATIONS, Fields, spelling
from microtune.families.rules import Rule, Rules, rename
from microtune.nn.spec import LONGEST, Activation, MLPKind, ModelSpec, StackSpec

FEED_FORWARD: Mapping[str, tuple[MLPKind, Activation]] = {
    **{name: ("plain", kind) for name, kind in ACTIVATIONS.items()},
    **{f"gated-{name}": ("gated", kind) for name, kind in ACTIVATIONS.items()},
    "gated-gelu": ("gated", "gelu_tanh"),  # whatever "gelu" means elsewhere
}


def read(config: dict[str, Any], *, model_type: str) -> ModelSpec:
    """config.json -> ModelSpec; a head of its own is for the file to say."""
    _refuse_other_models(config)
    fields = Fields(config, encoder_decoder=True)
    fields.only("is_decoder", False)
    mlp, activation = fields.word("feed_forward_proj", "relu" if model_type == "t5" else "gated-gelu", FEED_FORWARD)
    _check_repeated(fields, mlp, activation)
    width, layers = fields.integer("d_model"), fields.integer("num_layers")
    encoder = StackSpec(
        num_layers=layers,
        hidden_size=width,
        num_heads=fields.integer("num_heads"),
        head_dim=fields.integer("d_kv", 64),
        intermediate_size=fields.integer("d_ff"),
        norm="rms",
        norm_eps=fields.number("layer_norm_epsilon", 1e-6, most=1.0),
        mlp=mlp,
        activation=activation,
        positions="relative",
        relative_buckets=fields.integer("relative_attention_num_buckets", 32),
        relative_max_distance=fields.integer("relative_attention_max_distance", 128),
        query_bias=False,
        key_bias=False,
        value_bias=False,
        output_bias=False,
        mlp_bias=False,
        attention_scale=1.0,
        dropout=fields.number("dropout_rate", 0.1, most=1.0),
    )
    depth = fields.integer("num_decoder_layers", layers)
    scaled = fields.flag("scale_decoder_outputs", fields.flag("tie_word_embeddings", True))
    return ModelSpec(
        vocab_size=fields.integer("vocab_size", most=LONGEST),
        encoder=encoder,
        decoder=replace(encoder, num_layers=depth, causal=True, cross_attention=True),
        logit_scale=width**-0.5 if scaled and model_type == "t5" else 1.0,
    )


def _refuse_other_models(config: dict[str, Any]) -> None:
    named = config.get("architectures")
    for name in named if isinstance(named, list) else ():
        if isinstance(name, str) and name.endswith("EncoderModel"):
            raise InputError(f"architectures names {name}, an encoder alone; only T5 with its decoder is read.")


def _check_repeated(fields: Fields, mlp: MLPKind, activation: Activation) -> None:
    """Saved files say the same once more in two other fields, which transformers believes first."""
    fields.only("is_gated_act", mlp == "gated", "it contradicts feed_forward_proj")
    if fields.word("dense_act_fn", spelling(ACTIVATIONS, activation, None), ACTIVATIONS) != activation:
        raise InputError(f'dense_act_fn is "{fields.config["dense_act_fn"]}", which contradicts feed_forward_proj.')


def write(spec: ModelSpec, config: dict[str, Any], *, model_type: str) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    if spec.encoder is None or spec.decoder is None:
        raise InputError("only one stack")
    e = spec.encoder
    scaled = spec.logit_scale != 1.0
    return {
        "vocab_size": spec.vocab_size,
        "d_model": e.hidden_size,
        "d_kv": e.head_size,
        "d_ff": e.intermediate_size,
        "num_layers": e.num_layers,
        "num_decoder_layers": spec.decoder.num_layers,
        "num_heads": e.num_heads,
        "relative_attention_num_buckets": e.relative_buckets,
        "relative_attention_max_distance": e.relative_max_distance,
        "dropout_rate": e.dropout,
        "layer_norm_epsilon": e.norm_eps,
        "feed_forward_proj": spelling(FEED_FORWARD, (e.mlp, e.activation), config.get("feed_forward_proj")),
        "is_gated_act": e.mlp == "gated",
        "dense_act_fn": spelling(ACTIVATIONS, e.activation, config.get("dense_act_fn")),
        "is_encoder_decoder": True,
        "tie_word_embeddings": scaled if model_type == "t5" else spec.tied,
        **({"scale_decoder_outputs": scaled} if model_type == "t5" else {}),
    }


def rules(spec: ModelSpec | None, *, gated: bool) -> Rules:
    """Names in files; a gated MLP names its two first projections otherwise than a plain one."""
    gated = gated if spec is None else spec.output_stack.mlp == "gated"
    return Rules(
        model=(
            *_embeddings(own=spec is not None and spec.target_tokens == "own"),
            *_stack("encoder", "layer.0.SelfAttention", "layer.1", gated=gated),
            *_stack("decoder", "layer.0.SelfAttention", "layer.2", gated=gated),
            *(
                rule
                for n in "qkvo"
                for rule in rename(f"decoder.block.{{}}.layer.1.EncDecAttention.{n}", f"decoder.blocks.{{}}.cross.{n}")
            ),
            *rename("decoder.block.{}.layer.1.layer_norm", "decoder.blocks.{}.cross_residual.norm"),
            Rule("lm_head.weight", ("head.out.weight",)),
        ),
        ignored=("decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight",),
    )


def _embeddings(*, own: bool) -> tuple[Rule, ...]:
    shared, source, target = "shared.weight", "encoder.embed_tokens.weight", "decoder.embed_tokens.weight"
    if own:  # transformers then reads `shared` nowhere
        return (
            Rule(source, ("tokens.weight",)),
            Rule(shared, ("tokens.weight",), twin="dead"),
            Rule(target, ("targets.weight",)),
        )
    return (
        Rule(shared, ("tokens.weight",)),
        Rule(source, ("tokens.weight",), twin="equal"),
        Rule(target, ("tokens.weight",), twin="equal"),
    )


def _stack(side: str, attention: str, feed: str, *, gated: bool) -> tuple[Rule, ...]:
    theirs, ours, dense = f"{side}.block.{{}}", f"{side}.blocks.{{}}", f"{feed}.DenseReluDense"
    first = (("wi_0", "gate"), ("wi_1", "up")) if gated else (("wi", "up"),)
    return (
        *(rule for n in "qkvo" for rule in rename(f"{theirs}.{attention}.{n}", f"{ours}.attention.{n}")),
        *rename(f"{side}.block.0.{attention}.relative_attention_bias", f"{side}.relative_bias.table"),
        *rename(f"{theirs}.layer.0.layer_norm", f"{ours}.attention_residual.norm"),
        *(rule for t, o in (*first, ("wo", "down")) for rule in rename(f"{theirs}.{dense}.{t}", f"{ours}.mlp.{o}")),
        *rename(f"{theirs}.{feed}.layer_norm", f"{ours}.mlp_residual.norm"),
        *rename(f"{side}.final_layer_norm", f"{side}.norm"),
    )


def _family(model_type: str, name: str, *, gated: bool) -> Family:
    return Family(
        model_type=model_type,
        read=partial(read, model_type=model_type),
        write=partial(write, model_type=model_type),
        rules=partial(rules, gated=gated),
        architectures={"vocabulary": f"{name}ForConditionalGeneration", "none": f"{name}Model"},
        by_file=("tied", "target_tokens"),
    )


T5 = _family("t5", "T5", gated=False)
MT5 = _family("mt5", "MT5", gated=True)
