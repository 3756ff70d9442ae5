"""Dropout from 16 bits an element: the share that is kept, its scale, the seed, and the ends of the range."""

from __future__ import annotations

import pytest
import torch

from microtune.nn.layers import dropout, dropout_factors


@pytest.mark.parametrize("p", [1e-6, 0.1, 0.5, 0.9])
def test_kept_elements_are_scaled_so_that_the_mean_stays(p: float) -> None:
    torch.manual_seed(0)
    factors = dropout_factors(torch.zeros(1001, 999, dtype=torch.float64), p)
    dropped = round(p * 65536) / 65536
    assert factors.unique().tolist() == ([0.0] if dropped else []) + [1 / (1 - dropped)]
    share = float((factors == 0).double().mean())
    assert abs(share - dropped) <= 5 * (dropped * (1 - dropped) / factors.numel()) ** 0.5  # five standard deviations


@pytest.mark.parametrize("p", [1.0, 1 - 1e-6])
def test_where_all_is_dropped_nothing_is_left(p: float) -> None:
    assert torch.equal(dropout(torch.ones(5, 3), p), torch.zeros(5, 3))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_seed_decides_and_the_type_stays(dtype: torch.dtype) -> None:
    x = torch.ones(7, 5, dtype=dtype)
    torch.manual_seed(3)
    first = dropout(x, 0.4)
    torch.manual_seed(3)
    assert torch.equal(dropout(x, 0.4), first)
    assert first.dtype == dtype
    assert not torch.equal(dropout(x, 0.4), first)
