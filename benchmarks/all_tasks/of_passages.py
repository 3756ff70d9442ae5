"""Baselines of questions on passages: the whole passage, the sentence at the best place, the sentence most alike; and
of options: guessing, and the option that is most like passage and question."""

from __future__ import annotations

from typing import Any

import numpy as np

from all_tasks import measures
from all_tasks.measures import Result
from all_tasks.words import cosines, vectorizer
from all_tasks.works import Parts, Rows, Work


def whole_passage(parts: Parts, work: Work) -> Result:
    """Everything is the answer."""
    return _answered(parts["test"], work, [row["context"] for row in parts["test"]])


def best_sentence(parts: Parts, work: Work) -> Result:
    """The sentence at the place that is best on the training rows."""
    means = np.mean([[_scores(row, work, s)[1] for s in _sentences(row)] for row in parts["train"]], axis=0)
    place = int(means.argmax())
    return _answered(parts["test"], work, [_sentences(row)[place] for row in parts["test"]])


def alike_sentence(parts: Parts, work: Work) -> Result:
    """The sentence with the highest TF-IDF cosine to the question, of the whole passage."""
    rows = parts["train"]
    words = vectorizer([r[f] for r in rows for f in ("context", work.text)], chinese=work.chinese)
    answers = []
    for row in parts["test"]:
        sentences = _all_sentences(row["context"])
        scores = (words.transform(sentences) @ words.transform([row[work.text]]).T).toarray().ravel()
        answers.append(sentences[int(scores.argmax())])
    return _answered(parts["test"], work, answers)


def _answered(rows: Rows, work: Work, answers: list[str]) -> Result:
    scores = [_scores(row, work, answer) for row, answer in zip(rows, answers, strict=True)]
    return measures.of_columns(f1=[f1 for _, f1 in scores], exact_match=[exact for exact, _ in scores])


def _scores(row: dict[str, Any], work: Work, answer: str) -> tuple[float, float]:
    from microtune.data.sources import Row
    from microtune.tasks.answer_scores import answer_scores
    from microtune.tasks.passages import answers_of

    golds = [one.text for one in answers_of(Row(row, "", 0), work.label or "answers")]
    return answer_scores(answer, golds, "zh" if work.chinese else "en")


def _sentences(row: dict[str, Any]) -> list[str]:
    from microtune.tasks.passages import guesses

    return guesses(row["context"])[1:]


def _all_sentences(text: str) -> list[str]:
    from microtune.data.sentences import sentences_of

    return sentences_of(text) or [text]


def guessing(parts: Parts, work: Work) -> Result:
    """The mean of one in so many options."""
    return measures.fixed(accuracy=float(np.mean([1 / len(options) for options, _, _ in _asked(parts["test"], work)])))


def alike_option(parts: Parts, work: Work) -> Result:
    """The option with the highest TF-IDF cosine to passage and question."""
    train = _asked(parts["train"], work)
    words = vectorizer([text for options, _, asked in train for text in (*options, asked)], chinese=work.chinese)
    right = []
    for options, place, asked in _asked(parts["test"], work):
        scores = cosines(words.transform(options), words.transform([asked] * len(options)))
        right.append(int(scores.argmax()) == place)
    return measures.of_shares(right)


def _asked(rows: Rows, work: Work) -> list[tuple[tuple[str, ...], int, str]]:
    """Options, the place of the right one, and passage with question, as the task reads them."""
    from microtune.data.sources import Row
    from microtune.tasks.multiple_choice import MultipleChoice
    from microtune.tasks.options import read_options

    known = [Row(row, "", i) for i, row in enumerate(rows, 1)]
    task = MultipleChoice(**work.options).prepare({"train": known}, text_field=work.text, label_field=work.label)
    found = []
    for row in known:
        read = read_options(row, task.fields)
        passage = str(row.data.get(task.context_field, "")) if task.context_field else ""
        found.append((tuple(read.options), -1 if read.right is None else read.right, f"{passage}\n{read.question}"))
    return found
