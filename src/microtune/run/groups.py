"""The control groups of Linux, versions 2 and 1: a container may have less than the machine."""

from __future__ import annotations

from pathlib import Path

PROC, GROUPS = Path("/proc"), Path("/sys/fs/cgroup")


def group_folders(controller: str) -> list[Path]:
    """The folders of this process's groups and of those above them, for a controller such as "memory" or "cpu"."""
    try:
        lines = (PROC / "self" / "cgroup").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return []
    found = {GROUPS, GROUPS / controller}
    for line in lines:
        _, controllers, path = ([*line.split(":", 2), "", ""])[:3]
        if controllers and controller not in controllers.split(","):
            continue
        root = GROUPS / controller if controllers else GROUPS
        place = root / path.lstrip("/")
        found |= {place, *(p for p in place.parents if p.is_relative_to(root))}
    return sorted(found)


def number(path: Path) -> int | None:
    """The whole number in a file; None where it is not there, or says "max"."""
    try:
        return int(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
