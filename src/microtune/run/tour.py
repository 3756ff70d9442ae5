"""The tour: what tuning lightly is worth on the embedded data, measured next to what it must beat.

Majority class, TF-IDF with logistic regression (Salton and Buckley, 1988), the same network from random weights, the
frozen base with a new head, and LoRA, on the same rows of `tickets`, per language. All choices (learning rate, epoch)
are made on the validation split.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from microtune.data.sources import Row, read_rows
from microtune.errors import InputError
from microtune.run.evaluate import wilson
from microtune.run.given import embedded_data
from microtune.run.tune import Evaluated, Prepared
from microtune.run.verbs import tune

LANGUAGES = ("en", "zh")
RANDOM_RATES = (5e-4, 2e-3)
LORA_RATE = 3e-3
TASK = {"name": "classification", "pooling": "mean"}  # for all networks alike


@dataclass(frozen=True)
class Contender:
    """One row of the tour's table; `right` says for each test row whether the answer was right."""

    name: str
    right: list[bool]
    share: float
    seconds: float
    path: Path | None = None

    def accuracy(self, rows: Sequence[Row], language: str) -> tuple[float, float, float]:
        """Accuracy on the test rows of a language, with its 95 % interval."""
        hits = [hit for hit, row in zip(self.right, rows, strict=True) if row.data["language"] == language]
        share = sum(hits) / len(hits)
        return (share, *wilson(share, len(hits)))


def tickets() -> dict[str, list[Row]]:
    """The embedded data set by split."""
    parts: dict[str, list[Row]] = {"train": [], "validation": [], "test": []}
    for row in read_rows(embedded_data("tickets")):
        parts[row.data["split"]].append(row)
    return parts


def contenders(
    parts: dict[str, list[Row]], folder: Path, model: str, epochs: float, on_event: Callable[[Any], None]
) -> Iterator[Contender]:
    """Every row of the table, one after the other, cheapest first."""
    yield majority(parts)
    yield tfidf(parts)
    yield tuned("head only", parts, folder / "head", on_event, model=model, method="head", epochs=3 * epochs)[0]
    random = [
        tuned(
            "random weights, full",
            parts,
            folder / f"random-{number}",
            on_event,
            model={"source": model, "weights": "random"},
            method="full",
            epochs=epochs,
            train={"lr": rate},
        )
        for number, rate in enumerate(RANDOM_RATES)
    ]
    best = max(random, key=lambda pair: pair[1])[0]
    yield Contender(best.name, best.right, best.share, sum(pair[0].seconds for pair in random), best.path)
    yield tuned(
        "LoRA, rank 8",
        parts,
        folder / "lora",
        on_event,
        model=model,
        method="lora:8",
        epochs=epochs,
        train={"lr": LORA_RATE},
    )[0]


def majority(parts: dict[str, list[Row]]) -> Contender:
    """The most frequent label of the training rows, for every message."""
    most = Counter(row.data["intent"] for row in parts["train"]).most_common(1)[0][0]
    return Contender("majority class", [row.data["intent"] == most for row in parts["test"]], 0.0, 0.0)


def tfidf(parts: dict[str, list[Row]]) -> Contender:
    """TF-IDF and logistic regression, one per language: words in English, characters in Chinese."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
    except ImportError as error:
        raise InputError('The tour compares with scikit-learn; pip install "microtune[metrics]".') from error
    start = time.perf_counter()
    answers: dict[int, str] = {}
    for language in LANGUAGES:
        analyzer, grams = ("word", (1, 2)) if language == "en" else ("char", (1, 3))
        known = [row for part in ("train", "validation") for row in parts[part] if row.data["language"] == language]
        asked = [i for i, row in enumerate(parts["test"]) if row.data["language"] == language]
        vectorizer = TfidfVectorizer(analyzer=analyzer, ngram_range=grams, sublinear_tf=True)
        pipeline = make_pipeline(vectorizer, LogisticRegression(C=10, max_iter=1000))
        pipeline.fit([row.data["text"] for row in known], [row.data["intent"] for row in known])
        found = pipeline.predict([parts["test"][i].data["text"] for i in asked])
        answers |= dict(zip(asked, found, strict=True))
    right = [answers[i] == row.data["intent"] for i, row in enumerate(parts["test"])]
    return Contender("TF-IDF + logistic reg.", right, 1.0, time.perf_counter() - start)


def tuned(
    name: str, parts: dict[str, list[Row]], out: Path, on_event: Callable[[Any], None], **options: Any
) -> tuple[Contender, float]:
    """Tune on tickets; the contender and its validation accuracy."""
    seen: dict[str, Any] = {}

    def listen(event: Any) -> None:
        if isinstance(event, Evaluated):
            seen[event.split] = event.score
        elif isinstance(event, Prepared):
            seen["share"] = event.summary.share
        on_event(event)

    start = time.perf_counter()
    data = {name: [row.data for row in rows] for name, rows in parts.items()}
    run = tune(
        data["train"],
        validation=data["validation"],
        test=data["test"],
        task=TASK,
        text_field="text",
        label_field="intent",
        out=out,
        overwrite=True,
        on_event=listen,
        **options,
    )
    seconds = time.perf_counter() - start
    right = [p.answer == p.target for p in seen["test"].predictions]
    return Contender(name, right, seen["share"], seconds, run.path), seen["validation"].values["accuracy"]
