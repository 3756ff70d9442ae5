"""Fingerprints of tensors: the sum as its docstring says it, and every bit counts."""

from __future__ import annotations

import pytest
import torch

from microtune.run.movement import PERIOD, fingerprint


def literal(data: bytes) -> int:
    """Word i of 32 bits weighs 1 + i modulo PERIOD; bytes behind the last word weigh one."""
    count = len(data) // 4
    words = [int.from_bytes(data[4 * i : 4 * i + 4], "little", signed=True) for i in range(count)]
    total = sum(word * (1 + i % PERIOD) for i, word in enumerate(words)) + sum(data[4 * count :])
    return (total + 2**63) % 2**64 - 2**63


@pytest.mark.parametrize("shape", [(1,), (7,), (16, 16), (37, 21), (3, PERIOD), (0, 4)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_the_sum_is_the_literal_one(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    value = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    assert fingerprint(value) == literal(value.view(torch.uint8).numpy().tobytes())


def test_other_strides_give_the_same() -> None:
    value = torch.randn(37, 21)
    assert fingerprint(value.t().contiguous().t()) == fingerprint(value)


def test_every_bit_counts() -> None:
    value = torch.randn(3, 5).bfloat16()  # thirty bytes: two behind the last word
    before = fingerprint(value)
    raw = value.view(torch.uint8).view(-1)
    for place in range(len(raw)):
        for bit in range(8):
            raw[place] ^= 1 << bit
            assert fingerprint(value) != before
            raw[place] ^= 1 << bit
    assert fingerprint(value) == before
