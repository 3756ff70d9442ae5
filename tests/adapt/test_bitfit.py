"""BitFit and norms: what trains, how many, how high the trunk ends, and which models are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from test_contract import GATED, HEAD, LABELLED, SPECS, D, W, build, loss_of

from microtune.adapt.base import Attachment, make_method
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.nn.layers import LayerNorm, RMSNorm
from microtune.nn.shapes import shapes_only
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Cut, Transformer
from microtune.recipe import Choice

BIASED = ("decoder with vocabulary", "encoder")


def attach(kind: str, **choice: Any) -> tuple[Transformer, Attachment]:
    model = build(kind)
    return model, make_method(Choice(**choice)).attach(model)


def own(kind: str) -> int:
    return HEAD[kind] if kind in LABELLED else 0


@pytest.mark.parametrize("kind", BIASED)
@pytest.mark.parametrize("first", [0, 1, 2])
def test_bitfit_counts_and_cut(kind: str, first: int) -> None:
    model, attachment = attach(kind, name="bitfit", first_block=first)
    blocks = (3 - first) * (4 * D + W + D + 2 * D)  # q, k, v, o; up, down; two norms
    ends = D if kind != "encoder" else D * (first == 0)  # the final norm; BERT has one behind the embedding
    assert sum(attachment.trainable.values()) == blocks + ends + own(kind)
    assert all(name.endswith(".bias") or name.startswith("head.") for name in attachment.trainable)
    side = "encoder" if kind == "encoder" else "decoder"
    assert attachment.cut == model.cut == Cut(**{side: first})


NORMS = {"decoder": 2 * D, "decoder with vocabulary": 4 * D, "encoder": 4 * D, "both": 3 * D}  # of one (decoder) block


@pytest.mark.parametrize("kind", list(SPECS))
@pytest.mark.parametrize("first", [0, 1, 2])
def test_norms_counts_and_cut(kind: str, first: int) -> None:
    model, attachment = attach(kind, name="norms", first_block=first)
    wanted = (3 - first) * NORMS[kind]
    if kind == "both":  # two blocks of the encoder, each with two norms; its final norm only where one of them trains
        wanted += max(2 - first, 0) * 2 * D + D * (first < 2) + D
    else:
        wanted += {"decoder": D, "decoder with vocabulary": 2 * D, "encoder": 2 * D * (first == 0)}[kind]
    assert sum(attachment.trainable.values()) == wanted + own(kind)
    cuts = {"encoder": Cut(encoder=first), "both": Cut(min(first, 2), first if first == 2 else 0)}
    assert attachment.cut == model.cut == cuts.get(kind, Cut(decoder=first))
    inside = {r for r, m in model.named_modules() if isinstance(m, (LayerNorm, RMSNorm))}
    assert {n.rpartition(".")[0] for n in attachment.trainable if not n.startswith("head.")} <= inside


@pytest.mark.parametrize("name", ["bitfit", "norms"])
def test_a_range_in_the_middle_trains_nothing_outside_it(name: str) -> None:
    model, attachment = attach("decoder with vocabulary", name=name, first_block=1, last_block=1)
    assert {n[: len("decoder.blocks.1")] for n in attachment.trainable} == {"decoder.blocks.1"}
    loss_of(model).backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == set(attachment.trainable)


def test_norms_of_queries_and_keys_train_too() -> None:
    spec = ModelSpec(vocab_size=37, decoder=replace(GATED, query_key_norm="head"))
    attachment = make_method(Choice(name="norms")).attach(Transformer(spec))
    assert sum(attachment.trainable.values()) == 3 * (2 * D + 2 * D // 4) + D


def test_bitfit_trains_less_than_two_thousandths_of_minilm() -> None:
    """The shapes of all-MiniLM-L6-v2 and -L12-v2; the label head, which every method trains, apart."""
    for layers, share in ((6, 0.00114), (12, 0.00153)):
        stack = StackSpec(
            num_layers=layers,
            hidden_size=384,
            num_heads=12,
            intermediate_size=1536,
            positions="learned",
            max_positions=512,
            placement="post",
            final_norm=False,
            embedding_norm=True,
        )
        with shapes_only():
            model = Transformer(ModelSpec(vocab_size=30522, encoder=stack, token_types=2, label_bias=True))
            model.head = LabelHead(model.spec, 77)
            attachment = make_method(Choice(name="bitfit")).attach(model)
        biases = sum(size for name, size in attachment.trainable.items() if not name.startswith("head."))
        whole = sum(p.numel() for n, p in model.named_parameters() if not n.startswith("head."))
        assert biases == layers * (4 * 384 + 1536 + 384 + 2 * 384) + 384
        assert biases / whole == pytest.approx(share, abs=1e-5)
        assert biases / whole < 0.002


def test_a_model_without_biases_is_refused_by_what_has_none() -> None:
    with pytest.raises(InputError) as error:
        attach("decoder", name="bitfit")
    assert str(error.value) == (
        "method: bitfit: there is no bias to train: no linear role (q, k, v, o, up, gate, down) and no norm "
        "(RMS norms) has one. Choose norms, ia3 or lora."
    )


def test_biases_of_some_roles_are_enough() -> None:
    """Such as those of queries, keys and values in Qwen2."""
    spec = ModelSpec(vocab_size=37, decoder=replace(GATED, query_bias=True, key_bias=True, value_bias=True))
    attachment = make_method(Choice(name="bitfit")).attach(Transformer(spec))
    assert sum(attachment.trainable.values()) == 3 * (D + 2 * (D // 2))


@pytest.mark.parametrize("name", ["bitfit", "norms", "ia3"])
def test_ranges_without_blocks_are_refused_and_leave_the_model_alone(name: str) -> None:
    model = build("decoder with vocabulary")
    for options, message in (
        ({"first_block": 3}, f"method: {name} finds nothing from block 3 upwards: the model has 3 blocks, 0 to 2."),
        ({"last_block": 7}, f"method: {name}: last_block is 7, but the model has 3 blocks, 0 to 2."),
        ({"first_block": 2, "last_block": 1}, "last_block 1 lies below first_block 2; no block is left."),
    ):
        with pytest.raises(InputError, match=message):
            make_method(Choice(name=name, **options)).attach(model)
        assert all(p.requires_grad for p in model.parameters())
    with pytest.raises(InputError, match=r"first_block: .* not '-1'"):
        make_method(Choice(name=name, first_block=-1))
    with pytest.raises(InputError, match=f'"{name}:2": {name} takes no number'):
        make_method(Choice(name=name, size=2))


def test_trained_biases_are_those_of_the_base_after_detaching() -> None:
    model, attachment = attach("encoder", name="bitfit")
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    with torch.no_grad():
        for _, parameter in attachment.parameters():
            parameter.add_(1)
    attachment.detach()
    assert {n for n, p in model.named_parameters() if not torch.equal(p, start[n])} == {
        n for n in start if n.startswith("head.")
    }
