"""ModelSpec: everything in which Transformers differ, as plain values.

A family (GPT-2, Llama, BERT ...) is a way to fill in these fields; nothing else in the package asks for a model's name.
Every exclusive choice is one `Literal`, never a row of booleans. Importing this module does not import torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args, get_type_hints

from microtune.errors import InputError, suggest

Norm = Literal["layer", "rms"]
Placement = Literal["pre", "post", "sandwich"]
MLPKind = Literal["plain", "gated"]
Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]
Positions = Literal["none", "learned", "sinusoidal", "rotary", "relative"]
Pooling = Literal["first", "last", "mean"]
LabelHeadKind = Literal["linear", "tanh_pooler", "normalized", "tanh_dense", "gelu_dense", "relu_dense", "transform"]

WIDEST = 2**20  # layers, heads, widths: beyond any model, and products of three still fit into 64 bits
LONGEST = 2**24  # vocabulary, positions
LONG = ("vocab_size", "max_positions")
FROM_ZERO = ("token_types", "position_offset")
POSITIVE = ("rope_theta", "rope_local_theta", "attention_softcap", "logit_softcap", "attention_scale")


@dataclass(frozen=True, kw_only=True)
class StackSpec:
    """One stack of blocks: an encoder or a decoder."""

    num_layers: int
    hidden_size: int
    embedding_size: int | None = None  # None: hidden_size; else a projection stands after the embedding norm (ELECTRA)
    num_heads: int
    intermediate_size: int
    num_kv_heads: int | None = None  # None: as many as num_heads
    head_dim: int | None = None  # None: hidden_size / num_heads
    causal: bool = False
    cross_attention: bool = False
    norm: Norm = "layer"
    norm_eps: float = 1e-5
    norm_shift: bool = False  # multiply by (1 + weight), as Gemma does
    norm_bias: bool = True  # of layer norms
    placement: Placement = "pre"
    first_norm: bool = True  # false: the first attention reads the embedding without a norm of its own (ModernBERT)
    final_norm: bool = True
    mlp: MLPKind = "plain"
    activation: Activation = "gelu"
    positions: Positions = "none"
    max_positions: int | None = None  # rows of a learned or sinusoidal table; for others only what the model promises
    position_offset: int = 0  # the first token reads this row of the table (RoBERTa: 2)
    rope_theta: float = 10_000.0
    rope_local_theta: float | None = None  # for windowed layers, where they differ (Gemma 3)
    relative_buckets: int = 32
    relative_max_distance: int = 128
    window: int | None = None  # tokens that a windowed layer sees, itself included
    pattern: str = "G"  # repeated over the layers: G sees everything, L sees `window`
    query_bias: bool = True
    key_bias: bool = True
    value_bias: bool = True
    output_bias: bool = True
    mlp_bias: bool = True
    query_key_norm: bool = False
    attention_scale: float | None = None  # None: head_dim ** -0.5
    attention_softcap: float | None = None
    embedding_scale: float = 1.0
    embedding_norm: bool = False
    dropout: float = 0.0

    def __post_init__(self) -> None:
        _check_literals(self)
        _check_values(self)
        if not self.pattern or set(self.pattern) - set("GL"):
            raise InputError(f'pattern is "{self.pattern}", but must be made of the letters G and L.')
        if self.num_heads % self.kv_heads:
            raise InputError(f"num_heads {self.num_heads} is not a multiple of num_kv_heads {self.kv_heads}.")
        if self.head_dim is None and self.hidden_size % self.num_heads:
            raise InputError(f"hidden_size {self.hidden_size} is not a multiple of num_heads {self.num_heads}.")
        if "L" in self.pattern and self.window is None:
            raise InputError('A pattern with "L" layers needs a `window`.')
        if self.positions in ("learned", "sinusoidal") and not self.max_positions:
            raise InputError(f"positions: {self.positions} needs `max_positions`.")
        if not self.first_norm and self.placement != "pre":
            raise InputError(f"first_norm: false needs placement: pre, not {self.placement}.")

    @property
    def embedding_width(self) -> int:
        """Width of token, type and position embeddings."""
        return self.embedding_size or self.hidden_size

    @property
    def kv_heads(self) -> int:
        """Number of key and value heads (K)."""
        return self.num_kv_heads or self.num_heads

    @property
    def head_size(self) -> int:
        """Width of one head (E)."""
        return self.head_dim or self.hidden_size // self.num_heads

    def windowed(self, layer: int) -> bool:
        """Whether `layer` sees only `window` tokens."""
        return self.pattern[layer % len(self.pattern)] == "L"


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A whole model: decoder-only has no encoder, encoder-only no decoder, encoder-decoder both."""

    vocab_size: int
    encoder: StackSpec | None = None
    decoder: StackSpec | None = None
    token_types: int = 0
    tied: bool = True  # the vocabulary head shares the token embedding
    head_transform: bool = False  # BERT: dense + activation + norm before the vocabulary head
    head_activation: Activation | None = None  # of the transform; None: that of the blocks
    head_transform_bias: bool = True  # of the transform's dense layer
    head_bias: bool = False
    logit_scale: float = 1.0  # multiplies the hidden states before the vocabulary head (T5)
    logit_softcap: float | None = None
    pooling: Pooling = "last"  # what `ForSequenceClassification` of this architecture reads
    label_head: LabelHeadKind = "linear"  # and what it puts on top
    label_bias: bool = False
    label_dropout: float = 0.0
    initializer_range: float = 0.02

    def __post_init__(self) -> None:
        _check_literals(self)
        _check_values(self)
        if self.encoder is None and self.decoder is None:
            raise InputError("A model needs an encoder, a decoder or both.")
        widths = {stack.embedding_width for stack in (self.encoder, self.decoder) if stack}
        if len(widths) > 1:
            raise InputError(f"encoder and decoder share the embedding, but are {sorted(widths)} wide.")
        if self.output_stack.embedding_width != self.hidden_size and not self.head_transform:
            raise InputError("An embedding_size other than hidden_size needs head_transform, which leads back to it.")

    @property
    def output_stack(self) -> StackSpec:
        """The stack whose hidden states are read: the decoder where there is one."""
        stack = self.decoder or self.encoder
        assert stack is not None
        return stack

    @property
    def hidden_size(self) -> int:
        """Width D of the hidden states that heads read."""
        return self.output_stack.hidden_size

    @property
    def max_positions(self) -> int | None:
        """Longest input (tokens), or None where nothing bounds it."""
        limits = [s.max_positions for s in (self.encoder, self.decoder) if s and s.max_positions]
        offsets = [s.position_offset for s in (self.encoder, self.decoder) if s and s.max_positions]
        return min(limit - offset for limit, offset in zip(limits, offsets, strict=True)) if limits else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and YAML."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSpec:
        """The inverse of `to_dict`; an unknown key is an InputError that names the nearest one."""
        values = dict(values)
        for side in ("encoder", "decoder"):
            if values.get(side) is not None:
                if not isinstance(values[side], dict):
                    raise InputError(f"model.{side} is {str(values[side])[:60]}, but must hold the fields of a stack.")
                values[side] = _build(StackSpec, dict(values[side]), f"model.{side}")
        return _build(cls, values, "model")


def _build(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    known = {field.name for field in fields(kind)}
    for key in values:
        if key not in known:
            raise InputError(f'{where}: unknown key "{key}". {suggest(key, known)}')
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error


def _check_literals(spec: StackSpec | ModelSpec) -> None:
    for name, hint in get_type_hints(type(spec)).items():
        value = getattr(spec, name)
        choices = _words(hint, value)
        if choices and value not in choices:
            raise InputError(f'{name}: unknown value "{value}". {suggest(str(value), choices)}')


def _words(hint: Any, value: object) -> tuple[str, ...]:
    """The words of a Literal, and of one that may be None; nothing where `value` is that None."""
    choices = get_args(hint)
    if type(None) in choices:
        choices = () if value is None else get_args(choices[0])
    return choices if all(isinstance(c, str) for c in choices) else ()


def _check_values(spec: StackSpec | ModelSpec) -> None:
    """The types and ranges of all numbers and flags: a spec may come from a file, and is built as it says."""
    hints = get_type_hints(type(spec))
    for field in fields(spec):
        value, kinds = getattr(spec, field.name), get_args(hints[field.name]) or (hints[field.name],)
        if value is None and type(None) in kinds:
            continue
        if bool in kinds:
            fits, wanted = isinstance(value, bool), "true or false"
        elif int in kinds:
            least, most = int(field.name not in FROM_ZERO), LONGEST if field.name in LONG else WIDEST
            fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
            wanted = f"a whole number from {least} to {most}"
        elif float in kinds:
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e12
            fits, wanted = number and (value > 0 if field.name in POSITIVE else value >= 0), "a number from 0 to 1e12"
        else:
            fits, wanted = isinstance(value, (str, StackSpec)), "of another type"
        if not fits:
            raise InputError(f"{field.name} is {str(value)[:60]}, but must be {wanted}.")
