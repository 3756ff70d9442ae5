"""Compiled blocks equal the others, for the one shape that is compiled and for all that are not."""

from __future__ import annotations

import pytest
import torch

from microtune.nn import compiled as module
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Block, Transformer
from microtune.ragged import Ragged

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch's own, while it looks around


def _network() -> Transformer:
    torch.manual_seed(0)
    sizes = {"num_layers": 2, "hidden_size": 16, "num_heads": 2, "intermediate_size": 24}
    stack = StackSpec(**sizes, causal=True, norm="rms", mlp="gated", activation="silu", positions="rotary")
    return Transformer(ModelSpec(vocab_size=40, decoder=stack))


def _gradients(network: Transformer, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(sum(lengths))
    rows = Ragged(torch.randint(0, 40, (sum(lengths),)), torch.tensor(lengths))
    network.zero_grad(set_to_none=True)
    hidden = network(rows)
    hidden.square().sum().backward()
    found = network.tokens.weight.grad
    assert found is not None
    return hidden.detach(), found.clone()


@pytest.fixture
def _light(monkeypatch: pytest.MonkeyPatch) -> None:
    """The graph is captured and run without generated code, which takes a compiler; no fast path of the CPU."""
    monkeypatch.setattr(module, "BACKEND", "aot_eager")
    monkeypatch.setattr("microtune.nn.transformer.fusible", lambda *_: None)


@pytest.mark.usefixtures("_light")
def test_values_and_gradients_are_those_of_the_plain_blocks() -> None:
    network = _network()
    batches = ([6, 6, 6], [6, 6, 6], [4, 4], [3, 5, 2])  # the first shape is compiled; others and ragged ones are not
    wanted = [_gradients(network, lengths) for lengths in batches]
    with module.compiled(network, (18, 3)) as compilation:
        for lengths, (hidden, grad) in zip(batches, wanted, strict=True):
            mine, found = _gradients(network, lengths)
            torch.testing.assert_close(mine, hidden, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(found, grad, rtol=1e-5, atol=1e-5)
    assert not compilation.failed
    assert all("forward" not in vars(m) for m in network.modules() if isinstance(m, Block))


def test_where_nothing_can_be_compiled_blocks_run_as_before_and_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("no compiler\n\nhere")

    monkeypatch.setattr(module, "BACKEND", refuse)
    network = _network()
    hidden, grad = _gradients(network, [6, 6, 6])
    with module.compiled(network, (18, 3)) as compilation:
        mine, found = _gradients(network, [6, 6, 6])
    assert torch.equal(mine, hidden)
    assert torch.equal(found, grad)
    assert "no compiler" in compilation.failed
    assert "\n" not in compilation.failed


@pytest.mark.usefixtures("_light")
def test_one_graph_serves_all_blocks_and_batches() -> None:
    torch._dynamo.reset()
    counts = torch._dynamo.utils.counters
    counts.clear()
    network = _network()
    with module.compiled(network, (18, 3)):
        for _ in range(3):
            _gradients(network, [6, 6, 6])
    assert counts["stats"]["unique_graphs"] == 1
