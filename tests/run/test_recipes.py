"""The recipes of the folder `recipes/` that tune a base run: two steps of a tiny model on rows that are made here."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import SPEC, WORDS, run

from microtune import recipe as recipes
from microtune.adapt import make_method
from microtune.data.text import train_bpe
from microtune.families.base import save_folder
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Transformer
from microtune.run.prepare import make_task

pytestmark = pytest.mark.usefixtures("quick")

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
POEM = ["床前明月光，", "疑是地上霜。"]
ROWS: dict[str, Callable[[int], dict[str, Any]]] = {
    "customer-service": lambda i: {"instruction": f"where is parcel {i}", "response": f"it left, mail a{i}@b.cn"},
    "legal-clauses": lambda i: {"document": "d", "sentence": f"we may do {i}", "unfair": int(i % 4 == 0)},
    "medical-abstracts": lambda i: {
        "medical_abstract": f"{'abcde'[i % 5] * 9} {i * 7919}",
        "condition_label": i % 5 + 1,
    },
    "financial-sentiment": lambda i: {
        "sentence": f"sales {i * 7919} {'abc'[i % 3] * 9}",
        "label": ["negative", "neutral", "positive"][i % 3],
    },
    "small-base": lambda i: {"text": f"{'abc'[i % 3] * 9} {i * 7919}", "label": "abc"[i % 3]},
    "small-base-ngrams": lambda i: {"text": f"{'abc'[i % 3] * 9} {i * 7919}", "label": "abc"[i % 3]},
    "tutoring": lambda i: {"question": f"what is {i} and 1?", "answer": f"{i} + 1 = {i + 1}\n#### {i + 1}"},
    "poetry": lambda i: {"title": f"静夜思{i}", "author": "李白", "lines": POEM},
    "product-descriptions": lambda i: {
        "meaning_representation": f"name[{i}]",
        "human_reference": f"<b>{i}</b> is good.",
    },
    "summary": lambda i: {"dialogue": f"Doctor: {i}?", "section_header": "CC", "section_text": f"Patient has {i}."},
    "dialogue": lambda i: {
        "messages": [{"role": "user", "content": f"hello {i}"}, {"role": "assistant", "content": f"good day {i}"}]
    },
    "headlines": lambda i: {"column_1": f"研究了第{i}个模型的性能", "column_2": f"模型{i}"},
    "legal-spans": lambda i: {
        "text": f"{i}. The law of Ohio applies.",
        "spans": [{"label": "Governing Law", "start": len(f"{i}. "), "end": len(f"{i}. The law of Ohio")}],
        "split": ["train", "train", "train", "validation", "test"][i % 5],
    },
    "next-day-movement": lambda i: {
        "Date": f"2016-{i // 28 + 1:02d}-{i % 28 + 1:02d}",
        **{f"Top{n}": f"{'abcde'[n % 5] * 5} {i * 7919 * n}" for n in range(1, 6)},
        "next": i * 7 % 3 % 2,
    },
    "exercises": lambda i: {
        "type": "Algebra",
        "level": f"Level {i % 5 + 1}",
        "problem": f"Find x: {i * 7919} + x.",
    },
    "author-style": lambda i: {"text": f"The morning was {'abcde'[i % 5] * 30} and {i * 7919} people walked home."},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A tiny model with room for 512 tokens, and a chat template."""
    folder = tmp_path_factory.mktemp("base")
    assert SPEC.decoder is not None
    spec = replace(SPEC, decoder=replace(SPEC.decoder, max_positions=512))
    tokenizer = train_bpe([*WORDS.values(), *POEM], spec.vocab_size)
    torch.manual_seed(3)
    network = Transformer(spec)
    initialize(network, 0.2, num_layers=2)
    save_folder(folder, spec, network.state_dict(), family="llama")
    tokenizer.save(folder)
    return str(folder)


def test_every_recipe_is_there() -> None:
    assert set(ROWS) <= {path.stem for path in FOLDER.glob("*.yaml")}


@pytest.mark.parametrize("name", ROWS)
def test_two_steps(name: str, base: str, tmp_path: Path) -> None:
    rows = [ROWS[name](i) for i in range(40)]
    values = recipes.load(FOLDER / f"{name}.yaml")
    if values["data"].get("header") is False:
        file = tmp_path / "data.tsv"
        with open(file, "w", encoding="utf-8", newline="") as out:
            csv.writer(out, delimiter="\t").writerows(row.values() for row in rows)
    else:
        file = tmp_path / "data.jsonl"
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    settings = [f"data.train={file}", f"model.source={base}", "train.max_steps=2", "train.precision=float32"]
    settings += ["task.max_new_tokens=4"] if "max_new_tokens" in values["task"] else []
    recipe = recipes.build(recipes.override(values, settings), where=name)
    run(recipe, tmp_path / "run")
    record = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    facts = json.loads((tmp_path / "run" / "report.json").read_text(encoding="utf-8"))
    assert record["scores"]["test"]["values"]["loss"] > 0
    assert [step["name"] for step in facts["steps"]] == [choice.name for choice in recipe.data.steps]
    assert facts["judged"]["examples"]["worst"]
    steps = [line for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines() if '"step", "step"' in line]
    assert len(steps) == 2
    assert (tmp_path / "run" / "report.html").stat().st_size > 20_000


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.glob("*.yaml")))
def test_every_recipe_is_one(name: str) -> None:
    """Those that need a corpus, too: no key that a section has not, in the task and the method either."""
    checked = recipes.build(recipes.load(FOLDER / name), where=name)
    assert make_task(checked).name == checked.task.name
    make_method(checked.method)
