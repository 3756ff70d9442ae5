"""What stands in the cache of a hub and is known to be what the hub publishes.

A hub publishes a hash of every file: SHA-256 for those in large-file storage, git's own SHA-1 of a blob for the others.
Both are compared here, by us, before a file is used, whoever downloaded it. What was found whole is written down beside
the cache's own folders, with size and time of each file, so that the next use neither asks the hub nor reads gigabytes
to hash them; a file that has changed since is hashed again.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from microtune.data.objects import read_object
from microtune.errors import InputError, RunError
from microtune.recipe import Section, validated
from microtune.run.disk import write_json

COMMIT = re.compile(r"[0-9a-f]{40}")
RECORDS = ".microtune"  # beside blobs, refs and snapshots of a repository; goes when its folder is deleted
REFS = "refs.json"


@dataclass(frozen=True)
class Published:
    """What a hub says of a file: its size, and one of two hashes."""

    size: int | None = None
    sha256: str = ""
    blob: str = ""  # SHA-1 over git's header of a blob and the content


@dataclass(frozen=True)
class Snapshot:
    """One revision of a repository on this disk, whole and checked. weights: its safetensors files that count."""

    path: Path
    commit: str
    weights: tuple[str, ...]


class FileRecord(Section):
    """A file that was found to be what is published."""

    size: int
    modified: int
    sha256: str = ""
    blob: str = ""


class SnapshotRecord(Section):
    """All files of a snapshot that a model needs."""

    files: dict[str, FileRecord]


def check(path: Path, file: str, published: Published) -> None:
    """The content of a file is what the hub publishes, or an InputError; nothing is deleted."""
    real = path.resolve()
    size = real.stat().st_size
    if published.size is not None and size != published.size:
        raise InputError(f"{real}: has {size} bytes, but {file} has {published.size} on the hub; {_again(real)}")
    kind, wanted = ("SHA-256", published.sha256) if published.sha256 else ("SHA-1", published.blob)
    if not wanted:
        return
    digest = hashlib.sha256() if published.sha256 else hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    with open(real, "rb") as source:
        while block := source.read(1 << 20):
            digest.update(block)
    found = digest.hexdigest()
    if found != wanted:
        raise InputError(
            f"{real}: is not the {file} that the hub publishes ({kind} {found[:16]}... instead of {wanted[:16]}...), "
            f"so it is not used; {_again(real)}"
        )


def _again(path: Path) -> str:
    return f"delete the file {path.name} and load the model again."


def by_hash(name: str, size: int | None = None) -> Published:
    """What an ETag of the hub, or the name of a blob in its cache, says: it is one of the two hashes."""
    if re.fullmatch(r"[0-9a-f]{64}", name):
        return Published(size, sha256=name)
    return Published(size, blob=name if COMMIT.fullmatch(name) else "")


def published_by_link(path: Path) -> Published:
    """What the cache itself knows of a file: it links to a blob that is named by its hash."""
    return by_hash(path.readlink().name) if path.is_symlink() else Published()


def remember(snapshot: Path, published: Mapping[str, Published]) -> None:
    """Write down that these files are whole; a cache that cannot be written to stays as it is."""
    files = {}
    for name, one in published.items():
        state = (snapshot / name).stat()
        files[name] = {"size": state.st_size, "modified": state.st_mtime_ns, "sha256": one.sha256, "blob": one.blob}
    _write(snapshot.parent.parent / RECORDS / f"{snapshot.name}.json", {"files": files})


def name_revision(repository: Path, asked: str, commit: str) -> None:
    """Write down which commit a branch or a tag stands for, for the time when the hub cannot be asked."""
    known = _refs(repository / RECORDS)
    if asked != commit and known.get(asked) != commit:
        _write(repository / RECORDS / REFS, known | {asked: commit})


def _write(path: Path, value: object) -> None:
    with suppress(RunError, OSError):
        path.parent.mkdir(exist_ok=True)
        write_json(path, value)


def recall(repository: Path, asked: str) -> Snapshot | None:
    """The snapshot that was written down for a commit or another revision, where it still stands; or None.

    repository: the folder of one repository in the cache. A file that changed since is hashed again and, where it is
    not what was published, refused.
    """
    folder = repository / RECORDS
    commit = asked if COMMIT.fullmatch(asked) else _refs(folder).get(asked, "")
    record = folder / f"{commit}.json"
    if not COMMIT.fullmatch(commit) or not record.is_file():
        return None
    try:
        files = validated(SnapshotRecord, read_object(record), str(record)).files
    except InputError:
        return None
    snapshot = repository / "snapshots" / commit
    changed = False
    for name, known in files.items():
        path = snapshot / name
        if not plain(name) or not path.is_file():
            return None
        state = path.stat()
        if (state.st_size, state.st_mtime_ns) != (known.size, known.modified):
            check(path, name, Published(known.size, known.sha256, known.blob))
            changed = True  # a copy of the cache, for instance
    if changed:
        remember(snapshot, {name: Published(one.size, one.sha256, one.blob) for name, one in files.items()})
    return Snapshot(snapshot, commit, weights_of(files))


def weights_of(files: Iterable[str]) -> tuple[str, ...]:
    """The safetensors files among these names."""
    return tuple(sorted(name for name in files if name.endswith(".safetensors")))


def plain(name: str) -> bool:
    """Whether a file name stays inside its folder."""
    return bool(name) and "\\" not in name and ":" not in name and not {"", ".", ".."} & set(name.split("/"))


def _refs(folder: Path) -> dict[str, str]:
    try:
        values = read_object(folder / REFS)
    except InputError:
        return {}
    return {name: commit for name, commit in values.items() if isinstance(commit, str)}
