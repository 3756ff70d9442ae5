"""Rows that hold personal data, as data/personal.py finds it. This finding never shows a value whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from microtune.data.lint.base import Base, Finding, Seen, Tally
from microtune.data.personal import Kind, is_public, personal_in

FINDINGS: dict[Kind, str] = {  # what it is called in a report
    "url": "secret-url",
    "email": "email",
    "id": "identity-number",
    "card": "bank-card",
    "ip": "ip-address",
    "phone": "phone",
}


def personal(text: str) -> Iterator[tuple[str, str]]:
    """(finding, value) of what stands in a text; addresses of private networks are nobody's."""
    for kind, start, end in personal_in(text):
        if kind != "ip" or is_public(text[start:end]):
            yield FINDINGS[kind], text[start:end]


def masked(kind: str, value: str) -> str:
    """A value of which two thirds are hidden; of a URL its user, its password and what it asks with."""
    if kind == "secret-url":
        return re.split(r"[?&#;]", re.sub(r"//[^/\s@]*@", "//***@", value))[0] + "***"
    keep = max(1, len(value) // 6)
    return value[:keep] + "*" * (len(value) - 2 * keep) + value[-keep:]


class PersonalData(Base):
    """Rows with each kind of personal data, in any field that is read or learnt."""

    def __init__(self) -> None:
        self.rows = 0
        self._found: dict[str, Tally] = {}

    def add(self, seen: Seen) -> None:
        """Look at one row."""
        self.rows += 1
        here: dict[str, str] = {}
        for text in (seen.text, "" if seen.labels else seen.target):
            for kind, value in personal(text):
                here.setdefault(kind, value)
        for kind, value in here.items():
            self._found.setdefault(kind, Tally()).add(seen.row, masked(kind, value))

    def findings(self) -> Sequence[Finding]:
        """Every kind is a warning."""
        return [Finding(kind, "warning", t.count, self.rows, t.places) for kind, t in self._found.items()]
