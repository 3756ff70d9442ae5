"""A whole model in Hugging Face form: what transformers and sentence-transformers open without a line of ours.

Classifiers become the architecture's `ForSequenceClassification` where that class computes the same, sentence encoders
the layout of sentence-transformers (Reimers and Gurevych, 2019); whatever would compute something else is refused.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from microtune.errors import InputError
from microtune.families.base import families, save_folder
from microtune.nn.heads import LabelHead
from microtune.nn.hidden_layer import HiddenLayer
from microtune.nn.ordinal import OrdinalHead
from microtune.run.disk import write_json
from microtune.run.export.parity import kind_of
from microtune.run.load import Model
from microtune.tasks.classification import Classification
from microtune.tasks.regression import Regression

SENTENCE = "sentence_transformers.models"
STARTS = ("decoder_start_token_id", "forced_bos_token_id", "forced_eos_token_id")  # of an encoder-decoder


def write_hf(work: Path, model: Model, dtype: torch.dtype) -> None:
    """Write `model`, which holds no adapter any more, into the folder `work`; InputError where no class fits."""
    kind, state = kind_of(model), {name: t.detach().cpu() for name, t in model.network.state_dict().items()}
    common: dict[str, Any] = {"family": model.family, "config": _config(model), "dtype": dtype}
    if kind == "label":
        spec = label_spec(model)
        common["config"] |= _problem(model)
        save_folder(work, spec, state, head="label", labels=_labels(model), **common)
    elif kind == "vocabulary":
        save_folder(work, model.spec, state, head="vocabulary", **common)
    else:
        body = {name: t for name, t in state.items() if not name.startswith("head.")}
        poolers = {name: t for name, t in model.spare.items() if name.startswith("head.pooler.")}
        save_folder(work, model.spec, body | poolers, head="none", **common)
    if model.tokenizer is not None:
        model.tokenizer.save(work)
    if kind == "sentence":
        _write_sentence_layout(work, model)
    if kind == "vocabulary" and model.network.decoder is not None and model.tokenizer is not None:
        write_json(work / "generation_config.json", generation(model))


def label_spec(model: Model) -> Any:
    """The spec with the head's own pooling and kind; InputError where transformers' class does not have them."""
    head = model.network.head
    assert isinstance(head, LabelHead)
    if isinstance(head, OrdinalHead):
        raise InputError(
            "A classifier of an ordered scale has thresholds that no class of transformers has; export to onnx, or "
            "tune with task.form=single."
        )
    name = families[model.family].architectures.get("label")
    if isinstance(head.out, HiddenLayer):
        raise InputError(
            f"This classifier has a hidden layer of {head.out.width} under its scores, which a {name or model.family} "
            "has not: export to onnx, or tune with method.hidden 0."
        )
    spec = replace(model.spec, pooling=head.pooling, label_head=head.kind, label_bias=head.out.bias is not None)
    try:
        families[model.family].to_config(spec, model.config, head="label")
    except InputError as error:
        reason = str(error).partition(" cannot express ")[2].partition(": save in our own form")[0] or str(error)
        raise InputError(
            f"This classifier cannot become a {name or model.family}: that class computes another head than this one "
            f"({reason}). Tune with task.pooling as the architecture has it, or export to onnx."
        ) from None
    return spec


def generation(model: Model) -> dict[str, Any]:
    """Which ids begin, end and fill a generated text: what `generate` of transformers stops at."""
    stops = model.text.stop_ids
    found = {"bos_token_id": model.text.id("bos"), "pad_token_id": model.text.id("pad")}
    found["eos_token_id"] = stops[0] if len(stops) == 1 else stops or None  # type: ignore[assignment]
    kept = {key: model.config.get(key) for key in STARTS}
    return {"do_sample": False} | {key: value for key, value in (kept | found).items() if value is not None}


def _config(model: Model) -> dict[str, Any]:
    """The earlier config.json with the special ids of the tokenizer, without which a padded batch has no last token."""
    if model.tokenizer is None:
        return model.config
    ids = {f"{name}_token_id": model.text.id(name) for name in ("bos", "eos", "pad")}
    return model.config | {key: value for key, value in ids.items() if value is not None}


def _labels(model: Model) -> list[str] | None:
    if isinstance(model.task, Regression):
        return [model.task.label_field or "score"]
    return [str(label) for label in model.task.labels] if isinstance(model.task, Classification) else None


def _problem(model: Model) -> dict[str, Any]:
    """What transformers calls the loss; of a regression also what turns the output into a number of the data."""
    task = model.task
    if isinstance(task, Regression):
        return {"problem_type": "regression", "target_mean": task.mean, "target_deviation": task.deviation}
    if isinstance(task, Classification):
        return {"problem_type": "multi_label_classification" if task.form == "multi" else "single_label_classification"}
    return {}


def _write_sentence_layout(work: Path, model: Model) -> None:
    """modules.json and the folders that it names: transformer, mean over the tokens, and unit length where it is."""
    parts = [
        ("Transformer", ""),
        ("Pooling", "1_Pooling"),
        *([("Normalize", "2_Normalize")] if model.normalize else []),
    ]
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"{SENTENCE}.{name}"} for i, (name, path) in enumerate(parts)
    ]
    for _, path in parts[1:]:
        (work / path).mkdir()
    write_json(work / "modules.json", modules)
    pooling = {"word_embedding_dimension": model.spec.hidden_size, "pooling_mode_mean_tokens": True}
    others = ("cls_token", "max_tokens", "mean_sqrt_len_tokens")
    write_json(work / "1_Pooling" / "config.json", pooling | {f"pooling_mode_{name}": False for name in others})
    limit = model.max_length or model.spec.max_positions
    write_json(work / "sentence_bert_config.json", {"max_seq_length": limit, "do_lower_case": False})
