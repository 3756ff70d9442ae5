"""States at a cut, computed on from those at a lower one: the same bits as from the tokens."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from nn_specs import BOTH, DECODERS, ENCODERS, build, rows, sources
from torch import Tensor

from microtune.nn.transformer import Cut, Transformer, Trunk
from microtune.ragged import Ragged

READOUT = torch.tensor([0, 4, 6, 13, 19, 21])
CASES = [
    ("rotary, grouped heads", Cut(decoder=1), Cut(decoder=2)),
    ("windowed", Cut(decoder=1), Cut(decoder=3)),
    ("learned", Cut(decoder=2), Cut(decoder=3)),
    ("bert", Cut(encoder=1), Cut(encoder=2)),
    ("windowed encoder", Cut(encoder=2), Cut(encoder=3)),
    ("t5", Cut(encoder=1), Cut(encoder=2, decoder=1)),
    ("t5", Cut(encoder=2), Cut(encoder=2, decoder=2)),
    ("bart", Cut(encoder=2, decoder=1), Cut(encoder=2, decoder=3)),
    ("rotary pair", Cut(encoder=2, decoder=1), Cut(encoder=2, decoder=2)),
]
NAMES = [f"{name} {a.encoder}.{a.decoder}-{b.encoder}.{b.decoder}" for name, a, b in CASES]


@pytest.mark.parametrize(("name", "low", "high"), CASES, ids=NAMES)
@pytest.mark.parametrize("readout", [None, READOUT], ids=["all", "readout"])
def test_on_from_a_lower_cut(
    name: str, low: Cut, high: Cut, readout: Tensor | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build((DECODERS | ENCODERS | BOTH)[name])
    given = sources(model.spec)
    types = None if model.types is None else torch.tensor([i % 2 for row in rows() for i in row])

    def at(cut: Cut, below: Trunk | None = None) -> Trunk:
        ragged = None if given is None else Ragged.from_lists(given)
        inputs = Ragged.from_lists(rows())
        return model.compute_trunk(inputs, readout=readout, sources=ragged, types=types, cut=cut, below=below)

    whole, lower = at(high), replace(at(low), at=low)
    both = (model.encoder is not None) + (model.decoder is not None)
    if both == (lower.encoder is not None) + (lower.output is not None) or both == 1:
        monkeypatch.setattr(Transformer, "_lower", lambda *_: pytest.fail("computed from the tokens"))
    raised = at(high, lower)
    for found, expected in ((raised.encoder, whole.encoder), (raised.output, whole.output)):
        assert (found is None) == (expected is None)
        if found is not None and expected is not None:
            assert torch.equal(found, expected)
