"""Lengths in tokens of a sample: what will be cut, what will be left out, what a language costs with this tokenizer.

Fertility (tokens per word, or per character of Chinese) says how well a vocabulary fits a language (Rust et al., 2021).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from microtune.data.lint.base import Base, Finding, Seen, Tally
from microtune.data.lint.lengths import Histogram
from microtune.data.text import Tokenizer

BATCH = 500
DENSE = {"zh", "ja", "th"}  # languages counted by the character
COSTLY = {True: 1.6, False: 3.0}  # tokens per character, per word
WHOLE = {"instruction", "sequence-to-sequence", "preference"}  # an answer is never cut: its row is left out
BLOCKS = {"language-modelling", "question-answering"}  # long texts are read in parts
_WORD = re.compile(r"\w+")
LEAST = 20  # rows of a language before anything is said about it


class Tokens(Base):
    """Tokens of every sampled row; `measure` is a generator so that its progress can be shown."""

    def __init__(self, rows: Sequence[Seen], task: str, tokenizer: Tokenizer, limit: int, model: str) -> None:
        self.rows, self.task, self.limit, self.model = rows, task, limit, model
        self._tokenizer = tokenizer
        self.read, self.learnt = Histogram(), Histogram()
        self._cut, self._unknown = Tally(), Tally()
        self.lost = self.targets = 0
        self._tokens: Counter[str] = Counter()
        self._units: Counter[str] = Counter()
        self._rows: Counter[str] = Counter()

    def measure(self, languages: Sequence[str]) -> Iterator[int]:
        """Encode the sample; yields how many rows are done."""
        for start in range(0, len(self.rows), BATCH):
            part = self.rows[start : start + BATCH]
            read = self._tokenizer.encode_many([seen.text for seen in part])
            learnt = self._tokenizer.encode_many(["" if seen.labels else seen.target for seen in part], special=False)
            for seen, ids, answer, name in zip(part, read, learnt, languages[start : start + BATCH], strict=True):
                self._add(seen, ids, answer, name)
            yield min(start + BATCH, len(self.rows))

    def _add(self, seen: Seen, ids: Sequence[int], answer: Sequence[int], name: str) -> None:
        self.read.add(len(ids))
        self.targets += len(answer)
        if answer:
            self.learnt.add(len(answer))
        unknown = self._tokenizer.id("unk")
        if unknown is not None and unknown in ids:
            self._unknown.add(seen.row, seen.text)
        over = len(ids) + (len(answer) + 1 if self.task in WHOLE else 0)
        if over > self.limit and self.task not in BLOCKS:
            self._cut.add(seen.row, f"{over} tokens: {seen.text}")
            self.lost += len(answer)
        if name:
            self._tokens[name] += len(ids)
            self._units[name] += sum(c.isalpha() for c in seen.text) if name in DENSE else len(_WORD.findall(seen.text))
            self._rows[name] += 1

    def findings(self) -> Sequence[Finding]:
        """Cut texts or lost answers, unknown tokens, languages that cost many tokens."""
        found, total = [], len(self.rows)
        if self._cut.count:
            kind = "answers-too-long" if self.task in WHOLE else "texts-too-long"
            values = {"limit": self.limit, "lost": self.lost, "targets": self.targets, "model": self.model}
            found.append(Finding(kind, "warning", self._cut.count, total, self._cut.places, values))
        if self._unknown.count:
            values = {"model": self.model}
            found.append(Finding("unknown-tokens", "warning", self._unknown.count, total, self._unknown.places, values))
        for name, cost in self.fertility().items():
            if cost > COSTLY[name in DENSE]:
                values = {"language": name, "cost": cost, "model": self.model}
                found.append(Finding("costly-language", "note", self._rows[name], total, [], values))
        return found

    def fertility(self) -> dict[str, float]:
        """Tokens per word, or per character, of each language with enough rows."""
        often = {name: n for name, n in self._units.items() if n and self._rows[name] >= LEAST}
        return {name: round(self._tokens[name] / n, 2) for name, n in often.items()}

    def figures(self) -> dict[str, Any]:
        """Histograms in tokens, fertility, and what they were measured with."""
        named = {"read": self.read, "learnt": self.learnt}
        tokens = {name: h.record() for name, h in named.items() if h.total}
        about = {"model": self.model, "limit": self.limit, "lost_targets": self.lost}
        return {"tokens": {**tokens, **about}, "fertility": self.fertility()}
