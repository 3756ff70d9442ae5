"""CoNLL columns -> rows: a token a line with its tag, sentences parted by an empty line (Tjong Kim Sang, 2002).

The first column is the token and the last one the tag; what stands between (parts of speech, chunks) is left out. Every
line has as many columns as the first one. `-DOCSTART-` and comment lines before a sentence are skipped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from microtune.data.decode import refuse, shown

ENDINGS = (".conll", ".bio", ".iob", ".bioes")
START = "-DOCSTART-"


def is_conll(path: str) -> bool:
    """Whether a file is read as columns, by its name: then token i of a row stands i lines below its first."""
    name = path.lower().removesuffix(".gz").removesuffix(".xz")
    return name.endswith(ENDINGS)


def read_conll(path: Path, lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line of the first token, {tokens, tags}) of every sentence."""
    tokens: list[str] = []
    tags: list[str] = []
    first, width, opened = 0, 0, 0
    for number, line in lines:
        if not line.strip():
            if tokens:
                yield first, {"tokens": tokens, "tags": tags}
            tokens, tags = [], []
            continue
        if not tokens and line.startswith(("# ", START)):
            continue
        cells = line.split("\t") if "\t" in line else line.split()
        cells = [cell.strip() for cell in cells]
        if not width:
            width, opened = len(cells), number
        if len(cells) < 2:
            raise refuse(path, number, f"one column ({shown(line.strip())}); a token and, in the last one, its tag")
        if len(cells) != width:
            raise refuse(path, number, f"{len(cells)} columns, but {width} in line {opened}; every token needs all")
        if not cells[0] or not cells[-1]:
            raise refuse(path, number, "an empty column; every line needs a token and its tag")
        first = first if tokens else number
        tokens.append(cells[0])
        tags.append(cells[-1])
    if tokens:
        yield first, {"tokens": tokens, "tags": tags}
