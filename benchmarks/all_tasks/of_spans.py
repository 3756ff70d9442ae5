"""Baselines of token labelling: the usual tag of each word, and a logistic regression over its neighbours."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

from all_tasks import measures
from all_tasks.measures import Result
from all_tasks.works import Parts, Rows, Work

Words = list[tuple[int, int]]
Span = tuple[int, int, str]


def known_words(parts: Parts, work: Work) -> Result:
    """Each word gets the tag that it had most often in training; a new word gets none."""
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for row in parts["train"]:
        words = _words(row[work.text])
        for (start, end), tag in zip(words, _tags(words, _spans(row, work)), strict=True):
            seen[row[work.text][start:end].lower()][tag] += 1
    usual = {word: counts.most_common(1)[0][0] for word, counts in seen.items()}

    def tags(row: dict[str, Any], words: Words) -> list[str]:
        return [usual.get(row[work.text][start:end].lower(), "O") for start, end in words]

    return _judged(parts["test"], work, tags)


def logistic(parts: Parts, work: Work) -> Result:
    """A logistic regression of each word's tag over itself, its ending and two words on either side."""
    from sklearn.feature_extraction import DictVectorizer
    from sklearn.linear_model import SGDClassifier

    facts, tags = [], []
    for row in parts["train"]:
        words = _words(row[work.text])
        facts += _facts(row[work.text], words)
        tags += _tags(words, _spans(row, work))
    names = DictVectorizer()
    model = SGDClassifier(loss="log_loss", alpha=1e-5, max_iter=30, tol=1e-4, random_state=0)
    model.fit(_narrow(names.fit_transform(facts)), tags)

    def answer(row: dict[str, Any], words: Words) -> list[str]:
        return (
            [str(tag) for tag in model.predict(_narrow(names.transform(_facts(row[work.text], words))))]
            if words
            else []
        )

    return _judged(parts["test"], work, answer)


def _narrow(matrix: Any) -> Any:
    """With indices of 32 bits, without which this regression takes no sparse matrix."""
    matrix.indices, matrix.indptr = matrix.indices.astype("int32"), matrix.indptr.astype("int32")
    return matrix


def _judged(rows: Rows, work: Work, tags: Any) -> Result:
    given, answers = [], []
    for row in rows:
        words = _words(row[work.text])
        given.append(set(_spans(row, work)))
        answers.append(set(_from_tags(words, tags(row, words))))
    return measures.of_spans(given, answers)


def _words(text: str) -> Words:
    from microtune.data.word_places import word_places

    return word_places(text)


def _spans(row: dict[str, Any], work: Work) -> list[Span]:
    return [(s["start"], s["end"], s.get("label") or s["slot"]) for s in row[work.label or ""]]


def _tags(words: Words, spans: list[Span]) -> list[str]:
    """B-, I- or O for every word."""
    found = []
    for start, end in words:
        inside = next((s for s in spans if s[0] < end and s[1] > start), None)
        found.append("O" if inside is None else f"{'B' if start <= inside[0] else 'I'}-{inside[2]}")
    return found


def _from_tags(words: Words, tags: list[str]) -> list[Span]:
    """Spans; inside without a beginning of the same label begins one."""
    found: list[Span] = []
    last = ""
    for (start, end), tag in zip(words, tags, strict=True):
        label = tag[2:]
        if tag[0] == "I" and label == last:
            found[-1] = (found[-1][0], end, label)
        elif label:
            found.append((start, end, label))
        last = label
    return found


def _facts(text: str, words: Words) -> list[dict[str, Any]]:
    said = [text[start:end] for start, end in words]
    lower = [word.lower() for word in said]
    found = []
    for i, word in enumerate(said):
        facts: dict[str, Any] = {"bias": 1, "word": lower[i], "end": lower[i][-3:], "digit": word.isdigit()}
        facts["title"] = word[:1].isupper()
        for step in (-2, -1, 1, 2):
            place = i + step
            facts[f"word {step}"] = lower[place] if 0 <= place < len(words) else ""
        facts["pair before"] = f"{facts['word -1']} {lower[i]}"
        facts["pair after"] = f"{lower[i]} {facts['word 1']}"
        found.append(facts)
    return found
