"""Encoder-decoders against transformers', from its own files: T5, mT5, BART, mBART, Marian, Pegasus.

Tolerances as in test_parity: 1e-6 sees every wrong field below; T5's norm computes in float32 in the reference, which
alone moves logits by a few 1e-6: as it stands it is held to 1e-5, and with the cast lifted to rounding.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import (
    EOS,
    HEAD,
    PAIRS,
    SOURCES,
    TARGETS,
    Pair,
    bart,
    each,
    marian,
    mbart,
    mt5,
    our_hidden,
    our_logits,
    pegasus,
    reference,
    t5,
    their_logits,
    their_padded,
    without_float32_casts,
)
from references import PAD, open_ours, ours
from torch import Tensor
from torch.testing import assert_close
from transformers import (
    BartForSequenceClassification,
    BartModel,
    MarianModel,
    MBartForSequenceClassification,
    MBartModel,
    MT5Model,
    PegasusModel,
    T5Model,
)
from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
from transformers.models.t5.modeling_t5 import T5Attention

from microtune.families import load_folder
from microtune.nn.positions import RelativeBias, sinusoidal_table
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Cache
from microtune.ragged import Ragged
from microtune.run.decoding import Decoding, read_generation
from microtune.run.generate import generate_ids

pytestmark = pytest.mark.parity
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}
ROUNDING = {"rtol": 1e-12, "atol": 1e-12}
STEPS = 9


def as_it_stands(pair: Pair) -> dict[str, float]:
    return {"rtol": 1e-5, "atol": 1e-5} if pair.kind in ("t5", "mt5") else TOLERANCE


def lifted(pair: Pair) -> AbstractContextManager[None]:
    return without_float32_casts() if pair.kind in ("t5", "mt5") else nullcontext()


def compare(found: list[Tensor], wanted: list[Tensor], **tolerance: float) -> None:
    for row, (mine, theirs) in enumerate(zip(found, wanted, strict=True)):
        assert_close(mine, theirs, **tolerance, msg=lambda text, row=row: f"row {row}: {text}")


@each(PAIRS)
def test_logits_with_teacher_forcing_equal_the_reference(pair: Pair, tmp_path: Path) -> None:
    theirs = reference(pair, tmp_path)
    mine = open_ours(tmp_path)
    compare(our_logits(mine), their_logits(theirs), **as_it_stands(pair))
    with lifted(pair):
        alone = their_logits(theirs)
        compare(our_logits(mine), alone, **ROUNDING)  # a batch of several lengths
        rows = zip(SOURCES, TARGETS, strict=True)
        compare([our_logits(mine, ([s], [t]))[0] for s, t in rows], alone, **ROUNDING)
        compare(our_logits(mine), their_padded(theirs), **TOLERANCE)


BARE = {
    "t5": t5(T5Model),
    "mt5": mt5(MT5Model),
    "bart": bart(BartModel),
    "mbart": mbart(MBartModel),
    "marian": marian(MarianModel),
    "pegasus": pegasus(PegasusModel),
}


@each(BARE)
def test_hidden_states_of_bare_models_equal_the_reference(pair: Pair, tmp_path: Path) -> None:
    theirs = reference(pair, tmp_path)
    loaded = load_folder(tmp_path)
    assert (loaded.head, loaded.missing_head) == ("vocabulary", ())  # tied, and a bias that is absent is zero
    with lifted(pair):
        compare(our_hidden(ours(loaded)), their_logits(theirs), **ROUNDING)


@each(PAIRS)
@torch.no_grad()
def test_greedy_generation_equals_the_reference_token_for_token(pair: Pair, tmp_path: Path) -> None:
    """Sequence by sequence as `Model.generate` does it, and all of them in one cache."""
    theirs, mine = reference(pair, tmp_path), open_ours(tmp_path)
    asked = Decoding.of(load_folder(tmp_path).config, read_generation(tmp_path), mine.spec.vocab_size)
    together = greedy(mine, asked)
    deeper = getattr(pair.config, "num_decoder_layers", 0) > pair.config.num_hidden_layers
    options: dict[str, Any] = {"max_new_tokens": STEPS, "do_sample": False, "num_beams": 1}
    options |= {"use_cache": False} if deeper else {}  # the reference makes its cache as deep as T5's encoder
    for row, written in zip(SOURCES, together, strict=True):
        wanted = theirs.generate(torch.tensor([row]), **options)
        new = wanted[0, 1:].tolist()
        assert wanted[0, 0] == asked.start
        said = generate_ids(mine, [asked.start], max_new_tokens=STEPS, stop_ids=asked.stops, sources=row, asked=asked)
        found = list(said)
        assert found == (new[: new.index(EOS)] if EOS in new else new)
        assert written[: len(found)] == found
    assert len({token for row in together for token in row}) > 1, "the test generates something"


def greedy(model: Any, asked: Decoding) -> list[list[int]]:
    cache = Cache(model.spec, len(SOURCES), capacity=1 + STEPS)
    written: list[list[int]] = [[] for _ in SOURCES]
    new, sources = [[asked.start]] * len(SOURCES), Ragged.from_lists(SOURCES)
    for _ in range(STEPS):
        batch = Ragged.from_lists(new)
        hidden = model(batch, readout=batch.lengths.cumsum(0) - 1, cache=cache, sources=sources)
        scores = model.head(hidden)
        for row, before in enumerate(written):
            scores[row, asked.banned([asked.start, *before])] = float("-inf")
        new = scores.argmax(-1)[:, None].tolist()
        written = [row + token for row, token in zip(written, new, strict=True)]
    return written


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize(("buckets", "most"), [(32, 128), (12, 10), (8, 20), (64, 1000), (9, 7)])
def test_every_distance_falls_into_the_bucket_of_the_reference(causal: bool, buckets: int, most: int) -> None:
    distances = torch.arange(-3000, 3001)
    wanted = T5Attention._relative_position_bucket(distances, not causal, buckets, most)
    spec = StackSpec(
        num_layers=1, hidden_size=4, num_heads=1, intermediate_size=4, causal=causal, positions="relative",
        relative_buckets=buckets, relative_max_distance=most,
    )  # fmt: skip
    assert torch.equal(RelativeBias(spec).bucket(distances), wanted)


@pytest.mark.parametrize("size", [16, 21, 512])
def test_sinusoids_are_those_of_the_reference(size: int) -> None:
    wanted = MarianSinusoidalPositionalEmbedding(600, size).create_weight()
    assert_close(sinusoidal_table(600, size), wanted, rtol=0, atol=6e-8)  # one rounding of float32
    if size % 2 == 0:
        assert not torch.allclose(sinusoidal_table(600, size, "tensor2tensor"), wanted, atol=1e-2)


def both(**fields: Any) -> Callable[[ModelSpec], ModelSpec]:
    """The same model with other values in both stacks."""
    return lambda spec: replace(spec, encoder=replace(spec.encoder, **fields), decoder=replace(spec.decoder, **fields))


def one(side: str, **fields: Any) -> Callable[[ModelSpec], ModelSpec]:
    return lambda spec: replace(spec, **{side: replace(getattr(spec, side), **fields)})


def model(**fields: Any) -> Callable[[ModelSpec], ModelSpec]:
    return lambda spec: replace(spec, **fields)


GATED = t5(feed_forward_proj="gated-gelu")
MISTAKES: list[tuple[Pair, Callable[[ModelSpec], ModelSpec], str]] = [
    (t5(), both(attention_scale=None), "scaled attention"),
    (t5(), both(positions="none"), "no positions"),
    (t5(), both(relative_max_distance=11), "far tokens one token later"),
    (t5(), one("encoder", causal=True), "a causal encoder"),
    (t5(), one("decoder", causal=False), "no causal mask"),
    (t5(), one("decoder", cross_attention=False), "no cross-attention"),
    (t5(), both(norm="layer"), "layer norm for RMS norm"),
    (t5(), both(norm_eps=1e-5), "epsilon 1e-5 for 1e-6"),
    (t5(), both(norm_shift=True), "1 + weight in the norm"),
    (t5(), both(activation="gelu"), "GELU for ReLU"),
    (t5(), both(placement="post"), "norm after the sum"),
    (t5(), both(final_norm=False), "no final norm"),
    (t5(), both(embedding_scale=4.0), "scaled embedding"),
    (t5(), both(query_bias=True), "a bias of queries"),
    (t5(), both(value_bias=True), "a bias of values"),
    (t5(), both(output_bias=True), "a bias of the output"),
    (t5(), both(mlp_bias=True), "biases of the MLP"),
    (t5(), model(logit_scale=1.0), "unscaled logits"),
    (t5(tie_word_embeddings=False), model(logit_scale=0.25), "scaled logits"),
    (mt5(), model(logit_scale=0.25), "scaled logits"),
    (GATED, both(activation="gelu"), "erf GELU for tanh"),
    (GATED, both(mlp="plain"), "a plain MLP"),
    (t5(extra=HEAD), model(tied=True), "tied head"),
    (bart(), both(placement="pre"), "norm before the branch"),
    (bart(), both(final_norm=True), "one norm too many"),
    (bart(), both(embedding_norm=False), "no norm of the embedding"),
    (bart(), both(position_offset=0), "no offset"),
    (bart(), both(position_offset=1), "positions off by one"),
    (bart(), both(positions="none"), "no positions"),
    (bart(), both(activation="gelu_tanh"), "tanh GELU for erf"),
    (bart(), both(norm_eps=1e-6), "epsilon 1e-6 for 1e-5"),
    (bart(), both(attention_scale=1.0), "unscaled attention"),
    (bart(), both(num_heads=2), "two heads for four"),
    (bart(), both(embedding_scale=4.0), "scaled embedding"),
    (bart(), model(head_bias=False), "no head bias"),
    (bart(scale_embedding=True), both(embedding_scale=1.0), "unscaled embedding"),
    (bart(tie_word_embeddings=False), model(target_tokens="shared"), "the encoder's tokens in the decoder"),
    (mbart(), both(placement="post"), "norm after the sum"),
    (mbart(), both(final_norm=False), "no final norm"),
    (mbart(), both(embedding_norm=False), "no norm of the embedding"),
    (marian(), both(placement="pre"), "norm before the branch"),
    (marian(), both(final_norm=True), "one norm too many"),
    (marian(), both(embedding_norm=True), "a norm of the embedding"),
    (marian(), both(position_offset=1), "positions off by one"),
    (marian(), both(activation="relu"), "ReLU for swish"),
    (marian(), model(head_bias=False), "no head bias"),
    (pegasus(), both(placement="post"), "norm after the sum"),
    (pegasus(), both(final_norm=False), "no final norm"),
    (pegasus(), both(positions="none"), "no positions"),
]


@pytest.mark.parametrize(("pair", "change", "what"), MISTAKES, ids=[f"{p.kind}: {w}" for p, _, w in MISTAKES])
def test_a_wrong_field_is_seen_at_this_tolerance(
    pair: Pair, change: Callable[[ModelSpec], ModelSpec], what: str, tmp_path: Path
) -> None:
    theirs, loaded = reference(pair, tmp_path), load_folder(tmp_path)
    with lifted(pair):
        wanted = their_logits(theirs)
    torch.manual_seed(0)  # for weights that the wrong model has and the file has not
    wrong = ours(loaded, change(loaded.spec), strict=False)
    compare(our_logits(ours(loaded)), wanted, **TOLERANCE)
    with pytest.raises(AssertionError, match="not close"):
        compare(our_logits(wrong), wanted, **TOLERANCE)


LABELS = {
    "bart": bart(BartForSequenceClassification, num_labels=3),
    "mbart": mbart(MBartForSequenceClassification, num_labels=3),
}


@each(LABELS)
@torch.no_grad()
def test_scores_of_labels_equal_the_reference(pair: Pair, tmp_path: Path) -> None:
    """Read from the last token of a decoder that reads the input once more, moved by one; with its pooler and bias."""
    theirs, loaded = reference(pair, tmp_path), load_folder(tmp_path)
    start = {"bart": PAD, "mbart": EOS}[pair.kind]  # mBART moves the last token to the front
    rows = [[*(i for i in row if i != EOS), EOS] for row in SOURCES]
    wanted = torch.cat([theirs(input_ids=torch.tensor([row])).logits for row in rows])

    def scores(spec: ModelSpec) -> Tensor:
        mine = ours(loaded, spec, strict=False)
        last = torch.stack([hidden[-1] for hidden in our_hidden(mine, (rows, [[start, *row[:-1]] for row in rows]))])
        return mine.head(last, torch.ones(len(last), dtype=torch.int64))

    assert_close(scores(loaded.spec), wanted, **ROUNDING)
    assert not torch.allclose(scores(replace(loaded.spec, label_head="linear")), wanted, **TOLERANCE)
    assert not torch.allclose(scores(replace(loaded.spec, label_bias=False)), wanted, **TOLERANCE)
