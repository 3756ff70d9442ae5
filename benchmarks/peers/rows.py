"""Rows for the peers' children: text -> ids as the model's own tokenizer gives them, and padded batches.

microtune reads the same files by itself; that both sides see the same tokens is checked by their counts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from measure import Clock

if TYPE_CHECKING:
    from torch import Tensor

IGNORED = -100
Encoded = dict[str, list[int]]


def read(path: str) -> list[dict[str, Any]]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def backend(folder: str) -> Any:
    """The tokenizer of a model folder."""
    from tokenizers import Tokenizer

    loaded = Tokenizer.from_file(str(Path(folder) / "tokenizer.json"))
    loaded.no_padding()
    loaded.no_truncation()
    return loaded


def answers(folder: str, path: str) -> list[Encoded]:
    """Prompt and completion -> ids and labels: the answer and its end mark are learnt, the prompt is not."""
    tokenizer, encoded = backend(folder), []
    for row in read(path):
        prompt, answer = (tokenizer.encode(row[key], add_special_tokens=False).ids for key in ("prompt", "completion"))
        answer = [*answer, tokenizer.token_to_id("<eos>")]
        encoded.append({"input_ids": prompt + answer, "labels": [IGNORED] * len(prompt) + answer})
    return encoded


def labelled(folder: str, path: str) -> list[dict[str, Any]]:
    """Text and label -> ids and the number of the label."""
    tokenizer, rows = backend(folder), read(path)
    numbers = {label: number for number, label in enumerate(sorted({row["label"] for row in rows}))}
    return [{"input_ids": tokenizer.encode(row["text"]).ids, "labels": numbers[row["label"]]} for row in rows]


def blocks(folder: str, path: str, size: int) -> list[list[int]]:
    """Documents end to end, each with its end mark, cut into blocks of `size` inputs and one more token."""
    ids = [i for document in documents(folder, path) for i in document]
    return [ids[start : start + size + 1] for start in range(0, (len(ids) - 1) // size * size, size)]


def documents(folder: str, path: str) -> list[list[int]]:
    """Ids of each document with its end mark."""
    tokenizer = backend(folder)
    end = tokenizer.token_to_id("<eos>")
    return [[*tokenizer.encode(row["text"], add_special_tokens=False).ids, end] for row in read(path)]


class Collator:
    """Rows -> tensors, padded on the right to the longest; counts what is in them."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Tensor]:
        """[B, T] ids, mask and labels ([B] where a row has one label)."""
        import torch

        longest = max(len(row["input_ids"]) for row in rows)
        lengths = [len(row["input_ids"]) for row in rows]
        ids = torch.tensor([row["input_ids"] + [0] * (longest - len(row["input_ids"])) for row in rows])
        mask = torch.tensor([[1] * n + [0] * (longest - n) for n in lengths])
        if isinstance(rows[0]["labels"], int):
            labels = torch.tensor([row["labels"] for row in rows])
        else:
            labels = torch.tensor([row["labels"] + [IGNORED] * (longest - len(row["labels"])) for row in rows])
        self.clock.count(sum(lengths), int((labels != IGNORED).sum()))
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}
