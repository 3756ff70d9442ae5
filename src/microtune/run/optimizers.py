"""The optimizers of a run: parameter groups, schedule, clipping, and a state without pickle.

AdamW (Loshchilov and Hutter, 2019) for everything, or Muon (Jordan et al., 2024) for the matrices inside blocks with
AdamW for the rest. The state is tensors and plain values, ready for safetensors and JSON.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from microtune.adapt.base import Attachment, Method
from microtune.adapt.unfreezing import lies_above
from microtune.errors import RunError
from microtune.recipe import Train
from microtune.run.adamw import AdamW
from microtune.run.muon import Muon

MUON_LR_RATIO = 20.0  # Muon's rate for a given AdamW rate: its updates have unit spectral norm

MOMENTS = {"AdamW": ("step", "exp_avg", "exp_avg_sq"), "Muon": ("momentum_buffer",)}  # what each keeps per parameter


class Optimizers:
    """One or two optimizers that follow one schedule."""

    def __init__(self, attachment: Attachment, settings: Train, method: Method, total_steps: int) -> None:
        self.settings, self.total_steps = settings, total_steps
        self.base_lr = settings.lr if settings.lr is not None else method.default_lr
        head_lr = method.default_head_lr if settings.lr is None and method.default_head_lr else self.base_lr
        groups: dict[tuple[bool, bool, bool, float], list[nn.Parameter]] = {}
        self.names: list[str] = []
        for name, parameter in attachment.parameters():
            head = name.startswith("head.")
            matrix = parameter.ndim >= 2
            muon = settings.optimizer == "muon" and matrix and ".blocks." in name
            usual = head_lr if head else self.base_lr
            lr = usual if settings.lr is not None else attachment.defaults.get(name, usual)
            groups.setdefault((muon, head, matrix, lr * attachment.rates.get(name, 1.0)), []).append(parameter)
        self.parameters = [p for group in groups.values() for p in group]
        adam: list[dict[str, Any]] = []
        muon_groups: list[dict[str, Any]] = []
        for (muon, _, matrix, rate), members in groups.items():
            lr = rate * (MUON_LR_RATIO if muon else 1.0)
            decay = settings.weight_decay if matrix else 0.0
            (muon_groups if muon else adam).append({"params": members, "lr": lr, "peak": lr, "weight_decay": decay})
        early = attachment.schedule[0][1] if attachment.schedule else attachment.cut
        late = {
            p for n, p in attachment.parameters() if attachment.schedule and not lies_above(attachment.model, n, early)
        }
        self._late = late  # has no moments before it begins to train
        self.rate = 1.0  # factor on all rates, see `adjust`
        self.members: list[Any] = []
        if adam:
            self.members.append(AdamW(adam, settings.betas))
        if muon_groups:
            self.members.append(Muon(muon_groups))
        plain = all(p.device.type == "cpu" and p.dtype == torch.float32 for p in self.parameters)
        self._divides = plain and not muon_groups  # where the kernel can; it reads the divisor as float32

    def state_bytes(self) -> int:
        """What the moments will take once the first step is made."""
        return sum(
            parameter.nbytes if key != "step" else torch.float32.itemsize
            for member in self.members
            for group in member.param_groups
            for parameter in group["params"]
            for key in MOMENTS[type(member).__name__]
        )

    def zero_grad(self) -> None:
        """Forget the gradients of the last step."""
        for member in self.members:
            member.zero_grad(set_to_none=True)

    def clip(self) -> float:
        """Scale the gradients down to `train.clip`, at once or in the `step` to come; returns their norm before."""
        grads = [p.grad for p in self.parameters if p.grad is not None]
        norm = nn.utils.get_total_norm(grads)
        divisor = None
        if self.settings.clip and not norm <= self.settings.clip:  # a factor of 1 needs no pass over them
            if self._divides:  # a pass over them of its own takes as long as half of the update
                divisor = (norm + 1e-6) / self.settings.clip
            else:
                nn.utils.clip_grads_with_norm_(self.parameters, self.settings.clip, norm)
        for member in self.members if self._divides else ():
            member.divisor = divisor
        return float(norm)

    def step(self, step: int) -> float:
        """Apply the gradients with the rate of `step` (from 0); returns the base rate used."""
        share = schedule(self.settings, step, self.total_steps) * self.rate
        for member in self.members:
            for group in member.param_groups:
                group["lr"] = group["peak"] * share
            member.step()
        return self.base_lr * share

    def adjust(self, rate: float, weight_decay: float | None) -> None:
        """Multiply all rates by `rate` from now on, and put `weight_decay` in place of the settings' own."""
        self.rate = rate
        if weight_decay is not None:
            for group in (g for member in self.members for g in member.param_groups):
                group["weight_decay"] = weight_decay if group["params"][0].ndim >= 2 else 0.0

    def forget(self) -> None:
        """Drop all moments, as before the first step."""
        for member in self.members:
            member.state.clear()

    def state(self, *, copies: bool = True) -> tuple[dict[str, Tensor], list[Any]]:
        """Tensors (copies, or those in use) by name, and everything else as plain values."""
        tensors: dict[str, Tensor] = {}
        plain: list[Any] = []
        for number, member in enumerate(self.members):
            values: dict[str, dict[str, Any]] = {}
            for index, entries in member.state_dict()["state"].items():
                for key, value in entries.items():
                    if isinstance(value, Tensor):
                        tensors[f"optimizer.{number}.{index}.{key}"] = (
                            value.detach().clone() if copies else value.detach()
                        )
                    else:
                        values.setdefault(str(index), {})[key] = value
            plain.append(values)
        return tensors, plain

    def load_state(self, tensors: dict[str, Tensor], plain: list[Any]) -> None:
        """The inverse of `state`."""
        if len(plain) != len(self.members):
            raise RunError(
                f"The checkpoint holds the state of {len(plain)} optimizers; this run has {len(self.members)}."
            )
        for number, member in enumerate(self.members):
            entries: dict[int, dict[str, Any]] = {int(i): dict(v) for i, v in plain[number].items() if i.isdecimal()}
            for name, value in tensors.items():
                _, owner, index, key = (name.split(".", 3) + [""] * 3)[:4]
                if owner == str(number) and index.isdecimal():
                    entries.setdefault(int(index), {})[key] = value
            _check_state(member, entries, self._late)
            member.load_state_dict({"state": entries, "param_groups": member.state_dict()["param_groups"]})


def _check_state(member: Any, entries: dict[int, dict[str, Any]], late: set[nn.Parameter]) -> None:
    """Every parameter has its moments, of its own shape, or none has (`late`: may have): fused kernels do not ask."""
    keys = MOMENTS[type(member).__name__]
    for index, parameter in enumerate(p for group in member.param_groups for p in group["params"]):
        found = {k: v.shape for k, v in entries.get(index, {}).items() if isinstance(v, Tensor)}
        wanted = {key: torch.Size() if key == "step" else parameter.shape for key in keys}
        if entries and found != wanted and (found or parameter not in late):
            raise RunError(f"The checkpoint's state of the optimizer does not fit this run: tensor {index} differs.")


def schedule(settings: Train, step: int, total: int) -> float:
    """Share of the peak rate at `step` of `total`: linear warm-up, then the chosen descent."""
    warmup = math.ceil(settings.warmup * total)
    if step < warmup:
        return (step + 1) / warmup
    done = (step - warmup) / max(total - warmup, 1)
    if settings.schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done)) * 0.95 + 0.05
    if settings.schedule == "linear":
        return 1.0 - done
    if settings.schedule == "wsd":  # warm-up, stable, decay over the last fifth (Hu et al., 2024)
        return 1.0 if done < 0.8 else max((1.0 - done) / 0.2, 0.02)
    if settings.schedule == "inverse-sqrt":  # Vaswani et al., 2017
        return math.sqrt(max(warmup, 1) / (step + 1))
    return 1.0
