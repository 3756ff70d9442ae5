"""Products by oneDNN equal those by torch's own choice, whatever the layout; whole blocks give the same gradients."""

from __future__ import annotations

import pytest
import torch
from nn_specs import SPECS, build, rows, run, sources
from torch import Tensor

from microtune.nn import products
from microtune.nn.products import product

OPERATOR = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")
pytestmark = pytest.mark.skipif(not OPERATOR, reason="torch was built without oneDNN")


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every product of float32 goes to oneDNN."""
    monkeypatch.setattr(products, "WORTH", 0)
    monkeypatch.setattr(products, "onednn_is_faster", lambda: True)


@pytest.mark.parametrize("tokens", [0, 1, 37])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("layout", ["rows", "columns", "slices"])
def test_equals_the_product_in_float64(tokens: int, biased: bool, layout: str) -> None:
    """Sums of 96 numbers in float32: 1e-5 of values near 10."""
    x, bias = torch.randn(tokens, 192)[:, ::2], torch.randn(40) if biased else None
    weight = {
        "rows": lambda: torch.randn(40, 96),
        "columns": lambda: torch.randn(96, 40).t(),
        "slices": lambda: torch.randn(80, 96)[::2],
    }[layout]()
    wanted = x.double() @ weight.double().t() + (0 if bias is None else bias.double())
    torch.testing.assert_close(product(x, weight, bias).double(), wanted, rtol=1e-6, atol=1e-5)


def test_other_types_go_the_usual_way() -> None:
    """oneDNN's operator knows no float64."""
    x, weight = torch.randn(5, 8, dtype=torch.float64), torch.randn(3, 8, dtype=torch.float64)
    torch.testing.assert_close(product(x, weight), x @ weight.t(), rtol=0, atol=1e-14)


@pytest.mark.parametrize("name", ["rotary, grouped heads", "bert"])
def test_blocks_give_the_same_outputs_and_gradients(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """float32, two orders of the same sums: 1e-5 of the largest. Every block asks for products there and back."""
    asked: list[bool] = []
    monkeypatch.setattr(products, "onednn_is_faster", lambda: asked.append(True) or True)

    def results() -> list[Tensor]:
        model = build(SPECS[name]).float()
        out = run(model, rows(), sources(model.spec))
        out.square().sum().backward()
        return [out.detach(), *(p.grad for p in model.parameters() if p.grad is not None)]

    found = results()
    assert len(asked) >= 6
    monkeypatch.setattr(products, "WORTH", 10**18)
    for ours, wanted in zip(found, results(), strict=True):
        assert float((ours - wanted).abs().max()) <= 1e-5 * max(1.0, float(wanted.abs().max()))
