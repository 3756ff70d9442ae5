"""Hostile recipes: YAML files and `key=value` overrides."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from door_checks import VALUES, Judge, attack, hostile_json
from hypothesis import strategies as st
from test_data_doors import mutated
from test_model_doors import AMOUNTS

import microtune as mt
from microtune import recipe as recipes
from microtune.adapt import make_method
from microtune.recipe import Recipe
from microtune.run.prepare import make_task

VALID: dict[str, Any] = {
    "task": {"name": "classification", "pooling": "mean"},
    "model": {"source": "sprout", "weights": "pretrained", "max_length": 32},
    "data": {
        "train": "a.csv",
        "split": {"validation": 0.1},
        "sources": [{"path": "x", "fields": ["a"], "epochs": 1.0}],
    },
    "method": {"name": "lora", "rank": 4, "roles": ["q", "v"]},
    "train": {"epochs": 1, "lr": 3e-4, "betas": [0.9, 0.99], "precision": "float32"},
    "limits": {"rows": 10, "depth": 4},
    "seed": 1,
    "out": "runs/x",
}
NASTY = [
    *("a: &a [1]\nb: *a\n", "a: &a [*a]\n", "!!python/object/apply:os.system ['id']\n", "!!python/name:os.system\n"),
    *("task: !!binary gIGC\n", "? [1]\n: 2\n", "? {a: 1}\n: 2\n", "task: 2024-13-45\n", "1: 2\n", "null: 1\n", "[]\n"),
    *(
        "seed: " + "9" * 5000 + "\n",
        "seed: 0x" + "f" * 9000 + "\n",
        "seed: .nan\n",
        "train: {lr: .inf}\n",
        "- a\n",
        "%YAML 9\n",
    ),
    *(
        "a: " + "[" * 5000,
        "a: " + "{b: " * 3000,
        "a:\n" + "".join(" " * i + "b:\n" for i in range(1, 900)),
        "\t\n",
        "\x00",
    ),
    *(
        "task: a\ntask: b\n",
        "<<: {a: 1}\n",
        "a: !!set {b}\n",
        "--- 1\n--- 2\n",
        'a: "\\ud800"\n',
        'out: "a\\0b"\n',
        "@\n",
    ),
    *(
        "task: |\n  a\n  b\n",
        "a: !!timestamp 2024-01-01\n",
        "train: {lr: 1:30:00}\n",
        "x" * 1_000_001,
        "\ufeff",
        "a: b: c\n",
    ),
]


def resolve(path: Path) -> Recipe:
    """From the file to a recipe that is written out and read again as the same."""
    recipe = recipes.build(recipes.load(path), where=str(path))
    again = recipes.build(yaml.safe_load(recipes.to_yaml(recipe)))
    assert again == recipe
    make_method(recipe.method)
    make_task(recipe)
    return recipe


def test_the_valid_one_is_valid(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(yaml.safe_dump(VALID))
    assert resolve(tmp_path / "r.yaml").seed == 1


@AMOUNTS
def test_yaml(tmp_path: Path, examples: int) -> None:
    path = tmp_path / "r.yaml"
    text = yaml.safe_dump(VALID).encode()
    nasty = st.sampled_from(NASTY).map(lambda s: s.encode("utf-8", "surrogatepass"))
    beside = st.tuples(nasty, st.booleans()).map(lambda pair: pair[0] + text if pair[1] else pair[0])

    def action(data: bytes) -> None:
        path.write_bytes(data)
        resolve(path)

    attack(Judge(tmp_path, path), st.one_of(hostile_json(VALID), mutated(text), beside), action, examples)


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_named_recipes(text: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    judge = Judge(tmp_path)
    judge(lambda: resolve(path))
    assert judge.outcomes["refused"] == 1


KEYS = [
    "train.lr",
    "method",
    "method.rank",
    "task",
    "model",
    "model.source",
    "data",
    "data.split",
    "out",
    "seed",
    "epochs",
]
KEYS += [
    "test",
    "train",
    "limits.rows",
    "train.betas",
    "",
    ".",
    "..",
    "a.b.c",
    "a." * 100 + "a",
    "train.lr.x",
    "__class__",
]


@AMOUNTS
def test_overrides(tmp_path: Path, examples: int) -> None:
    texts = st.one_of(
        st.sampled_from([json.dumps(v) for v in VALUES]),
        st.sampled_from(NASTY),
        st.text(max_size=12),
        st.sampled_from(
            ["lora:8", "lora:" + "9" * 50, "lora:-1", "top:x", ":", "lora:", "head:3", "reinit:²", "3e-4", "1e999"]
        ),
    )
    pairs = st.tuples(st.sampled_from(KEYS), st.sampled_from(["=", "=", "=", "", "==", ":"]), texts).map("".join)

    def action(assignments: list[str]) -> None:
        recipe = recipes.build(recipes.override(VALID, assignments))
        assert yaml.safe_load(recipes.to_yaml(recipe))
        make_method(recipe.method)

    attack(Judge(tmp_path), st.lists(pairs, min_size=1, max_size=3), action, examples)


def test_the_message_is_one_short_line() -> None:
    """Keys and values of megabytes, with escapes in them, stay out of the terminal."""
    for values in ({"task": "x", "a\x1b[31m\n" * 9999: 1}, {"task": {"name": "x"}, "seed": "9" * 10**6}):
        with pytest.raises(mt.InputError) as caught:
            recipes.build(values)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000
