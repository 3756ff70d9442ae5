"""Made-up rows of every form that a guess knows, and clean or faulty rows for the measurements."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]

_NOUNS = (
    "card account transfer invoice parcel ticket window garden engine letter bridge report teacher doctor market river "
    "kitchen camera picture station village concert holiday paper bottle blanket lantern harbour mountain"
)
_VERBS = "arrived opened closed moved changed stopped started returned failed waited called answered broke grew"
_ADJECTIVES = "old new small large quiet bright broken early late green heavy careful simple strange cheap"
_ENDS = "yesterday today again twice slowly suddenly outside nearby at home on monday in april by mistake"
NOUNS, VERBS, ADJECTIVES, ENDS = (words.split() for words in (_NOUNS, _VERBS, _ADJECTIVES, _ENDS))
CHINESE = "今天天气很好我们一起去公园散步孩子在水边唱歌老师说明年春季学校要举办读书活动医生建议多喝温开水"


class Maker:
    """Sentences from a seed."""

    def __init__(self, seed: int = 0) -> None:
        self.random = random.Random(seed)

    def sentence(self, words: int = 1) -> str:
        """`words` clauses of about seven words."""
        pick = self.random.choice
        parts = [
            f"the {pick(ADJECTIVES)} {pick(NOUNS)} {pick(VERBS)} {pick(ENDS)} and the {pick(NOUNS)} {pick(VERBS)} "
            f"{self.random.randrange(1000)} times"
            for _ in range(words)
        ]
        return ". ".join(parts)

    def chinese(self, size: int = 20) -> str:
        """Characters of Chinese."""
        return "".join(self.random.choice(CHINESE) for _ in range(size))

    def question(self) -> str:
        """An English question."""
        pick = self.random.choice
        return f"why has the {pick(ADJECTIVES)} {pick(NOUNS)} not {pick(VERBS)} {self.random.randrange(1000)} times?"


def classification(make: Maker, n: int) -> Rows:
    """A text and one of three labels."""
    return [{"text": make.sentence(), "label": ("good", "bad", "open")[i * 7 % 3]} for i in range(n)]


def chinese_classes(make: Maker, n: int) -> Rows:
    """Numbered classes before a Chinese text."""
    return [{"类别": i % 2, "评论": make.chinese()} for i in range(n)]


def sorted_classes(make: Maker, n: int) -> Rows:
    """All rows of a class stand together."""
    return [{"review": make.sentence(), "stars": "ab"[i >= 2 * n]} for i in range(4 * n)]


def several_labels(make: Maker, n: int) -> Rows:
    """Lists of labels, some of them empty."""
    return [{"text": make.sentence(), "tags": ["red", "blue", "wide"][: i % 4]} for i in range(n)]


def joined_labels(make: Maker, n: int) -> Rows:
    """Labels joined by a sign."""
    return [
        {"text": make.sentence(), "labels": ("red|blue", "blue", "red", "red|wide", "blue|wide")[i % 5]}
        for i in range(n)
    ]


def pairs(make: Maker, n: int) -> Rows:
    """Two texts, a relation of three, an id."""
    return [
        {"id": f"p{i}", "premise": make.sentence(), "hypothesis": make.sentence(), "label": "enc"[i % 3] * 3}
        for i in range(n)
    ]


def regression(make: Maker, n: int) -> Rows:
    """A text and a number."""
    return [{"text": make.sentence(), "score": round(make.random.random() * 5, 2)} for i in range(n)]


def translation(make: Maker, n: int) -> Rows:
    """English and Chinese."""
    return [{"en": make.sentence(), "zh": make.chinese()} for _ in range(n)]


def credited_translation(make: Maker, n: int) -> Rows:
    """Chinese and English of one length, and whose sentence it is."""
    rows = []
    for i in range(n):
        size = make.random.randrange(1, 5)
        credit = f"Licence CC-BY 2.0 Attribution: site.org # {make.random.randrange(10**6)} (by user {i})"
        rows.append({"a": make.chinese(12 * size), "b": make.sentence(size), "c": credit})
    return rows


def summary(make: Maker, n: int) -> Rows:
    """A long text and its second sentence."""
    texts = [[make.sentence() for _ in range(6)] for _ in range(n)]
    return [{"article": ". ".join(parts), "summary": parts[1]} for parts in texts]


def asked_questions(make: Maker, n: int) -> Rows:
    """A text, then a question about it."""
    return [{"sentence": make.sentence(), "question": make.question()} for _ in range(n)]


def alpaca(make: Maker, n: int) -> Rows:
    """Instruction, an input that is empty in two of three rows, output."""
    return [
        {"instruction": make.sentence(), "input": make.sentence() if i % 3 == 0 else "", "output": make.sentence(2)}
        for i in range(n)
    ]


def completions(make: Maker, n: int) -> Rows:
    """Questions and answers."""
    return [{"prompt": make.question(), "completion": make.sentence(2)} for _ in range(n)]


def messages(make: Maker, n: int) -> Rows:
    """Messages in the form of chat services."""
    return [
        {
            "messages": [
                {"role": "user", "content": make.question()},
                {"role": "assistant", "content": make.sentence()},
                {"role": "user", "content": make.question()},
                {"role": "assistant", "content": make.sentence()},
            ][: 2 + 2 * (i % 2)]
        }
        for i in range(n)
    ]


def sharegpt(make: Maker, n: int) -> Rows:
    """Turns as ShareGPT writes them, one turn of the user and one of the model."""
    return [
        {"conversations": [{"from": "human", "value": make.question()}, {"from": "gpt", "value": make.sentence()}]}
        for _ in range(n)
    ]


def lines(make: Maker, n: int) -> Rows:
    """Running text alone."""
    return [{"text": make.sentence(2)} for _ in range(n)]


def documents(make: Maker, n: int) -> Rows:
    """Documents with an author of few and a title."""
    return [
        {"author": f"author {i % 5}", "title": make.sentence(), "text": make.sentence(150)} for i in range(min(n, 60))
    ]


def spans(make: Maker, n: int) -> Rows:
    """Labelled pieces with offsets."""
    rows = []
    for _ in range(n):
        text = make.sentence()
        start = text.index(" ") + 1
        end = text.index(" ", start)
        rows.append({"text": text, "slots": [{"slot": "how", "start": start, "end": end, "text": text[start:end]}]})
    return rows


def tagged(make: Maker, n: int) -> Rows:
    """Words and tags."""
    found = [make.sentence().split() for _ in range(n)]
    return [{"tokens": words, "ner_tags": ["B-X" if w in NOUNS else "O" for w in words]} for words in found]


def squad(make: Maker, n: int) -> Rows:
    """Articles of paragraphs of questions."""
    rows = []
    for _ in range(max(10, n // 10)):
        context = make.sentence(5)
        answer = context.split()[9]
        found = {"text": answer, "answer_start": context.index(answer)}
        rows.append({"paragraphs": [{"context": context, "qas": [{"question": make.question(), "answers": [found]}]}]})
    return rows


def flat_squad(make: Maker, n: int) -> Rows:
    """One question a row, answers as two lists."""
    rows = []
    for _ in range(n):
        context = make.sentence(5)
        answer = context.split()[9]
        answers = {"text": [answer], "answer_start": [context.index(answer)]}
        rows.append({"context": context, "question": make.question(), "answers": answers})
    return rows


def choices(make: Maker, n: int) -> Rows:
    """A list of options and the one that is right."""
    rows = []
    for i in range(n):
        options = [make.sentence() for _ in range(4)]
        rows.append({"question": make.question(), "choices": options, "answer": options[i % 4]})
    return rows


def lettered(make: Maker, n: int) -> Rows:
    """Options in columns, the answer by its letter."""
    return [
        {"q": make.question(), "A": make.sentence(), "B": make.sentence(), "C": make.sentence(), "key": "ABC"[i % 3]}
        for i in range(n)
    ]


def preferences(make: Maker, n: int) -> Rows:
    """A prompt and two answers."""
    return [{"prompt": make.question(), "chosen": make.sentence(2), "rejected": make.sentence(2)} for _ in range(n)]


def judged_turns(make: Maker, n: int) -> Rows:
    """Turns, and whether the answer was good."""
    return [{**row, "label": i % 2 == 0} for i, row in enumerate(messages(make, n))]


def rated_pairs(make: Maker, n: int) -> Rows:
    """Two texts and how alike they are."""
    rows = []
    for i in range(n):
        one, other, alike = make.sentence(2).split(), make.sentence(2).split(), make.random.random()
        mixed = [a if make.random.random() < alike else b for a, b in zip(one, other, strict=False)]
        rows.append(
            {"n": f"s{i}", "sentence1": " ".join(one), "sentence2": " ".join(mixed), "score": round(alike * 5, 2)}
        )
    return rows


def triplets(make: Maker, n: int) -> Rows:
    """Three texts of one kind."""
    return [{"anchor": make.sentence(), "positive": make.sentence(), "negative": make.sentence()} for _ in range(n)]


FORMS: dict[str, tuple[Callable[[Maker, int], Rows], str]] = {
    "classes": (classification, "classification"),
    "chinese classes": (chinese_classes, "classification"),
    "sorted classes": (sorted_classes, "classification"),
    "several labels": (several_labels, "classification"),
    "joined labels": (joined_labels, "classification"),
    "pairs": (pairs, "classification"),
    "numbers": (regression, "regression"),
    "translation": (translation, "sequence-to-sequence"),
    "credited translation": (credited_translation, "sequence-to-sequence"),
    "summary": (summary, "sequence-to-sequence"),
    "asked questions": (asked_questions, "sequence-to-sequence"),
    "alpaca": (alpaca, "instruction"),
    "completions": (completions, "instruction"),
    "messages": (messages, "instruction"),
    "sharegpt": (sharegpt, "instruction"),
    "lines": (lines, "language-modelling"),
    "documents": (documents, "language-modelling"),
    "spans": (spans, "token-labelling"),
    "tags": (tagged, "token-labelling"),
    "squad": (squad, "question-answering"),
    "flat squad": (flat_squad, "question-answering"),
    "choices": (choices, "multiple-choice"),
    "lettered": (lettered, "multiple-choice"),
    "preferences": (preferences, "preference"),
    "judged turns": (judged_turns, "preference"),
    "rated pairs": (rated_pairs, "similarity"),
    "triplets": (triplets, "similarity"),
}


def renamed(value: Any, names: dict[str, str]) -> Any:
    """Every key at every level as f1..fn, in the order in which they are met."""
    if isinstance(value, dict):
        return {names.setdefault(k, f"f{len(names) + 1}"): renamed(v, names) for k, v in value.items()}
    return [renamed(v, names) for v in value] if isinstance(value, list) else value


def clean_rows(n: int = 600, seed: int = 5) -> Rows:
    """Two classes told apart by several words each, of which none alone settles it; nothing is wrong with them."""
    make = Maker(seed)
    money, travel = "bank coin loan rent cash price", "train ship road map hotel visa"
    signs = {"money": money.split(), "travel": travel.split()}
    rows = []
    for i in range(n):
        label = list(signs)[i % 2]
        words = " ".join(make.random.sample(signs[label], 2))
        rows.append({"text": f"{make.sentence(2)} with {words} and {make.sentence()}", "label": label})
    return rows
