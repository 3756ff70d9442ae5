"""Forgetting: a model compared with itself has lost nothing; figures equal the plain computation."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

import microtune as mt
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.run.forgetting import compare, measure, reference
from microtune.tasks.language_modelling import document_ids
from tiny_model import TEXTS, make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def test_nothing_is_forgotten_without_training(folder: Path) -> None:
    found = measure(mt.load(str(folder)), mt.load(str(folder)), TEXTS)
    assert found.kind == "bits_per_byte"
    assert found.after == found.before
    assert found.change == 0
    assert found.texts == len(TEXTS)


def test_bits_per_byte_equal_the_plain_computation(folder: Path) -> None:
    model = mt.load(str(folder))
    total = 0.0
    for text in TEXTS:
        ids = document_ids(model.text, text)
        total += float(F.cross_entropy(model.logits([ids])[0][:-1], torch.tensor(ids[1:]), reduction="sum"))
    wanted = total / math.log(2) / sum(len(text.encode()) for text in TEXTS)
    assert reference(model, TEXTS).bits == pytest.approx(wanted, rel=1e-6)


def test_a_label_head_leaves_the_vocabularys_in_its_place(folder: Path) -> None:
    base, tuned = mt.load(str(folder)), mt.load(str(folder))
    tuned.network.head = LabelHead(tuned.spec, 3)
    assert measure(base, tuned, TEXTS).change == 0
    with torch.no_grad():
        tuned.network.tokens.weight.mul_(1.5)
    changed = measure(base, tuned, TEXTS)
    whole = mt.load(str(folder))  # tied: scaled in both places, as in the tuned one
    with torch.no_grad():
        whole.network.tokens.weight.mul_(1.5)
    assert changed.after == measure(base, whole, TEXTS).after
    assert changed.after != changed.before


def test_drift_is_the_mean_cosine_distance(folder: Path) -> None:
    base, tuned = mt.load(str(folder)), mt.load(str(folder))
    for model in (base, tuned):
        model.missing_head = ("head.out.weight",)  # as of an encoder: there is nobody to ask for tokens
    with torch.no_grad():
        tuned.network.tokens.weight.add_(torch.randn(tuned.network.tokens.weight.shape) * 0.05)
    found = measure(base, tuned, TEXTS)
    wanted = 1 - F.cosine_similarity(base.embed(TEXTS), tuned.embed(TEXTS)).mean()
    assert found.kind == "drift"
    assert found.before == 0
    assert found.after == pytest.approx(float(wanted), abs=1e-6)
    assert found.after > 1e-4
    assert measure(base, base, TEXTS).after == pytest.approx(0, abs=1e-6)


def test_one_reference_serves_many(folder: Path) -> None:
    base = reference(mt.load(str(folder)), TEXTS)
    assert compare(base, mt.load(str(folder))) == compare(base, mt.load(str(folder)))


def test_texts_that_the_model_cannot_read_are_left_out(folder: Path) -> None:
    model = mt.load(str(folder))
    assert measure(model, model, [*TEXTS, " ", ""]).texts == len(TEXTS)
    with pytest.raises(InputError, match="general texts"):
        measure(model, model, [" "])
