"""The mean of the last checkpoints' weights: often better than the last ones, at no cost of training.

(Polyak and Juditsky, 1992; Izmailov et al., 2018.) Weights are kept at the steps of checkpoints, in files of the run,
so that a resumed run has the same mean. It replaces the last weights only where it is better on held-out text.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from microtune.errors import InputError
from microtune.nn.transformer import Transformer
from microtune.run.disk import read_tensors, write_tensors
from microtune.run.held_out import HeldOut
from microtune.run.models import SAVED
from microtune.run.train import Step, Training

Event = TypeVar("Event")


class Snapshots:
    """Weights at the steps of the last `count` checkpoints of a training, in `folder`."""

    def __init__(self, folder: Path, count: int, training: Training) -> None:
        self.folder, self.count, self.training = folder, count, training
        self.every = training.settings.checkpoint_steps or training.steps_per_epoch

    def check(self, held_out: HeldOut) -> None:
        """Refuse what could not be averaged or judged."""
        if self.count and not held_out.sources:
            raise InputError(
                "recipe: train.average needs held-out text, by which the mean is judged: data.sources.held_out."
            )
        if self.count and self.training.attachment.replaced:
            raise InputError("recipe: train.average is for methods that train the model's own weights, such as full.")

    def taken(self, events: Iterable[Event]) -> Iterator[Event]:
        """The events of the training; at every checkpoint, and after the last step, its weights are kept."""
        for event in events:
            if isinstance(event, Step) and self.count and self._due(event.step):
                self._keep(event.step)
            yield event

    def mean(self) -> dict[str, Tensor]:
        """The mean of the weights that were kept, by name, on the CPU."""
        files = self._files()
        total: dict[str, Tensor] = {}
        for file in files:
            for name, value in read_tensors(file).items():
                total[name] = total[name] + value.double() if name in total else value.double()
        return {name: value / len(files) for name, value in total.items()}

    def __len__(self) -> int:
        return len(self._files())

    def _due(self, step: int) -> bool:
        return step % self.every == 0 or step == self.training.total_steps

    def _keep(self, step: int) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        weights = {name: p.detach().cpu() for name, p in self.training.attachment.parameters()}
        write_tensors(self.folder / f"step-{step:08d}.safetensors", weights)
        for old in self._files()[: -self.count]:
            old.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        """Those up to the present step: a killed process may have left later ones, which will be written again."""
        found = sorted(self.folder.glob("step-*.safetensors"))
        return [file for file in found if int(file.stem.removeprefix("step-")) <= self.training.step]


@torch.no_grad()
def put(network: Transformer, weights: Mapping[str, Tensor]) -> None:
    """Give the named tensors these values."""
    parameters = dict(network.named_parameters())
    for name, value in weights.items():
        parameters[name].copy_(value)


@torch.no_grad()
def rounded(network: Transformer) -> dict[str, Tensor]:
    """Round all weights to the type in which they are saved, so that what is scored is what is saved; gives them."""
    network.to(SAVED).to(torch.float32)
    return {name: parameter.detach().to("cpu", SAVED) for name, parameter in network.named_parameters()}
