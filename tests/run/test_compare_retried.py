"""Runs of a comparison that failed are tried again by the same command, as long as there is no result."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_compare import ask
from tiny_runs import make_base, make_rows

from microtune.errors import InputError, RunError
from microtune.run import tune as tuning
from microtune.run.compare.budget import Budget
from microtune.run.compare.candidates import make_entries
from microtune.run.compare.contest import Begun
from microtune.run.compare.halving import Rung
from microtune.run.compare.heats import Heat
from microtune.run.compare.place import Place, Progress, Seat
from microtune.run.compare.retry import try_again
from microtune.run.session import Interrupted

pytestmark = pytest.mark.usefixtures("quick")
REAL = tuning.tune


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("compare")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


def failing(*names: str) -> Any:
    """`tune.tune` that has no memory for the runs of these methods."""

    def tune(recipe: Any, *arguments: Any, **options: Any) -> Iterator[Any]:
        if recipe.method.name in names:
            raise InputError("The run does not fit into memory.")
        return (yield from REAL(recipe, *arguments, **options))

    return tune


def test_where_all_failed_the_same_command_trains_them(
    made: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "tune", failing("head", "lora"))
    for _ in range(2):  # as often as it is asked
        with pytest.raises(RunError, match="No method could be trained"):
            ask(made, tmp_path / "c", ("head", "lora:2"))
    monkeypatch.setattr(tuning, "tune", REAL)
    found = ask(made, tmp_path / "c", ("head", "lora:2"))
    assert {(line.method, line.state) for line in found.lines} == {("head", "finished"), ("lora:2", "finished")}
    with pytest.raises(RunError, match="this comparison is finished"):
        ask(made, tmp_path / "c", ("head", "lora:2"))


def test_what_has_ended_is_kept(made: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped after the first had ended and the second had failed: the second alone is trained by the next command."""
    monkeypatch.setattr(tuning, "tune", failing("lora"))

    def stop(event: Any) -> None:
        if isinstance(event, Begun) and event.run == "top-1":
            raise Interrupted("here")

    asked = ("head", "lora:2", "top:1")
    with pytest.raises(Interrupted):
        ask(made, tmp_path / "c", asked, on_event=stop)
    seats = json.loads((tmp_path / "c" / "progress.json").read_text())["seats"]
    assert seats["lora-2"]["failed"]
    assert not seats["head"]["failed"]
    before = (tmp_path / "c" / "runs" / "head" / "metrics.jsonl").read_bytes()
    monkeypatch.setattr(tuning, "tune", REAL)
    begun: list[tuple[str, int]] = []
    found = ask(
        made, tmp_path / "c", asked, on_event=lambda e: begun.append((e.run, e.rung)) if isinstance(e, Begun) else None
    )
    assert ("head", 1) not in begun
    assert ("lora-2", 1) in begun
    assert (tmp_path / "c" / "runs" / "head" / "metrics.jsonl").read_bytes().startswith(before)
    assert {line.state for line in found.lines} <= {"finished", "stopped"}
    assert all(line.score is not None for line in found.lines)


def test_a_choice_that_was_made_stands(tmp_path: Path) -> None:
    """`a` has moved on to the second rung, so `b` and `c`, which failed in the first, stay out; time goes back once."""
    entries = make_entries(("head", "lora:2", "top:1"), [None], (0,))
    names = [entry.name for entry in entries]
    heat = Heat("all", tuple(entries), (Rung(2, 3), Rung(4, 2)), 1.0)
    budget = Budget(100, began=0.0, clock=lambda: 50.0)

    def tried(**seats: Seat) -> Progress:
        runs = {entry.runs[0]: seat for entry, seat in zip(entries, seats.values(), strict=True)}
        progress = Progress(alive={"all": [names, names[:2]]}, seats=runs)
        try_again(Place(tmp_path), progress, budget, [heat])
        return progress

    broken = Seat(rungs=1, failed="no", seconds=7.0, ending=1.0)
    kept = tried(a=Seat(rungs=2), b=broken, c=broken)
    assert len(kept.seats) == 3
    assert kept.alive == {"all": [names, names[:2]]}
    assert budget.spent == 50.0
    again = tried(a=Seat(rungs=1), b=broken, c=Seat(rungs=1))
    assert list(again.seats) == [entries[0].runs[0], entries[2].runs[0]]
    assert again.alive == {"all": [names]}
    assert budget.spent == 42.0
