"""What people type who know other tools: options that are values of the recipe here, and verbs by other names.

`--lr 3e-4`, `--batch-size 32` or `microtune train` are no mistakes of thought; the sentence that refuses them says what
to write instead. Nothing is guessed: only what stands in a section of the recipe, or in the tables, is known.
"""

from __future__ import annotations

from collections.abc import Iterable

WITH_VALUES = ("tune", "pretrain", "compare", "plan")  # verbs behind whose DATA recipe values stand
VERBS = {
    "train": "tune",
    "finetune": "tune",
    "fine-tune": "tune",
    "fit": "tune",
    "generate": "predict",
    "infer": "predict",
    "inference": "predict",
    "complete": "predict",
    "eval": "evaluate",
    "test": "evaluate",
    "score": "evaluate",
    "benchmark": "compare",
    "convert": "export",
    "inspect": "lint",
}
NOT_YET = ("explain", "compress", "quantize", "quantise", "serve", "studio")
OPTIONS = {
    "output": "--out",
    "output-dir": "--out",
    "num-epochs": "--epochs",
    "num-train-epochs": "--epochs",
    "base-model": "--model",
    "model-name": "--model",
    "model-name-or-path": "--model",
    "val": "--validation",
    "valid": "--validation",
    "text-column": "--text-field",
    "label-column": "--label-field",
    "target-field": "--label-field",
}  # of the verbs with recipe values
VALUES = {
    "learning-rate": "train.lr",
    "batch": "train.batch_size",
    "per-device-train-batch-size": "train.batch_size",
    "steps": "train.max_steps",
    "weight-decay": "train.weight_decay",
    "dtype": "train.precision",
    "max-len": "model.max_length",
    "max-seq-length": "model.max_length",
    "rank": "method.rank",
    "lora-r": "method.rank",
    "lora-rank": "method.rank",
    "lora-alpha": "method.alpha",
    "labels": "task.labels",
    "metric": "task.choose",
    "max-new-tokens": "task.max_new_tokens",
}


def other_verb(name: str) -> str | None:
    """What to say of a verb that other tools have, or None."""
    name = name.lower()
    if name in VERBS:
        return f'There is no command "{name}"; here it is `microtune {VERBS[name]}`.'
    return f'There is no command "{name}" yet; `microtune --help` shows what there is.' if name in NOT_YET else None


def other_option(verb: str, option: str) -> str | None:
    """What to say of an option of `verb` that is another one here, or a value of the recipe; or None."""
    name = option.lstrip("-").split("=")[0].replace("_", "-").lower()
    if verb not in WITH_VALUES:
        return None
    if name in OPTIONS and verb != "pretrain":
        return f"There is no option --{name}; here it is {OPTIONS[name]}."
    key = VALUES.get(name) or next((key for key in _keys() if key == name or key.split(".")[1] == name), None)
    if key is None:
        return None
    return f"There is no option --{name}; write {key.replace('-', '_')}=VALUE behind the data or the recipe."


def _keys() -> Iterable[str]:
    """The values of the sections `train`, `model` and `data`, as `train.batch-size`."""
    from microtune.recipe import Data, ModelChoice, Train

    for section, kind in (("train", Train), ("model", ModelChoice), ("data", Data)):
        for name in kind.model_fields:
            yield f"{section}.{name}".replace("_", "-")
