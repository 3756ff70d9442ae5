"""BART (Lewis et al., 2020) and its relatives: one scheme of names; where norms and positions stand is the difference.

mBART (Liu et al., 2020), Marian (Junczys-Dowmunt et al., 2018) and Pegasus (Zhang et al., 2020). The vocabulary head
has a bias that files hold as a row `final_logits_bias`, or not at all: then it is zero. Sinusoidal tables are in some
files only, and follow from their size.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from microtune.errors import InputError
from microtune.families.base import Family
from microtune.families.config import ACTIVATIONS, Fields, spelling
from microtune.families.rules import Rule, Rules, rename
from microtune.nn.spec import LONGEST, ModelSpec, Placement, Positions, StackSpec

SHARED, SOURCE, TARGET = "model.shared.weight", "model.encoder.embed_tokens.weight", "model.decoder.embed_tokens.weight"
OFFSET = 2  # rows at the beginning of a learned table that nothing reads


@dataclass(frozen=True)
class Variant:
    """What one `model_type` of these differs in. marian: embeddings are shared or not by a field of their own."""

    placement: Placement
    final_norm: bool
    embedding_norm: bool
    positions: Positions
    marian: bool = False

    @property
    def offset(self) -> int:
        """Rows of the table before the first position."""
        return OFFSET if self.positions == "learned" else 0


BART_, MBART_ = Variant("post", False, True, "learned"), Variant("pre", True, True, "learned")
MARIAN_, PEGASUS_ = Variant("post", False, False, "sinusoidal", marian=True), Variant("pre", True, False, "sinusoidal")


def read(config: dict[str, Any], *, variant: Variant) -> ModelSpec:
    """config.json -> ModelSpec; whether the decoder has tokens of its own is for the file to say, but in Marian."""
    fields = Fields(config, encoder_decoder=True)
    fields.only("is_decoder", False)
    other = "this architecture is computed in one way only, whatever older versions of transformers did"
    fields.only("normalize_before", variant.placement == "pre", other)
    fields.only("add_final_layer_norm", variant.final_norm, other)
    fields.only("normalize_embedding", variant.embedding_norm, other)
    fields.only("static_position_embeddings", variant.positions == "sinusoidal", other)
    width, vocab = fields.integer("d_model"), fields.integer("vocab_size", most=LONGEST)
    if fields.integer("decoder_vocab_size", vocab, most=LONGEST) != vocab:
        raise InputError(f"decoder_vocab_size is not vocab_size {vocab}: two vocabularies are not supported.")
    shared = fields.flag("share_encoder_decoder_embeddings", True) if variant.marian else True
    return ModelSpec(
        vocab_size=vocab,
        encoder=_stack(fields, "encoder", variant, width),
        decoder=replace(_stack(fields, "decoder", variant, width), causal=True, cross_attention=True),
        tied=shared and fields.flag("tie_word_embeddings", True),
        target_tokens="shared" if shared else "own",
        head_bias=True,
        pooling="last",
        label_head="tanh_pooler",
        label_bias=True,
        label_dropout=fields.number("classifier_dropout", 0.0, most=1.0),
        initializer_range=fields.number("init_std", 0.02),
    )


def _stack(fields: Fields, side: str, variant: Variant, width: int) -> StackSpec:
    return StackSpec(
        num_layers=fields.integer(f"{side}_layers"),
        hidden_size=width,
        num_heads=fields.integer(f"{side}_attention_heads"),
        intermediate_size=fields.integer(f"{side}_ffn_dim"),
        placement=variant.placement,
        final_norm=variant.final_norm,
        activation=fields.word("activation_function", "gelu", ACTIVATIONS),
        positions=variant.positions,
        max_positions=fields.integer("max_position_embeddings", most=LONGEST - OFFSET) + variant.offset,
        position_offset=variant.offset,
        embedding_scale=width**0.5 if fields.flag("scale_embedding", False) else 1.0,
        embedding_norm=variant.embedding_norm,
        dropout=fields.number("dropout", 0.1, most=1.0),
    )


def write(spec: ModelSpec, config: dict[str, Any], *, variant: Variant) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it."""
    if spec.encoder is None or spec.decoder is None:
        raise InputError("only one stack")
    out: dict[str, Any] = {}
    for side, stack in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        out[f"{side}_layers"] = stack.num_layers
        out[f"{side}_attention_heads"] = stack.num_heads
        out[f"{side}_ffn_dim"] = stack.intermediate_size
    d = spec.decoder
    out |= {
        "vocab_size": spec.vocab_size,
        "d_model": d.hidden_size,
        "max_position_embeddings": (d.max_positions or 0) - variant.offset,
        "activation_function": spelling(ACTIVATIONS, d.activation, config.get("activation_function")),
        "scale_embedding": d.embedding_scale != 1.0,
        "dropout": d.dropout,
        "attention_dropout": config.get("attention_dropout", 0.0),
        "activation_dropout": config.get("activation_dropout", 0.0),
        "classifier_dropout": spec.label_dropout,
        "init_std": spec.initializer_range,
        "is_encoder_decoder": True,
        "tie_word_embeddings": spec.tied,
    }
    if variant.marian:
        out |= {"decoder_vocab_size": spec.vocab_size}
        out |= {"share_encoder_decoder_embeddings": spec.target_tokens == "shared"}
        for key in ("pad_token_id", "decoder_start_token_id"):  # by default transformers takes 58100, of any vocabulary
            out[key] = config.get(key, spec.vocab_size - 1)
    return out


def rules(spec: ModelSpec | None, *, variant: Variant) -> Rules:
    """Names in files."""
    own = spec is not None and spec.target_tokens == "own"
    cross, ours = "model.decoder.layers.{}.encoder_attn", "decoder.blocks.{}.cross"
    copied: tuple[tuple[str, str | None], ...] = (("head.out.weight", "targets.weight"),)
    return Rules(
        model=(
            *_embeddings(own=own, tied=spec is None or spec.tied, unread=not variant.marian),
            *_names("encoder"),
            *_names("decoder"),
            *_attention(cross, ours),
            *rename(f"{cross}_layer_norm", f"{ours}_residual.norm"),
            Rule("lm_head.weight", ("head.out.weight",)),
            Rule("final_logits_bias", ("head.out.bias",), row=True),
        ),
        label=(
            *rename("classification_head.dense", "head.pooler"),
            *rename("classification_head.out_proj", "head.out"),
        ),
        ignored=("model.encoder.version", "model.decoder.version", *((SHARED,) if own and variant.marian else ())),
        prefix="model.",
        absent=(("head.out.bias", None), *(copied if own and variant.marian else ())),
    )


def _embeddings(*, own: bool, tied: bool, unread: bool) -> tuple[Rule, ...]:
    """Tied, only `shared` is written; untied, transformers reads the other two, and never `shared`."""
    if tied:
        twins = (Rule(name, ("tokens.weight",), twin="equal") for name in (SOURCE, TARGET))
        return (Rule(SHARED, ("tokens.weight",)), *twins)
    target = Rule(TARGET, ("targets.weight",)) if own else Rule(TARGET, ("tokens.weight",), twin="copied")
    shared = (Rule(SHARED, ("tokens.weight",), twin="dead"),) if unread or not own else ()
    return (Rule(SOURCE, ("tokens.weight",)), *shared, target)


def _names(side: str) -> tuple[Rule, ...]:
    theirs, ours = f"model.{side}.layers.{{}}", f"{side}.blocks.{{}}"
    return (
        *rename(f"model.{side}.embed_positions", f"{side}.positions"),
        *rename(f"model.{side}.layernorm_embedding", f"{side}.embedding_norm"),
        *_attention(f"{theirs}.self_attn", f"{ours}.attention"),
        *rename(f"{theirs}.self_attn_layer_norm", f"{ours}.attention_residual.norm"),
        *rename(f"{theirs}.fc1", f"{ours}.mlp.up"),
        *rename(f"{theirs}.fc2", f"{ours}.mlp.down"),
        *rename(f"{theirs}.final_layer_norm", f"{ours}.mlp_residual.norm"),
        *rename(f"model.{side}.layer_norm", f"{side}.norm"),
    )


def _attention(theirs: str, ours: str) -> tuple[Rule, ...]:
    roles = (("q_proj", "q"), ("k_proj", "k"), ("v_proj", "v"), ("out_proj", "o"))
    return tuple(rule for t, o in roles for rule in rename(f"{theirs}.{t}", f"{ours}.{o}"))


def _family(model_type: str, variant: Variant, architectures: Mapping[Any, str]) -> Family:
    return Family(
        model_type=model_type,
        read=partial(read, variant=variant),
        write=partial(write, variant=variant),
        rules=partial(rules, variant=variant),
        architectures=architectures,
        by_file=("target_tokens",),
    )


def _classes(name: str) -> dict[str, str]:
    return {"vocabulary": f"{name}ForConditionalGeneration", "none": f"{name}Model"}


BART = _family("bart", BART_, _classes("Bart") | {"label": "BartForSequenceClassification"})
MBART = _family("mbart", MBART_, _classes("MBart") | {"label": "MBartForSequenceClassification"})
MARIAN = _family("marian", MARIAN_, {"vocabulary": "MarianMTModel", "none": "MarianModel"})
PEGASUS = _family("pegasus", PEGASUS_, _classes("Pegasus"))
