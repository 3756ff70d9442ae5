"""Exact match and F1 of a short answer against the answers that are right: the scores of SQuAD.

Rajpurkar et al. (2016; 2018): lower case, without punctuation and articles; F1 of the words as bags; of several right
answers the best counts. Chinese has no blanks: there every character is a word, and Chinese punctuation goes too, as
for CMRC 2018 (Cui et al., 2019), with bags instead of their longest common piece.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from microtune.data.word_places import CLOSE

Words = Literal["en", "zh"]
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)
_CHARACTER = re.compile(f"[{CLOSE}]|[^\\s{CLOSE}]+")


def answer_words(text: str, words: Words) -> list[str]:
    """The words of an answer as they are compared."""
    text = text.lower()
    if words == "en":
        return _ARTICLES.sub(" ", text.translate(_PUNCTUATION)).split()
    kept = (" " if c.isspace() else c for c in text if unicodedata.category(c)[0] not in "PS")
    return _CHARACTER.findall("".join(kept))


def answer_scores(answer: str, golds: Sequence[str], words: Words) -> tuple[float, float]:
    """(exact match, F1) of an answer; no right answer ([]) is met by the empty answer alone."""
    if not golds:
        return (1.0, 1.0) if not answer else (0.0, 0.0)
    mine = answer_words(answer, words)
    pairs = [_scores(mine, answer_words(gold, words)) for gold in golds]
    return max(exact for exact, _ in pairs), max(f1 for _, f1 in pairs)


def _scores(mine: list[str], gold: list[str]) -> tuple[float, float]:
    exact = float(mine == gold)
    common = sum((Counter(mine) & Counter(gold)).values())
    if not mine or not gold:
        return exact, exact
    if not common:
        return exact, 0.0
    precision, recall = common / len(mine), common / len(gold)
    return exact, 2 * precision * recall / (precision + recall)
