"""setfit's side: contrastive pairs from a few texts a class, then a logistic regression; accuracy on the test file.

`job_seconds` is `Trainer.train`, the drawing of the pairs included; loading and the test are not in it.
"""

from __future__ import annotations

import tempfile
from typing import Any

import rows
from child_transformers import count
from measure import Clock, answer, read_job


def train(job: dict[str, Any]) -> dict[str, Any]:
    """SetFit with its own defaults but `num_iterations`."""
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    train_rows, test_rows = (rows.read(job["rows"][part]) for part in ("train", "test"))
    model = SetFitModel.from_pretrained(job["model"], labels=sorted({row["label"] for row in train_rows}), device="cpu")
    with tempfile.TemporaryDirectory() as folder:
        settings = {"num_iterations": job["options"]["num_iterations"], "seed": job["repeat"], "report_to": "none"}
        trainer = Trainer(
            model=model,
            args=TrainingArguments(output_dir=folder, **settings),
            train_dataset=Dataset.from_list(train_rows),
            column_mapping={"text": "text", "label": "label"},
        )
        clock = Clock()
        trainer.train()
        clock.step()
    answers = model.predict([row["text"] for row in test_rows])
    right = [str(found) == row["label"] for found, row in zip(answers, test_rows, strict=True)]
    return {**clock.result(), "trainable": count(model.model_body), "accuracy": sum(right) / len(right)}


def main() -> None:
    """One job."""
    answer(**train(read_job()))


if __name__ == "__main__":
    main()
