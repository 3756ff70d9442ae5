"""The card of an export: its code opens the export and gives the run's answers; it names no place on this machine."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_exports import make, make_run, opened
from tiny_runs import WORDS

import microtune as mt
from microtune.errors import InputError
from microtune.run.export import loading, readers
from microtune.run.export.asking import EXAMPLES, example
from microtune.run.export.beside import beside
from microtune.run.export.card import Made, write_card
from microtune.run.export.parity import Parity
from microtune.run.load import load
from microtune.run.report.pages import page_in_chinese
from microtune.run.sources import Place
from microtune.tasks.classification import Classification
from microtune.tasks.regression import Regression

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A classifier, and a model that answers prompts, both tuned from a folder."""
    folder = tmp_path_factory.mktemp("made")
    base = make(folder / "base", "llama")
    rows = [{"prompt": f"{text} {i}", "completion": label} for label, text in WORDS.items() for i in range(12)]
    data = folder / "talk.jsonl"
    data.write_text("\n".join(json.dumps(row) for row in rows), encoding="utf-8")
    options: dict[str, Any] = {"model": str(base), "method": {"name": "lora", "rank": 2}, "epochs": 1}
    options |= {"train": {"lr": 0.02, "precision": "float32"}, "split": {"validation": 0.2}}
    mt.tune(str(data), task="instruction", out=folder / "talk", **options)
    return {"base": base, "labels": make_run(folder / "labels", base), "talk": folder / "talk"}


def card_of(folder: Path) -> tuple[dict[str, Any], str]:
    """Header and body."""
    _, head, body = (folder / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    values = yaml.safe_load(head)
    assert isinstance(values, dict)
    return values, body


def printed(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> str:
    """What the card's code prints, run beside the folder."""
    code = card_of(folder)[1].split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(folder.parent)
    capsys.readouterr()
    with readers.quietly():
        exec(compile(code, "card", "exec"), {})
    return capsys.readouterr().out.strip()


@pytest.mark.parity
@pytest.mark.parametrize("form", ["hf", "peft", pytest.param("onnx", marks=pytest.mark.slow)])
def test_the_code_gives_the_answers_of_the_run(
    form: str,
    made: dict[str, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for package in {"hf": ["transformers"], "peft": ["peft"], "onnx": ["onnxruntime", "onnxscript"]}[form]:
        pytest.importorskip(package)
    done = mt.export(made["labels"], format=form, out=tmp_path / f"export-{form}")
    if form == "peft":  # its base is wherever its user has it
        monkeypatch.chdir(tmp_path)
        (tmp_path / "path" / "to").mkdir(parents=True)
        (tmp_path / "path" / "to" / "base").symlink_to(made["base"])
    wanted = mt.Run(made["labels"]).predict([EXAMPLES[0]])[0].answer
    assert printed(done.path, capsys, monkeypatch) == wanted
    values, body = card_of(done.path)
    library = {"hf": "transformers", "peft": "peft", "onnx": "onnx"}[form]
    assert (values["library_name"], values["license"]) == (library, "unknown")
    assert values["tags"] == ["microtune", form, "classification", "lora"]
    assert values["metrics"][0] == "accuracy"
    assert "base_model" not in values
    assert "classification on labels.csv, base base, method lora; made by microtune" in body
    assert f"{done.parity.reader} has read it: label scores of 14 rows differ" in body
    assert str(made["base"].parent) not in (done.path / "README.md").read_text(encoding="utf-8")


@pytest.mark.parity
def test_the_code_of_a_model_that_writes(
    made: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("transformers")
    done = mt.merge(made["talk"], out=tmp_path / "whole")
    wanted = mt.Run(made["talk"]).predict([EXAMPLES[0]], max_new_tokens=loading.NEW)[0].answer
    assert printed(done.path, capsys, monkeypatch).rstrip("\ufffd") == wanted.strip()  # half a character is not shown
    values, body = card_of(done.path)
    assert values["pipeline_tag"] == "text-generation"
    assert "The 14 updates of the adapter are merged into the weights." in body


def test_a_gguf_file_is_asked_by_a_command(made: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    done = mt.export(made["talk"], format="gguf", out=tmp_path / "my models")
    values, body = card_of(done.path)
    assert (values["library_name"], values["base_model_relation"] if "base_model" in values else "") == ("gguf", "")
    model = opened(made["talk"])
    asked = example(model)
    assert asked is not None
    assert asked.text is not None
    assert f"llama-completion -m 'my models/model.gguf' -p '{asked.text}' -n 40 --temp 0 -no-cnv\n" in body
    assert model.text.encode(asked.text, special=asked.special, parse=True) == asked.ids
    assert "Of the run in float32, before the export; in float16 they can differ." in body


def test_in_the_language_of_the_run(made: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    export: Any = mt.export
    english = card_of(export(made["talk"], format="gguf", out=tmp_path / "model").path)[1]
    chinese = card_of(export(made["talk"], format="gguf", out=tmp_path / "model", overwrite=True, lang="zh").path)[1]
    assert "## Limits" in english
    for line in ("## 使用", "## 得分", "## 数据", "## 训练", "## 局限", "它最多读 160 个词元。"):
        assert line in chinese
    assert page_in_chinese(chinese) == chinese
    report = made["talk"] / "README.md"
    before = report.read_text(encoding="utf-8")
    try:
        mt.Run(made["talk"]).report("zh")
        again = card_of(export(made["talk"], format="gguf", out=tmp_path / "model", overwrite=True).path)[1]
    finally:
        report.write_text(before, encoding="utf-8")
    assert again == chinese
    with pytest.raises(InputError, match='no report in the language "fr"'):
        export(made["talk"], format="gguf", out=tmp_path / "other", lang="fr")
    assert not (tmp_path / "other").exists()


def test_a_base_that_a_hub_knows_is_named(made: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    facts = made["talk"] / "report.json"
    before = facts.read_text(encoding="utf-8")
    values = json.loads(before)
    values["model"] |= {"base": "owner/name", "base_kind": "hub", "license": "mit"}
    try:
        facts.write_text(json.dumps(values), encoding="utf-8")
        head, body = card_of(mt.export(made["talk"], format="gguf", out=tmp_path / "model").path)
    finally:
        facts.write_text(before, encoding="utf-8")
    assert (head["base_model"], head["base_model_relation"], head["license"]) == ("owner/name", "finetune", "mit")
    assert "base owner/name, method lora" in body


def test_a_model_that_was_not_tuned_here(made: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    values, body = card_of(mt.export(made["base"], format="gguf", out=tmp_path / "model").path)
    assert values == {
        "license": "unknown",
        "library_name": "gguf",
        "pipeline_tag": "text-generation",
        "tags": ["microtune", "gguf"],
    }
    assert "base, written in another form by microtune" in body
    assert "## Scores" not in body


@pytest.mark.parametrize(("kind", "name"), [("embedded", "apache-2.0"), ("folder", "unknown")])
def test_the_licence_of_a_combination(kind: str, name: str, made: dict[str, Path], tmp_path: Path) -> None:
    """It has no facts of a training, and its record names its base."""
    pytest.importorskip("gguf")
    run = tmp_path / "run"
    shutil.copytree(made["talk"], run)
    (run / "report.json").unlink()
    record = run / "model" / "model.json"
    values = json.loads(record.read_text(encoding="utf-8"))
    model = replace(opened(run), place=Place("run", "run", run))
    values["base"]["kind"] = kind
    record.write_text(json.dumps(values), encoding="utf-8")
    parts = Made("gguf", tmp_path / "out", "float16", {})
    write_card(tmp_path, model, parts, Parity("gguf", "gguf", True, "logits", 6, 0.0, 1.0, "the same weights"))
    assert card_of(tmp_path)[0]["license"] == name
    assert f"Licence: {name} (that of the model)." in card_of(tmp_path)[1]


def test_the_card_of_a_base_goes_along(made: dict[str, Path], tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "old").mkdir()
    shutil.copytree(made["base"], tmp_path / "old" / "model")
    (tmp_path / "old" / "scores.json").write_text("{}", encoding="utf-8")
    line = "A base model of 99 parameters, pretrained by microtune 0.1"
    (tmp_path / "old" / "model" / "README.md").write_text(line, encoding="utf-8")
    done = mt.export(tmp_path / "old" / "model", format="gguf", out=tmp_path / "new")
    assert "old, written in another form by microtune" in card_of(done.path)[1]
    assert f"## Training\n\n{line}\n\nLicence: unknown" in card_of(done.path)[1]


@pytest.mark.parametrize("kind", ["bert", "llama"])
def test_a_pair_is_asked_as_the_run_reads_it(kind: str, made: dict[str, Path], tmp_path: Path) -> None:
    model = opened(make(tmp_path / kind, kind))
    task = Classification(text_field="a", pair_field="b", labels=("x", "y"))
    asked = example(replace(model, task=task.fitted(model.spec)))
    assert asked is not None
    if kind == "bert":
        assert (asked.text, asked.second, asked.types) == (*EXAMPLES, True)
        assert model.text.encode_two(*EXAMPLES, 99)[0] == asked.ids
    else:
        assert asked.text is not None
        assert model.text.encode(asked.text, special=asked.special, parse=True) == asked.ids


def said(lines: list[str], scores: list[float], capsys: pytest.CaptureFixture[str]) -> str:
    exec("\n".join(lines), {"scores": torch.tensor(scores)})
    return capsys.readouterr().out.strip()


def test_scores_become_answers(capsys: pytest.CaptureFixture[str]) -> None:
    one = Classification(text_field="a", labels=("x", "y"))
    assert said(loading.answer(one, '["x", "y"]'), [1.0, 2.0], capsys) == "y"
    several = one.model_copy(update={"form": "multi", "threshold": 0.25})
    edge = math.log(0.25 / 0.75)
    assert said(loading.answer(several, '["x", "y"]'), [edge + 1e-3, edge - 1e-3], capsys) == "['x']"
    number = Regression(text_field="a", label_field="b", mean=3.0, deviation=0.5)
    assert said(loading.answer(number, "[]"), [2.0], capsys) == "4.0"


def test_what_an_export_does_not_hold_stands_among_its_limits(tmp_path: Path) -> None:
    """In the language of the card."""
    run = make_run(tmp_path / "run", Path("sprout"), method={"name": "lora", "rank": 1, "roles": ["q"]})
    notes = beside(load(run))
    assert len(notes) == 1
    english = (mt.export(run, format="hf", out=tmp_path / "en").path / "README.md").read_text(encoding="utf-8")
    assert f"\n- {notes[0]}\n" in english
    page = mt.export(run, format="hf", out=tmp_path / "zh", lang="zh").path / "README.md"
    chinese = page.read_text(encoding="utf-8")
    assert notes[0] not in chinese
    assert "\n- 置信度经过校准" in chinese
