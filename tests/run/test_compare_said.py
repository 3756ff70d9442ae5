"""What a comparison says where it has no result, or no time for a part of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_compare import Slow, ask
from tiny_runs import make_base, make_rows

from microtune.errors import InputError, RunError
from microtune.run.compare.contest import Ranked


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("compare")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


def test_a_comparison_in_which_nothing_trains_is_no_result(
    made: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All fitted when they were measured, and fail in earnest."""
    from microtune.run import tune

    def full(*_: Any, **__: Any) -> Any:
        raise InputError("The run does not fit into memory.")
        yield

    monkeypatch.setattr(tune, "tune", full)
    with pytest.raises(RunError, match=r"^No method could be trained\. head: The run does not fit into memory\.$"):
        ask(made, tmp_path / "c", ("head", "lora:2"))
    assert not (tmp_path / "c" / "compare.json").exists()


def test_what_there_was_no_time_to_measure_is_said(made: tuple[str, str], tmp_path: Path) -> None:
    """The last rung ends two seconds before the budget, and reading general texts is foreseen to take longer."""
    clock = Slow(0.0)

    def late(event: Any) -> None:
        if isinstance(event, Ranked):
            clock.now = 100 + 300 - 0.001

    found = ask(made, tmp_path / "c", ("head", "lora:2"), on_event=late, clock=clock)
    assert [line.forgetting for line in found.lines] == [None, None]
    assert "Forgetting of head, lora-2 was not measured: the budget left no time for it." in found.results.notes
