"""Comparing methods: rungs, budget, what is left on disk, and that nothing is learnt twice or crowned inside noise."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_runs import make_base, make_rows, run, tune_recipe

from microtune.data.sources import Row
from microtune.data.splits import few
from microtune.errors import InputError, RunError
from microtune.run.compare import Comparison, Question, compare_recipe
from microtune.run.compare.budget import Budget, in_time, parse_time
from microtune.run.compare.candidates import make_entries, said_as
from microtune.run.compare.contest import Begun, Ranked, Skipped
from microtune.run.compare.halving import Mark, Rung, make_rungs, ranked
from microtune.run.compare.heats import curve_sizes
from microtune.run.compare.verdict import Contender, decide
from microtune.run.folder import read_metrics
from microtune.run.load import load
from microtune.run.session import Interrupted, Sitting
from microtune.run.train import Step
from microtune.run.verbs import Run
from microtune.tasks.classification import Classification

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("compare")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


def ask(
    made: tuple[str, str], out: Path, methods: tuple[Any, ...], *, budget: str = "5m", on_event: Any = None, **more: Any
) -> Comparison:
    """A comparison of runs with eight steps in two epochs."""
    options = {key: more.pop(key) for key in ("clock", "overwrite") if key in more}
    recipe = tune_recipe(*made, checkpoint_steps=0, **more.pop("train", {}))
    recipe = recipe.model_copy(update={"out": str(out)})
    return compare_recipe(recipe, Question(methods, budget, **more), on_event=on_event, **options)


def test_rungs_halve_candidates_and_double_steps() -> None:
    assert make_rungs(2, 30, 10) == [Rung(30, 2)]
    assert make_rungs(4, 40, 10) == [Rung(20, 4), Rung(40, 2)]
    assert make_rungs(8, 40, 10) == [Rung(10, 8), Rung(20, 4), Rung(40, 2)]
    assert make_rungs(5, 30, 10) == [Rung(10, 5), Rung(20, 3), Rung(30, 2)]
    assert make_rungs(4, 100, 400) == [Rung(50, 4), Rung(100, 2)]  # less than an epoch: steps
    assert make_rungs(8, 2, 1) == [Rung(1, 8), Rung(2, 2)]
    assert make_rungs(1, 7, 3) == [Rung(7, 1)]


def test_ranking_parts_equals_by_loss_and_puts_nothing_last() -> None:
    marks = {"a": Mark(math.nan), "b": Mark(0.5, 2.0), "c": Mark(0.5, 1.0), "d": Mark(0.9, 9.0)}
    assert ranked(marks, greater_is_better=True) == ["d", "c", "b", "a"]
    assert ranked(marks, greater_is_better=False) == ["c", "b", "d", "a"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("1.5 h", 5400), ("2h30m", 9000), ("45", 45), ("3 minutes", 180)]
)
def test_times(text: str, seconds: float) -> None:
    assert parse_time(text) == seconds


@pytest.mark.parametrize("text", ["10 parsecs", "", "-5m", "0s", "1e9h", "m", "9999999h", "１０m"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(InputError, match="is not a time; write a number and a unit, such as 90s, 10m or 1h"):
        parse_time(text)


def test_times_in_words() -> None:
    said = [in_time(s) for s in (0.25, 3.21, 42, 100, 120, 4000, 9000)]
    assert said == ["0.25 s", "3.2 s", "42 s", "1 min 40 s", "2 min", "67 min", "2.5 h"]


def test_a_budget_is_shared_in_proportion() -> None:
    """Aim 95 of 100 seconds; 15 are spent, 20 kept for endings: 60 are left for work of 120, so half of each wish."""
    now = [15.0]
    budget = Budget(100, began=0.0, clock=lambda: now[0])
    assert budget.left == 80
    assert budget.share(40, 120, 120, keep=20) == 15 + 20
    assert budget.share(40, 40, 40, keep=20) == 15 + 60
    assert budget.share(10, 40, 120, keep=20) == 15 + 15  # a rung comes before later ones, in proportion ...
    assert budget.share(10, 20, 120, keep=20) == 15 + 20  # ... up to twice what was measured
    budget.add(70)  # of an earlier sitting
    assert budget.left == 10
    assert budget.share(40, 120, 120, keep=20) == 15


def test_methods_are_said_and_named() -> None:
    assert said_as({"name": "lora", "rank": 4}) == "lora(rank=4)"
    assert said_as(["head", "lora:2"]) == "head+lora:2"
    entries = make_entries(["lora:8", {"name": "lora", "rank": 8}, "head"], [8, 32], [0, 1])
    assert [entry.runs[0] for entry in entries[:3]] == ["lora-8-n8-seed0", "lora-rank-8-n8-seed0", "head-n8-seed0"]
    assert len({run for entry in entries for run in entry.runs}) == 12
    with pytest.raises(InputError, match='"head" stands twice'):
        make_entries(["head", "head"], [None], [0])
    with pytest.raises(InputError, match="head alone; a comparison needs two methods at least"):
        make_entries(["head"], [None], [0])


def test_few_rows_are_nested_and_even() -> None:
    rows = [Row({"label": "ab"[i % 3 == 0]}, "x", i) for i in range(60)]
    eight, four = (few(rows, n, label=lambda row: row.data["label"], seed=1) for n in (8, 4))
    assert len(eight) == 16
    assert len(four) == 8
    assert {row.line for row in four} < {row.line for row in eight}
    assert [row.line for row in eight] == sorted(row.line or 0 for row in eight)
    assert [row.data["label"] for row in eight].count("b") == 8
    assert len(few(rows, 5, label=None, seed=1)) == 5


def test_sizes_that_the_data_cannot_give() -> None:
    rows = [Row({"label": "a"}, "x", i) for i in range(30)] + [Row({"label": "b"}, "x", i) for i in range(50)]
    sizes, notes = curve_sizes([64, 8, 40], rows, lambda row: row.data["label"])
    assert sizes == {8: 16, 40: 70}
    assert notes == [
        "40 examples of each label: some labels have fewer, the rarest 30.",
        "64 examples of each label: left out, the training split has 50 of a typical label.",
    ]
    with pytest.raises(InputError, match=r"curve: no size is left; 512 examples of each label: left out"):
        curve_sizes([512], rows, lambda row: row.data["label"])


def columns(right: float, rows: int, shift: int = 0) -> dict[str, Any]:
    """Answers of which the share `right` is right; with `shift`, on other rows."""
    hits = np.roll(np.arange(rows) < right * rows, shift)
    target = np.arange(rows) % 2
    answer = np.where(hits, target, 1 - target)
    found = {"row": np.arange(rows), "answer": answer, "target": target}
    return {**found, "confidence": np.full(rows, 0.9), "loss": np.ones(rows)}


def contender(name: str, right: float, seconds: float, rows: int = 200, shift: int = 0) -> Contender:
    return Contender(name, right, seconds, 1000, [columns(right, rows, shift)])


def test_no_winner_inside_noise() -> None:
    task = Classification(labels=("a", "b"), text_field="text", label_field="label")
    near = decide(task, [contender("lora:8", 0.91, 90, shift=30), contender("head", 0.90, 10)])
    assert (near.method, near.best, near.tied) == ("head", "lora:8", ("head",))
    assert near.reason == (
        "head: within the noise of lora:8, the best on validation (accuracy 0.91, 0.01 higher on these rows), and 9 "
        "times cheaper to train; take lora:8 only if the last point matters."
    )
    even = decide(
        task, [contender("lora:8", 0.9, 20, shift=30), contender("head", 0.9, 10), contender("top:1", 0.9, 18)]
    )
    assert even.reason.startswith("head: ")  # the cheapest of equals stands first already
    far = decide(task, [contender("lora:8", 0.95, 90), contender("head", 0.70, 10)])
    assert (far.method, far.tied) == ("lora:8", ())
    assert "more than chance ahead of the next, head (by 0.25;" in far.reason
    same = decide(task, [contender("lora:8", 0.91, 12, shift=30), contender("top:1", 0.90, 10)])
    assert same.method == "lora:8"
    assert same.reason.endswith("top:1 is within the noise of these rows, but not much cheaper to train.")


def test_pairs_tell_more_than_intervals() -> None:
    """4 of 200 rows better and none worse: inside either interval (0.85 to 0.93), but hardly chance."""
    task = Classification(labels=("a", "b"), text_field="text", label_field="label")
    found = decide(task, [contender("a", 0.92, 90), contender("b", 0.90, 10)])
    assert found.method == "a"


def test_a_comparison_from_end_to_end(made: tuple[str, str], tmp_path: Path) -> None:
    """Three candidates, the worst stops half way; every folder can be used, and test is read by finalists only."""
    events: list[Any] = []
    methods = ("head", "lora:2", "top:9", "reinit:1")
    found = ask(made, tmp_path / "c", methods, on_event=events.append)
    assert [e.method for e in events if isinstance(e, Skipped)] == ["top:9"]
    rungs = [e for e in events if isinstance(e, Ranked)]
    assert [(e.rung, len(e.scores), len(e.stopped)) for e in rungs] == [(0, 3, 1), (1, 2, 0)]
    lines = {line.method: line for line in found.lines}
    assert [line.state for line in found.lines] == ["finished", "finished", "stopped", "skipped"]
    stopped = next(line for line in found.lines if line.state == "stopped")
    assert stopped.method == rungs[0].stopped[0].replace("-", ":")
    assert (stopped.steps, stopped.total_steps, stopped.split) == (4, 8, "validation")
    assert lines["top:9"].reason == "method: 9 blocks were asked for, the model has 2."
    for method, trainable in (("head", 32), ("lora:2", 32 + 2 * 2 * (4 * (16 + 16) + 3 * (16 + 24)))):
        assert lines[method].trainable == trainable
    for line in found.lines[:3]:
        folder = found.path / line.runs[0]
        assert len(Run(folder).predict(["my card was declined"])) == 1
        assert ("test" in Run(folder).scores) == (line.state == "finished")
        assert line.stored == (folder / "model" / "trained.safetensors").stat().st_size
        assert line.forgetting is not None
        assert line.forgetting["kind"] == "bits_per_byte"
        assert line.peak is None or line.peak > 1e8
        assert line.low is not None
        assert line.high is not None
        assert line.low <= (line.score or 0) <= line.high
    head = lines["head"].forgetting or {}
    assert head["before"] == pytest.approx(head["after"], abs=1e-9)  # the trunk was not touched
    assert found.recommended in methods
    stored = json.loads((found.path / "compare.json").read_text(encoding="utf-8"))
    assert stored["recommendation"]["reason"] == found.reason
    page = (found.path / "compare.md").read_text(encoding="utf-8")
    assert f"**Recommended:** {found.reason}" in page
    assert "| top:9 | - | - | - | - | - | - | - | - | skipped:" in page
    assert not (found.path / "states").exists()
    with pytest.raises(RunError, match="this comparison is finished; choose another folder"):
        ask(made, tmp_path / "c", methods)


def test_a_run_that_rested_is_the_run_that_did_not(made: tuple[str, str], tmp_path: Path) -> None:
    """Pausing at a rung, other runs in between, shared trunks: the same bits as `microtune tune` with its recipe."""
    found = ask(made, tmp_path / "c", ("top:1", "lora:2", "head"))
    line = found.lines[0]
    folder = found.path / line.runs[0]
    import yaml

    from microtune.recipe import build

    recipe = build(yaml.safe_load((folder / "recipe.yaml").read_text(encoding="utf-8")))
    run(recipe, tmp_path / "alone")
    names = ["trained.safetensors"]
    assert all((folder / "model" / n).read_bytes() == (tmp_path / "alone/model" / n).read_bytes() for n in names)
    assert Run(folder).scores == Run(tmp_path / "alone").scores
    losses = [[m["loss"] for m in read_metrics(p / "metrics.jsonl")] for p in (folder, tmp_path / "alone")]
    assert losses[0] == losses[1]


@pytest.mark.slow
def test_an_interrupted_comparison_goes_on(made: tuple[str, str], tmp_path: Path) -> None:
    """Stopped in the middle of the second candidate: the first does not train again, and the result is the same."""
    seen: list[Any] = []
    whole = ask(made, tmp_path / "whole", ("head", "lora:2", "top:1"), on_event=seen.append)
    expected = [e.step for e in seen if isinstance(e, Step)]
    before: list[Any] = []

    def stop(event: Any) -> None:
        before.append(event)
        if isinstance(event, Step) and event.step == 2 and sum(isinstance(e, Begun) for e in before) == 2:
            raise Interrupted("Stopped.")

    with pytest.raises(Interrupted):
        ask(made, tmp_path / "c", ("head", "lora:2", "top:1"), on_event=stop)
    after: list[Any] = []
    found = ask(made, tmp_path / "c", ("head", "lora:2", "top:1"), on_event=after.append)
    steps = [e.step for e in before + after if isinstance(e, Step)]
    assert len(steps) == len(expected) + 2  # the two steps after the last checkpoint
    assert [(s.method, s.score, s.low) for s in found.lines] == [(s.method, s.score, s.low) for s in whole.lines]
    assert found.recommended == whole.recommended or found.results.recommendation is not None
    with pytest.raises(RunError, match=r"holds a different comparison \(methods changed\)"):
        ask(made, tmp_path / "c", ("head", "lora:2"))


@pytest.mark.slow
def test_trunks_are_computed_once(made: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """top:1 and reinit:1, two seeds, two rungs: one trunk for training and one for validation; head has its own."""
    from microtune.run.sharing import SharedTrunk
    from microtune.run.trunk import TrunkCache

    filled, asked = [], []
    fill, shared = TrunkCache.fill, SharedTrunk.fill
    monkeypatch.setattr(TrunkCache, "fill", lambda self: filled.append(1) or fill(self))
    monkeypatch.setattr(SharedTrunk, "fill", lambda self: asked.append(1) or shared(self))
    ask(made, tmp_path / "c", ("top:1", "reinit:1", "head"), seeds=2)
    assert len(filled) == 4
    assert len(asked) >= 20


@pytest.mark.slow
def test_seeds_share_the_split_and_are_averaged(made: tuple[str, str], tmp_path: Path) -> None:
    found = ask(made, tmp_path / "c", ("head", "top:1"), seeds=2)
    line = found.lines[0]
    runs = [Run(found.path / name) for name in line.runs]
    assert len(runs) == 2
    scores = [one.scores["test"]["accuracy"] for one in runs]
    assert line.score == pytest.approx(sum(scores) / 2, abs=1e-12)
    assert line.spread == pytest.approx(float(np.std(scores, ddof=1)), abs=1e-12)
    hashes = [json.loads((one.path / "environment.json").read_text(encoding="utf-8")) for one in runs]
    assert hashes[0]["data"] == hashes[1]["data"]
    assert [h["seed"] for h in hashes] == [0, 1]
    first, second = (found.path / "outcomes" / f"{Path(name).name}.test" / "target.npy" for name in line.runs)
    assert np.array_equal(np.load(first), np.load(second))


class Slow:
    """A clock on which every step takes `seconds`, and nothing else takes any time."""

    def __init__(self, seconds: float) -> None:
        self.now, self.seconds = 100.0, seconds

    def __call__(self) -> float:
        return self.now

    def see(self, event: Any) -> None:
        if isinstance(event, Step):
            self.now += self.seconds


SLOW = pytest.mark.slow


@pytest.mark.parametrize("seconds", [0.3, pytest.param(1.0, marks=SLOW), pytest.param(4.0, marks=SLOW)])
def test_the_budget_holds_when_steps_are_slower_than_measured(
    made: tuple[str, str], tmp_path: Path, seconds: float
) -> None:
    """Steps take hundreds of times what was measured: runs are cut short, and the end comes in time, plus one step."""
    clock = Slow(seconds)
    found = ask(made, tmp_path / "c", ("head", "lora:2", "top:1"), budget="20s", on_event=clock.see, clock=clock)
    assert clock.now - 100 <= 20 * 1.1
    states = {line.state for line in found.lines}
    if seconds * 20 > 20:
        assert states & {"cut short", "unfinished"}
        assert any("cut short by the budget" in note for note in found.results.notes)
    for line in found.lines:
        if line.state in ("finished", "cut short"):
            assert load(found.path / line.runs[0])


def test_a_budget_that_is_too_small_says_what_is_needed(made: tuple[str, str], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"The budget of 0.01 s is too small: .* took"):
        ask(made, tmp_path / "c", ("head", "lora:2"), budget="0.01s")
    assert not (tmp_path / "c").exists()


def test_a_shortened_training_says_so(made: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a plan that takes ten times the budget, all candidates get the same share of the steps."""
    from microtune.run.compare import contest

    monkeypatch.setattr(contest, "fitting_scale", lambda *_: 0.5)
    monkeypatch.setattr("microtune.run.compare.heats.USEFUL_STEPS", 2)
    found = ask(made, tmp_path / "c", ("head", "lora:2"), train={"epochs": 4})
    assert [line.total_steps for line in found.lines] == [8, 8]
    assert (
        "The budget shortened every training to 8 steps (50% of the 16 that were asked for)" in found.results.notes[0]
    )


@pytest.mark.slow
def test_a_learning_curve(made: tuple[str, str], tmp_path: Path) -> None:
    """Two sizes that the data can give, one that it cannot; the same test rows for all."""
    found = ask(made, tmp_path / "c", ("head", "lora:2"), curve=(64, 4, 8))
    assert [(line.method, line.examples) for line in found.lines if line.examples == 4] == [
        (line.method, 4) for line in found.lines[:2]
    ]
    assert {(line.examples, line.state, line.split) for line in found.lines} == {
        (4, "finished", "test"),
        (8, "finished", "test"),
    }
    assert any(note.startswith("64 examples of each label: left out") for note in found.results.notes)
    sizes = [len(np.load(found.path / "outcomes" / f"head-n{n}.test" / "row.npy")) for n in (4, 8)]
    assert sizes[0] == sizes[1]
    page = (found.path / "compare.md").read_text(encoding="utf-8")
    assert "| method | 4 | 8 |" in page
    has_picture = (found.path / "curve.png").is_file()
    assert has_picture != any("needs matplotlib" in note for note in found.results.notes)


def test_the_picture(made: tuple[str, str], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    from microtune.run.compare.picture import draw
    from microtune.run.compare.results import Line, Results

    lines = [
        Line(m, n, "finished", split="test", score=0.5 + n / 100, low=0.4, high=0.9) for m in "ab" for n in (8, 32)
    ]
    results = Results("classification", "sprout", "数据.csv", "accuracy", True, 60, 30, [0], lines, None, [])
    found = draw(results, tmp_path / "curve.png")
    assert found.read_bytes().startswith(b"\x89PNG")


def test_names_beside_lines_do_not_overlap() -> None:
    from microtune.run.compare.picture import apart

    assert apart([1.0, 1.0, 5.0], 2.0, 9.0) == [1.0, 3.0, 5.0]
    assert apart([8.0, 8.0, 8.5], 2.0, 9.0) == [5.0, 7.0, 9.0]
    assert apart([], 1.0, 1.0) == []


def test_sittings_stop_in_time() -> None:
    now = [0.0]
    sitting = Sitting(steps=5, until=10.0, clock=lambda: now[0], longest=2.0)
    assert [sitting.over(step) for step in (3, 5)] == [False, True]
    now[0] = 8.5
    assert sitting.over(3)


def test_no_validation_no_comparison(made: tuple[str, str], tmp_path: Path) -> None:
    recipe = tune_recipe(*made)
    data = recipe.data.model_copy(update={"split": {"test": 0.2}})
    recipe = recipe.model_copy(update={"out": str(tmp_path / "c"), "data": data})
    with pytest.raises(InputError, match="chooses by the validation split, and this data has none"):
        compare_recipe(recipe, Question(("head", "lora:2")))
    assert not (tmp_path / "c").exists()
