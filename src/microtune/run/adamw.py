"""AdamW (Loshchilov and Hutter, 2019) by torch's own fused kernel, without the class around it.

`torch.optim.Optimizer` imports torch's compiler when the first one is made: 1.6 s on a laptop, in every run, for
nothing that is used here. Same groups, same names in the state, same numbers bit for bit.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim.adamw import adamw

MOMENTS = ("exp_avg", "exp_avg_sq")


class AdamW:
    """As much of `torch.optim.AdamW(fused=True)` as a run needs; a parameter without a gradient stays as it is."""

    def __init__(self, groups: list[dict[str, Any]], betas: tuple[float, float], eps: float = 1e-8) -> None:
        self.param_groups, self.betas, self.eps = groups, betas, eps
        self.state: dict[Tensor, dict[str, Tensor]] = {}
        self.divisor: Tensor | None = None  # of all gradients, a scalar in float32; None: they are taken as they are

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients with the rate and decay of each group."""
        for group in self.param_groups:
            moving = [(p, p.grad) for p in group["params"] if p.grad is not None]
            states = [self.state.get(p) or self._begin(p) for p, _ in moving]
            adamw(
                [p for p, _ in moving],
                [grad for _, grad in moving],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                max_exp_avg_sqs=[],
                state_steps=[state["step"] for state in states],
                fused=True,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=group["lr"],
                weight_decay=group["weight_decay"],
                eps=self.eps,
                maximize=False,
                grad_scale=self.divisor,
            )

    def _begin(self, parameter: Tensor) -> dict[str, Tensor]:
        empty = {key: torch.zeros_like(parameter, memory_format=torch.preserve_format) for key in MOMENTS}
        self.state[parameter] = {"step": torch.zeros((), dtype=torch.float32, device=parameter.device)} | empty
        return self.state[parameter]

    def state_dict(self) -> dict[str, Any]:
        """{"state": {number of the parameter: its tensors}, "param_groups": ...}, as torch numbers them."""
        numbers = {p: i for i, p in enumerate(p for group in self.param_groups for p in group["params"])}
        state = {numbers[p]: dict(entries) for p, entries in self.state.items()}
        return {"state": dict(sorted(state.items())), "param_groups": self.param_groups}

    def load_state_dict(self, saved: dict[str, Any]) -> None:
        """The inverse; groups stay as they are."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        self.state = {
            parameters[number]: {
                key: value.to(parameters[number].device, torch.float32 if key == "step" else parameters[number].dtype)
                for key, value in entries.items()
            }
            for number, entries in saved["state"].items()
        }
