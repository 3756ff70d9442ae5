"""Full tuning moves the embedding rows that the training texts hold, and those alone; the rest is as without that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_runs import make_base, make_rows, picture, run, tune_recipe
from tiny_trainings import STILL, make, text_items
from tiny_trainings import run as train
from torch.testing import assert_close

import microtune as mt
from microtune.adapt.full import Full
from microtune.nn.heads import VocabularyHead
from microtune.nn.rows import UsedRows
from microtune.run import rows
from microtune.run.rows import narrow, used_ids, widen
from microtune.run.train import Step, Training
from microtune.tasks.language_modelling import LanguageModelling

pytestmark = pytest.mark.usefixtures("quick")


def narrowed(settings: dict[str, float]) -> tuple[Training, UsedRows]:
    """The training that `make` gives, with its embedding narrowed before anything else has seen it."""
    whole = make("full", spec=STILL, **settings)
    found = narrow(whole.model, whole.attachment, whole.items)
    assert found is not None
    parts = (whole.model, whole.task, Full(), whole.attachment, whole.items, whole.settings)
    return Training(*parts, seed=whole.seed, precision=whole.precision), found


def test_rows_in_use_learn_what_they_would_and_no_other_moves() -> None:
    """float32, six steps of AdamW: sums of the gradient's norm in another order."""
    plain = make("full", spec=STILL, weight_decay=0.0)
    before = plain.model.tokens.weight.detach().clone()
    few, table = narrowed({"weight_decay": 0.0})
    steps = [train(training) for training in (plain, few)]
    assert [s.loss for s in steps[1]] == pytest.approx([s.loss for s in steps[0]], rel=1e-5)
    widen(few.model, table)
    unused = torch.ones(len(before), dtype=torch.bool)
    unused[used_ids(few.items, len(before))] = False
    assert 0 < int(unused.sum()) < len(before)
    assert torch.equal(few.model.tokens.weight[unused], before[unused])
    ours, theirs = dict(few.model.named_parameters()), dict(plain.model.named_parameters())
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert_close(ours[name], value, rtol=1e-4, atol=1e-5)


def test_moments_and_gradients_are_of_the_rows_in_use() -> None:
    plain = make("full", spec=STILL)
    few, table = narrowed({})
    gone = plain.model.tokens.weight.numel() - table.used.numel()
    assert gone > 0
    assert plain.optimizers.state_bytes() - few.optimizers.state_bytes() == 2 * 4 * gone


def test_words_that_no_training_text_holds_read_the_base() -> None:
    few, table = narrowed({})
    few.model.eval()
    ids = torch.arange(len(table.weight))
    assert torch.equal(few.model.tokens(ids), table.weight)


def test_a_shared_vocabulary_head_needs_every_row() -> None:
    training = make("full", spec=STILL, task=LanguageModelling())
    assert isinstance(training.model.head, VocabularyHead)
    assert narrow(training.model, training.attachment, text_items()) is None
    assert narrow(make("lora").model, make("lora").attachment, text_items()) is None


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


def test_a_whole_run_saves_a_whole_table_and_resumes(
    inputs: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[UsedRows | None] = []
    monkeypatch.setattr("microtune.run.tune.narrow", lambda *a: made.append(rows.narrow(*a)) or made[-1])
    recipe = tune_recipe(*inputs, "full")
    run(recipe, tmp_path / "whole")

    def leave(event: object) -> None:
        if isinstance(event, Step) and event.step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "run", event=leave)
    run(recipe, tmp_path / "run")
    assert picture(tmp_path / "run")["model"] == picture(tmp_path / "whole")["model"]
    assert all(one is not None for one in made)
    assert len(made) == 3
    base, tuned = mt.load(inputs[0]).network.tokens.weight, mt.load(str(tmp_path / "run")).network.tokens.weight
    moved = (base != tuned).any(1)
    assert torch.equal(moved.nonzero()[:, 0], made[0].rows)  # type: ignore[union-attr]
    record = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    assert "frozen" in str(record["checks"])
