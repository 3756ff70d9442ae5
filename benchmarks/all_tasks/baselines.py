"""Every baseline by the name that stands in the table."""

from __future__ import annotations

from collections.abc import Callable

from all_tasks import of_labels, of_pairs, of_passages, of_spans, of_writing
from all_tasks.measures import Result
from all_tasks.works import Parts, Work

Baseline = Callable[[Parts, Work], Result]
NAMED: dict[str, Baseline] = {
    "most frequent": of_labels.most_frequent,
    "mean": of_labels.mean,
    "tf-idf ridge": of_labels.ridge,
    "known words": of_spans.known_words,
    "word logistic": of_spans.logistic,
    "whole passage": of_passages.whole_passage,
    "best sentence": of_passages.best_sentence,
    "tf-idf sentence": of_passages.alike_sentence,
    "tf-idf option": of_passages.alike_option,
    "copy": of_writing.copy,
    "lead-1": of_writing.lead,
    "nearest": of_writing.nearest,
    "most frequent number": of_writing.frequent_number,
    "nearest number": of_writing.nearest_number,
    "unigram": of_writing.unigram,
    "4-gram": of_writing.four_gram,
    "longer answer": of_pairs.longer,
    "tf-idf cosine": of_pairs.cosine,
    "tf-idf answers": of_pairs.answers,
}


def baseline(name: str, parts: Parts, work: Work) -> Result:
    """The scores of a baseline; `tf-idf` and `guessing` mean what they mean for the task."""
    search = work.kind == "similarity"
    of_task: dict[str, Baseline] = {
        "tf-idf": of_pairs.search if search else of_labels.logistic,
        "guessing": of_pairs.guessing if search else of_passages.guessing,
    }
    return (NAMED | of_task)[name](parts, work)
