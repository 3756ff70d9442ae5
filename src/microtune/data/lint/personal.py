"""Personal data: e-mail addresses, telephone numbers, identity and bank card numbers with a right checksum, IP
addresses, URLs that carry a token. Values are never shown whole in a report."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from microtune.data.lint.base import EXCERPT, Base, Finding, Place, Seen, Tally

EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,12}(?![\w-])", re.ASCII)
MOBILE = re.compile(r"(?<![\d.])(?:(?:\+|00)?86[- ]?)?(1[3-9]\d[- ]?\d{4}[- ]?\d{4})(?!\d|\.\d)", re.ASCII)
PHONE = re.compile(
    r"(?<![\w.])(?:\+\d{1,3}[ .-]?(?:\(?\d{2,4}\)?[ .-]?){2,4}\d{2,4}|\(\d{3}\) ?\d{3}-\d{4}|\d{3}-\d{3}-\d{4})(?!\w)",
    re.ASCII,
)
IDENTITY = re.compile(
    r"(?<!\d)[1-9]\d{5}(?:19|20)\d{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx](?!\d)", re.ASCII
)
CARD = re.compile(  # groups of four, or 4-6-5, with one sign between or none
    r"(?<![\d.-])(?:(?:(?:62|4\d|5[1-5])\d\d|6011)([ -]?)\d{4}\1\d{4}\1\d{4}(?:\1\d{3})?|3[47]\d\d([ -]?)\d{6}\2\d{5})"
    r"(?!\d|\.\d)",
    re.ASCII,
)
ADDRESS = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)", re.ASCII)
SECRET = re.compile(
    r"https?://\S{1,300}[?&](?:\w{0,20}token|key|api_?key|secret|password|sig(?:nature)?)=[\w%.~-]{8,}", re.I
)
_DIGITS = re.compile(r"\d[\d .()-]{5,}\d", re.ASCII)
_PRIVATE = ("0.", "10.", "127.", "192.168.", "255.", "1.2.3.")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


def is_identity(text: str) -> bool:
    """Whether the last place of an 18-digit Chinese identity number is right (GB 11643-1999)."""
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], _WEIGHTS, strict=True))
    return "10X98765432"[total % 11] == text[17].upper()


def is_card(text: str) -> bool:
    """Whether 15 to 19 digits end in a right check digit (Luhn, 1954)."""
    digits = [int(c) for c in text if c.isdigit()]
    if not 15 <= len(digits) <= 19 or len(set(digits)) < 2:
        return False
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def is_address(text: str) -> bool:
    """Whether four numbers are a public IPv4 address, and not a version or a private network."""
    parts = text.split(".")
    return (
        all(len(p) == 1 or p[0] != "0" for p in parts)
        and all(int(p) < 256 for p in parts)
        and not text.startswith(_PRIVATE)
    )


def personal(text: str) -> Iterator[tuple[str, str]]:
    """(kind, value) of what stands in a text."""
    if "@" in text:
        yield from (("email", m) for m in EMAIL.findall(text))
    if "://" in text and "=" in text:
        yield from (("secret-url", m) for m in SECRET.findall(text))
    if not _DIGITS.search(text):
        return
    taken = [m for m in IDENTITY.findall(text) if is_identity(m)]
    yield from (("identity-number", m) for m in taken)
    cards = [m[0] for m in CARD.finditer(text) if is_card(m[0]) and m[0] not in taken]
    yield from (("bank-card", m) for m in cards)
    mobiles = MOBILE.findall(text)
    yield from (("phone", m) for m in mobiles)
    yield from (("phone", m) for m in PHONE.findall(text) if not any(m in c for c in cards) and not mobiles)
    yield from (("ip-address", m) for m in ADDRESS.findall(text) if is_address(m))


def masked(value: str) -> str:
    """A value of which two thirds are hidden."""
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
            tally = self._found.setdefault(kind, Tally())
            tally.add(seen.row)
            if len(tally.places) == tally.count:
                tally.places[-1] = Place(seen.row.path, seen.row.line, masked(value)[:EXCERPT])

    def findings(self) -> Sequence[Finding]:
        """Every kind is a warning."""
        return [Finding(kind, "warning", t.count, self.rows, t.places) for kind, t in self._found.items()]
