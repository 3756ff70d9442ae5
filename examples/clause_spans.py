"""Contracts with marked clauses in SQuAD form -> rows of text and spans, for recipes/legal-spans.yaml.

    python examples/clause_spans.py CUAD_v1.json clauses.jsonl
    python examples/clause_spans.py CUAD_v1.json clauses.jsonl --characters 2000

The file is that of the Contract Understanding Atticus Dataset (Hendrycks et al., 2021; CC BY 4.0): each contract is one
text, each kind of clause a question (its name stands behind the last "__" of the question's id), each clause an answer
with its place. A contract is longer than a model reads, so it is parted at line breaks into pieces of at most
--characters; a piece is longer where a break would part a clause. Of clauses that overlap the longest is kept, because
a word can have one label; the others are counted. All pieces of a contract have its title in `document`, and stand in
the same part: a tenth of the contracts, drawn with a fixed seed, is the test, another one validation (field `split`).
"""

from __future__ import annotations

import argparse
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Span = tuple[int, int, str]  # start, end, label; in characters
CHARACTERS = 1200


def clauses(paragraph: dict[str, Any]) -> list[Span]:
    """The clauses of one contract, ascending, as they stand in its text."""
    text, found = paragraph["context"], set()
    for question in paragraph["qas"]:
        label = question["id"].rpartition("__")[2]
        for answer in question["answers"]:
            start, words = answer["answer_start"], answer["text"]
            if text[start : start + len(words)] != words:
                raise ValueError(f"{question['id']}: {words[:40]!r} does not stand at {start}")
            lead = len(words) - len(words.lstrip())
            if words.strip():
                found.add((start + lead, start + lead + len(words.strip()), label))
    return sorted(found)


def apart(spans: list[Span]) -> list[Span]:
    """The spans without those that overlap a longer one."""
    kept: list[Span] = []
    for span in sorted(spans, key=lambda s: (s[0] - s[1], s)):
        if all(span[1] <= other[0] or span[0] >= other[1] for other in kept):
            kept.append(span)
    return sorted(kept)


def pieces(text: str, spans: list[Span], most: int) -> Iterator[tuple[int, int]]:
    """(start, end) of the pieces of a text, parted at line breaks outside of spans."""
    start = last = 0
    for place in [*(match.end() for match in re.finditer(r"\n+", text)), len(text)]:
        if any(a < place < b for a, b, _ in spans):
            continue
        if place - start > most and last > start:
            yield start, last
            start = last
        last = place
    if start < len(text):
        yield start, len(text)


def rows_of(title: str, paragraph: dict[str, Any], most: int) -> tuple[list[dict[str, Any]], int]:
    """The rows of one contract, and how many of its clauses overlap longer ones."""
    text, every = paragraph["context"], clauses(paragraph)
    spans = apart(every)
    rows = []
    for start, end in pieces(text, spans, most):
        inside = [{"start": a - start, "end": b - start, "label": n} for a, b, n in spans if start <= a < end]
        if text[start:end].strip():
            rows.append({"document": title, "text": text[start:end], "spans": inside})
    return rows, len(every) - len(spans)


def split_of(count: int) -> list[str]:
    """The part of each of so many contracts."""
    tenth = max(1, round(count / 10)) if count > 2 else 0
    parts = ["test"] * tenth + ["validation"] * tenth
    parts += ["train"] * (count - len(parts))
    random.Random(0).shuffle(parts)
    return parts


def main() -> None:
    """Read, part, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="CUAD_v1.json")
    parser.add_argument("output", type=Path, help="JSON lines to write")
    parser.add_argument("--characters", type=int, default=CHARACTERS)
    asked = parser.parse_args()
    try:
        articles = json.loads(asked.file.read_text(encoding="utf-8"))["data"]
        found = [rows_of(a["title"], p, asked.characters) for a in articles for p in a["paragraphs"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        parser.error(f"{asked.file}: not contracts in SQuAD form ({type(error).__name__}: {error})")
    parts = split_of(len(found))
    rows = [
        {**row, "split": part} for part, (pieces_of_one, _) in zip(parts, found, strict=True) for row in pieces_of_one
    ]
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    asked.output.write_text("".join(lines), encoding="utf-8")
    marked, lost = sum(len(row["spans"]) for row in rows), sum(count for _, count in found)
    print(f"{len(found)} contracts, {len(rows)} rows, {marked} clauses; {lost} that overlap a longer one left out")


if __name__ == "__main__":
    main()
