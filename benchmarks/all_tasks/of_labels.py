"""Baselines of classification and regression: one answer for all, and TF-IDF with a linear model.

Strength of regularisation and, of several labels, the threshold are chosen on the validation rows.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from all_tasks import measures
from all_tasks.measures import Array, Result
from all_tasks.reading import labels_in
from all_tasks.words import vectorizer
from all_tasks.works import Parts, Work

STRENGTHS = (1.0, 10.0, 100.0)  # C of the logistic regression
RIDGES = (0.3, 1.0, 3.0, 10.0)  # alpha of the ridge regression
THRESHOLDS = np.arange(1, 50) * 0.02


def most_frequent(parts: Parts, work: Work) -> Result:
    """Always the most frequent label."""
    given = _labels(parts, work)
    most = Counter(label for row in given["train"] for label in row).most_common(1)[0][0]
    if work.options.get("form") == "multi":
        bits = _bits(given)
        answers = np.zeros_like(bits["test"])
        answers[:, _names(given).index(most)] = 1
        return measures.of_many_labels(bits["test"], answers)
    return measures.of_labels([row[0] for row in given["test"]], [most] * len(given["test"]))


def logistic(parts: Parts, work: Work) -> Result:
    """TF-IDF and logistic regression, one for each label where a row may have several."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier

    features, given = _features(parts, work), _labels(parts, work)
    if work.options.get("form") == "multi":
        bits = _bits(given)
        models = [OneVsRestClassifier(LogisticRegression(C=c, max_iter=1000)) for c in STRENGTHS]
        best, chosen = -1.0, (models[0], 0.5)
        for model in models:
            model.fit(features["train"], bits["train"])
            shares = model.predict_proba(features["validation"])
            for threshold in THRESHOLDS:
                score = _micro_f1(bits["validation"], shares >= threshold)
                if score > best:
                    best, chosen = score, (model, threshold)
        return measures.of_many_labels(
            bits["test"], (chosen[0].predict_proba(features["test"]) >= chosen[1]).astype(int)
        )
    labels = {part: [row[0] for row in rows] for part, rows in given.items()}
    models = [LogisticRegression(C=c, max_iter=1000).fit(features["train"], labels["train"]) for c in STRENGTHS]
    model = max(models, key=lambda m: m.score(features["validation"], labels["validation"]))
    return measures.of_labels(labels["test"], [str(label) for label in model.predict(features["test"])])


def mean(parts: Parts, work: Work) -> Result:
    """Always the mean of the training rows."""
    numbers = _numbers(parts, work)
    return measures.of_numbers(numbers["test"], np.full(len(numbers["test"]), numbers["train"].mean()))


def ridge(parts: Parts, work: Work) -> Result:
    """TF-IDF and ridge regression."""
    from sklearn.linear_model import Ridge

    features, numbers = _features(parts, work), _numbers(parts, work)
    models = [Ridge(alpha=alpha).fit(features["train"], numbers["train"]) for alpha in RIDGES]
    model = max(models, key=lambda m: m.score(features["validation"], numbers["validation"]))
    return measures.of_numbers(numbers["test"], model.predict(features["test"]))


def _features(parts: Parts, work: Work) -> dict[str, Any]:
    texts = {part: [str(row[work.text]) for row in rows] for part, rows in parts.items()}
    words = vectorizer(texts["train"], chinese=work.chinese)
    return {part: words.transform(found) for part, found in texts.items()}


def _labels(parts: Parts, work: Work) -> dict[str, list[list[str]]]:
    return {part: [labels_in(row, work.label or "") for row in rows] for part, rows in parts.items()}


def _names(given: dict[str, list[list[str]]]) -> list[str]:
    return sorted({label for row in given["train"] for label in row})


def _bits(given: dict[str, list[list[str]]]) -> dict[str, Array]:
    names = _names(given)
    return {part: np.array([[int(n in row) for n in names] for row in rows]) for part, rows in given.items()}


def _micro_f1(given: Array, answers: Array) -> float:
    return float(2 * (given * answers).sum() / max((given + answers).sum(), 1))


def _numbers(parts: Parts, work: Work) -> dict[str, Array]:
    return {part: np.array([float(row[work.label or ""]) for row in rows]) for part, rows in parts.items()}
