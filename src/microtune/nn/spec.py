"""ModelSpec: everything in which Transformers differ, as plain values.

A family (GPT-2, Llama, BERT ...) is a way to fill in these fields; nothing else in the package asks for a model's name.
Every exclusive choice is one `Literal`, never a row of booleans. Importing this module does not import torch.
"""

from __future__ import annotations

from dataclasses import MISSING, asdict, dataclass, fields
from functools import cache
from typing import Any, Literal, get_args, get_origin, get_type_hints

from microtune.errors import InputError, suggest

Norm = Literal["layer", "rms"]
Placement = Literal["pre", "post", "sandwich", "after"]
Residuals = Literal["sequential", "parallel"]
MLPKind = Literal["plain", "gated"]
Activation = Literal["relu", "gelu", "gelu_tanh", "silu"]
Positions = Literal["none", "learned", "sinusoidal", "rotary", "relative"]
Sinusoids = Literal["paper", "tensor2tensor"]
TargetTokens = Literal["shared", "own"]
RopeLayout = Literal["halves", "pairs"]
RopeKind = Literal["linear", "dynamic", "llama3", "yarn", "longrope"]
QueryKeyNorm = Literal["none", "head", "width"]
Pooling = Literal["first", "last", "mean"]
LabelHeadKind = Literal["linear", "tanh_pooler", "normalized", "tanh_dense", "gelu_dense", "relu_dense", "transform"]

WIDEST = 2**20  # layers, heads, widths: beyond any model, and products of three still fit into 64 bits
LONGEST = 2**24  # vocabulary, positions
LONG = ("vocab_size", "max_positions", "original_max_positions")
FROM_ZERO = ("token_types", "position_offset")
POSITIVE = (
    *("rope_theta", "rope_local_theta", "attention_softcap", "logit_softcap", "attention_scale"),
    *("factor", "attention_factor", "low_freq_factor", "high_freq_factor", "beta_fast", "beta_slow"),
)
OLD_VALUES = {"query_key_norm": {False: "none", True: "head"}}  # in runs made before there was a choice


@dataclass(frozen=True, kw_only=True)
class RopeScaling:
    """How rotary angles change beyond the length that a model was first trained on, for texts that are longer.

    linear: all angles shrink (Chen et al., 2023); dynamic: the base grows with the length of the row (bloc97 and
    emozilla, 2023); llama3: only slow angles shrink; yarn: the same with other bounds, and attention sharpens (Peng et
    al., 2023); longrope: a factor for every angle, one set for short rows and one for long (Ding et al., 2024).
    """

    kind: RopeKind
    factor: float = 1.0  # linear, dynamic, llama3, yarn
    original_max_positions: int | None = None  # tokens of the first training; all but linear
    attention_factor: float = 1.0  # multiplies cosines and sines (yarn, longrope)
    low_freq_factor: float = 1.0  # llama3: angles that turn fewer times than this within the original length shrink
    high_freq_factor: float = 4.0  # llama3: and those that turn more often stay
    beta_fast: float = 32.0  # yarn: the same two bounds
    beta_slow: float = 1.0
    truncate: bool = True  # yarn: the bounds are whole numbers
    short_factor: tuple[float, ...] = ()  # longrope: one number per angle, for rows up to the original length
    long_factor: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _check_literals(self)
        _check_values(self)
        if self.kind != "linear" and self.original_max_positions is None:
            raise InputError(f"rope_scaling: {self.kind} needs `original_max_positions`.")
        if self.kind == "llama3" and self.low_freq_factor >= self.high_freq_factor:
            raise InputError("rope_scaling: low_freq_factor must be below high_freq_factor.")

    @property
    def by_row(self) -> bool:
        """Whether the angles of a row depend on how long it is."""
        return self.kind in ("dynamic", "longrope")


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
    placement: Placement = "pre"  # of norms: before a branch, after the sum, on both sides of it, or after it alone
    residuals: Residuals = "sequential"  # parallel: the MLP reads what attention reads, and both are added
    first_norm: bool = True  # false: the first attention reads the embedding without a norm of its own (ModernBERT)
    final_norm: bool = True
    mlp: MLPKind = "plain"
    activation: Activation = "gelu"
    positions: Positions = "none"
    max_positions: int | None = None  # rows of a learned or sinusoidal table; for others only what the model promises
    position_offset: int = 0  # the first token reads this row of the table (RoBERTa: 2)
    sinusoids: Sinusoids = "paper"  # wavelengths below 10000 * 2 pi, or up to it (Whisper)
    rope_theta: float = 10_000.0
    rope_local_theta: float | None = None  # for windowed layers, where they differ (Gemma 3); these are never scaled
    rope_scaling: RopeScaling | None = None
    rope_layout: RopeLayout = "halves"  # which two numbers turn together: i and i + half, or neighbours
    rotary_dim: int | None = None  # how many numbers of a head turn, its first ones; None: all
    relative_buckets: int = 32
    relative_max_distance: int = 128
    window: int | None = None  # tokens that a windowed layer sees, itself included
    pattern: str = "G"  # repeated over the layers: G sees everything, L sees `window`
    query_bias: bool = True
    key_bias: bool = True
    value_bias: bool = True
    output_bias: bool = True
    mlp_bias: bool = True
    query_key_norm: QueryKeyNorm = "none"  # over each head, or over the whole width of all heads
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
        exact = self.relative_buckets // (2 if self.causal else 4)  # distances with a bucket of their own
        if self.positions == "relative" and not 0 < exact < self.relative_max_distance:
            raise InputError(
                f"relative_buckets {self.relative_buckets} and relative_max_distance {self.relative_max_distance} "
                "leave no bucket for near or for far tokens."
            )
        if self.residuals == "parallel" and (self.placement in ("post", "after") or self.cross_attention):
            raise InputError("residuals: parallel goes with norms before the branches and without cross-attention.")
        if self.positions == "rotary":
            self._check_rotary()
        if not self.first_norm and self.placement != "pre":
            raise InputError(f"first_norm: false needs placement: pre, not {self.placement}.")

    def _check_rotary(self) -> None:
        size, scaling = self.rotary_size, self.rope_scaling
        if size % 2:
            name = "head_dim" if self.rotary_dim is None else "rotary_dim"
            raise InputError(f"{name} is {size}, but rotary positions need an even number.")
        if size > self.head_size:
            raise InputError(f"rotary_dim is {size}, but a head has {self.head_size} numbers.")
        if scaling is None:
            return
        if scaling.kind == "yarn" and self.rope_theta <= 1:
            raise InputError("rope_scaling: yarn needs a rope_theta above 1.")
        if scaling.kind == "dynamic" and size < 4:
            raise InputError("rope_scaling: dynamic needs a rotary_dim of 4 or more.")
        for name in ("short_factor", "long_factor") if scaling.kind == "longrope" else ():
            count = len(getattr(scaling, name))
            if count != size // 2:
                raise InputError(f"rope_scaling: {name} has {count} numbers, but {size // 2} angles need one each.")

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

    @property
    def rotary_size(self) -> int:
        """How many numbers of a head are turned by its position."""
        return self.rotary_dim or self.head_size

    @property
    def promised_positions(self) -> int | None:
        """The longest row (tokens) that the stack is made for; None: nothing bounds it."""
        scaling = self.rope_scaling if self.positions == "rotary" else None
        if self.max_positions and scaling is not None and scaling.original_max_positions:
            return max(self.max_positions, int(scaling.original_max_positions * scaling.factor))
        return self.max_positions

    @property
    def turns_by_row(self) -> bool:
        """Whether rotary angles follow the length of each row (at generation: the final one)."""
        return self.positions == "rotary" and self.rope_scaling is not None and self.rope_scaling.by_row

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
    target_tokens: TargetTokens = "shared"  # the embedding that a decoder under an encoder reads
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
        if self.encoder and self.decoder and self.encoder.hidden_size != self.decoder.hidden_size:
            raise InputError("The encoder and the decoder need the same hidden_size.")
        if self.target_tokens == "own" and (self.tied or self.encoder is None or self.decoder is None):
            raise InputError("target_tokens: own needs an encoder, a decoder and a head of its own (tied: false).")
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
        limits = [s.promised_positions for s in (self.encoder, self.decoder) if s and s.promised_positions]
        offsets = [s.position_offset for s in (self.encoder, self.decoder) if s and s.promised_positions]
        return min(limit - offset for limit, offset in zip(limits, offsets, strict=True)) if limits else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and YAML."""
        return asdict(self, dict_factory=_plain)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelSpec:
        """The inverse of `to_dict`; an unknown key is an InputError that names the nearest one."""
        values = dict(values)
        for side in ("encoder", "decoder"):
            if values.get(side) is not None:
                if not isinstance(values[side], dict):
                    raise InputError(f"model.{side} is {str(values[side])[:60]}, but must hold the fields of a stack.")
                values[side] = _stack(dict(values[side]), f"model.{side}")
        return _build(cls, values, "model")


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}


def _stack(values: dict[str, Any], where: str) -> Any:
    scaling = values.get("rope_scaling")
    if isinstance(scaling, dict):
        scaling = {name: tuple(value) if isinstance(value, list) else value for name, value in scaling.items()}
        values["rope_scaling"] = _build(RopeScaling, scaling, f"{where}.rope_scaling")
    for name, meant in OLD_VALUES.items():
        if isinstance(values.get(name), bool):
            values[name] = meant[values[name]]
    return _build(StackSpec, values, where)


def _build(kind: type[Any], values: dict[str, Any], where: str) -> Any:
    known = {field.name for field in fields(kind)}
    for key in values:
        if key not in known:
            raise InputError(f'{where}: unknown key "{key}". {suggest(key, known)}')
    needed = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    missing = next((name for name in needed if name not in values), None)
    if missing is not None:
        raise InputError(f"{where}.{missing} is missing; a network cannot be built without it.")
    try:
        return kind(**values)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error


def _hints(spec: RopeScaling | StackSpec | ModelSpec) -> dict[str, Any]:
    kind: Any = type(spec)
    return _evaluated(kind)


@cache  # evaluating the annotations takes longer than all checks of a spec
def _evaluated(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)


def _check_literals(spec: RopeScaling | StackSpec | ModelSpec) -> None:
    for name, hint in _hints(spec).items():
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


def _check_values(spec: RopeScaling | StackSpec | ModelSpec) -> None:
    """The types and ranges of all numbers and flags: a spec may come from a file, and is built as it says."""
    hints = _hints(spec)
    for field in fields(spec):
        value, kinds = getattr(spec, field.name), get_args(hints[field.name]) or (hints[field.name],)
        if value is None and type(None) in kinds:
            continue
        if get_origin(hints[field.name]) is tuple:
            fits, wanted = isinstance(value, tuple) and all(_positive(v) for v in value), "a list of positive numbers"
        elif bool in kinds:
            fits, wanted = isinstance(value, bool), "true or false"
        elif int in kinds:
            least, most = int(field.name not in FROM_ZERO), LONGEST if field.name in LONG else WIDEST
            fits = isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
            wanted = f"a whole number from {least} to {most}"
        elif float in kinds:
            number = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) <= 1e12
            fits, wanted = number and (value > 0 if field.name in POSITIVE else value >= 0), "a number from 0 to 1e12"
        else:
            kind = tuple(k for k in kinds if isinstance(k, type) and k is not type(None)) or (str,)  # a word
            fits, wanted = isinstance(value, kind), "of another type"
        if not fits:
            raise InputError(f"{field.name} is {str(value)[:60]}, but must be {wanted}.")


def _positive(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= 1e12
