"""The number in which an answer ends, as in arithmetic problems: "... so she has 72 apples. #### 72".

A reference has one where it is marked ("####" as in GSM8K (Cobbe et al., 2021), a box, "the answer is"), or is nothing
but a number. An answer need not keep to a form: its marked number counts, else its last one.
"""

from __future__ import annotations

import math
import re
import unicodedata

_NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d+)?|\.\d+)")
_GROUPED = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MARK = re.compile(r"####|\\boxed\{|(?:the\s+)?(?:final\s+)?answer\s*(?:is|[:=])|答案\s*(?:是|为|[:=])", re.IGNORECASE)
_ALONE = re.compile(r"[^\w.+-]*([-+]?(?:\d+(?:\.\d+)?|\.\d+))[^\w+-]*")  # currency and per cent signs around it


def marked_number(text: str) -> float | None:
    """The final number that a reference names; None where it names none."""
    plain = _plain(text)
    alone = _ALONE.fullmatch(plain)
    return _after_mark(plain, None if alone is None else alone[1])


def final_number(text: str) -> float | None:
    """The number that an answer ends in; None where it has none."""
    plain = _plain(text)
    return _after_mark(plain, next(reversed(_NUMBER.findall(plain)), None))


def same_number(answer: str, reference: str) -> int:
    """1 where an answer ends in the number of its reference, 0 where not; -1: the reference has none."""
    wanted, found = marked_number(reference), final_number(answer)
    if wanted is None:
        return -1
    return int(found is not None and math.isclose(found, wanted, rel_tol=1e-9, abs_tol=1e-9))


def _plain(text: str) -> str:
    """Digits of full width as digits, no commas between thousands, one kind of minus."""
    return _GROUPED.sub("", unicodedata.normalize("NFKC", text).replace("\u2212", "-"))


def _after_mark(plain: str, otherwise: str | None) -> float | None:
    """The first number behind the last mark; where there is none, the other one."""
    marks = list(_MARK.finditer(plain))
    number = _NUMBER.search(plain, marks[-1].end()) if marks else None
    found = otherwise if number is None else number.group()
    return None if found is None else float(found)
