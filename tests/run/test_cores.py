"""Threads keep to a container's share of the cores, and to what was asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import microtune as mt
from microtune.run import groups
from microtune.run.cores import cpu_share, keep_to_share, use_threads


@pytest.fixture
def container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of this process's group; torch's threads come back at the end."""
    proc, root, threads = tmp_path / "proc", tmp_path / "cgroup", torch.get_num_threads()
    (proc / "self").mkdir(parents=True)
    (root / "a/b").mkdir(parents=True)
    (proc / "self" / "cgroup").write_text("0::/a/b\n")
    monkeypatch.setattr(groups, "PROC", proc)
    monkeypatch.setattr(groups, "GROUPS", root)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    keep_to_share.cache_clear()
    torch.set_num_threads(8)
    yield root / "a/b"
    torch.set_num_threads(threads)
    keep_to_share.cache_clear()


@pytest.mark.parametrize(
    ("said", "threads"),
    [("200000 100000", 2), ("150000 100000", 2), ("120000 100000", 1), ("10000 100000", 1), ("max 100000", 8)],
)
def test_the_share_of_a_group_limits_the_threads(container: Path, said: str, threads: int) -> None:
    (container / "cpu.max").write_text(said + "\n")
    use_threads(0)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("said", ["", "many", "0 0", "1 2 3", "-5 100000", "\xff"])
def test_what_says_nothing_changes_nothing(container: Path, said: str) -> None:
    (container / "cpu.max").write_bytes(said.encode("latin-1"))
    use_threads(0)
    assert torch.get_num_threads() == 8


def test_the_group_above_counts(container: Path) -> None:
    (container / "cpu.max").write_text("400000 100000\n")
    (container.parent / "cpu.max").write_text("300000 100000\n")
    assert cpu_share() == 3.0


def test_version_1(container: Path) -> None:
    (groups.PROC / "self" / "cgroup").write_text("4:cpu,cpuacct:/a\n1:memory:/b\n")
    place = groups.GROUPS / "cpu" / "a"
    place.mkdir(parents=True)
    (place / "cpu.cfs_period_us").write_text("50000\n")
    (place / "cpu.cfs_quota_us").write_text("-1\n")
    assert cpu_share() is None
    (place / "cpu.cfs_quota_us").write_text("150000\n")
    assert cpu_share() == 3.0


def test_who_asks_is_heard(container: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`train.threads` beats the share, and loading a model afterwards leaves it; so does the environment."""
    (container / "cpu.max").write_text("200000 100000\n")
    use_threads(5)
    mt.load("sprout")
    assert torch.get_num_threads() == 5
    torch.set_num_threads(8)
    keep_to_share.cache_clear()
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    use_threads(0)
    assert torch.get_num_threads() == 8
