"""What every method promises, on a decoder, an encoder and an encoder-decoder (DESIGN, section 6).

All in float64, so that "equal" can mean equal; only merging is looked at in float32, where it is used.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.testing import assert_close

from microtune.adapt.base import Attachment, make_method, methods
from microtune.adapt.lora import DoRALinear, LoRALinear
from microtune.errors import CheckError, InputError
from microtune.nn.heads import LabelHead, VocabularyHead
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Cut, Transformer
from microtune.ragged import Ragged
from microtune.recipe import Choice, parse_short

V, D, W, LABELS = 37, 16, 24, 3  # vocabulary, width, inner width
GATED = StackSpec(
    num_layers=3,
    hidden_size=D,
    num_heads=4,
    num_kv_heads=2,
    intermediate_size=W,
    causal=True,
    norm="rms",
    mlp="gated",
    activation="silu",
    positions="rotary",
    query_bias=False,
    key_bias=False,
    value_bias=False,
    output_bias=False,
    mlp_bias=False,
)
PLAIN = StackSpec(num_layers=3, hidden_size=D, num_heads=4, intermediate_size=W, positions="learned", max_positions=16)
POST = replace(PLAIN, placement="post", final_norm=False, embedding_norm=True)
RELATIVE = replace(GATED, positions="relative", num_kv_heads=None, relative_buckets=8)
BERT = {"token_types": 2, "pooling": "first", "label_head": "tanh_pooler", "label_bias": True}
SPECS = {
    "decoder": ModelSpec(vocab_size=V, decoder=GATED),
    "decoder with vocabulary": ModelSpec(vocab_size=V, decoder=replace(PLAIN, causal=True), tied=False),
    "encoder": ModelSpec(vocab_size=V, encoder=POST, **BERT),  # type: ignore[arg-type]
    "both": ModelSpec(
        vocab_size=V,
        encoder=replace(RELATIVE, causal=False, num_layers=2),
        decoder=replace(RELATIVE, cross_attention=True),
        tied=False,
    ),
}
LABELLED = ("decoder", "encoder")
METHODS: dict[str, dict[str, Any]] = {
    "full": {"name": "full"},
    "head": {"name": "head"},
    "top": {"name": "top", "blocks": 1},
    "reinit": {"name": "reinit", "blocks": 1, "seed": 5},
    "reinit then full": {"name": "reinit", "blocks": 1, "then": "full", "seed": 5},
    "lora": {"name": "lora", "rank": 2},
    "lora on some": {"name": "lora", "rank": 2, "roles": ["q", "down"], "first_block": 2},
    "dora": {"name": "lora", "rank": 2, "variant": "dora"},
    "dora on some": {"name": "lora", "rank": 2, "variant": "dora", "roles": ["q", "down"], "first_block": 2},
    "pissa": {"name": "lora", "rank": 2, "variant": "pissa"},
    "pissa on some": {
        "name": "lora",
        "rank": 3,
        "variant": "pissa",
        "alpha": 4.5,
        "loraplus": 4,
        "roles": ["q", "mlp.down"],
        "first_block": 1,
        "last_block": 1,
    },
    "houlsby": {"name": "bottleneck", "reduction": 4},
    "pfeiffer": {"name": "bottleneck", "placement": "pfeiffer", "activation": "silu", "first_block": 1},
}
UNCHANGED = [name for name in METHODS if not name.startswith(("reinit", "pissa"))]
MERGED = [name for name in METHODS if name not in ("houlsby", "pfeiffer")]  # which no weight can hold
ROWS, SOURCES = [[3, 1, 4, 1, 5], [9, 2, 6], [5, 3, 5, 8, 9, 7]], [[2, 7, 1], [8, 2], [8, 1, 8, 2]]

kinds = pytest.mark.parametrize("kind", list(SPECS))
every = pytest.mark.parametrize("name", list(METHODS))


@dataclass
class Prepared:
    """A model with a method attached, and the model as it was."""

    model: Transformer
    attachment: Attachment
    base: dict[str, Tensor]
    before: Tensor


def build(kind: str, dtype: torch.dtype = torch.float64) -> Transformer:
    """Random everywhere, norms and biases included."""
    model = Transformer(SPECS[kind])
    if kind in LABELLED:
        model.head = LabelHead(model.spec, LABELS)
    model = model.to(dtype).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter.copy_(noise * 0.4 if parameter.dim() > 1 else 1 + 0.2 * noise)
    return model


def outputs(model: Transformer) -> Tensor:
    """Scores of labels or of the vocabulary at three places of the batch."""
    inputs = Ragged.from_lists(ROWS)
    sources = Ragged.from_lists(SOURCES) if model.encoder is not None and model.decoder is not None else None
    pooled = isinstance(model.head, LabelHead)
    first = pooled and model.spec.pooling == "first"
    readout = inputs.starts if first else inputs.starts + inputs.lengths - 1
    hidden = model(inputs, readout=readout, sources=sources)
    return model.head(hidden, torch.ones(len(ROWS), dtype=torch.int64)) if pooled else model.head(hidden)


def loss_of(model: Transformer) -> Tensor:
    return F.cross_entropy(outputs(model), torch.tensor([1, 0, 2]))


def prepare(kind: str, name: str, dtype: torch.dtype = torch.float64) -> Prepared:
    model = build(kind, dtype)
    base = {n: p.detach().clone() for n, p in model.named_parameters()}
    with torch.no_grad():
        before = outputs(model)
    torch.manual_seed(2)
    return Prepared(model, make_method(Choice(**METHODS[name])).attach(model), base, before)


def train(prepared: Prepared, steps: int = 2) -> None:
    """Plain gradient descent: only a gradient can move anything."""
    optimizer = torch.optim.SGD([p for _, p in prepared.attachment.parameters()], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(prepared.model).backward()
        optimizer.step()


@kinds
@pytest.mark.parametrize("name", UNCHANGED)
def test_output_is_unchanged_at_the_start(kind: str, name: str) -> None:
    prepared = prepare(kind, name)
    with torch.no_grad():
        assert torch.equal(outputs(prepared.model), prepared.before)


@kinds
@every
def test_exactly_the_reported_parameters_get_gradients_and_move(kind: str, name: str) -> None:
    prepared = prepare(kind, name)
    model, trainable = prepared.model, prepared.attachment.trainable
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    loss_of(model).backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == set(trainable)
    train(prepared)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, start[n])}
    resting = {n for n in trainable if n.endswith(".k.bias")}  # their gradient is zero but for rounding
    assert moved | resting == set(trainable) | resting
    assert trainable == {n: start[n].numel() for n in trainable}


BLOCK = {
    "decoder": 2 * D * D + 2 * D * D // 2 + 3 * D * W + 2 * D,
    "decoder with vocabulary": 4 * (D * D + D) + 2 * D * W + W + D + 4 * D,
    "encoder": 4 * (D * D + D) + 2 * D * W + W + D + 4 * D,
    "both": 8 * D * D + 3 * D * W + 3 * D,
}
HEAD = {
    "decoder": D * LABELS,
    "decoder with vocabulary": D * V,
    "encoder": D * D + D + D * LABELS + LABELS,
    "both": D * V,
}
NORM = {"decoder": D, "decoder with vocabulary": 2 * D, "encoder": 0, "both": D}
BOTTOM = {
    "decoder": V * D,
    "decoder with vocabulary": V * D + 16 * D,
    "encoder": V * D + 16 * D + 2 * D + 2 * D,
    "both": V * D + 2 * 8 * 4 + 2 * (4 * D * D + 3 * D * W + 2 * D) + D,  # the whole encoder, two tables of bias
}
PAIR = 2 * (D + D)  # A and B of rank 2 on a square role
WIDE = 2 * (D + W)
LORA = {
    "decoder": 3 * (2 * PAIR + 2 * 2 * (D + D // 2) + 3 * WIDE),
    "decoder with vocabulary": 3 * (4 * PAIR + 2 * WIDE),
    "encoder": 3 * (4 * PAIR + 2 * WIDE),
    "both": 3 * (8 * PAIR + 3 * WIDE) + 2 * (4 * PAIR + 3 * WIDE),
}
OUTPUTS = {  # a magnitude for each
    "decoder": 3 * (3 * D + 2 * D // 2 + 2 * W),
    "decoder with vocabulary": 3 * (5 * D + W),
    "encoder": 3 * (5 * D + W),
    "both": 3 * (9 * D + 2 * W) + 2 * (5 * D + 2 * W),
}
ADAPTER, THIN = (2 * D * size + size + D for size in (D // 4, D // 16))
BLOCKS = {"decoder": 3, "decoder with vocabulary": 3, "encoder": 3, "both": 5}
SECOND = {"decoder": (1, 1), "decoder with vocabulary": (1, 1), "encoder": (1, 1), "both": (3, 2)}  # q, down in block 1
SOME = {"decoder": 1, "decoder with vocabulary": 1, "encoder": 1, "both": 2}  # q twice, with cross-attention


@kinds
def test_counts_follow_closed_formulas(kind: str) -> None:
    own = HEAD[kind] if kind in LABELLED else 0
    wanted = {
        "full": BOTTOM[kind] + 3 * BLOCK[kind] + NORM[kind] + HEAD[kind],
        "head": HEAD[kind],
        "top": BLOCK[kind] + NORM[kind] + own,
        "reinit": BLOCK[kind] + NORM[kind] + own,
        "reinit then full": BOTTOM[kind] + 3 * BLOCK[kind] + NORM[kind] + HEAD[kind],
        "lora": LORA[kind] + own,
        "lora on some": SOME[kind] * PAIR + WIDE + own,
        "dora": LORA[kind] + OUTPUTS[kind] + own,
        "dora on some": SOME[kind] * (PAIR + D) + WIDE + D + own,
        "pissa": LORA[kind] + own,
        "pissa on some": 3 * (SECOND[kind][0] * 2 * D + SECOND[kind][1] * (D + W)) + own,
        "houlsby": 2 * BLOCKS[kind] * ADAPTER + own,
        "pfeiffer": (BLOCKS[kind] - (2 if kind == "both" else 1)) * THIN + own,
    }
    assert {name: sum(prepare(kind, name).attachment.trainable.values()) for name in METHODS} == wanted


@kinds
@pytest.mark.parametrize("name", MERGED)
def test_merged_equals_unmerged(kind: str, name: str) -> None:
    prepared = prepare(kind, name, torch.float32)
    model = prepared.model
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, LoRALinear):
                module.lora_B.normal_(std=0.3)
            if isinstance(module, DoRALinear):
                module.magnitude.mul_(torch.linspace(0.8, 1.3, len(module.magnitude)))
    with torch.no_grad():
        learnt = outputs(model)
        prepared.attachment.merge()
        merged = outputs(model)
    if name.startswith(("lora", "dora", "pissa")):
        assert float((learnt - prepared.before).abs().max()) > 1e-3
    assert_close(merged, learnt, rtol=1e-5, atol=1e-5 * float(learnt.abs().max()))
    assert not any(isinstance(module, LoRALinear) for module in model.modules())
    assert [n for n, _ in model.named_parameters()] == list(prepared.base)
    assert all(p.requires_grad for p in model.parameters())
    assert model.cut == Cut()


@kinds
@every
def test_detach_restores_the_base_bit_for_bit(kind: str, name: str) -> None:
    prepared = prepare(kind, name)
    train(prepared)
    prepared.attachment.detach()
    found = dict(prepared.model.named_parameters())
    assert list(found) == list(prepared.base)
    own = "head." if kind in LABELLED else "none"
    changed = [n for n, p in found.items() if not n.startswith(own) and not torch.equal(p, prepared.base[n])]
    assert changed == []
    assert all(p.requires_grad for p in found.values())


@kinds
@every
def test_the_cut_changes_no_gradient(kind: str, name: str) -> None:
    prepared = prepare(kind, name)
    train(prepared)  # B of a LoRA is no longer zero
    found = []
    for cut in (prepared.attachment.cut, Cut()):
        prepared.model.cut = cut
        prepared.model.zero_grad()
        loss_of(prepared.model).backward()
        found.append({n: p.grad for n, p in prepared.attachment.parameters()})
    assert_close(found[0], found[1], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("kind", "name", "cut"),
    [
        ("decoder", "full", Cut()),
        ("decoder", "head", Cut(decoder=3)),
        ("decoder", "top", Cut(decoder=2)),
        ("decoder", "lora", Cut()),
        ("decoder", "lora on some", Cut(decoder=2)),
        ("decoder", "dora on some", Cut(decoder=2)),
        ("decoder", "reinit then full", Cut()),
        ("encoder", "top", Cut(encoder=2)),
        ("both", "top", Cut(encoder=2, decoder=2)),
        ("both", "lora on some", Cut(encoder=2, decoder=2)),
    ],
)
def test_the_cut_is_as_high_as_it_can_be(kind: str, name: str, cut: Cut) -> None:
    assert prepare(kind, name).attachment.cut == cut


@kinds
@every
def test_state_alone_restores_the_outputs(kind: str, name: str) -> None:
    prepared = prepare(kind, name)
    train(prepared)
    state = prepared.attachment.state()
    assert state.keys() == prepared.attachment.trainable.keys()
    other = prepare(kind, name)
    other.attachment.load_state(state)
    assert torch.equal(outputs(other.model), outputs(prepared.model))


def test_state_that_does_not_fit() -> None:
    attachment = prepare("decoder", "lora").attachment
    state = attachment.state()
    first = next(iter(state))
    with pytest.raises(CheckError, match="missing \\['decoder"):
        attachment.load_state({n: t for n, t in state.items() if n != first})
    with pytest.raises(CheckError, match="unknown \\['x'\\]"):
        attachment.load_state(state | {"x": state[first]})
    with pytest.raises(CheckError, match="expected"):
        attachment.load_state(state | {first: state[first][:1]})


def attach(kind: str, *, spec: ModelSpec | None = None, **choice: Any) -> Attachment:
    model = build(kind) if spec is None else Transformer(spec)
    return make_method(Choice(**choice)).attach(model)


REFUSALS: dict[str, tuple[Callable[[], Any], str]] = {
    "too many blocks": (lambda: attach("decoder", name="top", blocks=4), "4 blocks were asked for, the model has 3"),
    "too many new blocks": (lambda: attach("decoder", name="reinit", blocks=4), "4 blocks were asked for"),
    "unknown role": (
        lambda: attach("decoder", name="lora", roles=["query"]),
        r'no role "query" in these blocks. .*Known: down, gate, k, o, q, up, v',
    ),
    "no block left": (lambda: attach("decoder", name="lora", first_block=3), "finds nothing from block 3 upwards"),
    "no number": (lambda: make_method(Choice(**parse_short("lora:x"))), '"lora:x" is not a short form'),
    "negative": (lambda: make_method(Choice(**parse_short("top:-1"))), "is not a short form"),
    "rank 0": (lambda: make_method(Choice(**parse_short("lora:0"))), "rank: .* greater than or equal to 1"),
    "number too much": (lambda: make_method(Choice(**parse_short("full:2"))), '"full:2": full takes no number'),
    "unknown option": (lambda: make_method(Choice(name="lora", rnak=2)), 'unknown key "rnak". Did you mean "rank"'),
    "unknown method": (lambda: make_method(Choice(name="lara")), 'Unknown method "lara". Did you mean "lora"'),
}


@pytest.mark.parametrize("name", list(REFUSALS))
def test_refusals(name: str) -> None:
    action, message = REFUSALS[name]
    with pytest.raises(InputError, match=message):
        action()


def test_short_forms() -> None:
    assert make_method(Choice(**parse_short("top:3"))).model_dump()["blocks"] == 3
    assert make_method(Choice(**parse_short("reinit:2"))).model_dump()["blocks"] == 2
    assert make_method(Choice(**parse_short("lora:16"))).model_dump()["rank"] == 16
    assert sorted(methods) == [
        *(
            "bitfit",
            "bottleneck",
            "full",
            "head",
            "ia3",
            "lora",
            "norms",
            "prefix",
            "prompt",
            "reinit",
            "several",
            "top",
        )
    ]


def test_a_refused_method_leaves_the_model_as_it_was() -> None:
    model = build("decoder")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError):
        make_method(Choice(name="reinit", blocks=9)).attach(model)
    assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    assert all(p.requires_grad for p in model.parameters())


def test_a_label_head_trains_and_a_vocabulary_head_rests() -> None:
    assert "head.out.weight" in prepare("decoder", "lora").attachment.trainable
    assert isinstance(build("both").head, VocabularyHead)
    assert "head.out.weight" not in prepare("both", "lora").attachment.trainable
