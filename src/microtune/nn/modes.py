"""Training and evaluation mode without torch's own walk, which costs a small model more than some of its products.

Every evaluation, check and checkpoint switches twice; `nn.Module.train` lists the children of each module and checks
each assignment.
"""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn


def set_mode(modules: Iterable[nn.Module | None], mode: bool) -> None:
    """As `module.train(mode)` for each; a module with a `train` of its own, or without a plain switch, is asked."""
    for module in modules:
        if module is None:  # a place that is registered but empty
            continue
        if "training" in module.__dict__ and type(module).train is nn.Module.train:
            module.__dict__["training"] = mode
            set_mode(module._modules.values(), mode)
        else:
            module.train(mode)
