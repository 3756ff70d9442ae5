"""A run on disk: its folder, its lock, its metrics, its checkpoints.

A run is its own process; whatever shows it only reads this folder. The same command on an unfinished run resumes it; a
finished or a different run is refused. A checkpoint is a new directory, complete or absent; a damaged one is passed
over and the one before it is used.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import platform
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
import yaml
from torch import Tensor

from microtune.data.objects import read_object
from microtune.errors import MicrotuneError, RunError
from microtune.recipe import Recipe, build, to_yaml
from microtune.run.disk import (
    explained,
    read_tensors,
    remove_folder,
    remove_leftovers,
    verify_folder,
    write_bytes,
    write_folder,
    write_json,
    write_tensors,
    write_text,
)
from microtune.version import __version__

KEEP_CHECKPOINTS = 2
PID_SECONDS = 0.1


class RunFolder:
    """One run's folder, held by one process at a time."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = filelock.FileLock(self.path / "run.lock", blocking=False)
        self.notes: list[str] = []  # what a reader should be told, such as a checkpoint that was passed over

    def open(
        self,
        recipe: Recipe,
        data_hashes: Mapping[str, str],
        *,
        overwrite: bool,
        revisions: Mapping[str, str] | None = None,
    ) -> None:
        """Take the folder: make it, resume it, or refuse with the reason.

        revisions: hub ids -> commits, for the record.

        `overwrite` replaces a finished or a different run; an unfinished one of the same recipe is resumed all the
        same, so that the same command always continues what it began.
        """
        existed = self.path.exists()
        if existed and not self.path.is_dir():
            raise RunError(f"{self.path}: exists and is not a folder; choose another with --out.")
        if existed and not (self.path / "recipe.yaml").is_file() and not self._only_leftovers():
            raise RunError(f"{self.path}: exists and is not a run; choose another folder with --out.")
        try:
            with explained(self.path):
                self.path.mkdir(parents=True, exist_ok=True)
                self._acquire()
                self._take(recipe, data_hashes, overwrite, revisions or {})
        except BaseException:
            self.close()
            raise

    def _take(
        self, recipe: Recipe, data_hashes: Mapping[str, str], overwrite: bool, revisions: Mapping[str, str]
    ) -> None:
        """With the lock held: tidy up after a dead process, then resume, replace, begin or refuse."""
        remove_leftovers(self.path)
        if self.finished:
            self._drop_working_files()
        if (self.path / "recipe.yaml").is_file():
            refusal = self._refusal(recipe, data_hashes)
            if refusal is None:
                return
            if overwrite:
                self._clear()
            elif self._begun:
                raise RunError(f"{self.path}: {refusal}")
        write_json(self.path / "environment.json", environment(recipe, data_hashes, revisions))
        write_text(self.path / "recipe.yaml", to_yaml(recipe))

    def close(self) -> None:
        """Let other processes have the folder. The empty lock file stays: deleting it would let two others in."""
        if self._lock.is_locked:
            with suppress(OSError):
                (self.path / "run.pid").unlink(missing_ok=True)
            self._lock.release()

    def discard_if_untrained(self) -> None:
        """Delete a folder in which nothing was learnt yet: bad input leaves nothing half-written."""
        begun = (self.path / "metrics.jsonl").is_file() or self._checkpoints() or self.choosing.exists()
        if not begun and not self.finished:
            shutil.rmtree(self.path, ignore_errors=True)

    @property
    def finished(self) -> bool:
        """Whether a complete model stands in it."""
        return (self.path / "model" / "manifest.json").is_file() and (self.path / "scores.json").is_file()

    @property
    def _begun(self) -> bool:
        """Whether anything was learnt in it; until then another recipe or other data may take its place."""
        return any((self.path / name).exists() for name in ("metrics.jsonl", "checkpoints", "model", "scores.json"))

    def save_checkpoint(self, step: int, tensors: dict[str, Tensor], plain: dict[str, Any]) -> None:
        """A new directory for `step`; the oldest ones go."""

        def fill(work: Path) -> None:
            write_tensors(work / "state.safetensors", tensors)
            write_json(work / "state.json", plain)

        self._flush_metrics()
        target = self.path / "checkpoints" / f"step-{step:08d}"
        if target.exists() and verify_folder(target) is None:
            return
        write_folder(target, fill)
        for old in self._checkpoints()[:-KEEP_CHECKPOINTS]:
            remove_folder(old)

    def drop_checkpoint(self, step: int) -> None:
        """Forget the checkpoint of `step`, where there is one."""
        remove_folder(self.path / "checkpoints" / f"step-{step:08d}")

    def load_checkpoint(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint that is whole, or None; damaged ones are noted and passed over."""
        found = self._checkpoints()
        for number, path in reversed(list(enumerate(found))):
            damage = verify_folder(path)
            if damage is None:
                try:
                    return read_tensors(path / "state.safetensors"), read_object(path / "state.json", error=RunError)
                except RunError:
                    damage = "its files cannot be read"
            then = "using the one before it" if number else "no other is left, so the run starts anew"
            self.notes.append(f"Checkpoint {path.name} is damaged ({damage}); {then}.")
            remove_folder(path)
        return None

    def finish(self, record: Mapping[str, Any]) -> None:
        """Write `scores.json`, which makes the run a finished one, once everything else is on the disk."""
        self._flush_metrics()
        write_json(self.path / "scores.json", record)
        self._drop_working_files()

    def _drop_working_files(self) -> None:
        """Checkpoints and caches are for resuming; a finished run needs none."""
        for name in ("checkpoints", "cache"):
            remove_folder(self.path / name)

    def remembered(self, name: str, decide: Callable[[], Any]) -> Any:
        """What this run decided once about its machine; a resumed run keeps it, whatever it would decide now."""
        path = self.path / "plan.json"
        known = read_object(path, error=RunError) if path.is_file() else {}
        if name not in known:
            known[name] = decide()
            write_json(path, known)
        return known[name]

    def recalled(self, name: str) -> Any:
        """What `remembered` keeps under this name; None where nothing was decided yet."""
        path = self.path / "plan.json"
        return read_object(path, error=RunError).get(name) if path.is_file() else None

    def cache(self, shared: str | None) -> Path:
        """Where the tokens of a corpus are kept; shared: the folder of several runs, `data.cache`."""
        return self.path / "cache" if shared is None else Path(shared)

    @property
    def choosing(self) -> Path:
        """Where `method: auto` compares its candidates, until the run is finished."""
        return self.path / "cache" / "choosing"

    def write_metric(self, kind: str, values: Any) -> None:
        """Append one object to metrics.jsonl."""
        entry = dict(values if isinstance(values, Mapping) else vars(values))
        entry = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in entry.items()}
        line = json.dumps({"kind": kind, **entry, "time": round(time.time(), 3)}, ensure_ascii=False)
        path = self.path / "metrics.jsonl"
        with explained(path):
            size = path.stat().st_size if path.is_file() else 0
            try:
                with open(path, "ab") as out:
                    out.write(line.encode("utf-8") + b"\n")
            except OSError:
                with suppress(OSError):
                    os.truncate(path, size)  # no half line
                raise

    def rewind_metrics(self, step: int) -> None:
        """Forget what was logged after `step` and what the end of a run logs: both will be computed again."""
        path = self.path / "metrics.jsonl"
        if path.is_file():
            kept = [line for line in read_metrics(path) if not line.get("final") and _step_of(line) <= step]
            text = "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in kept)
            write_bytes(path, text.encode("utf-8", "replace"))  # a foreign file may hold halves of surrogate pairs

    def _flush_metrics(self) -> None:
        """A checkpoint promises that the steps before it are logged, even after a power cut."""
        path = self.path / "metrics.jsonl"
        if path.is_file():
            with explained(path), open(path, "rb+") as out:
                os.fsync(out.fileno())

    def _checkpoints(self) -> list[Path]:
        folder = self.path / "checkpoints"
        return sorted(p for p in folder.glob("step-*") if p.is_dir() and not p.name.endswith(".part"))

    def _acquire(self) -> None:
        try:
            self._lock.acquire()
        except filelock.Timeout as error:
            time.sleep(PID_SECONDS)  # the other process writes its pid right after taking the lock
            raise RunError(f"{self.path}: another process (pid {self._pid()}) is working on this run.") from error
        (self.path / "run.pid").write_text(str(os.getpid()), encoding="utf-8")

    def _pid(self) -> str:
        try:
            return (self.path / "run.pid").read_text(encoding="utf-8").strip() or "unknown"
        except (OSError, UnicodeDecodeError):
            return "unknown"

    def _only_leftovers(self) -> bool:
        known = {"run.lock", "run.pid", "environment.json"}
        return all(p.name in known or p.name.endswith(".part") for p in self.path.iterdir())

    def _clear(self) -> None:
        """Delete the old run: its scores first (it is unfinished then), its recipe last (it is a run till then)."""
        last = ["recipe.yaml", "environment.json"]
        names = [p.name for p in self.path.iterdir() if p.name not in ("run.lock", "run.pid", "scores.json", *last)]
        for path in (self.path / name for name in ["scores.json", *names, *last]):
            if path.is_dir() and not path.is_symlink():
                remove_folder(path)
                if path.exists():
                    shutil.rmtree(path)  # says why it cannot; a new run must not meet old checkpoints
            else:
                path.unlink(missing_ok=True)
        self.notes.append("The run that stood in this folder was replaced.")

    def _refusal(self, recipe: Recipe, data_hashes: Mapping[str, str]) -> str | None:
        """Why this recipe cannot go on in this folder, or None where it can."""
        try:
            stored = yaml.safe_load((self.path / "recipe.yaml").read_text(encoding="utf-8"))
            hashes = json.loads((self.path / "environment.json").read_text(encoding="utf-8"))["data"]
            stored.pop("out", None)
            changed = [
                f"{'the' if ' ' in name else 'data'} {name} {'has changed' if data_hashes[name] else 'is gone'}"
                for name in data_hashes
                if hashes.get(name) != data_hashes[name]
            ]
        except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError, yaml.YAMLError):
            return (
                "its recipe.yaml or environment.json cannot be read; choose another folder with --out, or replace the "
                "run with --overwrite."
            )
        with suppress(MicrotuneError):  # what an older version wrote lacks the fields that came since
            stored = build(stored).model_dump(mode="json", exclude={"out"})
        asked = recipe.model_dump(mode="json", exclude={"out"})  # what its YAML reads as
        differences = [*_differences(stored, asked), *changed]
        if differences:
            return (
                f"holds a different run ({'; '.join(differences[:4])}); choose another folder with --out, or replace "
                "it with --overwrite."
            )
        if self.finished:
            return "this run is finished; choose another folder with --out, or redo it with --overwrite."
        return None


def _step_of(line: Mapping[str, Any]) -> int:
    step = line.get("step", 0)
    return step if isinstance(step, int) else 0


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The objects of a metrics file; a half-written last line is left out."""
    result = []
    text = path.read_text(encoding="utf-8", errors="replace")
    for line in text.split("\n"):  # a label may hold other line separators
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            result.append(value)
    return result


def default_name(recipe: Recipe, data_name: str) -> str:
    """Data stem, task, method, first 8 digits of the recipe's hash."""
    values = recipe.model_dump(mode="json", exclude={"out"})
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:8]
    clean = "".join(c if c.isalnum() or c in "-_" else "-" for c in data_name)[:40] or "data"
    method = "".join(c if c.isalnum() or c in "-_+" else "-" for c in recipe.method.title)[:60]
    return f"{clean}-{recipe.task.name}-{method}-{digest}"


def environment(
    recipe: Recipe, data_hashes: Mapping[str, str], revisions: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Versions, machine, seed, data hashes and hub revisions: an allow-list, never the process's variables."""
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
        "revisions": dict(revisions or {}),
    }


def _differences(stored: Any, asked: Any, place: str = "") -> Iterator[str]:
    if isinstance(stored, dict) and isinstance(asked, dict):
        for key in sorted(stored.keys() | asked.keys(), key=str):  # a foreign file may have a key that is no word
            yield from _differences(stored.get(key), asked.get(key), f"{place}.{key}" if place else str(key))
    elif stored != asked:
        yield f"{place}: {str(stored)[:60]} there, {str(asked)[:60]} now"


def scores_of(folder: Path) -> Path:
    """Where a finished run keeps its scores, or a RunError that says what is there instead."""
    file = folder / "scores.json"
    if file.is_file():
        return file
    if not folder.exists():
        raise absent(folder)
    raise RunError(f"{folder}: not a finished run; there is no scores.json in it.")


def absent(folder: Path) -> RunError:
    """That there is no such folder, and which one may be meant."""
    from difflib import get_close_matches  # only a mistake needs it

    beside = sorted(path.name for path in folder.parent.iterdir()) if folder.parent.is_dir() else []
    if near := get_close_matches(folder.name, beside, n=1, cutoff=0.6):
        return RunError(f'{folder}: no such folder; did you mean "{folder.parent / near[0]}"?')
    return RunError(f"{folder}: no such folder.")


def beside_runs(folder: Path) -> bool:
    """Whether other runs stand where this folder would: then a folder is meant, and no model of a hub."""
    try:
        return folder.parent != Path() and any((path / "recipe.yaml").is_file() for path in folder.parent.iterdir())
    except OSError:
        return False
