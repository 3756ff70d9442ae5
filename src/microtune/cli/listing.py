"""`microtune list`: what there is, by short name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated

import typer

from microtune.cli.console import cell, lines, out, table
from microtune.cli.language import asked_for
from microtune.errors import InputError, suggest

KINDS = ("models", "families", "methods", "tasks", "steps", "checks")


def list_things(kind: Annotated[str | None, typer.Argument(help=", ".join(KINDS))] = None) -> None:
    """List models, families, methods, tasks, steps that prepare texts, or the checks that every run makes."""
    if kind is not None and kind not in KINDS:
        raise InputError(f'There is no list of "{kind}". {suggest(kind, KINDS)}')
    for name in [kind] if kind else KINDS:
        shown = table(*_headings(name))
        for entry, about in entries(name):
            shown.add_row(cell(entry), lines(about))
        out.print(shown)
        out.print("")


def _headings(kind: str) -> tuple[str, Mapping[str, str]]:
    if asked_for():
        from microtune.cli.chinese.listed import headings

        return headings(kind)
    return kind, {"name": "left", "about": "left"}


def entries(kind: str) -> list[tuple[str, str]]:
    """Names and what there is to say about each, in the language of the user."""
    if not asked_for():
        return _entries(kind)
    from microtune.cli.chinese.help import wrapped
    from microtune.cli.chinese.listed import check, listed

    if kind == "families":  # names alone
        return _entries(kind)
    if kind == "checks":
        from microtune.run.checks import checks

        found = [(n, check(n, c.when, c.about, c.does)) for n, c in checks.items()]
    else:
        found = [(name, listed(about)) for name, about in _entries(kind)]
    room = max(20, out.console.width - max(len(name) for name, _ in found) - 2)
    return [(name, "\n".join(wrapped(about, room))) for name, about in found]


def _entries(kind: str) -> list[tuple[str, str]]:
    if kind == "models":
        from microtune.run.sources import bases

        return [(n, b.about + ("" if b.find() else " (not installed)")) for n, b in bases.items()]
    if kind == "families":
        from microtune.families import families

        return [(n, ", ".join(sorted(set(f.architectures.values())))) for n, f in families.items()]
    if kind == "methods":
        from microtune.adapt import methods
        from microtune.run.auto import NAME, Auto

        found = [(f"{n}:K" if m.short else n, _first_line(m.__doc__)) for n, m in methods.items()]
        return [*found, (NAME, _first_line(Auto.__doc__))]
    if kind == "checks":
        from microtune.run.checks import checks

        return [(n, f"{', '.join(c.when)}: {c.about} ({c.does})") for n, c in checks.items()]
    if kind == "steps":
        from microtune.data.steps import steps

        return [(n, _first_line(s.__doc__)) for n, s in steps.items()]
    from microtune.tasks import tasks

    return [(n, _first_line(t.__doc__)) for n, t in tasks.items()]


def _first_line(text: str | None) -> str:
    return (text or "").strip().splitlines()[0]
