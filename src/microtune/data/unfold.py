"""Files in which one passage holds several questions -> a row for each question, the passage beside it.

SQuAD (Rajpurkar et al., 2016 and 2018) nests articles, paragraphs and questions; C3 (Sun et al., 2020) lists the
sentences of a document, then its questions. The rows share one passage in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microtune.data.decode import refuse, shown

Nested = dict[str, Any]


def as_object(value: Any) -> Any:
    """A list of sentences, questions and perhaps an id as an object; everything else as it is."""
    if not isinstance(value, list) or len(value) not in (2, 3):
        return value
    sentences, questions = value[0], value[1]
    if not isinstance(sentences, list) or not isinstance(questions, list) or not questions:
        return value
    if all(isinstance(s, str) for s in sentences) and all(isinstance(q, dict) and "question" in q for q in questions):
        return {"sentences": sentences, "questions": questions, "id": value[2] if len(value) == 3 else ""}
    return value


def unfolded(data: Nested, path: str | Path, line: int) -> Iterator[Nested]:
    """The rows that one element of a file stands for: itself, or one for each of its questions."""
    paragraphs, questions = data.get("paragraphs"), data.get("questions")
    if _holds(paragraphs, "qas"):
        title = {"title": data["title"]} if isinstance(data.get("title"), str) else {}
        for paragraph in paragraphs:  # type: ignore[union-attr]
            yield from _questions(paragraph, title, path, line)
    elif isinstance(data.get("context"), str) and isinstance(data.get("qas"), list):
        yield from _questions(data, {}, path, line)
    elif isinstance(data.get("sentences"), list) and _holds(questions, "question"):
        passage = "\n".join(map(str, data["sentences"]))
        for number, question in enumerate(questions, 1):  # type: ignore[arg-type]
            yield {"id": f"{data.get('id', '')}-{number}", "context": passage, **question}
    else:
        yield data


def _holds(value: Any, key: str) -> bool:
    """Whether a list of objects has this key."""
    return isinstance(value, list) and bool(value) and all(isinstance(one, dict) and key in one for one in value)


def _questions(paragraph: Nested, title: Nested, path: str | Path, line: int) -> Iterator[Nested]:
    context, asked = paragraph.get("context"), paragraph["qas"]
    if not isinstance(context, str) or not isinstance(asked, list):
        raise refuse(path, line, f"a paragraph has no text in {shown('context')}, or no list in {shown('qas')}")
    for question in asked:
        if not isinstance(question, dict):
            raise refuse(path, line, f"a question is {shown(question)}, not an object with question and answers")
        yield {**title, "context": context, **question}
