"""What Llama and its relatives share: a decoder with RMSNorm, rotary positions and a gated MLP, and names of tensors.

A relative is a `Form` (how its config.json words things, and what holds where the file says nothing), a few fields of a
StackSpec, and a line of rules for each norm. Everything here is data about files; what is computed stands in `nn`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from microtune.errors import InputError
from microtune.families.base import Family, Head
from microtune.families.config import ACTIVATIONS, Fields, spelling
from microtune.families.rotary import RopeForm, read_rope, write_rope, written_positions
from microtune.families.rules import Rule, Rules, rename
from microtune.nn.spec import LONGEST, Activation, ModelSpec, StackSpec

THEIRS, OURS = "model.layers.{}", "decoder.blocks.{}"
PLAIN_ROPE = RopeForm()
LAYER_TYPES = {"full_attention": "G", "sliding_attention": "L"}


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a family's config.json words what all have, and what holds where it says nothing.

    num_kv_heads: None: as many as heads. head_dim: None: hidden_size / num_attention_heads. names_head_dim: whether the
    file names that one, too. pad: the id that transformers pads with.
    """

    activation_key: str = "hidden_act"
    activation: str = "silu"
    activations: Mapping[str, Activation]
    norm_eps: float = 1e-6
    max_positions: int = 2048
    num_kv_heads: int | None = None
    head_dim: int | None = None
    names_head_dim: bool = True
    pad: int = 0
    tied: bool = False
    rope: RopeForm = PLAIN_ROPE


def form(**differences: Any) -> Form:
    """A Form with the usual activations."""
    return Form(**({"activations": ACTIVATIONS} | differences))


def read_decoder(
    config: Mapping[str, Any], form: Form, stack: Mapping[str, Any], model: Mapping[str, Any] | None = None
) -> ModelSpec:
    """config.json -> ModelSpec. stack, model: the fields in which this family differs."""
    fields = Fields(config)
    heads, width = fields.integer("num_attention_heads"), fields.integer("hidden_size")
    null = "num_key_value_heads" in config and config["num_key_value_heads"] is None
    head_dim = fields.optional("head_dim") if "head_dim" in config else form.head_dim
    positions = fields.integer("max_position_embeddings", form.max_positions, most=LONGEST)
    rope = read_rope(config, positions, form.rope)
    common: dict[str, Any] = {
        "num_layers": fields.integer("num_hidden_layers"),
        "hidden_size": width,
        "num_heads": heads,
        "num_kv_heads": heads if null else fields.integer("num_key_value_heads", form.num_kv_heads or heads),
        "head_dim": head_dim,
        "intermediate_size": fields.integer("intermediate_size"),
        "causal": True,
        "norm": "rms",
        "norm_eps": fields.number("rms_norm_eps", form.norm_eps, most=1.0),
        "mlp": "gated",
        "activation": fields.word(form.activation_key, form.activation, form.activations),
        "max_positions": positions,
        "mlp_bias": False,
        **rope.fields(head_dim or max(width // heads, 1)),
    }
    return ModelSpec(
        vocab_size=fields.integer("vocab_size", most=LONGEST),
        decoder=StackSpec(**(common | dict(stack))),
        tied=fields.flag("tie_word_embeddings", form.tied),
        initializer_range=fields.number("initializer_range", 0.02),
        **(model or {}),
    )


def write_decoder(spec: ModelSpec, config: Mapping[str, Any], form: Form) -> dict[str, Any]:
    """ModelSpec -> the fields of config.json that all relatives have."""
    d = spec.output_stack
    named = form.names_head_dim or "head_dim" in config or d.head_size * d.num_heads != d.hidden_size
    return {
        "vocab_size": spec.vocab_size,
        "hidden_size": d.hidden_size,
        "intermediate_size": d.intermediate_size,
        "num_hidden_layers": d.num_layers,
        "num_attention_heads": d.num_heads,
        "num_key_value_heads": d.kv_heads,
        **({"head_dim": d.head_size} if named else {}),
        form.activation_key: spelling(form.activations, d.activation, config.get(form.activation_key)),
        "max_position_embeddings": written_positions(d),
        "rms_norm_eps": d.norm_eps,
        **write_rope(d, config, form.rope),
        "tie_word_embeddings": spec.tied,
        "initializer_range": spec.initializer_range,
        # a default beyond the embedding would keep transformers from building the model
        **({"pad_token_id": None} if form.pad >= spec.vocab_size and "pad_token_id" not in config else {}),
    }


def biases(value: bool, output: bool | None = None) -> dict[str, Any]:
    """Biases of queries, keys and values, and of the output projection (default: the same)."""
    return {
        "query_bias": value,
        "key_bias": value,
        "value_bias": value,
        "output_bias": value if output is None else output,
    }


def read_window(fields: Fields, key: str, default: int | None) -> int | None:
    """A window's size; null says that there is none, an absent field that the default holds."""
    return fields.optional(key) if key in fields.config else default


def read_pattern(fields: Fields, local: Callable[[int], bool]) -> str:
    """The shortest pattern of `layer_types`, or of the layers that are `local` where the file does not list them."""
    count = fields.integer("num_hidden_layers")
    types = fields.config.get("layer_types")
    if types is None:
        types = ["sliding_attention" if local(layer) else "full_attention" for layer in range(count)]
    if not isinstance(types, list) or len(types) != count:
        raise InputError(f"layer_types is {str(types)[:80]}, but must list one word for each of {count} layers.")
    words = [Fields({"layer_types": word}).word("layer_types", "", LAYER_TYPES) for word in types]
    return next(
        p for n in range(1, count + 1) if (p := "".join(words[:n])) and all(p[i % n] == w for i, w in enumerate(words))
    )


def write_pattern(stack: StackSpec) -> list[str]:
    """`layer_types` of a stack."""
    return ["sliding_attention" if stack.windowed(layer) else "full_attention" for layer in range(stack.num_layers)]


PRE_NORMS = {"input_layernorm": "attention_residual.norm", "post_attention_layernorm": "mlp_residual.norm"}


def decoder_rules(
    norms: Mapping[str, str] = PRE_NORMS, *, fused_attention: bool = False, fused_mlp: bool = False
) -> Rules:
    """Names in files. norms: theirs -> ours, inside a block; fused: q, k and v, or gate and up, are one tensor."""
    attention: tuple[Rule, ...]
    if fused_attention:
        attention = rename(f"{THEIRS}.self_attn.qkv_proj", tuple(f"{OURS}.attention.{n}" for n in "qkv"))
    else:
        attention = tuple(r for n in "qkv" for r in rename(f"{THEIRS}.self_attn.{n}_proj", f"{OURS}.attention.{n}"))
    mlp: tuple[Rule, ...]
    if fused_mlp:
        mlp = rename(f"{THEIRS}.mlp.gate_up_proj", (f"{OURS}.mlp.gate", f"{OURS}.mlp.up"))
    else:
        mlp = tuple(r for n in ("gate", "up") for r in rename(f"{THEIRS}.mlp.{n}_proj", f"{OURS}.mlp.{n}"))
    return Rules(
        model=(
            *rename("model.embed_tokens", "tokens"),
            *(rule for theirs, ours in norms.items() for rule in rename(f"{THEIRS}.{theirs}", f"{OURS}.{ours}")),
            *attention,
            *rename(f"{THEIRS}.self_attn.o_proj", f"{OURS}.attention.o"),
            *mlp,
            *rename(f"{THEIRS}.mlp.down_proj", f"{OURS}.mlp.down"),
            *rename("model.norm", "decoder.norm"),
            *rename("lm_head", "head.out"),
        ),
        label=rename("score", "head.out"),
        ignored=(f"{THEIRS}.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"),
        prefix="model.",
    )


def classes(name: str, label: str | None = None) -> dict[Head, str]:
    """The classes of transformers by head; label: the beginning of its classifier's name where it is another."""
    return {
        "vocabulary": f"{name}ForCausalLM",
        "label": f"{label or name}ForSequenceClassification",
        "none": f"{name}Model",
    }


def family(
    model_type: str,
    read: Callable[[dict[str, Any]], ModelSpec],
    write: Callable[[ModelSpec, dict[str, Any]], dict[str, Any]],
    rules: Rules,
    architectures: Mapping[Head, str],
) -> Family:
    """A record whose names in files are the same for every one of its models."""
    return Family(model_type=model_type, read=read, write=write, rules=lambda spec: rules, architectures=architectures)
