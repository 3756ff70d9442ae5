"""Which task a file is for, which field plays which role, and in which form: proposed from the values alone.

First the structures that only one task has (turns, pointers, options, tags); then the fields that are left: how many
are running text, whether some hold few values that come back, how two texts are related. What fields are called is a
hint among others (`data/names.py`) and settles only what shapes leave open. A guess is a proposal: the report says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import Any

from microtune.data.shapes import Shape, flat, overlap, shapes_of, weight
from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.tasks.evidence import (
    File,
    Guess,
    Relation,
    better,
    label_of,
    lengths_together,
    main_two,
    named_pair,
    number_of,
    stands_in,
)
from microtune.tasks.labels import guess_form
from microtune.tasks.structures import Turns, options_in, pointers, spoken_lists, tag_lists, turns_in

BOOK = 8000  # mean letters (a Chinese character counts as two) from which on a text is a document to go on with
MOST_CLASSES = 300


def guess(rows: Sequence[Row]) -> Guess:
    """The most likely task for a sample of rows (`shapes.sample_of`); InputError where no field holds text."""
    shapes = shapes_of(rows)
    pair = named_pair(shapes)
    texts = [s for s in shapes if s.is_text or s in pair]
    labels = [s for s in shapes if s.is_category and s.distinct <= MOST_CLASSES and s not in pair]
    file = File(rows, shapes, texts, labels)
    steps: tuple[Callable[[File], Guess | None], ...] = (
        _answers,
        _conversations,
        _tagged,
        _choices,
        _documents,
        _three_parts,
        _several_texts,
        _one_text,
    )
    for step in steps:
        found = step(file)
        if found is not None:
            return found
    text = max((s for s in shapes if s.kind in ("text", "texts")), key=lambda s: s.length, default=None)
    if text is None:
        where = rows[0].path if rows else "the data"
        raise InputError(f"{where}: no field holds text, so there is nothing for a language model to read.")
    return Guess("language-modelling", "text", {"text": text.name}, "only-text", _text_options(text))


def _text_options(text: Shape) -> dict[str, Any] | None:
    return {"text_field": text.name} if text.kind == "text" else None


def _answers(file: File) -> Guess | None:
    """Question answering: an offset points from an answer into its passage, or the answer stands in the passage."""
    found = pointers(file.rows)
    if found is not None and found[0] == "answer":
        roles = _flat_answer(file)
        return Guess("question-answering", "squad", roles, "points-to-answer", _asked_options(roles))
    question, context, answer = (file.called(role, file.shapes) for role in ("question", "context", "answer"))
    if question and context and answer and len({question.name, context.name, answer.name}) == 3:
        roles = {"question": question.name, "context": context.name, "answer": answer.name}
        if stands_in(file.rows, answer, context) >= 0.8:
            return Guess("question-answering", "rows", roles, "answer-in-passage", _asked_options(roles))
    asked = [s for s in file.texts if s.questions >= 0.7]
    for question in asked:
        longer = [s for s in file.texts if s.kind == "text" and s.length > 2 * question.length]
        for passage in longer:
            for answer in file.shapes:
                if answer in (question, passage) or answer.kind != "text" or answer.length > 0.5 * passage.length:
                    continue
                if not answer.is_category and stands_in(file.rows, answer, passage) >= 0.8:
                    roles = {"question": question.name, "context": passage.name, "answer": answer.name}
                    return Guess("question-answering", "rows", roles, "answer-in-passage", _asked_options(roles))
    return None


def _asked_options(roles: dict[str, Any]) -> dict[str, Any] | None:
    """The fields of a flat row as the task names them."""
    names = {"question": "question_field", "context": "context_field", "answer": "label_field"}
    return {names[role]: field for role, field in roles.items()} if roles.keys() == names.keys() else None


def _flat_answer(file: File) -> dict[str, Any]:
    """The roles of a flat row with pointers; {} where passages and questions are nested."""
    asked = next((s for s in file.texts if s.questions >= 0.7), None)
    passage = max((s for s in file.texts if s is not asked), key=lambda s: s.length, default=None)
    answer = next((s for s in file.shapes if s.kind in ("object", "objects")), None)
    if asked is None or passage is None or answer is None:
        return {"articles": answer.name} if answer else {}
    return {"question": asked.name, "context": passage.name, "answer": answer.name}


def _conversations(file: File) -> Guess | None:
    """Turns: with a yes or no, or with two further answers, preference; else instruction."""
    found = [t for s in file.shapes if (t := turns_in(s, file.rows))]
    if not found:
        spoken = next((s for s in file.shapes if spoken_lists(s)), None)
        return Guess("instruction", "turns", {"messages": spoken.name}, "list-of-texts") if spoken else None
    if len(found) >= 2:
        first = found[-2:] if len(found) > 2 else found
        chosen, rejected = better(first[0].field, first[1].field)
        more = {"messages": found[0].field} if len(found) > 2 else {}
        return Guess("preference", "pairs", {**more, "chosen": chosen, "rejected": rejected}, "two-answers")
    turns = found[0]
    answers = [s.name for s in file.shapes if s.name != turns.field and _is_answer(s, turns, file.rows)]
    if len(answers) == 2:
        chosen, rejected = better(*answers)
        return Guess(
            "preference", "pairs", {"messages": turns.field, "chosen": chosen, "rejected": rejected}, "two-answers"
        )
    flag = next((s for s in file.shapes if s.kind == "flag" and s.filled > 0.9 and s.distinct == 2), None)
    if flag is not None:
        return Guess("preference", "flag", {"messages": turns.field, "label": flag.name}, "good-or-bad")
    options = {"form": "messages", "messages_field": turns.field} if _readable(turns) else None
    return Guess("instruction", "messages", {"messages": turns.field}, "turns", options)


def _readable(turns: Turns) -> bool:
    return (turns.role, turns.content) in (("role", "content"), ("from", "value"))


def _is_answer(shape: Shape, turns: Turns, rows: Sequence[Row]) -> bool:
    """A text or one turn that is different in most rows."""
    if shape.kind == "object":
        values = [row.data.get(shape.name) for row in rows]
        return all(isinstance(v, dict) and turns.content in v for v in values if v)
    return shape.is_text and shape.kind == "text"


def _tagged(file: File) -> Guess | None:
    """Token labelling: spans that point into a text, or a list of tags beside a list of words."""
    found = pointers(file.rows)
    if found is not None and found[0] == "span" and file.texts:
        spans = next((s for s in file.shapes if s.kind == "objects"), None)
        text = max(file.texts, key=lambda s: s.length)
        if spans is not None:
            others = ("classification",) if file.labels else ()
            roles = {"text": text.name, "spans": spans.name}
            options = {"text_field": text.name, "label_field": spans.name} if text.kind == "text" else None
            return Guess("token-labelling", "spans", roles, "points-to-spans", options, others)
    lists = tag_lists(file.shapes, file.rows)
    if lists is None:
        return None
    roles, options = {"tokens": lists[0], "tags": lists[1]}, {"tokens_field": lists[0], "label_field": lists[1]}
    return Guess("token-labelling", "tags", roles, "tags-beside-words", options)


def _choices(file: File) -> Guess | None:
    """Multiple choice: one of several options is the answer."""
    found = options_in(file.shapes, file.rows)
    if found is None:
        return None
    taken = {*found.fields, found.answer}
    question = max((s for s in file.texts if s.name not in taken), key=lambda s: s.questions, default=None)
    roles: dict[str, Any] = {"question": question.name} if question else {}
    roles |= {"options": list(found.fields), "answer": found.answer} if found.answer else {}
    ready: dict[str, Any] | None = None
    if question is not None and question.kind == "text" and found.answer and found.fields:
        several = len(found.fields) > 1
        where = {"choice_columns": list(found.fields)} if several else {"choices_field": found.fields[0]}
        ready = {"question_field": question.name, **where, "label_field": found.answer}
    return Guess("multiple-choice", "options", roles, "answer-among-options", ready)


def _documents(file: File) -> Guess | None:
    """Language modelling: whole documents, with author, title and the like beside them."""
    longest = max(file.texts, key=lambda s: s.length, default=None)
    if longest is None:
        return None
    found = [flat(row.data.get(longest.name)) for row in file.rows]
    if sum(map(weight, found)) < BOOK * len(found):
        return None
    return Guess("language-modelling", "documents", {"text": longest.name}, "long-documents", _text_options(longest))


def _three_parts(file: File) -> Guess | None:
    """Instruction tuning by its own shapes: an input that is often empty, or one instruction for many rows."""
    named = [file.called(role, file.shapes) for role in ("prompt", "completion")]
    if named[0] and named[1] and named[0] != named[1] and named[1].kind == "text" and not named[1].is_category:
        middle = file.called("input", [s for s in file.shapes if s not in named])
        return _instruction(named[0], named[1], middle, "named-so")
    rows = file.rows
    order = [s for s in file.shapes if s.kind in ("text", "empty", "number")]
    for first, middle, last in zip(order, order[1:], order[2:], strict=False):
        often = middle.filled < 0.9 and first.filled > 0.98 and last.filled > 0.9
        if often and first.is_text and last.kind == "text" and not last.is_category and middle.kind != "number":
            return _instruction(first, last, middle, "input-often-empty")
    nested = next((s for s in file.shapes if s.kind == "objects" and s.filled > 0.98), None)
    if nested is not None and file.texts and _answers_inside(rows, nested):
        prompt = max(file.texts, key=lambda s: s.length)
        return Guess("instruction", "instances", {"prompt": prompt.name, "instances": nested.name}, "answers-inside")
    return None


def _answers_inside(rows: Sequence[Row], nested: Shape) -> bool:
    """Lists of objects of two texts each: input and output."""
    found = [part for row in rows for part in row.data.get(nested.name) or []]
    return all(len(part) == 2 and all(isinstance(v, str) for v in part.values()) for part in found)


def _instruction(prompt: Shape, completion: Shape, middle: Shape | None, why: str) -> Guess:
    options = {"form": "prompt", "prompt_field": prompt.name, "completion_field": completion.name}
    fields = {"prompt": prompt.name}
    if middle is not None:
        options["input_field"] = fields["input"] = middle.name
    fields["completion"] = completion.name
    return Guess("instruction", "prompt-completion", fields, why, options, ("sequence-to-sequence",))


def _several_texts(file: File) -> Guess | None:
    """Two or more running texts: a pair to judge, a text to write from another, two answers to compare."""
    texts = [s for s in file.texts if s.filled > 0.9]
    if len(texts) < 2:
        return None
    first, second = main_two(texts)
    related = file.relation(first, second)
    found = _translated(file, texts) or _asked(file, texts, related)
    if found is not None:
        return found
    label, number = label_of(file), number_of(file)
    if label is not None:
        return _judged(file, label, texts, related)
    if len(texts) >= 3:
        return _triple(file, texts)
    if number is not None:
        return _rated_pair(file, first, second, number)
    if related in ("asks", "shorter"):
        return _writing(first, second, "question-from-text" if related == "asks" else "shorter-from-longer")
    if related in ("alike", "same"):
        fields = {"text": first.name, "pair": second.name}
        ready = {"text_field": first.name, "pair_field": second.name, "label_field": "", "negative_field": ""}
        return Guess("similarity", "pairs", fields, "two-alike", ready, ("sequence-to-sequence",))
    if file.called("source", [first]) and file.called("target", [second]):
        return _writing(first, second, "named-so")
    return _instruction(first, second, None, "two-texts")


def _translated(file: File, texts: Sequence[Shape]) -> Guess | None:
    """Two texts in two languages; of several such pairs the one whose lengths rise together."""
    pairs = [pair for pair in combinations(texts[:5], 2) if file.relation(*pair) == "translated"]
    if not pairs:
        return None
    return _writing(*max(pairs, key=lambda pair: lengths_together(file.rows, *pair)), "other-language")


def _asked(file: File, texts: Sequence[Shape], related: Relation) -> Guess | None:
    """A question and, after it, an answer: a text (with a yes or no beside it: a preference), or a number."""
    first, second = main_two(texts)
    flag = next((s for s in file.shapes if s.kind == "flag" and s.distinct == 2), None)
    if related == "answer" and flag is not None:
        fields = {"prompt": first.name, "completion": second.name, "label": flag.name}
        return Guess("preference", "flag", fields, "good-or-bad", None, ("classification",))
    if related == "answer":
        return _instruction(first, second, None, "question-then-answer")
    asked = next((s for s in texts if s.questions >= 0.7), None)
    later = file.shapes[file.shapes.index(asked) + 1 :] if asked else []
    reply = next((s for s in later if s.kind == "number" and not s.is_category), None)
    if asked is None or reply is None:
        return None
    return _instruction(first, reply, asked if asked is not first else None, "question-then-number")


def _judged(file: File, label: Shape, texts: Sequence[Shape], related: Relation) -> Guess:
    """Classification of a pair where the two texts are of one size, else of the longest text."""
    rest = [s for s in texts if s is not label]
    first, second = main_two(rest)
    pair = related in ("alike", "other") and max(first.length, second.length) < 3 * min(first.length, second.length)
    if pair and len(rest) == 2:
        return _classes(file, first, label, second, "pair-and-label")
    text = file.called("text", rest) or max(rest, key=lambda s: s.length)
    return _classes(file, text, label, None, "text-and-label", ("sequence-to-sequence",))


def _classes(
    file: File, text: Shape, label: Shape, pair: Shape | None, why: str, others: tuple[str, ...] = ()
) -> Guess:
    form, _ = guess_form(file.rows, label.name)
    fields = {"text": text.name, "label": label.name} | ({"pair": pair.name} if pair else {})
    options = {"text_field": text.name, "label_field": label.name, "pair_field": pair.name if pair else ""}
    if label.kind == "number" and label.whole and label.distinct >= 5 and label.high - label.low == label.distinct - 1:
        others = ("regression", *others)
    ready = options if text.kind == "text" and not (pair and pair.kind != "text") else None
    return Guess("classification", form if pair is None else "pairs", fields, why, ready, others)


def _rated_pair(file: File, first: Shape, second: Shape, number: Shape) -> Guess:
    """A number for a pair: how alike two texts are where it rises with the words they share, else regression."""
    pairs = [(overlap(flat(r.data.get(first.name)), flat(r.data.get(second.name))), r) for r in file.rows]
    pairs.sort(key=lambda pair: pair[0])
    third = max(1, len(pairs) // 3)
    means = [
        sum(float(r.data.get(number.name) or 0) for _, r in part) / len(part)
        for part in (pairs[:third], pairs[-third:])
    ]
    fields = {"text": first.name, "pair": second.name, "score": number.name}
    options = {"text_field": first.name, "pair_field": second.name, "label_field": number.name}
    if means[1] - means[0] > 0.15 * (number.high - number.low):
        return Guess("similarity", "pairs", fields, "number-rises-with-overlap", options, ("regression",))
    return Guess("regression", "pairs", fields, "pair-and-number", options)


def _triple(file: File, texts: Sequence[Shape]) -> Guess:
    """Three texts without a label: a prompt and two answers, or three texts of one kind."""
    by_name = [file.called(role, texts) for role in ("chosen", "rejected")]
    prompt, one, other = texts[:3]
    if by_name[0] and by_name[1]:
        one, other = by_name[0], by_name[1]
        prompt = next(s for s in texts if s not in (one, other))
    alike = max(one.length, other.length) < 3 * min(one.length, other.length)
    if not alike:
        first, second = main_two(texts)
        return _instruction(first, second, None, "two-texts")
    if not by_name[0] and prompt.length > 2.5 * one.length and file.relation(prompt, one) == "shorter":
        return _writing(prompt, one, "shorter-from-longer")
    chosen, rejected = better(one.name, other.name)
    level = max(prompt.length, one.length) < 1.5 * min(prompt.length, one.length) and prompt.questions < 0.5
    if level and not by_name[0]:
        fields = {"anchor": prompt.name, "positive": chosen, "negative": rejected}
        ready = {"text_field": prompt.name, "pair_field": chosen, "negative_field": rejected, "label_field": ""}
        return Guess("similarity", "triplets", fields, "three-alike", ready, ("preference",))
    return Guess("preference", "pairs", {"prompt": prompt.name, "chosen": chosen, "rejected": rejected}, "two-answers")


def _writing(source: Shape, target: Shape, why: str) -> Guess:
    plain_texts = source.kind == target.kind == "text"
    options = {"source_field": source.name, "target_field": target.name} if plain_texts else None
    fields = {"source": source.name, "target": target.name}
    return Guess("sequence-to-sequence", "columns", fields, why, options, ("instruction",))


def _one_text(file: File) -> Guess | None:
    """One running text: with a label, with a number, or alone."""
    text = max(file.texts, key=lambda s: s.length * (0.1 if s.repeated > 0.5 else 1), default=None)
    if text is None:
        return None
    label, number = label_of(file), number_of(file)
    if label is not None and label is not text:
        return _classes(file, text, label, None, "text-and-label")
    if number is not None:
        options = {"text_field": text.name, "label_field": number.name, "pair_field": ""}
        ready = options if text.kind == "text" else None
        return Guess("regression", "texts", {"text": text.name, "score": number.name}, "text-and-number", ready)
    return Guess("language-modelling", "texts", {"text": text.name}, "only-text", _text_options(text))
