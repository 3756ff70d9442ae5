"""Switching modes as torch does it: every module below, and one with a `train` of its own is asked."""

from __future__ import annotations

from typing import Any, Self

import pytest
from torch import nn

from microtune.nn.modes import set_mode
from microtune.nn.transformer import Cut, Transformer
from tiny_model import SPEC


class Remembers(nn.Module):
    """Knows how it was switched."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[bool] = []
        self.inner = nn.Linear(1, 1)

    def train(self, mode: bool = True) -> Self:
        self.asked.append(mode)
        return super().train(mode)


class Elsewhere(nn.Module):
    """Its switch is another module's, as in what torch.compile makes."""

    def __init__(self, other: nn.Module) -> None:
        self.__dict__["other"] = other
        super().__init__()
        self.__dict__.pop("training", None)

    @property
    def training(self) -> bool:  # type: ignore[override]
        return bool(self.other.training)

    @training.setter
    def training(self, mode: bool) -> None:
        self.other.train(mode)


def modes(*modules: nn.Module) -> list[bool]:
    return [m.training for module in modules for m in module.modules()]


@pytest.mark.parametrize("mode", [True, False])
def test_every_module_below_is_switched(mode: bool) -> None:
    own, other = Remembers(), nn.Linear(1, 1)
    whole = nn.Sequential(nn.Sequential(nn.Linear(1, 1), own), Elsewhere(other))
    whole.register_module("empty", None)
    whole.train(not mode)
    own.asked.clear()
    set_mode([whole, None], mode)
    assert own.asked == [mode]
    assert set(modes(whole, other)) == {mode}


def test_a_network_is_switched_but_for_its_trunk() -> None:
    network = Transformer(SPEC)
    assert network.eval() is network
    assert set(modes(network)) == {False}
    assert network.train() is network
    assert set(modes(network)) == {True}
    network.cut = Cut(decoder=1)
    decoder: Any = network.decoder
    assert set(modes(decoder.blocks[0])) == {False}
    assert set(modes(decoder.blocks[1], decoder.norm, network.head)) == {True}
    assert (decoder.training, network.training) == (False, True)
