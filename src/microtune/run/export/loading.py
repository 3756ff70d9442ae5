"""How to load an exported model, as the lines of code that stand in its card; tests run them."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Sequence

from microtune.data.tokenizer_folder import TARGET
from microtune.run.export.asking import EXAMPLES, Asked, example
from microtune.run.export.parity import Kind, kind_of
from microtune.run.load import Model
from microtune.tasks.base import Task
from microtune.tasks.classification import Classification
from microtune.tasks.regression import Regression

NEW = 40  # tokens of an answer in the examples


def loading(model: Model, format: str, name: str, base: str = "") -> list[str]:
    """Markdown: a block of code that opens the folder `name` and asks it something. base: of an adapter."""
    asked = example(model)
    if format == "gguf":
        text = EXAMPLES[0] if asked is None or asked.text is None else asked.text
        said = shlex.quote(text.replace("\\", "\\\\").replace("\n", "\\n"))
        file = shlex.quote(f"{name}/model.gguf")
        return ["```", f"llama-completion -m {file} -p {said} -n {NEW} --temp 0 -no-cnv", "```"]
    if format == "own":
        lines = ["import microtune as mt", "", f"model = mt.load({_quoted(name)})"]
    elif format == "onnx":
        lines = _onnx(model, name, asked)
    else:
        lines = _torch(model, name, asked, base)
    return ["```python", *lines, "```"]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _class(model: Model, kind: Kind) -> str:
    """The class of transformers that finds the architecture by itself."""
    if kind == "label":
        return "AutoModelForSequenceClassification"
    if kind != "vocabulary":
        return "AutoModel"
    if model.is_encoder_decoder:
        return "AutoModelForSeq2SeqLM"
    return "AutoModelForMaskedLM" if model.spec.decoder is None else "AutoModelForCausalLM"


def _torch(model: Model, name: str, asked: Asked | None, base: str) -> list[str]:
    """transformers, with peft where there is a base, or sentence-transformers."""
    kind = kind_of(model)
    if kind == "sentence" and model.tokenizer is not None and not base:
        texts = ", ".join(map(_quoted, EXAMPLES))
        lines = ["from sentence_transformers import SentenceTransformer", ""]
        return [*lines, f"model = SentenceTransformer({_quoted(name)})", f"vectors = model.encode([{texts}])"]
    made = _class(model, kind)
    lines = ["import torch", *(["from peft import PeftModel"] if base else [])]
    lines += [f"from transformers import {made}" + (", AutoTokenizer" if model.tokenizer is not None else ""), ""]
    if base:
        labels = f", num_labels={model.network.head.out.out_features}" if kind == "label" else ""  # type: ignore[union-attr]
        lines.append(f"base = {made}.from_pretrained({_quoted(base)}{labels})")
        lines.append(f"model = PeftModel.from_pretrained(base, {_quoted(name)}).eval()")
    else:
        lines.append(f"model = {made}.from_pretrained({_quoted(name)}).eval()")
    if model.tokenizer is not None:
        lines.append(f"tokenizer = AutoTokenizer.from_pretrained({_quoted(name)})")
    given = "**inputs" if asked is not None and asked.types else "input_ids=ids"
    return lines + _inputs(asked) + _read(model, kind, name, given, adapter=bool(base))


def _inputs(asked: Asked | None) -> list[str]:
    if asked is None or asked.text is None:
        return [f"ids = torch.tensor([{[1, 2, 3] if asked is None else asked.ids}])"]
    texts = ", ".join(_quoted(text) for text in (asked.text, asked.second) if text is not None)
    plain = "" if asked.special else ", add_special_tokens=False"
    read = f'tokenizer({texts}, return_tensors="pt"{plain})'
    return [f"inputs = {read}"] if asked.types else [f'ids = {read}["input_ids"]']


def _read(model: Model, kind: Kind, name: str, given: str, *, adapter: bool) -> list[str]:
    """What is done with them. given: the arguments of the model."""
    if kind == "vocabulary" and model.spec.decoder is not None:
        stops = f", eos_token_id={model.text.stop_ids}" if adapter and model.tokenizer and model.text.stop_ids else ""
        lines = [f"new = model.generate(input_ids=ids, max_new_tokens={NEW}, do_sample=False{stops})[0]"]
        if model.tokenizer is None:
            return [*lines, "print(new)"]
        writer = "tokenizer"
        if model.text.target is not model.text:
            lines.append(f"writer = AutoTokenizer.from_pretrained({_quoted(f'{name}/{TARGET}')})")
            writer = "writer"
        first = "" if model.is_encoder_decoder else "[ids.shape[1] :]"
        return [*lines, f"print({writer}.decode(new{first}, skip_special_tokens=True))"]
    lines = ["with torch.inference_mode():"]
    if kind == "vocabulary":
        return [*lines, f"    logits = model({given}).logits[0]"]
    if kind == "label":
        names = _named(model.task) if adapter else "model.config.id2label"
        return [*lines, f"    scores = model({given}).logits[0]", *answer(model.task, names)]
    return [*lines, f"    hidden = model({given}).last_hidden_state[0]"]


def _named(task: Task | None) -> str:
    """The labels in their order, which no file of an adapter names."""
    labels = task.labels if isinstance(task, Classification) else ()
    return json.dumps([str(label) for label in labels], ensure_ascii=False)


def answer(task: Task | None, names: str) -> list[str]:
    """Scores turned into what the task answers. names: what maps numbers to labels."""
    if isinstance(task, Regression):
        return [f"print(float(scores[0]) * {task.deviation!r} + {task.mean!r})"]
    if not isinstance(task, Classification) or task.form == "ordinal":
        return ["print(scores)"]
    lines = [f"labels = {names}"]
    if task.form == "multi":
        few = math.log(task.threshold / (1 - task.threshold))  # scores are log-odds
        return [*lines, f"print([labels[i] for i, score in enumerate(scores) if score >= {few!r}])"]
    return [*lines, "print(labels[int(scores.argmax())])"]


def _onnx(model: Model, name: str, asked: Asked | None) -> list[str]:
    kind = kind_of(model)
    lines = ["import numpy as np", "import onnxruntime"]
    lines += ["from tokenizers import Tokenizer"] if model.tokenizer is not None else []
    lines += ["", f"session = onnxruntime.InferenceSession({_quoted(f'{name}/model.onnx')})"]
    if model.tokenizer is not None:
        lines.append(f"tokenizer = Tokenizer.from_file({_quoted(f'{name}/tokenizer.json')})")
    lines.append(f"ids = np.array([{_onnx_ids(asked)}], dtype=np.int64)")
    output = {"label": "logits", "vocabulary": "logits", "sentence": "sentence_embedding"}.get(
        kind, "last_hidden_state"
    )
    found = {"label": "scores", "vocabulary": "logits", "sentence": "vector"}.get(kind, "hidden")
    feed = '{"input_ids": ids, "attention_mask": np.ones_like(ids)}'
    lines.append(f'{found} = session.run(["{output}"], {feed})[0][0]')
    labels = f'json.loads(Path({_quoted(f"{name}/labels.json")}).read_text(encoding="utf-8"))'
    if kind == "label":
        lines += answer(model.task, labels)
    used = any("json.loads" in line for line in lines)
    return (["import json", "from pathlib import Path", ""] if used else []) + lines


def _onnx_ids(asked: Asked | None) -> str:
    if asked is None or asked.text is None:
        return str([1, 2, 3] if asked is None else asked.ids)
    texts: Sequence[str] = [_quoted(text) for text in (asked.text, asked.second) if text is not None]
    return f"tokenizer.encode({', '.join(texts)}{'' if asked.special else ', add_special_tokens=False'}).ids"
