"""A comparison on disk: what is compared, how far it is, and one run folder below it for every candidate.

    comparison.yaml   what was asked     progress.json   what was measured, trained and decided so far
    runs/<candidate>  run folders        outcomes/       answers row by row, for paired intervals
    compare.json  compare.md  curve.png  the result      states/  states of frozen trunks, deleted at the end

The same command on an unfinished comparison resumes it, and tries runs that failed again (retry.py); a finished or a
different one is refused.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from microtune.data.objects import read_object
from microtune.errors import MicrotuneError, RunError
from microtune.run.compare.measure import Measured
from microtune.run.disk import explained, remove_folder, remove_leftovers, write_folder, write_json, write_text
from microtune.tasks.outcomes import Column, Columns


class Seat(BaseModel):
    """One run: how far it is and what it has cost."""

    model_config = ConfigDict(extra="forbid")

    rungs: int = Field(default=0, ge=0)  # rungs that it has done
    steps: int = Field(default=0, ge=0)
    total_steps: int = Field(default=0, ge=0)
    seconds: float = 0.0  # of its sittings, before the ending
    ending: float = 0.0
    peak: int | None = None
    value: float | None = None  # best on validation so far
    loss: float | None = None
    ended: bool = False
    tested: bool = False
    late: bool = False  # the budget, not a rung, stopped it
    failed: str = ""
    forgetting: dict[str, Any] | None = None


class Progress(BaseModel):
    """progress.json."""

    model_config = ConfigDict(extra="forbid")

    spent: float = 0.0
    measured: dict[str, Measured] = Field(default_factory=dict)
    skipped: dict[str, str] = Field(default_factory=dict)  # method -> why
    scale: float | None = None  # of the steps that were asked for
    dropped: list[str] = Field(default_factory=list)  # notes about sizes that the data cannot give
    sizes: list[int] | None = None
    alive: dict[str, list[list[str]]] = Field(default_factory=dict)  # heat -> names at the beginning of each rung
    seats: dict[str, Seat] = Field(default_factory=dict)
    saved: float = 0.0  # seconds that shared trunks saved

    def seat(self, run: str) -> Seat:
        """The seat of a run, made when it is first asked for."""
        return self.seats.setdefault(run, Seat())


class Place:
    """The folder of one comparison, held by one process at a time."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._lock = filelock.FileLock(self.path / "compare.lock", blocking=False)

    def open(self, asked: Mapping[str, Any], *, overwrite: bool) -> Progress:
        """Take the folder: make it, resume it, or refuse with the reason. asked: all that decides the comparison."""
        file = self.path / "comparison.yaml"
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path}: exists and is not a folder; choose another with --out.")
        if self.path.is_dir() and not file.is_file() and any(p.name != "compare.lock" for p in self.path.iterdir()):
            raise RunError(f"{self.path}: exists and is not a comparison; choose another folder with --out.")
        with explained(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except filelock.Timeout as error:
                raise RunError(f"{self.path}: another process is working on this comparison.") from error
        try:
            return self._take(asked, file, overwrite)
        except BaseException:
            self.close()
            raise

    def _take(self, asked: Mapping[str, Any], file: Path, overwrite: bool) -> Progress:
        remove_leftovers(self.path)
        if file.is_file():
            refusal = self._refusal(asked, file)
            if refusal is None:
                return self._progress()
            if not overwrite:
                raise RunError(
                    f"{self.path}: {refusal} choose another folder with --out, or replace it with --overwrite."
                )
            for name in ("compare.json", "compare.md", "curve.png", "progress.json"):
                (self.path / name).unlink(missing_ok=True)
            for name in ("runs", "outcomes", "states"):
                remove_folder(self.path / name)
        write_text(file, yaml.safe_dump(dict(asked), allow_unicode=True, sort_keys=False, width=120))
        return Progress()

    def _refusal(self, asked: Mapping[str, Any], file: Path) -> str | None:
        try:
            stored = yaml.safe_load(file.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, yaml.YAMLError):
            return "its comparison.yaml cannot be read;"
        if stored != yaml.safe_load(yaml.safe_dump(dict(asked))):
            known = stored if isinstance(stored, dict) else {}
            changed = [key for key in asked if known.get(key) != asked[key]]
            return f"holds a different comparison ({', '.join(changed) or 'other fields'} changed);"
        return "this comparison is finished;" if (self.path / "compare.json").is_file() else None

    def _progress(self) -> Progress:
        file = self.path / "progress.json"
        if not file.is_file():
            return Progress()
        try:
            return Progress.model_validate(read_object(file, error=RunError))
        except (ValidationError, MicrotuneError) as error:
            raise RunError(f"{file}: cannot be read; begin anew with --overwrite.") from error

    def save(self, progress: Progress) -> None:
        """Remember how far the comparison is."""
        write_json(self.path / "progress.json", progress.model_dump(mode="json"))

    def close(self) -> None:
        """Let other processes have the folder."""
        if self._lock.is_locked:
            self._lock.release()

    def discard_if_empty(self) -> None:
        """Delete a folder in which no run began: bad input leaves nothing half-written."""
        if not (self.path / "runs").exists():
            shutil.rmtree(self.path, ignore_errors=True)

    def run(self, name: str) -> Path:
        """The folder of one run."""
        return self.path / "runs" / name

    def forget(self, name: str) -> None:
        """Delete what a run has left."""
        remove_folder(self.run(name))
        for split in ("validation", "test"):
            remove_folder(self.path / "outcomes" / f"{name}.{split}")

    @property
    def states(self) -> Path:
        """Where the states of frozen trunks are kept while the comparison runs."""
        return self.path / "states"

    def keep_outcomes(self, name: str, split: str, columns: Columns) -> None:
        """What a run said about every row of a split, as numbers."""

        def fill(work: Path) -> None:
            for column, values in columns.items():
                if values.dtype.kind in "biuf":
                    np.save(work / f"{column}.npy", values, allow_pickle=False)

        write_folder(self.path / "outcomes" / f"{name}.{split}", fill)

    def outcomes(self, name: str, split: str) -> dict[str, Column] | None:
        """The columns that `keep_outcomes` kept, or None where there are none."""
        folder = self.path / "outcomes" / f"{name}.{split}"
        with suppress(OSError, ValueError):
            return {p.stem: np.load(p, allow_pickle=False) for p in sorted(folder.glob("*.npy"))} or None
        return None
