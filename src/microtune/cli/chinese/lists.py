"""Values that are several things at once, as the program puts them into a sentence: places, splits, endings, names.

`CHANGED` says by the name of a group how what stands there is said again; what the user named stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from microtune.cli.chinese.values import SOUGHT, VALUES
from microtune.forms import SPLITS, places


def types(value: str) -> str:
    """`str (a.csv, line 3) and int (a.csv, line 8)`."""
    found = re.findall(r"(?:^| and )([a-z]+) \((.+?)\)(?= and [a-z]+ \(|$)", value, re.DOTALL)
    return "，".join(f"{VALUES.get(kind, kind)}（{places(place)}）" for kind, place in found) or value


def splits(value: str) -> str:
    """`train, validation, test`."""
    return "、".join(SPLITS.get(name, name) for name in value.split(", "))


def endings(value: str) -> str:
    """`.jsonl, .csv, each also with .gz or .xz`."""
    return value.replace(", each also with .gz or .xz", "，都可以再加 .gz 或 .xz")


def names(value: str) -> str:
    """`causal, masked or infilling`."""
    said = {"and": "和", "or": "或"}
    return re.sub(r" (and|or) (?=\S+$)", lambda found: f" {said[found[1]]} ", value)


CHANGED: dict[str, Callable[[str], str]] = {
    "split": lambda value: SPLITS.get(value, value),
    "earlier": lambda value: SPLITS.get(value, value),
    "split_names": splits,
    "places": places,
    "types": types,
    "endings": endings,
    "sought": lambda value: SOUGHT.get(value, value),
    **dict.fromkeys(("options", "meant", "named", "tasks", "languages", "character"), names),
}
