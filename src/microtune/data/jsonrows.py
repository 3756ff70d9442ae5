"""JSON Lines and JSON documents -> rows, streamed, with line and column for everything that is wrong.

A document is never parsed as a whole: a scanner finds the end of each element of the outer list, and only that element
goes through the `json` module. The scanner counts brackets, so nesting is refused before a recursive parser sees it.
Stricter than `json` where it would quietly change the data: repeated keys, NaN and Infinity, halves of surrogate pairs.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from microtune.data.decode import RECORD, Bad, lines, over, pass_over, refuse, shown
from microtune.data.unfold import as_object
from microtune.errors import InputError, RowNumber
from microtune.recipe import Limits

Numbered = Iterator[tuple[int, dict[str, Any]]]

# Strings as one token (possessive: no backtracking), brackets, and a quotation mark whose string does not end yet.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]|"', re.DOTALL)
_STRING = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"', re.DOTALL)
_SCALAR_END = re.compile(r"[\s,\]}\[{\":]")
_BLANK = re.compile(r"[ \t\r\n]*")
_ESCAPED_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
VALUES = 1000  # values of a row, nested ones included, per field that `limits.fields` allows
_KINDS = {dict: "an object", list: "a list", str: "a string", bool: "true or false", type(None): "null"}


class _RefusalError(ValueError):
    """What the hooks below found; `parse` adds the place."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _RefusalError(f"the key {shown(twice)} stands twice in one object; keep one of them")
    return result


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _RefusalError(f"the number {text[:30]} is too large; write it as a string if it is not a quantity")
    return value


def _constant(text: str) -> float:
    raise _RefusalError(f"{text} is not JSON; use null for a missing number")


def _int(text: str) -> int:
    if len(text) > 1000:  # Python itself refuses from 4,300 digits on, with advice that is of no use here
        raise _RefusalError(f"a number has {len(text):,} digits; write it as a string")
    return int(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant)


def parse(text: str, path: Path, line: int, limits: Limits, column: int = 0, *, scanned: bool = False) -> Any:
    """One JSON value; `column` is the number of characters before it on its first line.

    scanned: a `_Scan` has already refused it if it is nested too deeply.
    """
    _check_values(text, path, line, limits)
    if text.count("[") + text.count("{") > limits.depth and not scanned:
        _check_depth(text, path, line, limits)
    try:
        value = _DECODER.decode(text)
        if _ESCAPED_SURROGATE.search(text):
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        what = "an escape such as \\ud83d is half of a surrogate pair, which is not a character; remove it"
        raise refuse(path, line, what) from error
    except json.JSONDecodeError as error:
        line = line.line if isinstance(line, RowNumber) else line
        where = error.colno + (column if error.lineno == 1 else 0)
        reason = error.msg[0].lower() + error.msg[1:].removesuffix(" at").removesuffix(" starting at")
        raise refuse(path, line + error.lineno - 1, f"column {where:,}: broken JSON ({reason})") from error
    except _RefusalError as error:
        raise refuse(path, line, str(error)) from error
    except RecursionError as error:
        raise over(path, line, "the row is nested deeper than Python can read", limits, "depth") from error
    return value


def _values(text: str) -> int:
    """About how many values a text of JSON holds."""
    return text.count(",") + text.count("[") + text.count("{")


def _check_values(text: str, path: Path, line: int, limits: Limits) -> None:
    """Millions of empty lists or numbers take few characters and much memory: a thousand per field must do."""
    most = limits.fields * VALUES
    if _values(text) > most and (count := _values(_STRING.sub("", text))) > most:
        raise over(path, line, f"the row holds {count:,} values", limits, "fields")


def _check_depth(text: str, path: Path, line: int, limits: Limits) -> None:
    depth = 0
    line = line.line if isinstance(line, RowNumber) else line
    for match in _TOKEN.finditer(text):
        token = match.group()
        depth += (token in "[{") - (token in "]}")
        if depth > limits.depth:
            where = line + text.count("\n", 0, match.start())
            raise over(path, where, f"the row is nested deeper than {limits.depth} levels", limits, "depth")


def _row(text: str, path: Path, line: int, limits: Limits, column: int | None = None) -> dict[str, Any]:
    """One row; without `column` it is a line of JSON Lines, with it an element of a document."""
    value = as_object(parse(text, path, line, limits, column or 0, scanned=column is not None))
    if not isinstance(value, dict):
        kind = _KINDS.get(type(value), "a number")
        one_list = column is None and isinstance(value, list)
        whole = "; if the whole file is one list, give it the ending .json" if one_list else ""
        raise refuse(path, line, f'a row is {kind}, not an object such as {{"text": "...", "label": "..."}}{whole}')
    return value


def read_jsonl(path: Path, chunks: Iterator[str], limits: Limits, bad: Bad | None = None) -> Numbered:
    """One object per line; blank lines are skipped."""
    for line, text in lines(path, chunks, limits):
        if not text or text.isspace():
            continue
        try:
            row = _row(text, path, line, limits)
        except InputError as error:
            pass_over(error, bad)
        else:
            yield line, row


def read_json(path: Path, open_text: Callable[[], Iterator[str]], limits: Limits, bad: Bad | None = None) -> Numbered:
    """A list of objects; an object that holds one (under `data`, or as its only list); an object of objects.

    In an object of objects each inner object is a row and its key becomes the field `id` (`key`, if there is an `id`).
    JSON Lines with the ending .json are recognised by the second object.
    """
    scan = _Scan(path, open_text(), limits)
    first = scan.peek()
    if first == "[":
        yield from _elements(scan, bad)
        scan.finish()
    elif first == "{":
        kinds = _survey(scan)
        if scan.peek() == "{":
            yield from read_jsonl(path, open_text(), limits, bad)
            return
        scan.finish()
        yield from _members(_Scan(path, open_text(), limits), _choose(path, kinds), bad)
    elif not first:
        raise refuse(path, None, "the file holds only blanks")
    else:
        raise refuse(path, scan.line, "the file is not a list of objects; expected [ at its beginning")


def _survey(scan: _Scan) -> dict[str, str]:
    """The keys of the outer object with the first character of their values, the values skipped."""
    kinds: dict[str, str] = {}
    for key in _keys(scan):
        if key in kinds:
            raise refuse(scan.path, scan.line, f"the key {shown(key)} stands twice in one object; keep one of them")
        if len(kinds) >= scan.limits.rows:
            raise over(scan.path, scan.line, "the object has more keys", scan.limits, "rows")
        kinds[key] = scan.peek()
        scan.value(keep=False)
    return kinds


def _choose(path: Path, kinds: dict[str, str]) -> str | None:
    """The key whose list holds the rows; None where every member is a row."""
    lists = [key for key, kind in kinds.items() if kind == "["]
    if "data" in lists or len(lists) == 1:
        return "data" if "data" in lists else lists[0]
    if lists:
        names = ", ".join(shown(key) for key in lists[:5])
        raise refuse(path, None, f"the object holds several lists ({names}); keep one, or call the one with rows data")
    if not kinds or set(kinds.values()) != {"{"}:
        raise refuse(path, None, "the file is one object without a list of rows; write a list of objects")
    return None


def _members(scan: _Scan, wanted: str | None, bad: Bad | None) -> Numbered:
    """The rows of an outer object, once it is known where they stand."""
    for key in _keys(scan):
        if wanted is None:
            for line, row in _next(scan, bad):
                yield line, {"key" if "id" in row else "id": key, **row}
        elif key == wanted:
            yield from _elements(scan, bad)
        else:
            scan.value(keep=False)


def _keys(scan: _Scan) -> Iterator[str]:
    """The keys of an object; the caller consumes each value before it asks for the next key."""
    scan.take("{")
    if scan.peek() == "}":
        scan.take("}")
        return
    while True:
        if scan.peek() != '"':
            raise scan.broken("expecting a key in double quotes")
        line, column = scan.line, scan.column
        key = parse(scan.value(), scan.path, line, scan.limits, column)
        scan.take(":")
        yield key
        if not scan.more("}"):
            return


def _elements(scan: _Scan, bad: Bad | None) -> Numbered:
    """The objects of a list."""
    scan.take("[")
    if scan.peek() == "]":
        scan.take("]")
        return
    while True:
        yield from _next(scan, bad)
        if not scan.more("]"):
            return


def _next(scan: _Scan, bad: Bad | None) -> Numbered:
    """The row that comes next; none where it is bad and passed over, the scan then stands behind it."""
    scan.peek()
    line, column = scan.place(), scan.column
    text = scan.value()
    try:
        row = _row(text, scan.path, line, scan.limits, column)
    except InputError as error:
        pass_over(error, bad)
    else:
        yield line, row


class _Scan:
    """A moving window on the text of a document: `peek` past blanks, `take` one character, cut out one `value`."""

    def __init__(self, path: Path, chunks: Iterator[str], limits: Limits) -> None:
        self.path, self.limits, self.line, self.column = path, limits, 1, 0
        self._chunks, self._text, self._at = chunks, "", 0
        self._number, self._before, self._place = 0, 0, 1  # the row asked about last, where it began and is said to

    def broken(self, reason: str) -> InputError:
        """The error for the present position."""
        return refuse(self.path, self.line, f"column {self.column + 1:,}: broken JSON ({reason})")

    def place(self) -> int:
        """The line of the row that begins here, or its number where another one begins on the same line.

        Of the first row that is known where all that has been read so far is one line.
        """
        self._number += 1
        one_line = self._number == 1 and "\n" not in self._text.strip()
        shared, self._before = one_line or self.line == self._before, self.line
        self._place = RowNumber(self._number, self.line) if shared else self.line
        return self._place

    def peek(self) -> str:
        """The next character that is not blank; empty at the end."""
        while True:
            match = _BLANK.match(self._text, self._at)
            self._advance(match.end() if match else self._at)
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, character: str) -> None:
        """Step over `character`, which must come next."""
        if self.peek() != character:
            raise self.broken(f"expecting {character}" if self._text else f"the file ends before {character}")
        self._advance(self._at + 1)

    def more(self, end: str) -> bool:
        """After a member: a comma and another one (True), or the end of the list or object (False)."""
        found = self.peek()
        if found not in {",", end}:
            raise self.broken(f"expecting , or {end}" if found else f"the file ends before {end}")
        self._advance(self._at + 1)
        return found == ","

    def finish(self) -> None:
        """Nothing may follow."""
        if self.peek():
            raise self.broken("there is more after the end of the list or object")

    def value(self, *, keep: bool = True) -> str:
        """The text of the next value, not yet parsed; with keep=False it is stepped over and not kept."""
        if self.peek() not in {"[", "{", '"'}:
            return self._scalar()
        depth, scan, opened = 0, self._at, 0
        while True:
            match = _TOKEN.search(self._text, scan)
            if match is None or match.group() == '"':
                scan = match.start() if match else len(self._text)
                scan = self._wait(scan, keep=keep, depth=depth)
                continue
            scan = match.end()
            depth += (match.group() in "[{") - (match.group() in "]}")
            opened += match.group() in "[{"
            if opened > self.limits.fields * VALUES and keep:
                raise over(self.path, self._place, f"the row holds {opened:,} lists", self.limits, "fields")
            if depth > self.limits.depth:
                self._advance(match.start())
                what = f"the row is nested deeper than {self.limits.depth} levels"
                raise over(self.path, self.line, what, self.limits, "depth")
            if depth <= 0:
                text = self._text[self._at : scan] if keep else ""
                self._advance(scan)
                return text

    def _scalar(self) -> str:
        while not (match := _SCALAR_END.search(self._text, self._at)) and self._more():
            if len(self._text) > self.limits.field_characters:
                raise over(self.path, self.line, "a value is too long", self.limits, "field_characters")
        text = self._text[self._at : match.start() if match else len(self._text)]
        if not text:
            raise self.broken("expecting a value")
        parse(text, self.path, self.line, self.limits, self.column)
        self._advance(self._at + len(text))
        return text

    def _wait(self, scan: int, *, keep: bool, depth: int) -> int:
        """Get more text; returns where `scan` stands afterwards."""
        if not keep:
            self._advance(scan)
        behind = scan - self._at
        if len(self._text) - self._at > self.limits.field_characters * RECORD:
            raise over(self.path, self.line, "the value is too long for one row", self.limits, "field_characters")
        if not self._more():
            inside = "a string" if behind < len(self._text) - self._at else "a list or object"
            raise self.broken(f"the file ends inside {inside} that begins here")
        return self._at + behind

    def _more(self) -> bool:
        chunk = next(self._chunks, "")
        self._text, self._at = self._text[self._at :] + chunk, 0
        return bool(chunk)

    def _advance(self, to: int) -> None:
        newlines = self._text.count("\n", self._at, to)
        self.line += newlines
        self.column = to - 1 - self._text.rfind("\n", self._at, to) if newlines else self.column + to - self._at
        self._at = to
