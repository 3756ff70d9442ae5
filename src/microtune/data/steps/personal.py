"""Masking of personal data: e-mail, telephone, identity and bank card numbers, IP addresses, URLs with secrets.

Numbers are taken for an identity card or a bank card only where their check digit is right (GB 11643-1999 by ISO 7064
MOD 11-2; Luhn, 1960), so that order numbers stay. A pattern finds what is written as usual; it is no promise that
nothing personal is left, names least of all.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Literal

from pydantic import Field

from microtune.data.steps.base import TextStep, steps

Kind = Literal["email", "phone", "id", "card", "ip", "url"]
KINDS: tuple[Kind, ...] = ("url", "email", "id", "card", "ip", "phone")
PATTERNS: dict[Kind, re.Pattern[str]] = {
    "url": re.compile(r"https?://[^\s<>\"'，。）]{1,2000}"),
    "email": re.compile(r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}"),
    "id": re.compile(r"(?<![0-9A-Za-z])\d{17}[0-9Xx](?![0-9A-Za-z])"),
    "card": re.compile(r"(?<![0-9A-Za-z.+-])\d(?:[ -]?\d){12,18}(?![0-9A-Za-z])"),
    "ip": re.compile(
        r"(?<![0-9A-Za-z.:])(?:(?:\d{1,3}\.){3}\d{1,3}|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4})(?![0-9A-Za-z:]|\.\d)"
    ),
    "phone": re.compile(
        r"(?<![0-9A-Za-z])(?:(?:\+?86[ -]?)?1[3-9]\d[ -]?\d{4}[ -]?\d{4}|0\d{2,3}[ -]\d{7,8}"
        r"|\+\d{1,3}[ -]?(?:\(\d{1,4}\)[ -]?)?\d{2,4}(?:[ -]?\d{2,4}){1,4}|\(?\d{3}\)?[ -]\d{3}[ -]\d{4})"
        r"(?![0-9A-Za-z])"
    ),
}
_SECRET = re.compile(
    r"(?i)[?&#;][\w-]{0,40}(?:token|key|secret|password|passwd|pwd|auth|session|sig|signature|code)\w{0,40}="
    r"|//[^/\s@]{1,200}:[^/\s@]{1,200}@"
)
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)


class Mask(TextStep):
    """Personal data become marks such as [EMAIL]."""

    name: Literal["mask"] = "mask"
    kinds: list[Kind] = Field(default_factory=lambda: list(KINDS), description="what is masked")

    def change(self, text: str) -> str:
        for kind in KINDS:
            if kind in self.kinds:
                text = PATTERNS[kind].sub(lambda found, kind=kind: masked(kind, found[0]), text)  # type: ignore[misc]
        return text


def masked(kind: Kind, found: str) -> str:
    """The mark in place of what a pattern found, or the same where it is none."""
    return f"[{kind.upper()}]" if is_one(kind, found) else found


def is_one(kind: Kind, found: str) -> bool:
    """What a pattern cannot tell: check digits, numbers of an address, secrets in a URL."""
    if kind == "id":
        return is_identity_number(found)
    if kind == "card":
        digits = re.sub("[ -]", "", found)
        return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and luhn(digits)
    if kind == "ip":
        try:
            ipaddress.ip_address(found)
        except ValueError:
            return False
        return found not in ("::", "::1", "0.0.0.0", "127.0.0.1")
    return kind != "url" or bool(_SECRET.search(found))


def is_identity_number(text: str) -> bool:
    """Whether the eighteen characters are a Chinese identity number: a date of birth and the check digit."""
    if not (1900 <= int(text[6:10]) <= 2100 and 1 <= int(text[10:12]) <= 12 and 1 <= int(text[12:14]) <= 31):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text[:17], _WEIGHTS, strict=True))
    return "10X98765432"[total % 11] == text[17].upper()


def luhn(digits: str) -> bool:
    """Whether the last digit of a card number is right."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (1 + place % 2)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


steps.add("mask", Mask)
