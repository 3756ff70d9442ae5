"""What was measured about the machine is measured once, and a file that is not ours changes nothing."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch

from microtune.run import machine, precision

CPU = torch.device("cpu")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MICROTUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def races(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Results of the races to come, and none more."""
    results: list[float] = []
    monkeypatch.setattr(precision, "speed_ratio", lambda *_: results.pop(0))
    return results


def resolved(width: int = 64) -> str:
    return precision.resolve("auto", CPU, width=width, rows=2048, ragged=True)


def test_a_clear_race_is_run_once_per_machine_and_size(cache: Path, races: list[float]) -> None:
    races += [2.2, 0.1]
    assert [resolved(), resolved()] == ["bfloat16"] * 2
    assert [resolved(96), resolved(96), resolved()] == ["float32", "float32", "bfloat16"]
    kept = json.loads((cache / machine.FILE).read_text())
    assert list(kept.values()) == [2.2, 0.1]
    assert all(torch.__version__ in key and "512 rows" in key for key in kept)


@pytest.mark.parametrize(("rows", "asked"), [(20, 20), (64, 64), (127, 64), (500, 448), (9999, 512)])
def test_few_sizes_are_raced(monkeypatch: pytest.MonkeyPatch, rows: int, asked: int) -> None:
    sizes: list[int] = []
    monkeypatch.setattr(precision, "speed_ratio", lambda _, rows, __: sizes.append(rows) or 2.2)
    assert precision.resolve("auto", CPU, width=64, rows=rows, ragged=True) == "bfloat16"
    assert sizes == [asked]


def test_another_number_of_threads_is_another_machine(
    cache: Path, races: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    races += [2.2, 0.5]
    assert resolved() == "bfloat16"
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert resolved() == "float32"


def test_a_close_race_is_run_again(cache: Path, races: list[float]) -> None:
    races += [1.6, 1.4, 1.7]
    assert [resolved(), resolved(), resolved()] == ["bfloat16", "float32", "bfloat16"]
    assert not cache.exists()


def test_a_race_lost_beside_other_work_is_not_the_last_word(cache: Path, races: list[float]) -> None:
    """Seen: 1.23 while other programs worked, 2.2 ever after."""
    races += [1.23, 2.2]
    assert [resolved(), resolved(), resolved()] == ["float32", "bfloat16", "bfloat16"]
    assert list(json.loads((cache / machine.FILE).read_text()).values()) == [2.2]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"a": "b"}', '{"a": 1e999}', '{"a": -1.0}', "\xff" * 9])
def test_a_damaged_file_is_measured_over(cache: Path, races: list[float], text: str) -> None:
    cache.mkdir()
    (cache / machine.FILE).write_bytes(text.encode("latin-1"))
    races += [2.2]
    assert [resolved(), resolved()] == ["bfloat16"] * 2


def test_a_folder_that_cannot_be_written_fails_nothing(cache: Path, races: list[float]) -> None:
    cache.write_text("a file where the folder should be")
    races += [2.2, 2.2]
    assert [resolved(), resolved()] == ["bfloat16"] * 2


def test_nothing_is_kept_where_the_variable_is_empty(races: list[float]) -> None:
    assert os.environ["MICROTUNE_CACHE"] == ""
    races += [2.2, 2.2]
    assert [resolved(), resolved()] == ["bfloat16"] * 2


@pytest.mark.parametrize(
    ("system", "place"),
    [("linux", ".cache/microtune"), ("darwin", "Library/Caches/microtune"), ("win32", "AppData/Local/microtune/cache")],
)
def test_the_folder_is_where_the_system_keeps_caches(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str, place: str
) -> None:
    for name in ("MICROTUNE_CACHE", "XDG_CACHE_HOME", "LOCALAPPDATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(machine.sys, "platform", system)
    monkeypatch.setattr(machine.Path, "home", lambda: tmp_path)
    assert machine.cache_folder() == tmp_path / place
