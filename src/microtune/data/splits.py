"""Train, validation and test: how rows are parted, and whether the parts share texts.

Parting is seeded and stratified by label, and rows that belong together (equal texts) stay together. Copies of test
rows in the training data are found exactly, after normalisation, and nearly, by the overlap of their character 5-grams,
with the prefix filter of Chaudhuri et al. 2006 and Bayardo et al. 2007: two sets that overlap by 80 % must share one of
their rarest fifth, so only those are indexed and looked up.
"""

from __future__ import annotations

import math
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

from microtune.data.decode import refuse, shown
from microtune.data.invisible import TURNING, WIDTHLESS
from microtune.data.sources import Row
from microtune.errors import InputError

Group = list[int]  # positions of rows that stay together

PARTS = ("train", "validation", "test")
_PART_NAMES = {
    "train": "train",
    "training": "train",
    "训练": "train",
    "训练集": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "验证": "validation",
    "验证集": "validation",
    "test": "test",
    "测试": "test",
    "测试集": "test",
}
_UNSEEN = re.compile(f"[{WIDTHLESS}{TURNING}]")
COMPARED = 1000  # characters of a text that are compared for near-duplicates
TRIES = 500  # candidates looked at per test row: a cap against data that is all alike


def split_rows(
    rows: Sequence[Row],
    *,
    split: dict[str, float],
    label: Callable[[Row], Any] | None = None,
    group: Callable[[Row], Hashable] | None = None,
    seed: int = 0,
) -> dict[str, list[Row]]:
    """Part `rows` by the fractions of `split`, such as {"validation": 0.1, "test": 0.1}; the rest is train.

    Stratified by `label`; a class of three or more groups is in every part, as long as the part has a place for each
    such class. Rows with an equal `group` go to the same part. Each part keeps the order of the file.
    """
    fractions = fractions_of(split)
    strata: dict[str, list[Group]] = defaultdict(list)
    for members in _groups(rows, group):
        strata["" if label is None else repr(label(rows[members[0]]))].append(members)
    sizes = {name: sum(map(len, groups)) for name, groups in strata.items()}
    room = {name: len(groups) >= len(fractions) for name, groups in strata.items()}
    quotas = {part: _quotas(sizes, room, share, len(rows)) for part, share in fractions.items() if part != "train"}
    rng = random.Random(seed)
    chosen: dict[str, list[int]] = {part: [] for part in fractions}
    for name in sorted(strata):
        wanted = {part: float(quota[name]) for part, quota in quotas.items()}
        wanted["train"] = sizes[name] - sum(wanted.values())
        rng.shuffle(strata[name])
        for part, members in _deal(strata[name], wanted):
            chosen[part].extend(members)
    empty = [part for part in fractions if not chosen[part]]
    if empty:
        parts, distinct = ", ".join(fractions), sum(map(len, strata.values()))
        if len(strata) > len(rows) / 2 and len(rows) >= 3 * len(fractions):
            raise InputError(
                f"{len(rows)} rows have {len(strata)} different labels, too many to part into {parts} with some of "
                "each; is the right field the label (--label-field)?"
            )
        if distinct < len(rows) and len(rows) >= 3 * len(fractions):
            raise InputError(
                f"{len(rows)} rows hold only {distinct} different inputs, too few to part into {parts}, as equal ones "
                "stay together; is the right field read (--text-field)?"
            )
        raise InputError(f"{len(rows)} rows are too few to part into {parts}: {empty[0]} would be empty.")
    return {part: [rows[i] for i in sorted(chosen[part])] for part in fractions}


def fractions_of(split: dict[str, float]) -> dict[str, float]:
    """The fractions of all parts, train first; what cannot be parted is refused."""
    for part, share in split.items():
        if part not in PARTS[1:]:
            raise InputError(f"split names the part {shown(part)}; parts are validation and test, the rest is train.")
        if isinstance(share, bool) or not isinstance(share, (int, float)) or not 0 < share < 1:
            raise InputError(f"split.{part} is {share}; it must be a fraction between 0 and 1, such as 0.1.")
    rest = 1 - sum(split.values())
    if rest <= 1e-9:
        raise InputError(f"split leaves nothing for train: the fractions add up to {sum(split.values()):g}.")
    return {"train": rest, **{part: split[part] for part in PARTS if part in split}}


def _groups(rows: Sequence[Row], group: Callable[[Row], Hashable] | None) -> list[Group]:
    if group is None:
        return [[i] for i in range(len(rows))]
    together: dict[Hashable, Group] = defaultdict(list)
    for i, row in enumerate(rows):
        together[group(row)].append(i)
    return list(together.values())


def _quotas(sizes: dict[str, int], room: dict[str, bool], share: float, count: int) -> dict[str, int]:
    """How many rows of each class a part gets: largest remainders, with one place at least where there is room."""
    total = max(1, math.floor(share * count + 0.5))
    least = 1 if sum(room.values()) <= total else 0
    quotas = {name: max(math.floor(share * size), least * room[name]) for name, size in sizes.items()}
    surplus = {name: quotas[name] - share * size for name, size in sizes.items()}
    while (missing := total - sum(quotas.values())) != 0:
        step = 1 if missing > 0 else -1
        # Names break ties, so that the result does not depend on the order of a dict.
        movable = [n for n in sizes if (quotas[n] < sizes[n] if step > 0 else quotas[n] > least * room[n])]
        if not movable:
            break
        name = min(movable, key=lambda n: (step * surplus[n], n))
        quotas[name] += step
        surplus[name] += step
    return quotas


def _deal(groups: list[Group], wanted: dict[str, float]) -> Iterable[tuple[str, Group]]:
    """Give each group, the large ones first, to the part that still wants most."""
    for members in sorted(groups, key=len, reverse=True):
        part = max(wanted, key=lambda name: wanted[name])
        wanted[part] -= len(members)
        yield part, members


def few(rows: Sequence[Row], count: int, *, label: Callable[[Row], Any] | None, seed: int) -> list[Row]:
    """At most `count` rows of each label, in the order of the file; those of a smaller `count` are among them."""
    order = list(range(len(rows)))
    random.Random(seed).shuffle(order)
    seen: Counter[str] = Counter()
    chosen = []
    for i in order:
        name = "" if label is None else repr(label(rows[i]))
        seen[name] += 1
        if seen[name] <= count:
            chosen.append(i)
    return [rows[i] for i in sorted(chosen)]


def split_by_field(rows: Sequence[Row], field: str) -> dict[str, list[Row]]:
    """Part rows by what a field says: train, validation (valid, val, dev) or test, in any case."""
    parts: dict[str, list[Row]] = {part: [] for part in PARTS}
    for row in rows:
        value = row.data.get(field)
        part = part_name(value)
        if part is None:
            what = f"the field {shown(field)} says {shown(value)}" if field in row.data else f"no field {shown(field)}"
            raise refuse(row.path, row.line, f"{what}; it must be train, validation (valid, val, dev) or test")
        parts[part].append(row)
    return {part: chosen for part, chosen in parts.items() if chosen}


def part_name(value: object) -> str | None:
    """train, validation or test for any of the words that mean it, else None."""
    return _PART_NAMES.get(str(value).strip().casefold())


def normalised(text: str) -> str:
    """A text without the differences that do not make another text: width and form (NFKC), case, blanks, and signs
    that nobody sees (soft hyphens, marks of direction and of byte order)."""
    return " ".join(_UNSEEN.sub("", unicodedata.normalize("NFKC", text)).casefold().split())


def overlap(train: Sequence[Row], test: Sequence[Row], key: Callable[[Row], str]) -> list[tuple[Row, Row]]:
    """Each training row whose normalised text is that of a test row, with the first such test row."""
    known: dict[str, Row] = {}
    for row in test:
        known.setdefault(normalised(key(row)), row)
    pairs = ((row, known.get(normalised(key(row)))) for row in train)
    return [(row, other) for row, other in pairs if other is not None]


def remove_overlap(
    train: Sequence[Row], test: Sequence[Row], key: Callable[[Row], str]
) -> tuple[list[Row], list[tuple[Row, Row]]]:
    """Training rows without those whose text is in `test`, and the pairs of `overlap` that were removed."""
    removed = overlap(train, test, key)
    gone = {id(row) for row, _ in removed}
    return [row for row in train if id(row) not in gone], removed


def near_duplicates(
    train: Sequence[Row], test: Sequence[Row], key: Callable[[Row], str], *, threshold: float = 0.8
) -> list[tuple[Row, Row, float]]:
    """For each test row that nearly equals a training row: one such training row, the test row, their similarity.

    Similarity is the Jaccard index of the sets of character 5-grams of the normalised texts; test rows that
    `overlap` finds are left to it. A lower bound: of each text COMPARED characters, for each test row TRIES candidates.
    """
    train_texts, test_texts = ([normalised(key(row)) for row in part] for part in (train, test))
    known = set(train_texts)
    train_grams, test_grams = _ranked(train_texts, test_texts)
    index: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for i, grams in enumerate(train_grams):
        for place, gram in enumerate(_rarest(grams, threshold)):
            index[gram].append((i, len(grams) - place))
    found = []
    for row, text, grams in zip(test, test_texts, test_grams, strict=True):
        i, similarity = (-1, 0.0) if text in known else _nearest(grams, index, train_grams, threshold)
        if similarity >= threshold:
            found.append((train[i], row, similarity))
    return found


def _nearest(
    grams: list[int], index: dict[int, list[tuple[int, int]]], others: list[list[int]], threshold: float
) -> tuple[int, float]:
    """The first training text found that is similar enough, or similarity 0."""
    mine, share = set(grams), threshold / (1 + threshold)
    seen: set[int] = set()
    tries = 0
    for place, gram in enumerate(_rarest(grams, threshold)):
        for i, left in index.get(gram, ()):
            # This gram is the first that both hold, so they share at most what is left of either from here on.
            size = len(others[i])
            if i in seen or min(left, len(grams) - place) < share * (len(grams) + size) - 1e-9:
                continue
            seen.add(i)
            shared = len(mine.intersection(others[i]))
            similarity = shared / (len(mine) + size - shared)
            tries += 1
            if similarity >= threshold:
                return i, similarity
            if tries >= TRIES:
                return -1, 0.0
    return -1, 0.0


def _ranked(*parts: list[str]) -> list[list[list[int]]]:
    """The 5-grams of each text as numbers, the rarest in all texts first."""
    grams = [[_grams(text) for text in part] for part in parts]
    counts = Counter(gram for part in grams for found in part for gram in found)
    rank = {gram: i for i, (gram, _) in enumerate(sorted(counts.items(), key=lambda item: (item[1], item[0])))}
    return [[sorted(rank[gram] for gram in found) for found in part] for part in grams]


def _grams(text: str) -> set[str]:
    text = text[:COMPARED]
    return {text[i : i + 5] for i in range(max(1, len(text) - 4))}


def _rarest(grams: list[int], threshold: float) -> list[int]:
    """The grams one of which every set that is similar enough must share: the prefix in the order of rarity."""
    return grams[: len(grams) - math.ceil(threshold * len(grams) - 1e-9) + 1]
