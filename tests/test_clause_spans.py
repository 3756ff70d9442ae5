"""examples/clause_spans.py: contracts in SQuAD form become rows whose spans stand where they say."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

from microtune.data.sources import Row
from microtune.tasks.text_spans import listed_spans

SCRIPT = Path(__file__).resolve().parent.parent / "examples" / "clause_spans.py"
TEXT = (
    "1. Parties\nThis is between A and B.\n\n2. Law\nThe law of\nOhio applies to all of it.\n3. End\nIt ends in May.\n"
)


def paragraph(**clauses: list[str]) -> dict[str, Any]:
    qas = []
    for name, texts in clauses.items():
        answers = [{"text": text, "answer_start": TEXT.index(text)} for text in texts]
        qas.append({"id": f"A_CONTRACT__{name}", "question": "?", "answers": answers, "is_impossible": not texts})
    return {"context": TEXT, "qas": qas}


def written(tmp_path: Path, content: dict[str, Any], *more: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "cuad.json").write_text(json.dumps(content), encoding="utf-8")
    command = [sys.executable, str(SCRIPT), str(tmp_path / "cuad.json"), str(tmp_path / "rows.jsonl"), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_pieces_part_no_clause_and_the_longest_of_overlapping_ones_stays(tmp_path: Path) -> None:
    one = paragraph(Law=["The law of\nOhio applies"], State=["Ohio"], Parties=["A and B"], Audit=[])
    done = written(tmp_path, {"data": [{"title": "A", "paragraphs": [one]}]}, "--characters", "20")
    assert done.stdout == "1 contracts, 6 rows, 2 clauses; 1 that overlap a longer one left out\n"
    rows = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert "".join(row["text"] for row in rows) == TEXT
    marked = [(row["text"][s["start"] : s["end"]], s["label"]) for row in rows for s in row["spans"]]
    assert marked == [("A and B", "Parties"), ("The law of\nOhio applies", "Law")]
    for row in rows:  # the task takes them as they are
        listed_spans(Row(row, "rows.jsonl", 1), "spans", row["text"])


def test_all_pieces_of_a_contract_stand_in_one_part() -> None:
    split_of = runpy.run_path(str(SCRIPT))["split_of"]
    assert sorted(split_of(20)) == ["test"] * 2 + ["train"] * 16 + ["validation"] * 2
    assert sorted(split_of(3)) == ["test", "train", "validation"]
    assert split_of(1) == ["train"]
    assert split_of(20) == split_of(20)


def test_what_is_no_such_file_is_said_in_a_sentence(tmp_path: Path) -> None:
    wrong = {"id": "A__Law", "answers": [{"text": "Ohio", "answer_start": 3}]}
    done = written(tmp_path, {"data": [{"title": "A", "paragraphs": [{"context": TEXT, "qas": [wrong]}]}]})
    assert done.returncode == 2
    assert "not contracts in SQuAD form (ValueError: A__Law: 'Ohio' does not stand at 3)" in done.stderr
    assert not (tmp_path / "rows.jsonl").exists()


def test_equal_lengths_are_parted_in_the_same_way_each_time() -> None:
    apart = runpy.run_path(str(SCRIPT))["apart"]
    assert apart([(0, 4, "b"), (0, 4, "a"), (4, 6, "c"), (5, 9, "d")]) == [(0, 4, "a"), (5, 9, "d")]
