"""A run on disk: its folder, its lock, its metrics, its checkpoints.

A run is its own process; whatever shows it only reads this folder. The same command on an unfinished run resumes it; a
finished or a different run is refused. A checkpoint is a new directory, complete or absent; a damaged one is passed over
and the one before it is used.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any

import filelock
import yaml
from torch import Tensor

from microtune.errors import RunError
from microtune.recipe import Recipe, to_yaml
from microtune.run.disk import (
    read_tensors,
    remove_leftovers,
    verify_folder,
    write_folder,
    write_json,
    write_tensors,
    write_text,
)
from microtune.version import __version__

KEEP_CHECKPOINTS = 2


class RunFolder:
    """One run's folder, held by one process at a time."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = filelock.FileLock(self.path / "run.lock", blocking=False)
        self.notes: list[str] = []  # what a reader should be told, such as a checkpoint that was passed over

    def open(self, recipe: Recipe, data_hashes: Mapping[str, str], *, overwrite: bool) -> None:
        """Take the folder: make it, resume it, or refuse with the reason."""
        existed = self.path.exists()
        if existed and not self.path.is_dir():
            raise RunError(f"{self.path}: exists and is not a folder; choose another with --out.")
        if existed and any(self.path.iterdir()) and not (self.path / "recipe.yaml").is_file():
            if not self._only_leftovers():
                raise RunError(f"{self.path}: exists and is not a run; choose another folder with --out.")
        self.path.mkdir(parents=True, exist_ok=True)
        self._acquire()
        try:
            if overwrite:
                self._clear()
            remove_leftovers(self.path)
            if (self.path / "recipe.yaml").is_file():
                self._must_match(recipe, data_hashes)
            else:
                write_json(self.path / "environment.json", environment(recipe, data_hashes))
                write_text(self.path / "recipe.yaml", to_yaml(recipe))
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let other processes have the folder."""
        if self._lock.is_locked:
            (self.path / "run.pid").unlink(missing_ok=True)
            self._lock.release()
            (self.path / "run.lock").unlink(missing_ok=True)

    @property
    def finished(self) -> bool:
        """Whether a complete model stands in it."""
        return (self.path / "model" / "manifest.json").is_file() and (self.path / "scores.json").is_file()

    def save_checkpoint(self, step: int, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """A new directory for `step`; the oldest ones go."""

        def fill(work: Path) -> None:
            write_tensors(work / "state.safetensors", tensors)
            write_json(work / "state.json", plain)

        target = self.path / "checkpoints" / f"step-{step:08d}"
        if target.exists() and verify_folder(target) is None:
            return
        write_folder(target, fill)
        for old in self._checkpoints()[:-KEEP_CHECKPOINTS]:
            shutil.rmtree(old, ignore_errors=True)

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint that is whole, or None; damaged ones are noted and passed over."""
        for path in reversed(self._checkpoints()):
            damage = verify_folder(path)
            if damage is None:
                state = json.loads((path / "state.json").read_text(encoding="utf-8"))
                return read_tensors(path / "state.safetensors"), state
            self.notes.append(f"Checkpoint {path.name} is damaged ({damage}); using the one before it.")
            shutil.rmtree(path, ignore_errors=True)
        return None

    def drop_checkpoints(self) -> None:
        """Checkpoints are for resuming; a finished run needs none."""
        shutil.rmtree(self.path / "checkpoints", ignore_errors=True)

    def write_metric(self, kind: str, values: Any) -> None:
        """Append one object to metrics.jsonl."""
        entry = asdict(values) if is_dataclass(values) and not isinstance(values, type) else dict(values)
        line = json.dumps({"kind": kind, **entry, "time": round(time.time(), 3)}, ensure_ascii=False)
        with open(self.path / "metrics.jsonl", "a", encoding="utf-8") as out:
            out.write(line + "\n")

    def rewind_metrics(self, step: int) -> None:
        """Forget what was logged after `step`, which will be computed again."""
        path = self.path / "metrics.jsonl"
        if path.is_file():
            kept = [line for line in read_metrics(path) if line.get("step", 0) <= step]
            write_text(path, "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept))

    def _checkpoints(self) -> list[Path]:
        folder = self.path / "checkpoints"
        return sorted(p for p in folder.glob("step-*") if p.is_dir() and not p.name.endswith(".part"))

    def _acquire(self) -> None:
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            pid_file = self.path / "run.pid"
            pid = pid_file.read_text(encoding="utf-8").strip() if pid_file.is_file() else "unknown"
            raise RunError(f"{self.path}: another process (pid {pid}) is working on this run.") from error
        (self.path / "run.pid").write_text(str(os.getpid()), encoding="utf-8")

    def _only_leftovers(self) -> bool:
        known = {"run.lock", "run.pid", "environment.json"}
        return all(p.name in known or p.name.endswith(".part") for p in self.path.iterdir())

    def _clear(self) -> None:
        for path in self.path.iterdir():
            if path.name in ("run.lock", "run.pid"):
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()

    def _must_match(self, recipe: Recipe, data_hashes: Mapping[str, str]) -> None:
        stored = yaml.safe_load((self.path / "recipe.yaml").read_text(encoding="utf-8"))
        asked = yaml.safe_load(to_yaml(recipe))
        for values in (stored, asked):
            values.pop("out", None)
        differences = list(_differences(stored, asked))
        hashes = json.loads((self.path / "environment.json").read_text(encoding="utf-8")).get("data", {})
        differences += [f"data {name} has changed" for name in data_hashes if hashes.get(name) != data_hashes[name]]
        if differences:
            raise RunError(
                f"{self.path}: holds a different run ({'; '.join(differences[:4])}); "
                "choose another folder with --out, or replace it with --overwrite."
            )
        if self.finished:
            raise RunError(
                f"{self.path}: this run is finished; choose another folder with --out, or redo it with --overwrite."
            )


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics file; a half-written last line is left out."""
    result = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            result.append(value)
    return result


def default_name(recipe: Recipe, data_name: str) -> str:
    """Data stem, task, method, first 8 digits of the recipe's hash."""
    values = recipe.model_dump(mode="json", exclude={"out"})
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]
    clean = "".join(c if c.isalnum() or c in "-_" else "-" for c in data_name)[:40] or "data"
    return f"{clean}-{recipe.task.name}-{recipe.method.name}-{digest}"


def environment(recipe: Recipe, data_hashes: Mapping[str, str]) -> dict[str, Any]:
    """Versions, machine, seed and data hashes: an allow-list, never the process's variables."""
    import numpy
    import tokenizers
    import torch

    return {
        "microtune": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "tokenizers": tokenizers.__version__,
        "system": platform.system(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "seed": recipe.seed,
        "data": dict(data_hashes),
    }


def _differences(stored: Any, asked: Any, place: str = "") -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(asked, dict):
        for key in sorted(stored.keys() | asked.keys()):
            yield from _differences(stored.get(key), asked.get(key), f"{place}.{key}" if place else str(key))
    elif stored != asked:
        yield f"{place}: {str(stored)[:60]} there, {str(asked)[:60]} now"
