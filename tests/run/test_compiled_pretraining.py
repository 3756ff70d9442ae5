"""Pretraining with compiled blocks: the same model, the same bits after a resume, and a note where it fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_pretraining_options import Stopped, _changed, _stop_at
from tiny_runs import picture, pretrain_recipe, run

from microtune.nn import compiled
from microtune.run import foresee
from microtune.run.report.words.notes import in_chinese
from microtune.run.train import Step

pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute:UserWarning")  # torch's own, while it looks around


@pytest.fixture
def captured(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The graph is captured and run without generated code, which takes a compiler; how many calls went through it."""
    monkeypatch.setattr(compiled, "BACKEND", "aot_eager")
    calls: list[int] = []
    make = compiled.Compilation.__init__

    def counting(self: Any, shape: tuple[int, int]) -> None:
        make(self, shape)
        run = self.run
        self.run = lambda block, x, flow: (calls.append(len(x)), run(block, x, flow))[1]

    monkeypatch.setattr(compiled.Compilation, "__init__", counting)
    return calls


def test_the_losses_are_those_of_blocks_as_they_are_and_a_resume_changes_no_bit(
    captured: list[int], tmp_path: Path
) -> None:
    plain = _changed(pretrain_recipe(tmp_path), train={"batch_size": 8, "epochs": 2})
    asked = _changed(plain, train={"compile": True})
    losses: dict[str, list[float]] = {"plain": [], "compiled": []}
    for name, recipe in (("plain", plain), ("compiled", asked)):
        run(
            recipe,
            tmp_path / name,
            event=lambda e, into=losses[name]: into.append(e.loss) if isinstance(e, Step) else None,
        )
        assert bool(captured) == (name == "compiled")
    assert losses["compiled"] == pytest.approx(losses["plain"], rel=1e-4)
    assert set(captured) == {8 * 16}  # the batches that an epoch begins with; the last one is smaller, and as it was
    with pytest.raises(Stopped):
        run(asked, tmp_path / "again", event=_stop_at(5))
    assert picture(run(asked, tmp_path / "again").path) == picture(tmp_path / "compiled")


def test_where_torch_cannot_compile_the_run_goes_on_and_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("No working C++ compiler found.\nand so on")

    monkeypatch.setattr(compiled, "BACKEND", refuse)
    recipe = pretrain_recipe(tmp_path)
    whole = run(recipe, tmp_path / "plain")
    found = run(_changed(recipe, train={"compile": True}), tmp_path / "run")
    note = "train.compile: torch compiles nothing here, blocks ran as they are (No working C++ compiler found)."
    assert note in found.notes
    assert in_chinese(note) == (
        "train.compile：torch 在这里无法编译，各块按原样运行（No working C++ compiler found）。"
    )
    assert picture(found.path)["scores"] == picture(whole.path)["scores"]


def test_under_a_limit_of_memory_nothing_is_compiled(captured: list[int], tmp_path: Path) -> None:
    found = run(_changed(pretrain_recipe(tmp_path), train={"compile": True, "memory": "4GB"}), tmp_path / "run")
    assert not captured
    assert any("train.compile is left out under train.memory" in note for note in found.notes)


def test_a_plan_says_what_it_is_of(tmp_path: Path) -> None:
    recipe = pretrain_recipe(tmp_path)
    assert foresee.COMPILED not in foresee.plan(recipe).notes
    notes = foresee.plan(_changed(recipe, train={"compile": True})).notes
    assert foresee.COMPILED in notes
    assert all(in_chinese(note) != note for note in notes)
