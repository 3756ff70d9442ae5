"""Baselines of written answers: the source itself, its first sentence, the answer to the most similar training source;
of numbers the most frequent one; and of likelihoods an n-gram model over the same tokens."""

from __future__ import annotations

import math
import re
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from all_tasks import measures
from all_tasks.measures import Array, Result
from all_tasks.words import vectorizer
from all_tasks.works import Parts, Rows, Work

BASE = "sprout"  # whose tokens the n-gram models count
_FIRST = re.compile(r".*?(?:[.!?](?=\s|$)|[。！？；]|$)", re.DOTALL)


def copy(parts: Parts, work: Work) -> Result:
    """The source is the answer."""
    return _written(parts, work, [row[work.text] for row in parts["test"]])


def lead(parts: Parts, work: Work) -> Result:
    """The first sentence of the source."""
    found = (_FIRST.match(row[work.text].strip()) for row in parts["test"])
    return _written(parts, work, [match.group().strip() if match else "" for match in found])


def nearest(parts: Parts, work: Work) -> Result:
    """The answer to the training source with the highest TF-IDF cosine."""
    return _written(parts, work, _nearest(parts, work))


def _nearest(parts: Parts, work: Work) -> list[str]:
    sources = {part: [row[work.text] for row in parts[part]] for part in ("train", "test")}
    words = vectorizer(sources["train"], chinese=work.chinese)
    scores = words.transform(sources["test"]) @ words.transform(sources["train"]).T
    return [str(parts["train"][int(row.toarray().argmax())][work.label or ""]) for row in scores]


def _written(parts: Parts, work: Work, answers: list[str]) -> Result:
    from microtune.tasks.text_scores import TextScores, words_of

    references = [str(row[work.label or ""]) for row in parts["test"]]
    scorer = TextScores(words_of([str(row[work.label or ""]) for row in parts["train"]]))
    columns, count = scorer.count(answers, references), len(answers)

    def metrics(rows: Array) -> dict[str, float]:
        found = scorer.scores(columns, np.bincount(rows, minlength=count).astype(np.float64))
        return {name: found[name] for name in work.scores}

    return measures.judged(metrics, count)


def frequent_number(parts: Parts, work: Work) -> Result:
    """Always the most frequent final number of the training rows."""
    from microtune.tasks.final_numbers import marked_number

    most = Counter(marked_number(row[work.label or ""]) for row in parts["train"]).most_common(1)[0][0]
    return numbers_met(parts["test"], work, [f"#### {most}"] * len(parts["test"]))


def nearest_number(parts: Parts, work: Work) -> Result:
    """The final number of the most similar training question."""
    return numbers_met(parts["test"], work, _nearest(parts, work))


def numbers_met(rows: Rows, work: Work, answers: list[str]) -> Result:
    """How many answers end with the right number, as `numeric_match` of instructions counts them."""
    from microtune.tasks.final_numbers import same_number

    pairs = zip(rows, answers, strict=True)
    return measures.of_shares(
        [same_number(answer, row[work.label or ""]) == 1 for row, answer in pairs], "number_match"
    )


def unigram(parts: Parts, work: Work) -> Result:
    """Every token by how often it stands in the training rows."""
    return _counted(parts, work, 1)


def four_gram(parts: Parts, work: Work) -> Result:
    """Interpolated modified Kneser-Ney of order 4, of the training rows alone."""
    return _counted(parts, work, 4)


def _counted(parts: Parts, work: Work, order: int) -> Result:
    from microtune.classic.ngram import Table, count_table

    ids, width = _ids(parts, work)
    with tempfile.TemporaryDirectory() as folder:
        tokens = np.concatenate([np.concatenate(([width], one)) for one, _, _ in ids["train"]]).astype(np.uint32)
        *_, table = count_table(tokens, order, width + 1, width, width, Path(folder))
        assert isinstance(table, Table)
        sums = []
        for one, scored, size in ids["test"]:
            shares = table.probabilities(np.concatenate(([width], one)))[1:]
            sums.append((float(-np.log(shares[scored]).sum()), int(scored.sum()), size))
    columns = np.array(sums, dtype=np.float64)

    def metrics(rows: Array) -> dict[str, float]:
        loss, count, size = columns[rows].sum(0)
        bits = {} if work.kind == "instruction" else {"bits_per_byte": loss / math.log(2) / size}
        return {"loss": loss / count, **bits}

    return measures.judged(metrics, len(columns))


def _ids(parts: Parts, work: Work) -> tuple[dict[str, list[tuple[Array, Array, int]]], int]:
    """Of each row its ids in the base's tokens, which are scored, and its bytes; and the size of the vocabulary."""
    import microtune as mt
    from all_tasks.running import prepared
    from microtune.tasks.language_modelling import document_ids

    base = mt.load(BASE)
    task, rows = prepared(parts, work, base)
    found: dict[str, list[tuple[Array, Array, int]]] = {}
    for part in ("train", "test"):
        found[part] = []
        if work.kind == "instruction":
            encoded = task.encode_all(rows[part], base.text, 512, training=False)
            for number in range(len(encoded.items)):
                item = encoded.items[number]
                one = np.concatenate([np.asarray(item.ids), np.asarray(item.targets)[-1:]])
                found[part].append((one, _places(len(one), np.asarray(item.readout) + 1), 0))
            continue
        for row in rows[part]:
            text = str(row.data[work.text])
            one = np.asarray(document_ids(base.text, text), dtype=np.int64)
            found[part].append((one, _places(len(one), np.arange(1, len(one))), len(text.encode())))
    return found, base.spec.vocab_size


def _places(count: int, chosen: Any) -> Array:
    scored = np.zeros(count, dtype=bool)
    scored[chosen] = True
    return scored
