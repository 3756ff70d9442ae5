"""Virtual tokens: trained vectors that stand before every text at positions 0..p-1, and that no id names.

A `Prompt` is read like words, by every block (Lester et al., 2021); a `Prefix` is keys and values of its own for each
block (Li and Liang, 2021). Each stack has one slot for them, `Stack.virtual`. They live inside the network only:
batches, tasks and readouts count given tokens. In a causal stack no virtual token depends on the text behind it, so a
batch computes them once, as a beginning that all its rows share.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from microtune.ragged import Ragged


class VirtualTokens(nn.Module):
    """The slot of a stack, empty: nothing stands before a text.

    read: virtual tokens that run through the blocks; ahead: keys and values that blocks from `first_block` on hold.
    """

    read = 0
    ahead = 0
    first_block = 0

    @property
    def count(self) -> int:
        """How many positions are taken."""
        return self.read + self.ahead

    def embeddings(self) -> Tensor | None:
        """[p, W] of a prompt: what stands in place of scaled word embeddings, before positions are added."""
        return None

    def keys_values(self) -> dict[int, tuple[Tensor, Tensor]]:
        """(keys, values), `[p, K, E]` each, by block from `first_block` on; keys as after rotation."""
        return {}


class Prompt(VirtualTokens):
    """p vectors `weight [p, W]` in place of word embeddings."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.read = len(weight)

    def embeddings(self) -> Tensor:
        """[p, W]."""
        return self.weight


class Prefix(VirtualTokens):
    """Keys and values `weight [L, 2, p, K, E]` for L blocks from `first_block` on."""

    def __init__(self, weight: Tensor, first_block: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.ahead, self.first_block = weight.shape[2], first_block

    def keys_values(self) -> dict[int, tuple[Tensor, Tensor]]:
        """(keys, values), `[p, K, E]` each, by block."""
        return {block: (pair[0], pair[1]) for block, pair in enumerate(self.dense(), self.first_block)}

    def dense(self) -> Tensor:
        """[L, 2, p, K, E]: what the blocks read, however it is made."""
        return self.weight


class ProjectedPrefix(Prefix):
    """A prefix that a small network makes of p vectors `weight [p, W]`: W -> inner -> keys and values of L blocks.

    Li and Liang (2021, section 4.3) found that training it is steadier than training keys and values themselves.
    """

    def __init__(self, weight: Tensor, inner: int, shape: tuple[int, int, int], first_block: int) -> None:
        """shape: L, K, E."""
        nn.Module.__init__(self)
        self.shape, self.ahead, self.first_block = shape, len(weight), first_block
        L, K, E = shape
        self.weight = nn.Parameter(weight)
        self.inner = nn.Linear(weight.shape[1], inner, device=weight.device, dtype=weight.dtype)
        self.outer = nn.Linear(inner, L * 2 * K * E, device=weight.device, dtype=weight.dtype)

    def dense(self) -> Tensor:
        """[L, 2, p, K, E]."""
        L, K, E = self.shape
        with torch.autocast(self.weight.device.type, enabled=False):
            made = self.outer(torch.tanh(self.inner(self.weight)))
        return made.view(self.ahead, L, 2, K, E).permute(1, 2, 0, 3, 4)


@dataclass(frozen=True)
class Opened:
    """A batch with p virtual tokens before its rows.

    inputs: its N' values say what stands there, as indexes into [p virtual tokens, N given ones]; places: [N], where
    the given tokens stand.
    """

    inputs: Ragged
    places: Tensor


def opened(inputs: Ragged, count: int, *, once: bool) -> Opened:
    """Put `count` virtual tokens before every row; `once`: as a shared beginning (causal stacks without a cache)."""
    lengths, device = inputs.lengths, inputs.lengths.device
    given = torch.arange(len(inputs.values), device=device) + count
    if once:
        order = torch.arange(len(inputs.values) + count, device=device)
        if inputs.shared:
            first = torch.zeros_like(lengths)
            first[0] = count
            return Opened(Ragged(order, lengths + first, inputs.shared + count), given)
        return Opened(Ragged(order, torch.cat((lengths.new_tensor([count]), lengths)), count), given)
    if inputs.shared:
        raise ValueError("rows share no beginning where each has virtual tokens of its own")
    places = given + count * inputs.rows
    long = Ragged(
        torch.empty(len(inputs.values) + count * len(inputs), dtype=torch.int64, device=device), lengths + count
    )
    long.values.copy_(long.positions)
    long.values[places] = given
    return Opened(long, places)


def written_ahead(pair: tuple[Tensor, Tensor], rows: int) -> tuple[Tensor, Tensor]:
    """Keys and values for a cache, which keeps those of every row: `[rows * p, K, E]`."""
    keys, values = pair
    return keys.repeat(rows, 1, 1), values.repeat(rows, 1, 1)
