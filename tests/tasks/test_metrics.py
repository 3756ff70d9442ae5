"""The figures of scores against scikit-learn and scipy, plain and weighted as a bootstrap weighs rows."""

from __future__ import annotations

import math

import numpy as np
import pytest

from microtune.tasks import figures
from microtune.tasks.base import Prediction
from microtune.tasks.classification import Classification
from microtune.tasks.figures import Ranking, correlation
from microtune.tasks.outcomes import Outcomes
from microtune.tasks.regression import Regression

pytestmark = pytest.mark.parity
TINY = 1e-12  # the same sums in another order


def draw(count: int = 200, classes: int = 4) -> tuple[Classification, list[Prediction]]:
    """Rows of few labels with probabilities that are right more often than not, some of them tied."""
    task = Classification(labels=tuple("abcd"[:classes]), text_field="text", label_field="label", form="single")
    generator = np.random.default_rng(3)
    targets = generator.integers(classes, size=count)
    scores = np.exp(generator.normal(size=(count, classes)).round(1) + 1.2 * np.eye(classes)[targets])
    shares = scores / scores.sum(1, keepdims=True)
    return task, [
        Prediction(
            answer=task.labels[int(row.argmax())],
            confidence=float(row.max()),
            target=task.labels[target],
            scores={str(label): float(p) for label, p in zip(task.labels, row, strict=True)},
            numbers={"loss": -math.log(row[target])},
            row=i,
        )
        for i, (row, target) in enumerate(zip(shares, targets, strict=True))
    ]


@pytest.mark.parametrize("classes", [2, 4])
def test_one_label_equals_scikit_learn(classes: int) -> None:
    from sklearn import metrics

    task, found = draw(classes=classes)
    values = task.metrics(found)
    given, answered = [p.target for p in found], [p.answer for p in found]
    shares = np.array([list(p.scores.values()) for p in found])
    area = metrics.roc_auc_score(given, shares[:, 1] if classes == 2 else shares, multi_class="ovr", average="macro")
    wanted = {
        "accuracy": metrics.accuracy_score(given, answered),
        "macro_f1": metrics.f1_score(given, answered, average="macro"),
        "weighted_f1": metrics.f1_score(given, answered, average="weighted"),
        "mcc": metrics.matthews_corrcoef(given, answered),
        "roc_auc": area,
    }
    for name, value in wanted.items():
        assert values[name] == pytest.approx(value, abs=TINY), name
    chosen = task.model_copy(update={"choose": "f1:b"})
    assert chosen.metrics(found)["f1:b"] == pytest.approx(
        metrics.f1_score(given, answered, labels=["b"], average=None)[0], abs=TINY
    )


def test_calibration_error_by_hand() -> None:
    """Fifteen bins of equal width, each with its upper end: rows of a bin, times how far it is off."""
    task, found = draw()
    confidence = np.array([p.confidence for p in found], dtype=np.float32).astype(np.float64)
    right = np.array([p.answer == p.target for p in found])
    error = 0.0
    for k in range(15):
        inside = (confidence > k / 15) & (confidence <= (k + 1) / 15)
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    assert task.metrics(found)["calibration_error"] == pytest.approx(error, abs=TINY)


def test_weights_are_repetitions() -> None:
    """A draw of rows as weights gives the metrics of the list in which each row stands so often."""
    generator = np.random.default_rng(0)
    task, found = draw()
    number = Regression(text_field="text", label_field="score")
    numbers = [
        Prediction(float(a).__round__(1), math.nan, float(b).__round__(1), numbers={"loss": (a - b) ** 2}, row=i)
        for i, (a, b) in enumerate(generator.normal(size=(200, 2)))
    ]
    for one, rows in ((task, found), (number, numbers)):
        times = np.bincount(generator.integers(200, size=200), minlength=200).astype(float)
        repeated = [p for p, n in zip(rows, times, strict=True) for _ in range(int(n))]
        outcomes = Outcomes(one.columns(rows), one.read)  # type: ignore[attr-defined]
        first = one.metrics(outcomes, np.ones(200))  # type: ignore[attr-defined]
        assert first == pytest.approx(one.metrics(rows), abs=TINY)  # type: ignore[attr-defined]
        assert one.metrics(outcomes, times) == pytest.approx(one.metrics(repeated), abs=TINY)  # type: ignore[attr-defined]


def many(count: int = 150, size: int = 6) -> tuple[Classification, list[Prediction]]:
    task = Classification(labels=tuple("abcdef"[:size]), text_field="text", label_field="labels", form="multi")
    generator = np.random.default_rng(5)
    wanted = generator.random((count, size)) < 0.3
    shares = 1 / (1 + np.exp(-(generator.normal(size=(count, size)).round(1) + 1.5 * wanted - 0.7)))

    def names(row: np.ndarray) -> list[str]:
        return [label for label, yes in zip("abcdef", row, strict=False) if yes]

    return task, [
        Prediction(names(p >= 0.5), 0.5, names(w), dict(zip("abcdef", p.tolist(), strict=False)), {"loss": 1.0}, i)
        for i, (p, w) in enumerate(zip(shares, wanted, strict=True))
    ]


def test_several_labels_equal_scikit_learn() -> None:
    from sklearn import metrics

    task, found = many()
    shares = np.array([list(p.scores.values()) for p in found])
    given = np.array([[label in p.target for label in "abcdef"] for p in found])
    answered = shares >= 0.5
    values = task.metrics(found)
    for average in ("micro", "macro", "weighted"):
        wanted = metrics.f1_score(given, answered, average=average)
        assert values[f"{average}_f1"] == pytest.approx(wanted, abs=TINY)
    assert values["subset_accuracy"] == pytest.approx(metrics.accuracy_score(given, answered), abs=TINY)
    precision = metrics.label_ranking_average_precision_score(given, shares)
    assert values["ranking_precision"] == pytest.approx(precision, abs=TINY)
    assert values["roc_auc"] == pytest.approx(metrics.roc_auc_score(given, shares, average="macro"), abs=TINY)
    options = {"target_names": list("abcdef"), "output_dict": True, "zero_division": 0.0}
    report = metrics.classification_report(given, answered, **options)
    for label, row in task.per_class(found).items():
        theirs = {key.replace("f1-score", "f1"): value for key, value in report[label].items()}
        assert row == pytest.approx(theirs, abs=TINY)


def test_numbers_equal_scipy() -> None:
    from scipy import stats
    from sklearn import metrics

    generator = np.random.default_rng(1)
    target = generator.normal(size=120).round(1) + 3
    answer = (target + generator.normal(size=120)).round(1)
    task = Regression(text_field="text", label_field="score")
    found = [
        Prediction(a, math.nan, t, numbers={"loss": (a - t) ** 2}, row=i)
        for i, (a, t) in enumerate(zip(answer.tolist(), target.tolist(), strict=True))
    ]
    values = task.metrics(found)
    assert values["rmse"] == pytest.approx(metrics.root_mean_squared_error(target, answer), abs=TINY)
    assert values["mae"] == pytest.approx(metrics.mean_absolute_error(target, answer), abs=TINY)
    assert values["pearson"] == pytest.approx(stats.pearsonr(answer, target)[0], abs=TINY)
    assert values["spearman"] == pytest.approx(stats.spearmanr(answer, target)[0], abs=TINY)


def test_what_has_no_value_is_left_out() -> None:
    """One class alone has no ROC curve, and a constant answer no correlation."""
    task, found = draw(classes=2)
    alone = [p for p in found if p.target == "a"]
    assert "roc_auc" not in task.metrics(alone)
    number = Regression(text_field="text", label_field="score")
    same = [Prediction(1.0, math.nan, float(i), numbers={"loss": 0.0}, row=i) for i in range(5)]
    assert number.metrics(same).keys() == {"rmse", "mae", "loss"}
    assert number.model_copy(update={"choose": "pearson"}).metrics(same)["pearson"] == 0.0
    ones = np.ones(5)
    assert math.isnan(correlation(ones, np.arange(5.0), ones))
    assert math.isnan(Ranking(np.arange(5.0)).auc(ones, ones))


def test_coverage_when_unsure() -> None:
    confidence, right = np.array([0.4, 0.55, 0.75, 0.97]), np.array([False, False, True, True])
    found = figures.coverage(confidence, right)
    assert [row["min_confidence"] for row in found] == [0.5, 0.6, 0.7, 0.8, 0.9, 0.95]  # nothing is surer than 0.99
    assert found[0] == {"min_confidence": 0.5, "answered": 0.75, "accuracy": pytest.approx(2 / 3)}
    assert found[-1] == {"min_confidence": 0.95, "answered": 0.25, "accuracy": 1.0}
