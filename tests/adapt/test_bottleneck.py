"""Bottleneck adapters: the formula of the paper, literally, and its trajectory; places, counts, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import test_contract as contract
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.testing import assert_close

from microtune.adapt.base import make_method
from microtune.adapt.bottleneck import BottleneckAdapter
from microtune.errors import InputError
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice

D = contract.D
ACTIVATIONS = {"relu": torch.relu, "gelu": F.gelu, "silu": lambda x: x * torch.sigmoid(x)}


def attach(kind: str, dtype: torch.dtype = torch.float64, **options: Any) -> contract.Attachment:
    torch.manual_seed(2)
    return make_method(Choice(name="bottleneck", **options)).attach(contract.build(kind, dtype))


@pytest.mark.parametrize("activation", list(ACTIVATIONS))
def test_the_formula(activation: Any) -> None:
    """h + U f(D h + b) + c (section 2.1 of Houlsby et al.), where U and c begin at zero."""
    torch.manual_seed(0)
    one = BottleneckAdapter(6, 2, activation, torch.zeros(1, dtype=torch.float64))
    h = torch.randn(5, 6, dtype=torch.float64)
    assert torch.equal(one(h), h)
    for parameter in one.parameters():
        nn.init.normal_(parameter)
    wanted = h + ACTIVATIONS[activation](h @ one.down.weight.t() + one.down.bias) @ one.up.weight.t() + one.up.bias
    assert_close(one(h), wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "placement", "blocks", "each"),
    [
        ("decoder", "houlsby", 3, 2),
        ("encoder", "pfeiffer", 3, 1),
        ("both", "houlsby", 5, 2),
        ("both", "pfeiffer", 5, 1),
    ],
)
@pytest.mark.parametrize(("reduction", "size"), [(16, 1), (64, 1), (4, 4), (3, 5)])
def test_places_and_counts(kind: str, placement: str, blocks: int, each: int, reduction: int, size: int) -> None:
    attachment = attach(kind, placement=placement, reduction=reduction)
    own = contract.HEAD[kind] if kind in contract.LABELLED else 0
    assert sum(attachment.trainable.values()) == blocks * each * (2 * D * size + size + D) + own
    places = {name.split(".")[3] for name in attachment.trainable if ".blocks." in name}
    assert places == {"mlp_residual", *(["attention_residual"] if each == 2 else [])}  # and none at cross-attention


def test_blocks_from_and_to() -> None:
    attachment = attach("both", first_block=1, last_block=1, placement="pfeiffer")
    places = {name.rpartition(".slot.")[0] for name in attachment.trainable}
    assert places == {"encoder.blocks.1.mlp_residual", "decoder.blocks.1.mlp_residual"}
    assert attachment.cut == contract.Cut(encoder=1, decoder=0)
    assert attach("decoder", first_block=2).cut == contract.Cut(decoder=2)
    assert attach("decoder", last_block=0).cut == contract.Cut()


class Literal(nn.Module):
    """One pre-norm block of the contract's "decoder with vocabulary" by hand, with an adapter after each branch."""

    def __init__(self, model: Transformer, layer: int) -> None:
        super().__init__()
        assert model.decoder is not None
        self.block = model.decoder.blocks[layer]
        made = []
        for residual in (self.block.attention_residual, self.block.mlp_residual):  # type: ignore[union-attr]
            slot = residual.slot
            made += [nn.Parameter(slot.get_parameter(n).detach().clone()) for n in NAMES]
        self.made = nn.ParameterList(made)

    def forward(self, x: Tensor) -> Tensor:
        """[T, D] -> [T, D] of one sequence."""
        block: Any = self.block
        h, (T, H) = block.attention_residual.norm(x), (len(x), block.attention.heads)
        q, k, v = (getattr(block.attention, n)(h).view(T, H, -1).transpose(0, 1) for n in "qkv")
        scores = (q @ k.transpose(1, 2)) / q.shape[-1] ** 0.5
        scores = scores.masked_fill(torch.ones(T, T).triu(1).bool(), float("-inf"))
        x = x + self.adapted(block.attention.o((scores.softmax(-1) @ v).transpose(0, 1).reshape(T, -1)), 0)
        h = block.mlp_residual.norm(x)
        return x + self.adapted(block.mlp.down(F.gelu(block.mlp.up(h))), 4)

    def adapted(self, h: Tensor, first: int) -> Tensor:
        down, below, up, above = self.made[first : first + 4]
        return h + torch.relu(h @ down.t() + below) @ up.t() + above


NAMES = ("down.weight", "down.bias", "up.weight", "up.bias")


def test_twenty_steps_along_one_trajectory() -> None:
    """float32, AdamW: losses within 1e-4 of the paper's formula written out, from the same start."""
    attachment = attach("decoder with vocabulary", torch.float32, reduction=2, activation="relu")
    model = attachment.model
    assert model.decoder is not None
    blocks = [Literal(model, layer) for layer in range(3)]
    rows = [torch.tensor(row) for row in contract.ROWS]

    def literal() -> Tensor:
        total = torch.zeros(())
        for row in rows:
            x = model.tokens.weight[row] + model.decoder.positions.weight[: len(row)]  # type: ignore[union-attr]
            for block in blocks:
                x = block(x)
            logits = model.head(model.decoder.norm(x))  # type: ignore[union-attr]
            total = total + F.cross_entropy(logits[:-1], row[1:], reduction="sum")
        return total

    def ours() -> Tensor:
        inputs = contract.Ragged.from_lists(contract.ROWS)
        logits = model.head(model(inputs)).split(inputs.lengths.tolist())
        return torch.stack(
            [F.cross_entropy(part[:-1], row[1:], reduction="sum") for part, row in zip(logits, rows, strict=True)]
        ).sum()

    found: list[list[float]] = []
    for loss, parameters in (
        (ours, [p for _, p in attachment.parameters()]),
        (literal, [p for block in blocks for p in block.made]),
    ):
        optimizer = torch.optim.AdamW(parameters, lr=1e-2, weight_decay=0.01)
        losses = []
        for _ in range(20):
            optimizer.zero_grad()
            value = loss()
            value.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            losses.append(float(value.detach()))
        found.append(losses)
    assert found[0][-1] < 0.8 * found[0][0]
    assert_close(found[0], found[1], rtol=1e-4, atol=0)


@pytest.mark.parametrize("kind", list(contract.SPECS))
def test_it_is_not_folded_into_weights(kind: str) -> None:
    attachment = attach(kind)
    with pytest.raises(
        InputError, match="cannot be folded into their weights; use the run as it is, or tune with lora"
    ):
        attachment.merge()
    assert any(isinstance(m, BottleneckAdapter) for m in attachment.model.modules())


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "placement": ({"placement": "both"}, "placement: .*'houlsby' or 'pfeiffer'"),
    "reduction": ({"reduction": 0}, "reduction: .* greater than or equal to 1"),
    "activation": ({"activation": "tanh"}, "activation: "),
    "above": ({"first_block": 3}, "bottleneck finds nothing from block 3 upwards: the model has 3 blocks, 0 to 2"),
    "block": ({"last_block": 3}, "last_block is 3, but the model has 3 blocks, 0 to 2"),
    "empty": ({"first_block": 1, "last_block": 0}, "last_block 0 lies below first_block 1; no block is left"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_refusals(name: str) -> None:
    options, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        attach("decoder", **options)
