"""litgpt's side: its GPT with LoRA under Lightning Fabric, in the loop of `litgpt finetune_lora`.

As there, logits are computed in chunks of 128 positions, a step's rows go through in micro-batches of `micro_batch`
(litgpt's default: 1) whose losses count alike, and gradients are not clipped. The model is read from the same file.
"""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import rows
from child_transformers import count
from measure import Clock, answer, read_job

CHUNK = 128


def configuration(folder: Path) -> Any:
    """The shape of a Hugging Face Llama, with LoRA of rank 16 everywhere in the blocks."""
    from litgpt.lora import Config

    shape = json.loads((folder / "config.json").read_text())
    return Config(
        name="benchmark",
        block_size=shape["max_position_embeddings"],
        vocab_size=shape["vocab_size"],
        padded_vocab_size=shape["vocab_size"],
        n_layer=shape["num_hidden_layers"],
        n_head=shape["num_attention_heads"],
        n_query_groups=shape["num_key_value_heads"],
        n_embd=shape["hidden_size"],
        intermediate_size=shape["intermediate_size"],
        rotary_percentage=1.0,
        parallel_residual=False,
        bias=False,
        norm_class_name="RMSNorm",
        norm_eps=shape["rms_norm_eps"],
        mlp_class_name="LLaMAMLP",
        lora_r=16,
        lora_alpha=32,
        lora_dropout=0.0,
        **{f"lora_{part}": True for part in ("query", "key", "value", "projection", "mlp")},
    )


def weights(folder: Path, config: Any) -> dict[str, Any]:
    """The file's tensors under litgpt's names, the shared embedding under both of its names."""
    from litgpt.scripts.convert_hf_checkpoint import copy_weights_hf_llama
    from safetensors.torch import load_file

    state: dict[str, Any] = {}
    copy_weights_hf_llama(config, {}, state, load_file(folder / "model.safetensors"))
    state.setdefault("lm_head.weight", state["transformer.wte.weight"])
    return state


def loss_of(model: Any, batch: dict[str, Any]) -> Any:
    """Mean loss of the answer tokens of a micro-batch."""
    from litgpt.utils import chunked_cross_entropy

    logits = model(batch["input_ids"], lm_head_chunk_size=CHUNK)
    logits[-1] = logits[-1][..., :-1, :]
    return chunked_cross_entropy(logits, batch["labels"][..., 1:])


def train(job: dict[str, Any]) -> dict[str, Any]:
    """The loop of litgpt's finetune/lora.py without logging, validation and saving."""
    import lightning
    import torch
    from litgpt.lora import GPT, mark_only_lora_as_trainable

    fabric = lightning.Fabric(accelerator="cpu", devices=1, precision="32-true")
    fabric.seed_everything(job["repeat"])
    folder = Path(job["model"])
    items, held_out = (rows.answers(job["model"], job["rows"][part]) for part in ("train", "test"))
    config = configuration(folder)
    with fabric.init_module(empty_init=False):
        model = GPT(config)
    mark_only_lora_as_trainable(model)
    model.load_state_dict(weights(folder, config), strict=False)
    model.max_seq_length = max(len(item["input_ids"]) for item in (*items, *held_out))
    trainable = [p for p in model.parameters() if p.requires_grad]
    model = fabric.setup_module(model)
    optimizer = fabric.setup_optimizers(torch.optim.AdamW(trainable, lr=job["lr"], weight_decay=0.0))
    clock, size = Clock(), job["options"]["micro_batch"]
    random.Random(job["repeat"]).shuffle(items)
    model.train()
    clock.start()
    for start in range(0, len(items), job["batch_size"]):
        fit_step(fabric, model, optimizer, items[start : start + job["batch_size"]], size, clock)
    result = clock.result()
    model.eval()
    counted, total = Clock(), 0.0
    with torch.inference_mode():
        for item in held_out:
            total += float(loss_of(model, rows.Collator(counted)([item]))) * counted.supervised[-1]
    return {**result, "trainable": count(model), "loss": total / sum(counted.supervised)}


def fit_step(fabric: Any, model: Any, optimizer: Any, members: list[Any], size: int, clock: Clock) -> None:
    """One optimizer step over `members`, `size` rows at once."""
    own, total = Clock(), 0.0
    pieces = [members[i : i + size] for i in range(0, len(members), size)]
    for number, piece in enumerate(pieces):
        batch = rows.Collator(own)(piece)
        with fabric.no_backward_sync(model, enabled=number < len(pieces) - 1):
            loss = loss_of(model, batch)
            fabric.backward(loss / len(pieces))
        total += float(loss.detach()) / len(pieces)
    optimizer.step()
    optimizer.zero_grad()
    clock.losses.append(total)
    clock.count(sum(own.tokens), sum(own.supervised))
    clock.step()


def main() -> None:
    """One job."""
    answer(**train(read_job()))


if __name__ == "__main__":
    main()
