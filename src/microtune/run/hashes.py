"""Hashes of the data of a run, so that a changed file is noticed."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


def file_hash(path: str | Path) -> str:
    """SHA-256 over the names and bytes of a file, a glob or a folder; empty where nothing is there.

    In folders of a folder the names are paths: where a file stands may say its class.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(p for p in path.rglob("*") if p.is_file())
    elif path.is_file():
        files = [path]
    else:
        files = sorted(Path(p) for p in glob.glob(str(path), recursive=True) if Path(p).is_file())
    digest = hashlib.sha256()
    for file in files:
        name = file.relative_to(path).as_posix() if path.is_dir() else file.name
        digest.update(name.encode("utf-8", "surrogateescape"))
        with open(file, "rb") as source:
            while block := source.read(1 << 20):
                digest.update(block)
    return digest.hexdigest() if files else ""


def data_hash(source: Any) -> str:
    """SHA-256 of whatever rows may come from: a path, a list of dicts, a DataFrame."""
    if isinstance(source, (str, Path)):
        return file_hash(source)
    if isinstance(source, Mapping):  # parallel files, or the endings of those in a folder
        parts = [file_hash(source["folder"])] if "folder" in source else [file_hash(p) for p in source.values()]
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()
    rows = source.to_dict("records") if hasattr(source, "to_dict") else list(source)
    return hashlib.sha256(
        json.dumps(rows, sort_keys=True, default=str, ensure_ascii=False).encode("utf-8", "replace")
    ).hexdigest()
