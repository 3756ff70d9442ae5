"""Near-duplicates in a sample of rows, and between it and the test rows, by MinHash (data/minhash.py)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from microtune.data.lint.base import Base, Finding, Seen, Tally, other_row
from microtune.data.minhash import ALIKE, COMPARED, Neighbours, grams, signature
from microtune.data.splits import normalised

SAID = 500  # texts between two words about how far it is
SHORT = 30  # characters below which two texts are often alike by chance


def compared(texts: Sequence[str]) -> Iterator[tuple[int, int, float]]:
    """(most alike earlier text or -1, text, similarity) of every text; copies of earlier texts have similarity 0."""
    clean = [normalised(text[:COMPARED]) for text in texts]
    neighbours = Neighbours()
    seen: set[str] = set()
    for later, text in enumerate(clean):
        if text in seen or len(text) < SHORT:
            yield -1, later, 0.0
            continue
        seen.add(text)
        found = grams(text)
        keys = signature(found)
        share, earlier = neighbours.closest(found, keys)
        neighbours.add(later, found, keys)
        yield earlier, later, share


def _text_of(seen: Seen) -> str:
    """What is compared: a written answer too, for questions that differ in one word are not copies."""
    return seen.text if seen.labels else f"{seen.text}\n{seen.target}"


class NearDuplicates(Base):
    """Near-duplicates in a sample, and between it and the test rows."""

    def __init__(self, rows: Sequence[Seen]) -> None:
        self._near, self._leaks = Tally(), Tally()
        self.rows = sum(not seen.test for seen in rows)
        self._order = sorted(rows, key=lambda seen: (not seen.test, seen.number))  # test rows first

    def measure(self) -> Iterator[int]:
        """Compare the rows; yields how many are done."""
        for one, other, share in compared([_text_of(seen) for seen in self._order]):
            if other % SAID == 0:
                yield other
            earlier, later = self._order[one], self._order[other]
            if later.test or share < ALIKE:
                continue
            row = other_row(later.row, earlier.row.path, earlier.row.line, test=earlier.test)
            what = f"{share:.0%} as {'test ' if earlier.test else ''}{row}: {later.text[:60]}"
            (self._leaks if earlier.test else self._near).add(later.row, what)

    def findings(self) -> Sequence[Finding]:
        """Near-copies are a note up to 2 %, then a warning; those of test rows are a warning."""
        found = []
        if self._leaks.count:
            found.append(Finding("near-test", "warning", self._leaks.count, self.rows, self._leaks.places))
        if self._near.count:
            much = self._near.count > 0.02 * self.rows
            severity = "warning" if much else "note"
            found.append(Finding("near-copies", severity, self._near.count, self.rows, self._near.places))  # type: ignore[arg-type]
        return found
