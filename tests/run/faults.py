"""A disk that fails or a machine that dies at the n-th operation under one folder.

Inside `with Faults(root, at=n, kind=...)` every open for writing, write, flush, fsync, truncate, rename, unlink, mkdir
and rmdir under `root` is counted, and the n-th one goes wrong:

- kill: nothing later happens either, and what Python had buffered is lost, as after kill -9;
- power: the same, and what was not flushed to the disk is lost too;
- short: half of the data is written, then the disk fails;
- eio: the disk fails once;
- enospc: the disk is full from now on; only deleting works.

After `SQLite`'s I/O error tests (sqlite.org/testing.html).
"""

from __future__ import annotations

import builtins
import errno
import io
import os
import shutil
from pathlib import Path
from typing import Any, Self

KINDS = ("kill", "enospc", "power", "eio", "short")
GROWING = ("open", "write", "flush", "mkdir", "fsync")  # what a full disk refuses


class Killed(BaseException):
    """The process is dead; only the test itself catches this."""


class Faults:
    """Counts operations under `root`; the `at`-th (from 1) goes wrong in the way of `kind`. at=0: only counts."""

    def __init__(self, root: Path, at: int = 0, kind: str = "kill") -> None:
        self.root, self.at, self.kind = os.path.abspath(root), at, kind
        self._done: list[tuple[str, str]] = []
        self.fired = self.dead = self.full = False
        self.paths: dict[int, str] = {}  # open descriptor -> path
        self.flushed: dict[str, int] = {}  # path -> bytes that are safe on the disk
        self._undo: list[tuple[Any, str, Any]] = []

    @property
    def log(self) -> list[str]:
        """The operations, with paths from `root`."""
        return [f"{name} {os.path.relpath(path, self.root)}" for name, path in self._done]

    def __enter__(self) -> Self:
        self._patch(builtins, "open", self._open)
        self._patch(io, "open", self._open)
        self._patch(os, "open", self._os_open)
        self._patch(os, "close", self._os_close)
        self._patch(os, "fsync", self._fsync)
        for name in ("mkdir", "rmdir", "unlink", "remove", "truncate"):
            self._patch(os, name, self._one_path(name))
        for name in ("rename", "replace"):
            self._patch(os, name, self._rename(name))
        self._patch(shutil, "_use_fd_functions", False)  # so that rmtree names whole paths
        return self

    def __exit__(self, *_: object) -> None:
        for place, name, value in reversed(self._undo):
            setattr(place, name, value)
        self._undo = []

    def _patch(self, place: Any, name: str, value: Any) -> None:
        if hasattr(place, name):
            self._undo.append((place, name, getattr(place, name)))
            setattr(place, name, value)

    def _real(self, name: str, place: Any = os) -> Any:
        return next(value for owner, key, value in self._undo if owner is place and key == name)

    def inside(self, path: Any) -> bool:
        """Whether an operation on `path` counts."""
        if not isinstance(path, (str, os.PathLike)):
            return False
        full = os.path.abspath(os.fspath(path))
        return full == self.root or full.startswith(self.root + os.sep)

    def count(self, name: str, path: Any) -> bool:
        """One operation; True: do half of it, then fail. Raises where it goes wrong altogether."""
        if self.dead:
            raise Killed
        self._done.append((name, os.fspath(path)))
        if self.full and name in GROWING:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        if len(self._done) != self.at:
            return False
        self.fired = True
        if self.kind in ("kill", "power"):
            self.dead = True
            if self.kind == "power":
                self._lose_unflushed()
            raise Killed
        if self.kind == "short" and name in ("write", "flush"):
            return True
        if self.kind == "enospc" and name in GROWING:
            self.full = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    def _lose_unflushed(self) -> None:
        for path, size in self.flushed.items():
            if os.path.isfile(path) and os.path.getsize(path) > size:
                self._real("truncate")(path, size)

    def _open(self, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        real = self._real("open", builtins)
        if not self.inside(file) or not set(mode) & set("wax+"):
            return real(file, mode, *args, **kwargs)
        self.count("open", file)
        path = os.path.abspath(os.fspath(file))
        known = os.path.getsize(path) if os.path.isfile(path) and "w" not in mode else 0
        self.flushed[path] = min(self.flushed.get(path, known), known)
        return Watched(self, path, real(file, mode.replace("b", "").replace("t", "") + "b", buffering=0), "b" in mode)

    def _os_open(self, path: Any, flags: int, *args: Any, **kwargs: Any) -> int:
        inside = kwargs.get("dir_fd") is None and self.inside(path)
        if inside and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            self.count("open", path)
        handle: int = self._real("open")(path, flags, *args, **kwargs)
        if inside:
            self.paths[handle] = os.path.abspath(os.fspath(path))
        return handle

    def _os_close(self, handle: int) -> None:
        self.paths.pop(handle, None)
        self._real("close")(handle)

    def _fsync(self, handle: int) -> None:
        path = self.paths.get(handle)
        if path is not None:
            self.count("fsync", path)
        self._real("fsync")(handle)
        if path in self.flushed:
            self.flushed[path] = os.fstat(handle).st_size

    def _one_path(self, name: str) -> Any:
        def call(path: Any, *args: Any, **kwargs: Any) -> Any:
            if kwargs.get("dir_fd") is None and self.inside(path):
                self.count(name, path)
                if name in ("unlink", "remove"):
                    self.flushed.pop(os.path.abspath(os.fspath(path)), None)
            return self._real(name)(path, *args, **kwargs)

        return call

    def _rename(self, name: str) -> Any:
        def call(source: Any, target: Any, **kwargs: Any) -> None:
            if not self.inside(source):
                return self._real(name)(source, target, **kwargs)
            self.count("rename", target)
            self._real(name)(source, target, **kwargs)
            old, new = (os.path.abspath(os.fspath(p)) for p in (source, target))
            self.flushed.pop(new, None)
            moved = {p: s for p, s in self.flushed.items() if p == old or p.startswith(old + os.sep)}
            for path, size in moved.items():
                del self.flushed[path]
                self.flushed[new + path[len(old) :]] = size
            return None

        return call


class Watched:
    """A file open for writing: buffers as Python does, and tells `Faults` about writes and flushes."""

    def __init__(self, faults: Faults, path: str, raw: Any, binary: bool) -> None:
        self._faults, self._path, self._raw, self._binary = faults, path, raw, binary
        self._buffer = b""
        faults.paths[raw.fileno()] = path

    def write(self, data: Any) -> int:
        """Into the buffer; a short write brings half of it to the file."""
        whole = bytes(data) if self._binary else str(data).encode("utf-8")
        if self._faults.count("write", self._path):
            self._buffer += whole[: len(whole) // 2]
            self._drain()
            raise OSError(errno.EIO, "short write", self._path)
        self._buffer += whole
        return len(data)

    def flush(self) -> None:
        """The buffer goes to the file (not yet to the disk)."""
        if self._faults.count("flush", self._path):
            self._buffer = self._buffer[: len(self._buffer) // 2]
            self._drain()
            raise OSError(errno.EIO, "short write", self._path)
        self._drain()

    def _drain(self) -> None:
        self._raw.write(self._buffer)
        self._buffer = b""

    def fileno(self) -> int:
        return self._raw.fileno()

    def read(self, *args: Any) -> bytes:
        return self._raw.read(*args)

    def close(self) -> None:
        """Flush, then close in any case, as Python does."""
        if self._raw.closed:
            return
        try:
            if self._buffer:
                self.flush()
        finally:
            self._faults.paths.pop(self._raw.fileno(), None)
            self._raw.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
