"""Personal data in a text: e-mail, telephone, identity and bank card numbers, IP addresses, URLs with secrets.

Numbers are taken for an identity card or a bank card only where their check digit is right (GB 11643-1999 by ISO 7064
MOD 11-2; Luhn, 1960), so that order numbers stay. A pattern finds what is written as usual; it is no promise that
nothing personal is left, names least of all.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection
from typing import Literal, NamedTuple, get_args

Kind = Literal["url", "email", "id", "card", "ip", "phone"]
KINDS: tuple[Kind, ...] = get_args(Kind)  # what stands in an earlier one is not looked for again
_BEFORE, _AFTER = r"(?<![0-9A-Za-z])(?<!\d\.)", r"(?![0-9A-Za-z]|\.\d)"
_MOBILE = r"(?:(?:\+|00)?86[- ]?)?1[3-9]\d[- ]?\d{4}[- ]?\d{4}"  # of China, as are landlines with their 0
_ABROAD = r"\+\d{1,3}[ .-]?(?:\(?\d{1,4}\)?[ .-]?){2,4}\d{2,4}"
_AMERICAN = r"\(\d{3}\)[ -]?\d{3}[ -]\d{4}|\d{3}-\d{3}-\d{4}|[2-9]\d\d [2-9]\d\d \d{4}"
_FOURS = r"(?:(?:2[2-7]|35|4\d|5[1-5]|6[25])\d\d|6011)([ -]?)\d{4}\2\d{4}\2\d{4}(?:\2\d{3})?"
_SIXES = r"3[47]\d\d([ -]?)\d{6}\3\d{5}|3[0689]\d\d([ -]?)\d{6}\4\d{4}"
PATTERNS: dict[Kind, re.Pattern[str]] = {
    "url": re.compile(r"https?://[^\s<>\"'，。）]{1,2000}"),
    "email": re.compile(
        r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![A-Za-z0-9])"
    ),
    "id": re.compile(r"(?<![0-9A-Za-z])[1-9]\d{16}[0-9Xx](?![0-9A-Za-z])", re.ASCII),
    "card": re.compile(rf"(?<![0-9A-Za-z.+-])({_FOURS}|{_SIXES}){_AFTER}", re.ASCII),
    "ip": re.compile(
        rf"(?<![0-9A-Za-z.:])(?:(?:\d{{1,3}}\.){{3}}\d{{1,3}}{_AFTER}"
        r"|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![0-9A-Za-z:]|\.\d))",
        re.ASCII,
    ),
    "phone": re.compile(rf"{_BEFORE}(?:{_MOBILE}|0\d{{2,3}}[ -]\d{{7,8}}|{_ABROAD}|{_AMERICAN}){_AFTER}", re.ASCII),
}
_SECRET = re.compile(  # a name that says what it is, or one that may, before something long; a user with a password
    r"(?i)[?&#;](?:[\w-]{0,40}[_-])?(?:\w{0,20}token|\w{1,20}key|\w{0,20}secret|pass(?:word|wd)?|pwd)(?:[_-]\w{0,40})?="
    r"[^\s&#;]|[?&#;](?:[\w-]{0,40}[_-])?(?:key|auth|session(?:_?id)?|sid|sig(?:nature)?)=[\w%.~-]{8}|[?&#;]code=[\w%.~-]{8}"
    r"|//[^/\s@]{1,200}:[^/\s@]{1,200}@"
)
_DIGITS = re.compile(r"\d[\d .()-]{5,}\d", re.ASCII)
_PRIVATE = ("0.", "10.", "127.", "192.168.", "255.", "1.2.3.")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


class Found(NamedTuple):
    """What stands in `text[start:end]`."""

    kind: Kind
    start: int
    end: int


def personal_in(text: str, kinds: Collection[Kind] = KINDS) -> list[Found]:
    """Personal data of these kinds, in the order of the text; no two overlap."""
    digits = _DIGITS.search(text) is not None
    there = {"url": "://" in text, "email": "@" in text, "ip": digits or "::" in text or text.count(":") > 6}
    found: list[Found] = []
    for kind in KINDS:
        if kind in kinds and there.get(kind, digits):
            here = [Found(kind, *m.span()) for m in PATTERNS[kind].finditer(text) if is_one(kind, m[0])]
            found += [new for new in here if all(new.end <= old.start or old.end <= new.start for old in found)]
    return sorted(found, key=lambda one: one.start)


def is_one(kind: Kind, value: str) -> bool:
    """What a pattern cannot tell: check digits, numbers of an address, secrets in a URL."""
    if kind == "id":
        return is_identity(value)
    if kind == "card":
        return is_card(value)
    if kind == "ip":
        return is_address(value)
    if kind == "phone":
        return 8 <= sum(map(str.isdigit, value)) <= 15
    return kind != "url" or bool(_SECRET.search(value))


def is_identity(text: str) -> bool:
    """Whether eighteen characters are a Chinese identity number: a date of birth and the check digit."""
    if not (1900 <= int(text[6:10]) <= 2100 and 1 <= int(text[10:12]) <= 12 and 1 <= int(text[12:14]) <= 31):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], _WEIGHTS, strict=True))
    return "10X98765432"[total % 11] == text[17].upper()


def is_card(text: str) -> bool:
    """Whether the 14 to 19 digits of a text end in a right check digit."""
    digits = [int(c) for c in text if c.isdigit()]
    if not 14 <= len(digits) <= 19 or len(set(digits)) < 2:
        return False
    doubled = [d if i % 2 == 0 else d * 2 - 9 * (d > 4) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def is_address(text: str) -> bool:
    """Whether a text is an IP address of some machine, this one aside."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return text not in ("::", "::1", "0.0.0.0", "127.0.0.1")


def is_public(text: str) -> bool:
    """Whether an IP address is one of the whole network, and not of a private one nor the number of a version."""
    if ":" in text:
        return len(text.split(":")[0]) == 4 and text[0] in "23"  # global unicast, RFC 4291
    return not text.startswith(_PRIVATE)
