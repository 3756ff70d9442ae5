"""A classifier, an encoder or a decoder as an ONNX file, and onnxruntime's answers to it.

Written by torch's exporter over `torch.export` (torch.onnx, dynamo), batch and length open. The check gives all stored
rows to onnxruntime as one padded batch, once padded behind and once in front, and compares with our ragged network.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microtune.errors import InputError, RunError
from microtune.run.disk import write_json
from microtune.run.export.onnx_network import Padded, require_computable
from microtune.run.export.parity import COMPARED, Kind, Parity, gap_of, kind_of, largest, outputs
from microtune.run.export.readers import optional
from microtune.run.load import Model
from microtune.tasks.classification import Classification
from microtune.tasks.texts import TextTask

FILE = "model.onnx"
OPSET = 18
ONE_FILE_BYTES = 1_500_000_000  # beyond, weights stand in a file of their own: a message of protobuf ends at 2 GB
INPUTS = ("input_ids", "attention_mask")
NAMES: dict[Kind, tuple[str, ...]] = {
    "label": ("logits",),
    "vocabulary": ("logits",),
    "sentence": ("last_hidden_state", "sentence_embedding"),
    "hidden": ("last_hidden_state",),
}
BOUND = 1e-4
MISSING = 'ONNX files need the packages onnx and onnxscript: pip install "microtune[export]".'


def write_onnx(work: Path, model: Model) -> None:
    """Write `model` into `work / "model.onnx"`, its tokenizer and its label names beside it."""
    require_computable(model.spec)
    if isinstance(model.task, TextTask) and model.task.pair_field and model.task.joined == "types":
        raise InputError("The ONNX file has no input for token types, which this model of pairs reads; export to hf.")
    if optional("onnx") is None or optional("onnxscript") is None:
        raise InputError(MISSING)
    kind = kind_of(model)
    network = Padded(model.network.eval(), kind, normalize=model.normalize)
    ids = torch.tensor([[1, 2, 3, 4, 5], [1, 2, 3, 0, 0]]) % model.spec.vocab_size
    mask = torch.tensor([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    open_axes = {0: "batch", 1: "length"}
    size = 4 * sum(p.numel() for p in model.network.parameters())
    with _quiet(), torch.no_grad():
        torch.onnx.export(
            network,
            (ids, mask),
            work / FILE,
            input_names=list(INPUTS),
            output_names=list(NAMES[kind]),
            dynamic_shapes=dict.fromkeys(INPUTS, open_axes),
            opset_version=OPSET,
            dynamo=True,
            external_data=size > ONE_FILE_BYTES,
            verbose=False,
        )
    if model.tokenizer is not None:
        model.tokenizer.save(work)
    if isinstance(model.task, Classification):
        write_json(work / "labels.json", list(model.task.labels))


def check_onnx(work: Path, model: Model, rows: Sequence[Sequence[int]]) -> Parity:
    """The written file on all rows at once, by onnxruntime; where that is missing, by onnx's own evaluator."""
    onnx, runtime = optional("onnx"), optional("onnxruntime")
    kind, path = kind_of(model), str(work / FILE)
    onnx.checker.check_model(path)  # type: ignore[union-attr]
    note = ""
    if runtime is not None:
        options = runtime.SessionOptions()
        options.log_severity_level = 3
        session = runtime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        reader, ask = f"onnxruntime {runtime.__version__}", session.run
    else:
        evaluator = optional("onnx.reference")
        assert evaluator is not None
        reader, ask = f"onnx {onnx.__version__}, reference evaluator", evaluator.ReferenceEvaluator(path).run  # type: ignore[union-attr]
        note = "not checked by onnxruntime: install onnxruntime"
    wanted = outputs(model, rows)
    gap = max(gap_of(wanted, _answers(ask, rows, kind, behind=behind)) for behind in (True, False))
    bound = BOUND * largest(wanted)
    reason = f"{BOUND:g} of the largest value, for float32 rounding in another order"
    found = Parity("onnx", reader, True, COMPARED[kind], len(rows), gap, bound, reason, note)
    return found.with_facts(opset=OPSET, inputs=list(INPUTS), outputs=list(NAMES[kind]))


def _answers(ask: Any, rows: Sequence[Sequence[int]], kind: Kind, *, behind: bool) -> list[Tensor]:
    """One padded batch of all rows; what stands at a padded place is cut away."""
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    parts = []
    for number, row in enumerate(rows):
        part = slice(0, len(row)) if behind else slice(longest - len(row), longest)
        ids[number, part], mask[number, part] = torch.tensor(list(row)), 1
        parts.append(part)
    try:
        values = ask([NAMES[kind][-1]], {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]
    except Exception as error:  # both evaluators raise classes of their own
        raise RunError(f"The written ONNX file cannot be run ({str(error).splitlines()[0][:200]}).") from error
    found = torch.from_numpy(values)
    whole = kind in ("label", "sentence")
    return [found[i] if whole else found[i, part] for i, part in enumerate(parts)]


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporter's own remarks about operators and decompositions off."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
