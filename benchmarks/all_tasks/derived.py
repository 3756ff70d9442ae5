"""Rows of a public set as rows of a task that its own fields do not name; nothing is added that is not in the set."""

from __future__ import annotations

import random
import re
from collections import Counter
from typing import Any

from all_tasks.works import Made, Rows

TYPES = {"a", "ch", "cr", "j", "law", "ltd", "ter", "use", "pinc"}
LONGEST_ANSWER = 400  # characters: both answers of a pair have to fit into 512 tokens
LONGEST_PAIR = 600  # the same, prompt included, of Chinese
CHUNK = 1000  # characters of one row of a running text


def kept(*fields: str) -> Made:
    """Only these fields."""
    return lambda rows: [{name: row[name] for name in fields} for row in rows]


def unfair_types(rows: Rows) -> Rows:
    """unfair_tos: the types of unfairness of a sentence (levels 2 and 3), none for most."""
    found = []
    for row in rows:
        parted = [re.fullmatch(r"([a-z]+)([23])", tag) for tag in row["tags"]]
        types = sorted({match[1] for match in parted if match and match[1] in TYPES})
        found.append({"sentence": row["sentence"], "types": types})
    return found


def _turns(rows: Rows) -> list[dict[str, Any]]:
    """crosswoz: every turn of every dialogue, in whatever way the file nests them."""
    found: list[dict[str, Any]] = []
    for row in rows:
        dialogues = [row] if "messages" in row else [v for v in row.values() if isinstance(v, dict) and "messages" in v]
        found += [turn for dialogue in dialogues for turn in dialogue["messages"]]
    return found


def crosswoz_acts(rows: Rows) -> Rows:
    """What a turn does: the kinds of act, each with its subject, of those that are not rare."""
    acts = [({f"{act[0]} {act[1]}" for act in turn["dialog_act"]}, turn["content"]) for turn in _turns(rows)]
    counts = Counter(name for names, _ in acts for name in names)
    common = {name for name, count in counts.items() if count >= 0.005 * len(acts)}
    return [{"text": text, "acts": sorted(names)} for names, text in acts if text.strip() and names <= common]


def crosswoz_slots(rows: Rows) -> Rows:
    """Where the values of a turn stand: those that the text holds exactly once, and that do not overlap."""
    found = []
    for turn in _turns(rows):
        text, spans = turn["content"], []
        for kind, subject, slot, value in sorted(turn["dialog_act"], key=lambda act: -len(str(act[3]))):
            if kind not in ("Inform", "Recommend") or len(value) < 2 or text.count(value) != 1:
                continue
            start = text.index(value)
            end = start + len(value)
            if all(end <= s["start"] or start >= s["end"] for s in spans):
                spans.append({"label": f"{subject} {slot.partition('-')[0]}", "start": start, "end": end})
        if text.strip():
            found.append({"text": text, "slots": sorted(spans, key=lambda s: s["start"])})
    return found


def bbq_clear(rows: Rows) -> Rows:
    """bbq: the questions that their context answers."""
    return [
        {
            "context": row["context"],
            "question": row["question"],
            "choices": [row["ans0"], row["ans1"], row["ans2"]],
            "answer": [row["ans0"], row["ans1"], row["ans2"]][int(row["label"])],
        }
        for row in rows
        if row["context_condition"] == "disambig"
    ]


def lawbench(rows: Rows) -> Rows:
    """The question with its options in it, and the letter of the right one."""
    found = []
    for row in rows:
        letter = re.search("[A-D]", row["answer"])
        if letter:
            found.append({"question": row["question"], "answer": letter[0]})
    return found


def scitldr(rows: Rows) -> Rows:
    """The abstract as one text, and the first of its summaries."""
    return [{"abstract": " ".join(row["source"]), "summary": row["target"][0].strip()} for row in rows]


def own_answer(prompt: str, answer: str) -> Made:
    """Pairs of answers: a question's own one is better than that of another question (drawn with a fixed seed)."""

    def make(rows: Rows) -> Rows:
        short = [row for row in rows if 0 < len(row[answer].strip()) <= LONGEST_ANSWER]
        others = list(short)
        random.Random(0).shuffle(others)
        return [
            {"prompt": row[prompt], "chosen": row[answer], "rejected": other[answer]}
            for row, other in zip(short, others, strict=True)
            if row[answer] != other[answer] and row[prompt] != other[prompt]
        ]

    return make


def demo_pairs(rows: Rows) -> Rows:
    """preference_demo: conversations of one question, short enough for 512 tokens."""
    found = []
    for row in rows:
        turns = row["conversations"]
        pair = {"chosen": row["chosen"]["value"], "rejected": row["rejected"]["value"]}
        if len(turns) == 1 and all(len(turns[0]["value"]) + len(text) <= LONGEST_PAIR for text in pair.values()):
            found.append({"prompt": turns[0]["value"], **pair})
    return found


def chunks(rows: Rows) -> Rows:
    """A running text, line by line, as rows of about a thousand characters."""
    found: list[str] = [""]
    for row in rows:
        if len(found[-1]) > CHUNK:
            found.append("")
        found[-1] += row["text"] + "\n"
    return [{"text": text} for text in found if text.strip()]
