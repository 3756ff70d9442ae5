"""Writing that survives a kill, a full disk and a power cut.

A file is written beside its place, flushed to disk and renamed over it. A directory that must be whole (a checkpoint, a
model) is filled under a working name, gets a manifest with the hashes of its files last, is renamed, and its parent is
flushed; a directory without a valid manifest does not exist. Nothing here reuses a directory.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import torch
from safetensors import SafetensorError
from torch import Tensor

from microtune.data.objects import first_line
from microtune.errors import RunError
from microtune.families.tensorfile import TensorFile
from microtune.families.tensorfile import write as write_tensor_file

MANIFEST = "manifest.json"
WORK_SUFFIX = ".part"
DELETIONS = 2  # one refusal (a virus scanner, a hiccup) is not the last word; what stays is deleted by the next run
FULL = (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))


def write_bytes(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, whole or not at all."""
    _write_file(path, lambda out: out.write(data))


def _write_file(path: Path, fill: Callable[[BinaryIO], object]) -> None:
    work = path.with_name(path.name + WORK_SUFFIX)
    with explained(path):
        try:
            with open(work, "wb") as out:
                fill(out)
                out.flush()
                os.fsync(out.fileno())
            os.replace(work, path)
        except OSError:
            with suppress(OSError):
                work.unlink(missing_ok=True)
            raise
        flush_folder(path.parent)


def write_text(path: Path, text: str) -> None:
    """Replace `path` by UTF-8 text, whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, value: Any) -> None:
    """Replace `path` by JSON, whole or not at all."""
    write_text(path, json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Make the directory `path` by `fill(working directory)`; it appears complete, with a manifest, or not at all."""
    work = path.with_name(path.name + WORK_SUFFIX)
    with explained(path):
        try:
            remove_folder(work)
            made = not path.parent.is_dir()
            work.mkdir(parents=True)
            if made:
                flush_folder(path.parent.parent)
            fill(work)
            _seal(work)
            remove_folder(path)
            os.replace(work, path)
        except BaseException:
            remove_folder(work)
            raise
        flush_folder(path.parent)


def _seal(work: Path) -> None:
    """Flush everything inside to disk, then write the manifest."""
    entries = {}
    for path in sorted(work.rglob("*")):
        if path.is_dir():
            flush_folder(path)
            continue
        with open(path, "rb+") as file:
            entries[str(path.relative_to(work).as_posix())] = _entry(path)
            os.fsync(file.fileno())
    with open(work / MANIFEST, "w", encoding="utf-8") as out:
        out.write(json.dumps({"files": entries}, indent=1))
        out.flush()
        os.fsync(out.fileno())
    flush_folder(work)


def remove_folder(path: Path) -> None:
    """Delete a directory; it is renamed first, so that a half-deleted one never stands under its own name."""
    gone = path if path.name.endswith(WORK_SUFFIX) else path.with_name(path.name + ".gone" + WORK_SUFFIX)
    if gone != path and path.is_dir():
        shutil.rmtree(gone, ignore_errors=True)
        with suppress(OSError):
            os.replace(path, gone)
            path = gone
    for _ in range(DELETIONS):
        if not path.exists():
            return
        shutil.rmtree(path, ignore_errors=True)


def reserve(path: Path, size: int) -> None:
    """A new file of `size` bytes with room on the disk: writing to it through memory would die without a word."""
    with explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            with open(path, "wb") as out:
                _allocate(out, size)
        except OSError:
            with suppress(OSError):
                path.unlink(missing_ok=True)
            raise


def _allocate(out: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(out.fileno(), 0, size)
            return
        except OSError as error:
            if error.errno in (errno.EIO, *FULL):
                raise
    zeros = bytes(1 << 20)
    for start in range(0, size, len(zeros)):
        out.write(zeros[: size - start])


def verify_folder(path: Path) -> str | None:
    """What is wrong with a directory that `write_folder` made, or None where it is whole."""
    try:
        entries = json.loads((path / MANIFEST).read_text(encoding="utf-8"))["files"]
        for name, entry in entries.items():
            if not (path / name).resolve().is_relative_to(path.resolve()):
                return f"{MANIFEST} names a file outside"
            if (path / name).exists() and not (path / name).is_file():
                return f"{name} is not a file"  # a pipe would block, a device never end
            if _entry(path / name) != entry:
                return f"{name} has changed"
    except FileNotFoundError as error:
        return f"{Path(str(error.filename)).name} is missing"
    except (OSError, ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return f"{MANIFEST} is damaged"
    return None


def write_tensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Tensors as one safetensors file."""
    _write_file(path, lambda out: write_tensor_file(out, tensors, metadata))


def read_tensors(path: Path, dtype: torch.dtype | None = None) -> dict[str, Tensor]:
    """Tensors of one safetensors file (dtype: converted to it); a damaged one is a RunError."""
    try:
        with TensorFile(path) as file:
            return {name: file.read(name, dtype) for name in file.entries}
    except (SafetensorError, TypeError, ValueError, RuntimeError, KeyError, OSError) as error:
        raise RunError(f"{path}: not a readable safetensors file ({first_line(error)}).") from error


def flush_folder(path: Path) -> None:
    """Flush a directory's entries to disk, where the system can; a disk that fails or is full is an error."""
    if os.name == "nt":
        return
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in (errno.EIO, *FULL):
            raise
    finally:
        os.close(handle)


def remove_leftovers(folder: Path) -> None:
    """Delete what an interrupted write left behind."""
    if not folder.is_dir():
        return
    for path in sorted(folder.rglob("*" + WORK_SUFFIX)):
        if path.is_dir():
            remove_folder(path)
        else:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _entry(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"bytes": file.tell(), "sha256": digest}


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """An error of the system while writing to `path`, as a RunError of one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in FULL:
            message = f"{path}: the disk is full; free some space and run the same command again; a run resumes."
        else:
            message = f"{path}: cannot be written ({error.strerror or error})."
        raise RunError(message) from error
