"""Beside every score what needs no model: always the most frequent label, always the mean; and labels never answered.

Where one label in twelve is "unfair", always answering "fair" is right 92 times in 100. The check `chance` compares the
first look at validation with such an answer, `never-answered` names the labels that a tuned model does not use.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from microtune.run.checks import Ledger
from microtune.run.diagnosis import Diagnosis, all_right, no_better
from microtune.run.evaluate import Score, wilson
from microtune.run.folder import read_metrics
from microtune.tasks.base import Encoded, Task
from microtune.tasks.classification import Classification
from microtune.tasks.question_answering import QuestionAnswering
from microtune.tasks.regression import Regression

SHOWN = 3  # labels that a sentence names
SEEN = 0.1  # of the temperature's logarithm: what changes less shows in no printed digit that matters


def has_chance(task: Task) -> bool:
    """Whether `below_chance` knows an answer that needs no model: not of several labels a row, nor of text."""
    return isinstance(task, Regression) or (isinstance(task, Classification) and task.form != "multi")


def below_chance(task: Task, validation: Encoded, folder: Path) -> str | None:
    """The sentence of the check `chance`, or None where the first validation score is clearly above chance."""
    looks = [m for m in read_metrics(folder / "metrics.jsonl") if m.get("kind") == "score"]
    looks = [m for m in looks if m.get("split") == "validation" and not m.get("final")]
    if not looks or not len(validation.items) or not has_chance(task):
        return None
    if isinstance(task, Regression):
        return _no_better_than_the_mean(task, validation, looks[0])
    assert isinstance(task, Classification)
    return _no_better_than_one_label(task, validation, looks[0])


def _no_better_than_one_label(task: Classification, validation: Encoded, look: Mapping[str, float]) -> str | None:
    count = len(validation.items)
    targets = Counter(int(validation.items[i].targets[0]) for i in range(count))
    label, most = targets.most_common(1)[0]
    accuracy = float(look["accuracy"])
    low, high = wilson(accuracy, count)
    if low > most / count:
        return None
    return (
        f"After step {look['step']} the accuracy on validation is {accuracy:.3f} (95 % interval {low:.3f} to "
        f"{high:.3f}, {count} rows), no better than always answering "
        f'"{task.labels[label]}" ({most / count:.3f}): look whether the labels belong to the texts, or train longer.'
    )


def _no_better_than_the_mean(task: Regression, validation: Encoded, look: Mapping[str, float]) -> str | None:
    count = len(validation.items)
    standard = np.array([validation.items[i].extra for i in range(count)], dtype=np.float64)
    trivial = task.trivial(standard * task.deviation + task.mean)
    found = float(look["rmse"])
    if found < trivial["rmse"]:
        return None
    return (
        f"After step {look['step']} the RMSE on validation is {found:.4g} ({count} rows), no better than always "
        f"answering the mean of the training rows, {task.mean:.4g} ({trivial['rmse']:.4g}): look whether the numbers "
        "belong to the texts, or train longer."
    )


def tempered(found: Diagnosis, task: Task, scores: Mapping[str, Score]) -> Diagnosis:
    """The diagnosis of the losses, seen beside the answers: no fit is good that is worth one answer to everything."""
    if "validation" not in scores:
        return found
    if _is_trivial(task, scores["validation"]):
        return no_better(found)
    return all_right(found) if scores["validation"].values.get("accuracy") == 1.0 else found


def _is_trivial(task: Task, score: Score) -> bool:
    """Whether the answers are not clearly worth more than the same one for every row.

    A classifier's correlation (MCC) must also be unclear: with rare labels, less accuracy can be of use.
    """
    if isinstance(task, Regression):
        return score.values["rmse"] >= task.trivial(score.predictions.columns["target"])["rmse"]
    if not isinstance(task, Classification) or task.form == "multi":
        return False
    most, count = int(max(task.scoring.totals(score.predictions).given)), len(score.predictions)
    correlation = score.intervals.get("mcc", (score.values["mcc"],))[0]
    return correlation <= 0.0 and wilson(score.values["accuracy"], count)[0] <= most / count


def baseline_notes(task: Task, scores: Mapping[str, Score], ledger: Ledger) -> list[str]:
    """Notes about the final scores, of the test split where there is one."""
    split = "test" if "test" in scores else "validation"
    if split not in scores:
        return []
    score = scores[split]
    if isinstance(task, Regression):
        return [_beside_the_mean(task, score, split)]
    if isinstance(task, QuestionAnswering):
        return _beside_the_passage(task, score, split)
    if not isinstance(task, Classification):
        return []
    ledger.passed("never-answered")
    sentence = _never_answered(task, score, split)
    return _calibrated(task) + ([] if sentence is None else [ledger.warned("never-answered", sentence)])


def _calibrated(task: Classification) -> list[str]:
    """Why the loss at the end is not that of the last look, where the temperature has changed it enough to be seen."""
    if abs(math.log(task.temperature)) < SEEN:
        return []
    return [
        f"Confidences are calibrated: the scores are divided by {task.temperature:.3g}, the temperature with the "
        "lowest validation loss. So loss and calibration_error at the end are not those after the last epoch; answers "
        "are the same."
    ]


def _beside_the_mean(task: Regression, score: Score, split: str) -> str:
    trivial = task.trivial(score.predictions.columns["target"])
    figures = ", ".join(
        f"{name.upper()} {trivial[name]:.4g} (the model {score.values[name]:.4g})" for name in ("rmse", "mae")
    )
    high = score.intervals.get("rmse", (0.0, 0.0))[1]
    verdict = (
        "" if high < trivial["rmse"] else f"; the model's interval reaches {high:.4g}, so it is not clearly better"
    )
    return f"Always answering the mean of the training rows, {task.mean:.4g}, gives on {split} {figures}{verdict}."


def _beside_the_passage(task: QuestionAnswering, score: Score, split: str) -> list[str]:
    found = task.details(score.predictions)
    if not found:
        return []
    low = score.intervals.get("f1", (0.0, 1.0))[0]
    best = max(found["whole_passage_f1"], found["best_sentence_f1"])
    verdict = "" if low > best else f"; the model's interval begins at {low:.3f}, so it is not clearly better"
    return [
        f"Always answering the whole passage gives on {split} F1 {found['whole_passage_f1']:.3f}, always its sentence "
        f"{found['best_sentence']} {found['best_sentence_f1']:.3f} (the model {score.values['f1']:.3f}){verdict}."
    ]


def _never_answered(task: Classification, score: Score, split: str) -> str | None:
    """Labels that rows of the split have and the model never gives."""
    counts = task.scoring.totals(score.predictions)
    unused = [
        (label, int(given))
        for label, given, answers in zip(task.labels, counts.given, counts.predicted, strict=True)
        if given and not answers
    ]
    if not unused:
        return None
    count = len(score.predictions)
    unused.sort(key=lambda pair: -pair[1])
    named = ", ".join(f'"{label}" ({support} of {count} {split} rows)' for label, support in unused[:SHOWN])
    more = f" and {len(unused) - SHOWN} more labels" if len(unused) > SHOWN else ""
    return (
        f"The model never answers {named}{more}: its scores say nothing about them. More such rows, more epochs, "
        "task.balance=weights or task.choose=macro_f1 may help."
    )


__all__ = ["baseline_notes", "below_chance", "has_chance", "tempered"]
