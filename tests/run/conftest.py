"""A hub to load from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_server import NAME, Hub, files_of, point_at

from tiny_model import make_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model, of which `hub` has a copy."""
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Where the client of the hub keeps its files."""
    return tmp_path / "home" / "hub"


@pytest.fixture
def hub(cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one model, among files that no model needs; the client in this process speaks to it alone."""
    with Hub() as server:
        point_at(server, cache, monkeypatch)
        useless = {
            "pytorch_model.bin": b"\x80\x04.",
            "modeling_tiny.py": b"raise SystemExit",
            "model.fp16.safetensors": b"x",
            "onnx/model.onnx": b"x",
            "README.md": b"# tiny",
        }
        server.publish(NAME, files_of(folder) | useless)
        yield server
