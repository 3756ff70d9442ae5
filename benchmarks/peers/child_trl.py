"""trl's side: `SFTTrainer` as it comes (bfloat16 autocast, gradient checkpointing), padded or packed.

Packed, a step is one block instead of eight rows; the blocks are as long as needed to have as many steps in all, so
that the sums agree, though not which rows meet in a step.
"""

from __future__ import annotations

import math
import tempfile
from typing import Any

import rows
from child_transformers import ALL_LINEAR, arguments, count, held_out_loss, reader
from measure import Clock, answer, read_job

SLACK = 1.03  # blocks are not filled to the last token


def counted(collate: Any, clock: Clock) -> Any:
    """trl's own collator, with the tokens of every batch counted."""

    def inner(examples: list[Any]) -> Any:
        batch = collate(examples)
        mask = batch.get("attention_mask")
        tokens = batch["input_ids"].numel() if mask is None else int(mask.sum())
        clock.count(tokens, int((batch["labels"] != rows.IGNORED).sum()))
        return batch

    return inner


def train(job: dict[str, Any]) -> dict[str, Any]:
    """LoRA on all linear layers."""
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import set_seed
    from trl import SFTConfig, SFTTrainer

    set_seed(job["repeat"])
    items, held_out = (rows.answers(job["model"], job["rows"][part]) for part in ("train", "test"))
    clock, own = Clock(), {"max_length": None}
    if job["options"].get("packing"):
        total = sum(len(item["input_ids"]) for item in items)
        steps = math.ceil(len(items) / job["batch_size"])
        longest = max(len(item["input_ids"]) for item in items)
        own = {"packing": True, "max_length": max(longest, math.ceil(total * SLACK / steps))}
        job["batch_size"] = 1
    data = [
        {"input_ids": item["input_ids"], "completion_mask": [int(label != rows.IGNORED) for label in item["labels"]]}
        for item in items
    ]
    peft = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=ALL_LINEAR, task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as folder:
        shared = arguments(job, folder)
        shared.pop("remove_unused_columns")
        trainer = SFTTrainer(
            model=job["model"],
            args=SFTConfig(**shared, **own, completion_only_loss=True),
            train_dataset=Dataset.from_list(data),
            peft_config=peft,
            callbacks=[reader(clock)],
        )
        trainer.data_collator = counted(trainer.data_collator, clock)
        trainer.train()
    result = clock.result()
    trainer.model.eval()
    with torch.inference_mode():
        loss = held_out_loss(trainer.model, held_out)
    return {**result, "trainable": count(trainer.model), "loss": loss}


def main() -> None:
    """One job."""
    answer(**train(read_job()))


if __name__ == "__main__":
    main()
