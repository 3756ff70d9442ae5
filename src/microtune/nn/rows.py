"""An embedding of which only the rows that the training texts hold are moved.

A word that no text has gets no gradient, so it needs none, and no moments either: of a vocabulary of 250,000 a task
uses a few thousand. The rows in use are a table of their own while training lasts; the others stay as they are (plain
AdamW would shrink them by its decay, a few parts in ten thousand of a run).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class UsedRows(nn.Module):
    """In the place of a token embedding: `used [n, D]` trains, the rest of `weight [V, D]` does not."""

    place: Tensor

    def __init__(self, embedding: nn.Embedding, rows: Tensor) -> None:
        super().__init__()
        table = embedding.weight
        self._embedding = [embedding]  # out of sight of `modules()`
        self.rows = rows
        self.weight = table.requires_grad_(False)
        self.used = nn.Parameter(table.detach()[rows].clone())
        place = torch.full((len(table),), -1, device=table.device)
        place[rows] = torch.arange(len(rows), device=table.device)
        self.register_buffer("place", place, persistent=False)

    def forward(self, ids: Tensor) -> Tensor:
        """Ids [N] -> [N, D]; in training, every id has to be one of the rows in use."""
        place = self.place[ids]
        if self.training:
            return F.embedding(place, self.used)
        found = F.embedding(place.clamp_min(0), self.used)
        return torch.where((place < 0)[:, None], F.embedding(ids, self.weight), found)

    @torch.no_grad()
    def whole(self) -> nn.Embedding:
        """The embedding it stands for, with what was learnt in it, trainable again."""
        embedding = self._embedding[0]
        embedding.weight[self.rows] = self.used
        embedding.weight.requires_grad_(True)
        return embedding
