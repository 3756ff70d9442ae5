"""transformers' side: `Trainer`, with peft for LoRA; for pretraining a plain loop, as its users write one.

Rows are tokenised before training begins. Held-out loss is taken after training, row by row, with the trained model as
it stands.
"""

from __future__ import annotations

import tempfile
from typing import TYPE_CHECKING, Any

import rows
from measure import Clock, answer, read_job

if TYPE_CHECKING:
    from torch import nn

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def causal(job: dict[str, Any]) -> nn.Module:
    """The Llama, in the type of its file unless told otherwise, with LoRA or with only the top training."""
    from transformers import AutoModelForCausalLM

    dtype = job["options"].get("dtype")
    model = AutoModelForCausalLM.from_pretrained(job["model"], **({"dtype": dtype} if dtype else {}))
    if job["workload"] == "lora":
        return with_lora(model)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    for part in (*model.model.layers[-2:], model.model.norm):
        for parameter in part.parameters():
            parameter.requires_grad_(True)
    return model


def with_lora(model: Any) -> Any:
    """LoRA of rank 16 on all linear layers of the blocks."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, target_modules=ALL_LINEAR, task_type="CAUSAL_LM")
    return get_peft_model(model, config)


def classifier(job: dict[str, Any], labels: int) -> nn.Module:
    """MiniLM with the head that microtune gives it: mean of the tokens, unit root mean square, dropout, linear."""
    import torch
    import torch.nn.functional as F
    from torch import nn
    from transformers import AutoModel

    class Classifier(nn.Module):
        def __init__(self, frozen: bool) -> None:
            super().__init__()
            self.base, self.frozen = AutoModel.from_pretrained(job["model"], add_pooling_layer=False), frozen
            self.base.requires_grad_(not frozen)
            self.dropout = nn.Dropout(self.base.config.hidden_dropout_prob)
            self.out = nn.Linear(self.base.config.hidden_size, labels)
            nn.init.normal_(self.out.weight, 0.0, self.base.config.initializer_range)
            nn.init.zeros_(self.out.bias)

        def train(self, mode: bool = True) -> Any:
            """A frozen base gets no dropout."""
            super().train(mode)
            self.base.train(mode and not self.frozen)
            return self

        def forward(self, input_ids: Any, attention_mask: Any, labels: Any) -> dict[str, Any]:
            """Ids and mask [B, T], labels [B] -> loss and scores [B, classes]."""
            with torch.set_grad_enabled(torch.is_grad_enabled() and not self.frozen):
                hidden = self.base(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask[..., None].to(hidden.dtype)
            mean = F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1) * hidden.shape[-1] ** 0.5
            scores = self.out(self.dropout(mean))
            return {"loss": F.cross_entropy(scores.float(), labels), "logits": scores}

    return Classifier(frozen=job["workload"] == "head")


def arguments(job: dict[str, Any], folder: str) -> dict[str, Any]:
    """What all trainers built on transformers are given; the rest is as it comes."""
    return {
        "output_dir": folder,
        "per_device_train_batch_size": job["batch_size"],
        "num_train_epochs": job["options"].get("epochs", job["epochs"]),
        "learning_rate": job["lr"],
        "lr_scheduler_type": "constant",
        "weight_decay": 0.0,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": "none",
        "use_cpu": True,
        "disable_tqdm": True,
        "seed": job["repeat"],
        "remove_unused_columns": False,
    }


def reader(clock: Clock) -> Any:
    """A callback that reads the clock at the end of every step, and its loss."""
    from transformers import TrainerCallback

    class Reader(TrainerCallback):
        def on_train_begin(self, *_: Any, **__: Any) -> None:
            clock.start()

        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.step()

        def on_log(self, *_: Any, logs: dict[str, float] | None = None, **__: Any) -> None:
            if logs and "loss" in logs:
                clock.losses.append(float(logs["loss"]))

    return Reader()


def train(job: dict[str, Any]) -> dict[str, Any]:
    """lora, top2, head, full."""
    import torch
    from transformers import Trainer, TrainingArguments, set_seed

    set_seed(job["repeat"])
    clock, generates = Clock(), job["workload"] in ("lora", "top2")
    read = rows.answers if generates else rows.labelled
    items, held_out = (read(job["model"], job["rows"][part]) for part in ("train", "test"))
    model = causal(job) if generates else classifier(job, 1 + max(row["labels"] for row in items))
    with tempfile.TemporaryDirectory() as folder:
        own = {"bf16": job["options"].get("bf16", False)}
        own["train_sampling_strategy"] = job["options"].get("sampling", "random")
        trainer = Trainer(
            model=model,
            args=TrainingArguments(**arguments(job, folder), **own),
            train_dataset=items,
            data_collator=rows.Collator(clock),
            callbacks=[reader(clock)],
        )
        trainer.train()
    result = clock.result()
    model.eval()
    with torch.inference_mode():
        loss = held_out_loss(model, held_out) if job["workload"] != "head" else None
    return {**result, "trainable": count(model), "loss": loss}


def count(model: nn.Module) -> int:
    """Parameters that train."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def held_out_loss(model: nn.Module, items: list[dict[str, Any]]) -> float:
    """Mean over all targets."""
    counted = Clock()
    collate, total = rows.Collator(counted), 0.0
    for item in items:
        batch = collate([item])
        total += float(model(**batch)["loss"]) * counted.supervised[-1]
    return total / sum(counted.supervised)


def pretrain(job: dict[str, Any]) -> dict[str, Any]:
    """AdamW over shuffled blocks; bfloat16 by autocast."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(job["repeat"])
    model = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(job["model"]))
    blocks = torch.tensor(rows.blocks(job["model"], job["rows"]["train"], job["block"]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=job["lr"], weight_decay=0.0, fused=True)
    clock, bf16 = Clock(), bool(job["options"].get("bf16"))
    model.train()
    for batch in blocks[torch.randperm(len(blocks))].split(job["batch_size"]):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            logits = model(input_ids=batch[:, :-1]).logits
            loss = torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), batch[:, 1:].flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        clock.losses.append(float(loss.detach()))
        clock.count(batch[:, 1:].numel(), batch[:, 1:].numel())
        clock.step()
    result = clock.result()
    model.eval()
    texts = [{"input_ids": ids, "labels": ids} for ids in rows.documents(job["model"], job["rows"]["test"])]
    with torch.inference_mode():
        total = sum(
            float(model(**rows.Collator(Clock())([text]))["loss"]) * (len(text["labels"]) - 1) for text in texts
        )
    return {**result, "trainable": count(model), "loss": total / sum(len(text["labels"]) - 1 for text in texts)}


def main() -> None:
    """One job."""
    job = read_job()
    result = pretrain(job) if job["workload"] == "pretrain" else train(job)
    answer(**result, precision="bfloat16" if job["options"].get("bf16") else "float32")


if __name__ == "__main__":
    main()
