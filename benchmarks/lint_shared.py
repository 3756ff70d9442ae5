"""How many public data sets the guess of `microtune lint` gets right, with their own field names and with f1..fn.

    python benchmarks/lint_shared.py --data FOLDER

FOLDER holds one folder per data set. What each is for stands here, not in the package: several tasks where the set's
own description names several. With --show each wrong guess is printed.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from microtune.data.shapes import sample_of
from microtune.data.sources import Row, iter_rows
from microtune.errors import InputError
from microtune.tasks.guess import Guess, guess

C, R, T, Q = "classification", "regression", "token-labelling", "question-answering"
M, S, I, P = "multiple-choice", "sequence-to-sequence", "instruction", "preference"
L, N = "language-modelling", "similarity"

EXPECTED: list[tuple[str, tuple[str, ...]]] = [
    ("sst2/train.tsv.gz", (C,)),
    ("sst5/train.tsv.gz", (C, R)),
    ("trec/train.tsv", (C,)),
    ("cola/train.tsv", (C,)),
    ("ag_news/train.csv.gz", (C, S)),
    ("banking77/train.csv", (C,)),
    ("snips/train.jsonl.gz", (C, T)),
    ("movie_reviews/train.jsonl.gz", (C,)),
    ("thucnews_titles/train.tsv.gz", (C,)),
    ("chnsenticorp_hotel/train.csv.gz", (C,)),
    ("cold_offensive/train.csv.gz", (C,)),
    ("ocnli/train.jsonl.gz", (C,)),
    ("xquad/en.train.json.gz", (Q,)),
    ("policyqa/train.json.gz", (Q,)),
    ("cmrc2018/train.json.gz", (Q,)),
    ("c3/m-train.json.gz", (M,)),
    ("squad_question_generation/train.jsonl.gz", (S,)),
    ("multi30k/train.en.gz + train.de.gz", (S,)),
    ("tatoeba_en_zh/train.tsv.gz", (S,)),
    ("scitldr/train.jsonl.gz", (S,)),
    ("csl_titles/train.tsv.gz", (S,)),
    ("mts_dialog/train.csv.gz", (S, C)),
    ("sgd/train.json.gz", (I,)),
    ("taskmaster4/train.jsonl.gz", (I,)),
    ("crosswoz/train.json.gz", (I,)),
    ("chatterbot_corpus/en.jsonl", (I,)),
    ("alpaca_en/train.jsonl.gz", (I,)),
    ("alpaca_zh/train.jsonl.gz", (I,)),
    ("self_instruct_seed/seed_tasks_en.jsonl", (I,)),
    ("preference_demo/dpo_en_demo.json.gz", (P,)),
    ("unfair_tos/train.jsonl.gz", (C,)),
    ("lawbench/knowledge_qa_multiple_choice.json.gz", (M,)),
    ("medquad/train.jsonl.gz", (I, N)),
    ("medical_abstracts/train.csv.gz", (C,)),
    ("huatuo_med_zh/train.jsonl.gz", (I,)),
    ("financial_phrasebank/train.csv.gz", (C,)),
    ("gsm8k/train.jsonl.gz", (I,)),
    ("svamp/train.json", (I,)),
    ("onestop_english/train.jsonl.gz", (C,)),
    ("tinyshakespeare/train.txt", (L,)),
    ("chinese_poetry/train.jsonl.gz", (L, C)),
    ("lm_english_books/validation.jsonl.gz", (L,)),
    ("lm_english_modern/docs.train.jsonl.gz", (L,)),
    ("lm_chinese/train.jsonl.gz", (L,)),
    ("bbq/Age.jsonl.gz", (M,)),
    ("hatecheck/test_suite_cases.csv.gz", (C,)),
]
# Further files of sets above, shown but not counted again.
MORE: list[tuple[str, tuple[str, ...]]] = [
    ("preference_demo/kto_en_demo.json.gz", (P,)),
    ("preference_demo/dpo_zh_demo.json.gz", (P,)),
    ("preference_demo/glaive_toolcall_en_demo.json.gz", (I,)),
    ("lawbench/consultation_topic_20_classes.json.gz", (C,)),
    ("lawbench/consultation_answering.json.gz", (I,)),
    ("xquad/zh.train.json.gz", (Q,)),
    ("chatterbot_corpus/zh.jsonl", (I,)),
    ("self_instruct_seed/seed_tasks_zh.jsonl", (I,)),
    ("lm_english_modern/wikitext2.test.txt.gz", (L,)),
]


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Every key at every level as f1..fn, in the order in which they are met."""
    if isinstance(value, dict):
        return {names.setdefault(k, f"f{len(names) + 1}"): renamed(v, names) for k, v in value.items()}
    return [renamed(v, names) for v in value] if isinstance(value, list) else value


def guesses(path: str, folder: Path) -> tuple[Guess, Guess]:
    """The guess for a file, and for the same rows with every key renamed."""
    one, _, other = path.partition(" + ")
    source: Any = str(folder / one)
    if other:
        source = {"source": source, "target": str((folder / one).parent / other)}
    rows = sample_of(iter_rows(source))
    names: dict[str, str] = {}
    plain = [Row(renamed(row.data, names), row.path, row.line) for row in rows]
    return guess(rows), guess(plain)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--show", action="store_true", help="fields and reason of every guess")
    parser.add_argument("--only", default="", help="sets whose path holds this text")
    asked = parser.parse_args()
    right, start = [0, 0], time.perf_counter()
    for number, (path, expected) in enumerate([*EXPECTED, *MORE]):
        if asked.only not in path:
            continue
        try:
            found = guesses(path, asked.data)
        except InputError as error:
            print(f"--  {path}: {error}")
            continue
        marks = [g.task in expected for g in found]
        if number < len(EXPECTED):
            right = [n + mark for n, mark in zip(right, marks, strict=True)]
        if asked.show or not all(marks):
            for mark, g in zip(marks, found, strict=True):
                print(f"{'ok' if mark else 'NO'}  {path}: {g.task} ({g.form}, {g.why}) {g.fields}")
    print(
        f"{len(EXPECTED)} sets: {right[0]} right, {right[1]} with fields renamed; {time.perf_counter() - start:.0f} s"
    )


if __name__ == "__main__":
    main()
