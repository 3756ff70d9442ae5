"""ModernBERT (Warner et al., 2024): rotary positions, gated MLP, no biases, most layers see only their surroundings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microtune.errors import InputError
from microtune.families.base import Family
from microtune.families.config import ACTIVATIONS, Fields, spelling
from microtune.families.rules import Rules, rename
from microtune.nn.spec import LONGEST, ModelSpec, Pooling, StackSpec

THEIRS, OURS = "model.layers.{}", "encoder.blocks.{}"
KINDS = {"full_attention": "G", "sliding_attention": "L"}
POOLING: dict[str, Pooling] = {"cls": "first", "mean": "mean"}
GLOBAL, LOCAL, EVERY = 160_000.0, 10_000.0, 3  # rotary bases and distance between global layers, where a file is silent


def read(config: dict[str, Any]) -> ModelSpec:
    """config.json -> ModelSpec."""
    fields = Fields(config)
    fields.only("position_embedding_type", "absolute")  # stands in the published files and says nothing
    fields.only("rope_scaling", None)
    layers, biased = fields.integer("num_hidden_layers"), fields.flag("attention_bias", False)
    encoder = StackSpec(
        num_layers=layers,
        hidden_size=fields.integer("hidden_size"),
        num_heads=fields.integer("num_attention_heads"),
        intermediate_size=fields.integer("intermediate_size"),
        norm_eps=fields.number("norm_eps", 1e-5, most=1.0),
        norm_bias=fields.flag("norm_bias", False),
        first_norm=False,
        mlp="gated",
        activation=fields.word("hidden_activation", "gelu", ACTIVATIONS),
        positions="rotary",
        max_positions=fields.integer("max_position_embeddings", 8192, most=LONGEST),
        rope_theta=_theta(config, "full_attention", "global_rope_theta", GLOBAL),
        rope_local_theta=_theta(config, "sliding_attention", "local_rope_theta", LOCAL),
        window=fields.integer("local_attention", 128) // 2 + 1,  # so many to each side, the token itself included
        pattern=_pattern(fields, layers),
        query_bias=biased,
        key_bias=biased,
        value_bias=biased,
        output_bias=biased,
        mlp_bias=fields.flag("mlp_bias", False),
        embedding_norm=True,
        dropout=fields.number("mlp_dropout", 0.0, most=1.0),
    )
    fields.only("head_dim", encoder.head_size)
    return ModelSpec(
        vocab_size=fields.integer("vocab_size", most=LONGEST),
        encoder=encoder,
        tied=fields.flag("tie_word_embeddings", True),
        head_transform=True,
        head_activation=fields.word("classifier_activation", "gelu", ACTIVATIONS),
        head_transform_bias=fields.flag("classifier_bias", False),
        head_bias=fields.flag("decoder_bias", True),
        pooling=fields.word("classifier_pooling", "cls", POOLING),
        label_head="transform",
        label_bias=True,
        label_dropout=fields.number("classifier_dropout", 0.0, most=1.0),
        initializer_range=fields.number("initializer_range", 0.02),
    )


def _theta(config: dict[str, Any], kind: str, older: str, default: float) -> float:
    """The rotary base of one kind of layer, from `rope_parameters` (transformers 5) or a field of its own (4)."""
    tables = {} if config.get("rope_parameters") is None else config["rope_parameters"]
    table = tables.get(kind, {}) if isinstance(tables, dict) else None
    if not isinstance(table, dict) or set(tables) - set(KINDS):
        raise InputError(f"rope_parameters must hold an object for each of {' and '.join(KINDS)}, and nothing else.")
    for name in set(table) - {"rope_type", "rope_theta"}:
        raise InputError(f'rope_parameters.{kind}: the field "{name}" is not supported.')
    Fields(table).only("rope_type", "default")
    places = ((table, "rope_theta"), (config, older))
    found = {Fields(values).number(key, default, least=1.0) for values, key in places if values.get(key) is not None}
    if len(found) > 1:
        raise InputError(f"{older} and rope_parameters.{kind} disagree; keep one.")
    if not found and older in config:
        raise InputError(f"{older} is null, which versions of transformers understand differently; write the number.")
    return found.pop() if found else default


def _pattern(fields: Fields, layers: int) -> str:
    """A letter per layer, from `layer_types` (transformers 5) or the distance between global layers (4)."""
    every, kinds = fields.optional("global_attn_every_n_layers"), fields.config.get("layer_types")
    counted = _counted(every or EVERY, layers)
    if kinds is None:
        return counted
    if not isinstance(kinds, list) or len(kinds) != layers:
        raise InputError(f"layer_types must name the attention of each of the {layers} layers.")
    letters = "".join(Fields({"layer_types": kind}).word("layer_types", "", KINDS) for kind in kinds)
    if every is not None and letters != counted:
        raise InputError("layer_types and global_attn_every_n_layers disagree; keep one.")
    return letters


def _counted(every: int, layers: int) -> str:
    return "".join("L" if layer % every else "G" for layer in range(layers))


def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that follow from it; layers and rotary bases in both spellings."""
    e = spec.output_stack
    letters = "".join("GL"[e.windowed(layer)] for layer in range(e.num_layers))
    head = spec.head_activation or e.activation
    return {
        "vocab_size": spec.vocab_size,
        "hidden_size": e.hidden_size,
        "intermediate_size": e.intermediate_size,
        "num_hidden_layers": e.num_layers,
        "num_attention_heads": e.num_heads,
        "hidden_activation": spelling(ACTIVATIONS, e.activation, config.get("hidden_activation")),
        "max_position_embeddings": e.max_positions or 8192,
        "norm_eps": e.norm_eps,
        "norm_bias": e.norm_bias,
        "attention_bias": e.query_bias,
        "mlp_bias": e.mlp_bias,
        "mlp_dropout": e.dropout,
        "decoder_bias": spec.head_bias,
        "classifier_bias": spec.head_transform_bias,
        "classifier_activation": spelling(ACTIVATIONS, head, config.get("classifier_activation")),
        "classifier_pooling": "mean" if spec.pooling == "mean" else "cls",
        "classifier_dropout": spec.label_dropout,
        "tie_word_embeddings": spec.tied,
        "initializer_range": spec.initializer_range,
        **_layers_written(letters, e.window, config),
        **_rotary_written(e.rope_theta, e.rope_local_theta or e.rope_theta),
    }


def _layers_written(letters: str, window: int | None, config: dict[str, Any]) -> dict[str, Any]:
    kinds = {letter: kind for kind, letter in KINDS.items()}
    out: dict[str, Any] = {"layer_types": [kinds[letter] for letter in letters]}
    old = config.get("local_attention")
    if window is not None and not (isinstance(old, int) and old // 2 + 1 == window):
        out["local_attention"] = max(2 * (window - 1), 1)
    known, second = config.get("global_attn_every_n_layers"), letters.find("G", 1)
    guesses = [n for n in (known, second, len(letters)) if isinstance(n, int) and n > 0]
    every = next((n for n in guesses if _counted(n, len(letters)) == letters), None)
    if every is not None or known is not None:
        out["global_attn_every_n_layers"] = every
    return out


def _rotary_written(theta: float, local: float) -> dict[str, Any]:
    bases = dict(zip(KINDS, (theta, local), strict=True))
    tables = {kind: {"rope_type": "default", "rope_theta": base} for kind, base in bases.items()}
    return {"rope_parameters": tables, "global_rope_theta": theta, "local_rope_theta": local}


def rules(spec: ModelSpec | None) -> Rules:
    """Names in files; the transform before the scores is the same for words and for labels."""
    transform = (*rename("head.dense", "head.transform.dense"), *rename("head.norm", "head.transform.norm"))
    return Rules(
        model=(
            *rename("model.embeddings.tok_embeddings", "tokens"),
            *rename("model.embeddings.norm", "encoder.embedding_norm"),
            *rename(f"{THEIRS}.attn_norm", f"{OURS}.attention_residual.norm"),
            *rename(f"{THEIRS}.attn.Wqkv", _parts("attention", "qkv")),
            *rename(f"{THEIRS}.attn.Wo", f"{OURS}.attention.o"),
            *rename(f"{THEIRS}.mlp_norm", f"{OURS}.mlp_residual.norm"),
            *rename(f"{THEIRS}.mlp.Wi", _parts("mlp", ("gate", "up"))),
            *rename(f"{THEIRS}.mlp.Wo", f"{OURS}.mlp.down"),
            *rename("model.final_norm", "encoder.norm"),
            *transform,
            *rename("decoder", "head.out"),
        ),
        label=(*transform, *rename("classifier", "head.out")),
        prefix="model.",
    )


def _parts(module: str, names: Sequence[str]) -> tuple[str, ...]:
    return tuple(f"{OURS}.{module}.{name}" for name in names)


MODERNBERT = Family(
    model_type="modernbert",
    read=read,
    write=write,
    rules=rules,
    architectures={
        "vocabulary": "ModernBertForMaskedLM",
        "label": "ModernBertForSequenceClassification",
        "none": "ModernBertModel",
    },
)
