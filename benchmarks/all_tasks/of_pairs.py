"""Baselines of preference (the longer answer, the answer most like the prompt, a linear model of the words of good and
bad answers) and of search (guessing, TF-IDF)."""

from __future__ import annotations

from typing import Any

import numpy as np

from all_tasks import measures
from all_tasks.measures import Result
from all_tasks.words import cosines, vectorizer
from all_tasks.works import Parts, Rows, Work

PAIR = ("chosen", "rejected")


def longer(parts: Parts, work: Work) -> Result:
    """The longer answer is the better one; a tie counts half."""
    return _preferred([len(row["chosen"]) - len(row["rejected"]) for row in parts["test"]])


def cosine(parts: Parts, work: Work) -> Result:
    """The answer with the higher TF-IDF cosine to the prompt."""
    words = vectorizer([row[name] for row in parts["train"] for name in ("prompt", *PAIR)], chinese=work.chinese)
    asked = words.transform([row["prompt"] for row in parts["test"]])
    one, other = (cosines(asked, words.transform([row[name] for row in parts["test"]])) for name in PAIR)
    return _preferred(one - other)


def answers(parts: Parts, work: Work) -> Result:
    """A logistic regression over what the words of two answers differ in (Bradley and Terry, 1952)."""
    from scipy.sparse import vstack
    from sklearn.linear_model import LogisticRegression

    words = vectorizer([row[name] for row in parts["train"] for name in PAIR], chinese=work.chinese)

    def differences(rows: Rows) -> Any:
        one, other = (words.transform([row[name] for row in rows]) for name in PAIR)
        return one - other

    train = differences(parts["train"])
    model = LogisticRegression(C=10.0, fit_intercept=False, max_iter=1000)
    model.fit(vstack([train, -train]), [1] * train.shape[0] + [0] * train.shape[0])
    return _preferred(model.decision_function(differences(parts["test"])))


def _preferred(gaps: Any) -> Result:
    gaps = np.asarray(gaps, dtype=np.float64)
    return measures.of_columns(preference_accuracy=(gaps > 0) + 0.5 * (gaps == 0))


def guessing(parts: Parts, work: Work) -> Result:
    """What a random order of all passages is expected to reach."""
    count = len({row[work.options["pair_field"]] for row in parts["test"]})
    return measures.fixed(**{"mrr": float(sum(1 / n for n in range(1, count + 1)) / count), "recall@1": 1 / count})


def search(parts: Parts, work: Work) -> Result:
    """Passages in the order of their TF-IDF cosine to the query, ranked by the rule of the task."""
    from microtune.tasks.ranks import rank

    names = (work.text, work.options["pair_field"])
    words = vectorizer([row[name] for row in parts["train"] for name in names], chinese=work.chinese)
    texts = [[str(row[name]) for name in names] for row in parts["test"]]
    vectors = np.stack([words.transform(pair).toarray() for pair in texts]).astype(np.float32)
    known = {text: number for number, text in enumerate(dict.fromkeys(text for pair in texts for text in pair))}
    keys = np.array([[known[text] for text in pair] for pair in texts], dtype=np.int64)
    found = rank(vectors, keys, 0.05)
    return measures.of_columns(mrr=1 / found.ranks, recall_at_1=found.ranks <= 1)
