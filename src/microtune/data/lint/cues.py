"""Label-only cues: one word whose presence nearly settles the label, so that a model need read nothing else.

Gururangan et al. (2018) showed such artefacts in inference data. A word counts if it stands in at least half of the
rows of a label and nearly nowhere else; on a topic it may be honest, as a trace of how the data was made it is not.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence

from microtune.data.lint.base import SHOWN, Base, Finding, Place, Seen, place
from microtune.data.shapes import units

PRECISION, RECALL = 0.98, 0.5
LEAST = 20  # rows with the word
COMMON = 0.6  # share of a label above which nearly every word "predicts" it
WORDS = 200  # different words of a row that are looked at


class Cues(Base):
    """Words that predict a label, in a sample."""

    def __init__(self, rows: Sequence[Seen]) -> None:
        self.rows = len(rows)
        self.found: list[tuple[str, str, int, float, float]] = []
        self._rows = rows
        labels = Counter(label for seen in rows for label in seen.labels)
        words = [set(units(seen.text)[:WORDS]) for seen in rows]
        often = Counter(word for found in words for word in found)
        frequent = {word for word, n in often.items() if n >= LEAST}
        joint: dict[str, Counter[str]] = defaultdict(Counter)
        for seen, found in zip(rows, words, strict=True):
            for word in found & frequent:
                joint[word].update(seen.labels)
        for word, counts in joint.items():
            label, n = counts.most_common(1)[0] if counts else ("", 0)
            precision, recall = n / often[word], n / max(1, labels[label])
            if precision >= PRECISION and recall >= RECALL and labels[label] <= COMMON * len(rows):
                self.found.append((word, label, n, precision, recall))
        self.found.sort(key=lambda cue: -cue[2])

    def findings(self) -> Sequence[Finding]:
        """One finding for all such words."""
        if not self.found:
            return []
        names = "; ".join(f'"{w}" -> {label} ({p:.1%}, {r:.0%})' for w, label, _, p, r in self.found[:5])
        values = {"names": names, "words": len(self.found)}
        rows = sum(n for _, _, n, _, _ in self.found[:1])
        return [Finding("label-cue", "warning", rows, self.rows, self._places(), values)]

    def _places(self) -> list[Place]:
        word = self.found[0][0]
        rows = (seen for seen in self._rows if word in units(seen.text)[:WORDS])
        return [place(seen.row, seen.text) for seen, _ in zip(rows, range(SHOWN), strict=False)]
