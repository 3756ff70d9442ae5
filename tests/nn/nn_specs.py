"""Small random models of every kind, in float64, for the tests of this folder."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from microtune.nn.spec import ModelSpec, RopeScaling, StackSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged

VOCAB = 37
LENGTHS = (5, 3, 5, 1, 8)

PLAIN = StackSpec(num_layers=3, hidden_size=16, num_heads=4, intermediate_size=24, causal=True)
ROTARY = replace(PLAIN, positions="rotary", norm="rms", mlp="gated", activation="silu", num_kv_heads=2, head_dim=6)
LEARNED = replace(PLAIN, positions="learned", max_positions=16, activation="gelu_tanh")
RELATIVE = replace(PLAIN, positions="relative", relative_buckets=8, relative_max_distance=6, attention_scale=1.0)
YARN = RopeScaling(kind="yarn", factor=4.0, original_max_positions=4, attention_factor=1.3, beta_fast=0.5)
LOCAL = replace(ROTARY, window=3, pattern="LG", rope_local_theta=100.0)
ENCODER = replace(LEARNED, causal=False, placement="post", final_norm=False, embedding_norm=True)
NEIGHBOURS = replace(LOCAL, causal=False)


def _decoder(stack: StackSpec, **other: object) -> ModelSpec:
    return ModelSpec(vocab_size=VOCAB, decoder=stack, **other)  # type: ignore[arg-type]


def _both(stack: StackSpec, **other: object) -> ModelSpec:
    encoder = replace(stack, causal=False, num_layers=2)
    return ModelSpec(vocab_size=VOCAB, encoder=encoder, decoder=replace(stack, cross_attention=True), **other)  # type: ignore[arg-type]


DECODERS = {
    "rotary, grouped heads": _decoder(ROTARY, tied=False),
    "one key head": _decoder(replace(ROTARY, num_kv_heads=1)),
    "learned": _decoder(replace(LEARNED, position_offset=2)),
    "sinusoidal": _decoder(replace(PLAIN, positions="sinusoidal", max_positions=16)),
    "relative": _decoder(RELATIVE, logit_scale=0.25),
    "no positions": _decoder(PLAIN),
    "windowed": _decoder(LOCAL),
    "windowed relative": _decoder(replace(RELATIVE, window=2, pattern="GLL")),
    "softcap": _decoder(replace(LOCAL, attention_softcap=0.7), logit_softcap=3.0),
    "qk-norm": _decoder(replace(ROTARY, query_key_norm="head")),
    "wide qk-norm": _decoder(replace(ROTARY, query_key_norm="width", num_kv_heads=1)),
    "partial rotary": _decoder(replace(ROTARY, rotary_dim=4)),
    "pairs": _decoder(replace(ROTARY, rope_layout="pairs")),
    "parallel": _decoder(replace(PLAIN, residuals="parallel", positions="rotary")),
    "norms behind": _decoder(replace(ROTARY, placement="after")),
    "linear": _decoder(replace(ROTARY, rope_scaling=RopeScaling(kind="linear", factor=3.0))),
    "yarn": _decoder(replace(ROTARY, rope_scaling=YARN)),
    "sandwich": _decoder(replace(LOCAL, placement="sandwich", norm_shift=True, embedding_scale=4.0)),
    "post": _decoder(replace(LEARNED, placement="post", final_norm=False)),
}
ENCODERS = {
    "bert": ModelSpec(vocab_size=VOCAB, encoder=ENCODER, token_types=2, head_transform=True, head_bias=True),
    "relative encoder": ModelSpec(vocab_size=VOCAB, encoder=replace(RELATIVE, causal=False)),
    "windowed encoder": ModelSpec(vocab_size=VOCAB, encoder=NEIGHBOURS),
    "electra": ModelSpec(
        vocab_size=VOCAB, encoder=replace(ENCODER, embedding_size=10), token_types=2, head_transform=True
    ),
    "modernbert": ModelSpec(
        vocab_size=VOCAB,
        encoder=replace(NEIGHBOURS, norm="layer", norm_bias=False, first_norm=False, embedding_norm=True),
        head_transform=True,
        head_activation="relu",
        head_transform_bias=False,
    ),
}
BOTH = {
    "t5": _both(RELATIVE, logit_scale=0.25),
    "bart": _both(replace(LEARNED, placement="post", final_norm=False, embedding_norm=True), head_bias=True),
    "rotary pair": _both(LOCAL, tied=False),
    "own tokens": _both(
        replace(PLAIN, positions="sinusoidal", max_positions=16), tied=False, target_tokens="own", head_bias=True
    ),
}
SPECS = DECODERS | ENCODERS | BOTH


def build(spec: ModelSpec, seed: int = 0) -> Transformer:
    """A model in float64 and evaluation mode whose every parameter is random, norms and biases included."""
    model = Transformer(spec).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            if parameter.requires_grad:
                parameter.copy_(noise * 0.5 if parameter.dim() > 1 else 1 + noise * 0.3)
    return model


def rows(lengths: tuple[int, ...] = LENGTHS, seed: int = 1) -> list[list[int]]:
    """Random token ids."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randint(VOCAB, (length,), generator=generator).tolist() for length in lengths]


def sources(spec: ModelSpec, count: int = len(LENGTHS)) -> list[list[int]] | None:
    """What the encoder of an encoder-decoder reads, one row per row of its decoder; None for the others."""
    if spec.encoder is None or spec.decoder is None:
        return None
    return rows(tuple((4, 2, 4, 6, 1, 4, 2, 3)[i % 8] for i in range(count)), seed=2)


def run(model: Transformer, ids: list[list[int]], src: list[list[int]] | None = None, **other: object) -> Tensor:
    """Hidden states of all tokens, or of `readout`."""
    ragged = None if src is None else Ragged.from_lists(src)
    types = None
    if model.types is not None:  # a type that depends on the token alone, so that rows stay comparable
        types = torch.tensor([i % 2 for row in ids for i in row])
    return model(Ragged.from_lists(ids), sources=ragged, types=types, **other)
