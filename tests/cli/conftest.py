"""Where commands are tried that answer in Chinese: in an empty folder, or in one full of tiny models and runs."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty folder; one line for each sentence."""
    _speaking(tmp_path, monkeypatch)


@pytest.fixture(scope="session")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `read_in_chinese.fill`, made once: refused commands write nothing into it."""
    from read_in_chinese import fill

    return fill(tmp_path_factory.mktemp("chinese"))


@pytest.fixture
def filled(everything: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in the folder of `everything`."""
    _speaking(everything, monkeypatch)


def _speaking(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MICROTUNE_LANG", "zh")
    monkeypatch.setenv("COLUMNS", "400")
