"""RecurrentSpec: everything in which recurrent networks differ, as plain values (imports no torch).

It is a ModelSpec whose stacks are recurrent layers, so that whatever asks a model for its width, its depth or its
vocabulary asks both kinds alike. Of a ModelSpec's fields only those that mean something here may be said.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from microtune.errors import InputError, suggest
from microtune.nn.spec import ModelSpec, StackSpec

FAMILY = "seq2seq-rnn"  # the name in recipes and files, of a language model without an encoder, too
Cell = Literal["lstm", "gru"]
Attending = Literal["none", "additive", "dot"]
STACK_FIELDS = ("num_layers", "hidden_size", "cell", "bidirectional", "attention", "dropout")
MODEL_FIELDS = (
    *("vocab_size", "encoder", "decoder", "tied", "target_tokens", "head_bias", "initializer_range"),
    *("pooling", "label_head", "label_bias", "label_dropout"),
)


@dataclass(frozen=True, kw_only=True)
class RecurrentStackSpec(StackSpec):
    """Recurrent layers, one above the other: an encoder or a decoder.

    bidirectional: of an encoder; each direction is half of `hidden_size` wide. attention: of a decoder.
    """

    num_heads: int = 1
    intermediate_size: int = 1
    final_norm: bool = False
    cell: Cell = "lstm"
    bidirectional: bool = False
    attention: Attending = "none"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bidirectional and self.hidden_size % 2:
            raise InputError(f"bidirectional: two directions share hidden_size {self.hidden_size}, which is odd.")

    @property
    def state_count(self) -> int:
        """How many vectors one layer keeps from token to token: of an LSTM its output and its memory cell."""
        return 2 if self.cell == "lstm" else 1


@dataclass(frozen=True, kw_only=True)
class RecurrentSpec(ModelSpec):
    """An encoder and a decoder, a decoder alone (a language model), or an encoder alone."""

    tied: bool = False  # a tied embedding of a few hundred tokens and more is slow to leave where it begins
    initializer_range: float = 0.1  # of embeddings and linear layers; recurrent ones begin within 1 / sqrt(width)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.decoder is not None and not self.decoder.causal:
            object.__setattr__(self, "decoder", replace(self.decoder, causal=True))
        for side in (self.encoder, self.decoder):
            if side is not None and not isinstance(side, RecurrentStackSpec):
                raise InputError(f"{FAMILY}: encoder and decoder are recurrent stacks, not those of a Transformer.")
        encoder, decoder = self.recurrent("encoder"), self.recurrent("decoder")
        if decoder is not None and decoder.bidirectional:
            raise InputError("model.decoder: bidirectional is for encoders; a decoder writes from left to right.")
        if encoder is not None and encoder.attention != "none":
            raise InputError("model.encoder: attention is the decoder's, which looks at the states of the encoder.")
        if encoder is None and decoder is not None and decoder.attention != "none":
            raise InputError(f"model.decoder: attention: {decoder.attention} needs an encoder to look at.")
        if encoder is not None and decoder is not None:
            for name in ("num_layers", "cell"):
                one, other = getattr(encoder, name), getattr(decoder, name)
                if one != other:
                    raise InputError(
                        f"model: each layer of the decoder starts from the last state of the encoder's, so {name} must "
                        f"be the same: {one} is not {other}."
                    )

    def recurrent(self, side: Literal["encoder", "decoder"]) -> RecurrentStackSpec | None:
        """The stack of a side with its own type."""
        found = getattr(self, side)
        return found if isinstance(found, RecurrentStackSpec) else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, those of these networks only."""
        found: dict[str, Any] = {name: getattr(self, name) for name in MODEL_FIELDS}
        for side in ("encoder", "decoder"):
            stack = found[side]
            found[side] = None if stack is None else {name: getattr(stack, name) for name in STACK_FIELDS}
        return found

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> RecurrentSpec:
        """The inverse of `to_dict`; an unknown key is an InputError that names the nearest one."""
        said = dict(values)
        for side in ("encoder", "decoder"):
            if said.get(side) is not None:
                said[side] = _built(RecurrentStackSpec, said[side], STACK_FIELDS, f"model.{side}")
        return _built(cls, said, MODEL_FIELDS, "model")


def _built(kind: type[Any], values: Any, known: tuple[str, ...], where: str) -> Any:
    if not isinstance(values, dict):
        raise InputError(f"{where} is {str(values)[:60]}, but must hold the fields of a {FAMILY}.")
    for key in values:
        if key not in known:
            raise InputError(f'{where}: unknown key "{str(key)[:60]}" of a {FAMILY}. {suggest(str(key), known)}')
    missing = [f.name for f in fields(kind) if f.name in ("vocab_size", "num_layers", "hidden_size")]
    missing = [name for name in missing if name not in values]
    if missing:
        raise InputError(f'{where}: "{missing[0]}" is missing.')
    return kind(**values)
