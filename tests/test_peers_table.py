"""The table of benchmarks/peers: medians and ratios by hand, and the rows that must be void."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks" / "peers"


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    return importlib.import_module("table"), importlib.import_module("workloads")


def measured(pace: float, **changed: Any) -> dict[str, Any]:
    """Three steps of 100 tokens, the first one slow."""
    return {
        "seconds": [9.0, pace, pace],
        "tokens": [100, 100, 100],
        "supervised": [10, 20, 30],
        "losses": [3.0, 2.0, 1.0],
        "job_seconds": 9 + 2 * pace,
        "trainable": 7,
        "loss": 2.0,
        "peak_mb": 50.0 * pace,
        **changed,
    }


def last_row(modules: tuple[ModuleType, ModuleType], other: dict[str, Any], **sizes: Any) -> list[str]:
    table, workloads = modules
    workload = workloads.Workload("llama", **{"rows": 24, "batch_size": 8, "warmup": 1, **sizes})
    lines = table.compared(workload, {"microtune": [measured(2.0)], "peer": [other]})
    return [cell.strip() for cell in lines[-1].strip("|").split("|")]


def test_rates_leave_the_warm_up_out_and_ratios_are_microtunes_over_the_peers(
    modules: tuple[ModuleType, ModuleType],
) -> None:
    row = last_row(modules, measured(5.0, loss=2.019))
    assert row == ["peer", "20.0 (20.0-20.0)", "2.50 x as fast", "250", "2.50", "7", "60", "2.0190"]


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"trainable": 8}, "void: 8 parameters train instead of 7"),
        ({"supervised": [10, 20, 31]}, "void: 61 supervised instead of 60"),
        ({"tokens": [100, 100, 99]}, "void: 299 tokens instead of 300"),
        ({"loss": 2.03}, "void: its held-out loss 2.0300 is 1.5% from microtune's 2.0000"),
        ({"loss": float("nan")}, "void: its held-out loss nan is nan% from microtune's 2.0000"),
        ({"seconds": [9.0, 5.0], "tokens": [100, 200]}, "void: 2 steps instead of 3"),
    ],
)
def test_other_work_is_void(modules: tuple[ModuleType, ModuleType], changed: dict[str, Any], reason: str) -> None:
    row = last_row(modules, measured(5.0, **changed))
    assert row[2] == reason
    assert row[4] == "void"


def test_a_peer_that_ran_one_epoch_is_compared_with_that_epoch(modules: tuple[ModuleType, ModuleType]) -> None:
    one = measured(5.0, seconds=[5.0], tokens=[100], supervised=[10], losses=[3.02], job_seconds=5.0)
    row = last_row(modules, one, rows=8, epochs=3, rate="samples/s", loss="epoch loss")
    # 8 rows in 5 s; microtune took 24 rows in 13 s, and had the loss 3 after its first epoch
    assert row[-1] == "3.0200 (microtune then 3.0000)"
    assert row[:4] == ["peer", "1.6 (1.6-1.6)", "15.0 (extrapolated: ran 1 of 3)", f"{24 / 13 / 1.6:.2f} x as fast"]


def test_a_failure_says_why(modules: tuple[ModuleType, ModuleType]) -> None:
    assert last_row(modules, {"failed": "no memory"}) == ["peer", "failed: no memory"]


def test_generated_rows_are_exact(modules: tuple[ModuleType, ModuleType]) -> None:
    _, workloads = modules
    documents = list(workloads.document_rows(1000, 512, 1))
    assert sum(len(row["text"].split()) + 1 for row in documents) == 1000
    assert len(set(workloads.syllable_words(49_149))) == 49_149
    texts = list(workloads.labelled_rows(154, 1))
    assert len({row["label"] for row in texts}) == 77
