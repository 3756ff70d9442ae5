"""Probable label errors: rows whose label a simple classifier, trained on the other rows, is sure is another.

Confident learning (Northcutt et al., 2021): probabilities come from cross-validation; a row is doubted where another
class comes near the mean confidence of its own rows, and the row's class is all but ruled out. The classifier
is logistic regression on hashed words, word pairs and Chinese characters: cheap, and never the model to be trained.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microtune.data.lint.base import EXCERPT, SHOWN, Base, Finding, Place, Seen

FOLDS = 3
FEATURES = 2**17
LEAST = 100  # rows below which a classifier of words has no say
CHARACTERS = 600
SURE, RULED_OUT = 0.5, 0.1
TRUSTED = 0.85  # accuracy from which on doubts about more than 1 % of the rows are a warning
USUAL = 0.9  # of the mean confidence of a class: who is just below it is sure too
BETTER = 0.3  # share of the way from always guessing the largest class to perfect that the classifier must have gone
WORD = r"(?u)[\u3400-\u9fff]|[^\W\u3400-\u9fff]+"


class LabelDoubts(Base):
    """Rows of a sample whose label is doubted. skipped: why nothing was looked at."""

    def __init__(self, rows: Sequence[Seen]) -> None:
        self._rows = [seen for seen in rows if len(seen.labels) == 1]
        self.skipped = ""
        self.accuracy = 0.0
        self._found: list[tuple[float, int, str]] = []
        names = sorted({seen.labels[0] for seen in self._rows})
        if len(self._rows) < LEAST or not 2 <= len(names) <= 300:
            self.skipped = "few"
            return
        try:
            import sklearn  # noqa: F401
        except ImportError:
            self.skipped = "sklearn"
            return
        place = {name: i for i, name in enumerate(names)}
        labels = np.array([place[seen.labels[0]] for seen in self._rows])
        shares = _probabilities([seen.text[:CHARACTERS] for seen in self._rows], labels, len(names))
        self._judge(shares, labels, names)

    def _judge(self, shares: NDArray[Any], labels: NDArray[Any], names: list[str]) -> None:
        answers = shares.argmax(1)
        self.accuracy = float((answers == labels).mean())
        chance = float(np.bincount(labels).max() / len(labels))
        if self.accuracy < chance + BETTER * (1 - chance):
            self.skipped = "weak"
            return
        own = shares[np.arange(len(labels)), labels]
        usual = np.array([own[labels == c].mean() if (labels == c).any() else 1.0 for c in range(len(names))])
        best = shares.max(1)
        doubted = (answers != labels) & (best >= np.maximum(USUAL * usual[answers], SURE)) & (own <= RULED_OUT)
        order = np.flatnonzero(doubted)[np.argsort(-(best - own)[doubted], kind="stable")]
        self._found = [(float(best[i]), int(i), names[answers[i]]) for i in order]

    def findings(self) -> Sequence[Finding]:
        """The surest doubts first."""
        if not self._found:
            return []
        places = []
        for share, index, label in self._found[:SHOWN]:
            seen = self._rows[index]
            what = f"{seen.labels[0]} -> {label} ({share:.0%}): {seen.text}"
            places.append(Place(seen.row.path, seen.row.line, what[:EXCERPT].replace("\n", " ")))
        much = len(self._found) > 0.01 * len(self._rows) and self.accuracy >= TRUSTED
        values = {"accuracy": round(self.accuracy, 3)}
        severity = "warning" if much else "note"
        return [Finding("doubtful-labels", severity, len(self._found), len(self._rows), places, values)]  # type: ignore[arg-type]

    def figures(self) -> dict[str, Any]:
        """How well the simple classifier does: a first baseline too."""
        return {"word_classifier_accuracy": round(self.accuracy, 4)} if self.accuracy else {}


def _probabilities(texts: Sequence[str], labels: NDArray[Any], classes: int) -> NDArray[Any]:
    """Class probabilities [rows, classes] of each row from the folds that it is not in."""
    from sklearn.feature_extraction.text import HashingVectorizer
    from sklearn.linear_model import SGDClassifier

    vectors = HashingVectorizer(
        n_features=FEATURES, ngram_range=(1, 2), token_pattern=WORD, alternate_sign=False
    ).transform(texts)
    fold = np.random.default_rng(0).permutation(len(texts)) % FOLDS
    shares = np.zeros((len(texts), classes))
    for number in range(FOLDS):
        train, held = fold != number, fold == number
        model = SGDClassifier(loss="log_loss", alpha=2e-5, max_iter=10, tol=None, random_state=0)
        if len(set(labels[train])) < 2:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(vectors[train], labels[train])
            found = model.predict_proba(vectors[held])
        rows = np.zeros((int(held.sum()), classes))
        rows[:, model.classes_] = found
        shares[held] = rows
    return shares
