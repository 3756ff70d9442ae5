"""On a GPU, too, a source that several sequences look at gives each of them what a source of its own would."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close
from where import DEVICE, MARKS

from microtune.nn.parameters import initialize
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged, looked_at
from microtune.run.precision import autocast

pytestmark = MARKS
SIDE = StackSpec(num_layers=2, hidden_size=64, num_heads=4, intermediate_size=96, positions="learned", max_positions=64)
SPEC = ModelSpec(vocab_size=99, encoder=SIDE, decoder=replace(SIDE, causal=True, cross_attention=True))
READERS = torch.tensor([3, 1, 2])


@pytest.mark.parametrize(("precision", "share"), [("float32", 1e-4), ("bfloat16", 3e-2)])  # bfloat16: 8 bits
@pytest.mark.parametrize("readout", [None, [4, 10, 12, 30, 31]], ids=["all", "readout"])
def test_a_shared_source_is_a_source_for_each(precision: str, share: float, readout: list[int] | None) -> None:
    torch.manual_seed(0)
    model = Transformer(SPEC)
    initialize(model, 0.15, num_layers=2)
    model = model.to(DEVICE)
    inputs = Ragged.from_lists([torch.randint(99, (n,)).tolist() for n in (5, 6, 2, 7, 10, 2)]).to(DEVICE)
    read = [torch.randint(99, (n,)).tolist() for n in (20, 7, 33)]
    given = Ragged.from_lists(read)
    once = Ragged(given.values, given.lengths, readers=READERS).to(DEVICE)
    each = Ragged.from_lists([read[i] for i in looked_at(READERS, len(inputs)).tolist()]).to(DEVICE)
    asked = None if readout is None else torch.tensor(readout, device=DEVICE)
    found = []
    for sources in (once, each):
        model.zero_grad()
        with autocast(DEVICE, precision):  # type: ignore[arg-type]
            hidden = model(inputs, sources=sources, readout=asked)
        hidden.float().square().sum().backward()
        found.append([hidden.detach().float(), *(p.grad for p in model.parameters() if p.grad is not None)])
    assert len(found[0]) == len(found[1])
    most = max(float(gradient.abs().max()) for gradient in found[1][1:])  # those of key biases are zero
    assert_close(found[0][0], found[1][0], rtol=0, atol=share * float(found[1][0].abs().max()))
    for one, other in zip(found[0][1:], found[1][1:], strict=True):
        assert_close(one, other, rtol=0, atol=share * most)
