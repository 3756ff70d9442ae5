"""docs/adapters.md, followed literally; and many adapters on an encoder and on an encoder-decoder."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import yaml
from test_load_seq2seq import SOURCES, TARGETS, base  # noqa: F401
from tiny_exports import make
from torch.testing import assert_close

from microtune.run.adapters import load_adapters
from microtune.run.load import load
from microtune.run.predict import predict, text_rows
from microtune.tasks.classification import Classification
from tiny_adapters import ANSWERS, CLASSES, make_run

PAGE = Path(__file__).resolve().parents[2] / "docs" / "adapters.md"
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32: the same sums over batches of other shapes
TEXTS = ["my card was declined at the shop", "the transfer", "退款还没有到账", "card"]


def test_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    trips = CLASSES.model_copy(update={"labels": ("hotel", "flight")})
    for seed, (name, task) in enumerate({"cards": CLASSES, "travel": trips, "more": CLASSES}.items()):
        make_run(Path("runs") / name, "sprout", seed=seed, size=0.05, task=task)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 1
    exec(compile(blocks[0], str(PAGE), "exec"), {"__name__": "page"})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] in ("card", "transfer")
    first, second = yaml.safe_load(printed[1])
    assert (first in ("card", "transfer"), second in ("hotel", "flight")) == (True, True)
    assert printed[2].startswith("['cards', 'travel', 'both'] {'cards': ")
    both = load("runs/both")
    assert isinstance(both.task, Classification)
    assert (both.task.labels, both.task.label_field) == (CLASSES.labels, "label")
    assert Path("runs/both/model/base").is_dir()  # an embedded base travels along


def test_an_encoder(tmp_path: Path) -> None:
    """BERT: a pooler in the head, which two adapters have trained and a third one averages."""
    bert = make(tmp_path / "bert", "bert")
    first = CLASSES.model_copy(update={"pooling": "first"})
    runs = {name: make_run(tmp_path / name, bert, seed=i, task=first) for i, name in enumerate("ab")}
    many = load_adapters(bert, runs)
    many.combine("mix", {"a": 0.5, "b": 0.5}, how="svd", rank=2)
    owners = ["a", "b", "mix", "a"]
    for name, text, got in zip(owners, TEXTS, many.predict(TEXTS, owners), strict=True):
        (wanted,) = many.predict(text, name)
        assert_close(torch.tensor(list(got.scores.values())), torch.tensor(list(wanted.scores.values())), **CLOSE)
    alone = load(runs["a"])
    assert many.predict(TEXTS, "a") == list(predict(alone, text_rows(first, TEXTS)))


def test_an_encoder_decoder(base: str, tmp_path: Path) -> None:  # noqa: F811
    runs = {
        "a": make_run(tmp_path / "a", base, seed=1, task=ANSWERS),
        "b": make_run(tmp_path / "b", base, seed=2, task=ANSWERS, roles=["k", "v"], variant="dora"),
    }
    many = load_adapters(base, runs)
    owners = ["a", None, "b"]
    got = many.logits(SOURCES, owners, TARGETS)
    for name, source, target, scores in zip(owners, SOURCES, TARGETS, got, strict=True):
        alone = load(base if name is None else runs[name])
        assert_close(scores, alone.logits([source], [target])[0], **CLOSE)
    alone = load(runs["a"])
    assert many.generate("my card was", "a", max_new_tokens=4) == alone.generate("my card was", max_new_tokens=4)
    texts = many.generate_many(["my card", "the transfer"], ["a", "b"], max_new_tokens=4)
    assert texts == [many.generate(p, n, max_new_tokens=4) for p, n in (("my card", "a"), ("the transfer", "b"))]
