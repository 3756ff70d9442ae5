"""Print the card of the embedded `tickets` data set: sizes, lengths, a baseline and overlap between splits.

Reads src/microtune/assets/tickets/en.jsonl and zh.jsonl, whichever exist. Needs scikit-learn. Run from anywhere:

    python benchmarks/tickets_card.py
"""

import json
import re
from collections import Counter
from pathlib import Path
from statistics import quantiles

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

FOLDER = Path(__file__).resolve().parent.parent / "src" / "microtune" / "assets" / "tickets"
SPLITS = ("train", "validation", "test")
Row = dict[str, str]


def read(path: Path) -> list[Row]:
    """The rows of a JSON-lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def units(text: str, language: str) -> list[str]:
    """The units in which a text is measured: characters for Chinese, words otherwise, all in lower case."""
    if language == "zh":
        return [char for char in text.lower() if not char.isspace()]
    return re.findall(r"\w+(?:['’]\w+)*", text.lower())


def ngrams(items: list[str], n: int) -> set[tuple[str, ...]]:
    """The distinct n-grams of a list."""
    return {tuple(items[i : i + n]) for i in range(len(items) - n + 1)}


def print_counts(rows: list[Row]) -> None:
    """A table of rows per intent and split."""
    counts = Counter((row["intent"], row["split"]) for row in rows)
    print(f"{'intent':<18}" + "".join(f"{split:>12}" for split in SPLITS))
    for intent in sorted({row["intent"] for row in rows}):
        print(f"{intent:<18}" + "".join(f"{counts[intent, split]:>12}" for split in SPLITS))
    totals = Counter(row["split"] for row in rows)
    print(f"{'all':<18}" + "".join(f"{totals[split]:>12}" for split in SPLITS))


def baseline_accuracy(fit: list[Row], test: list[Row], language: str) -> float:
    """Accuracy on test of logistic regression over TF-IDF features, trained on train and validation."""
    analyzer, n_range = ("char", (1, 3)) if language == "zh" else ("word", (1, 2))
    model = make_pipeline(
        TfidfVectorizer(analyzer=analyzer, ngram_range=n_range, sublinear_tf=True),
        LogisticRegression(C=10.0, max_iter=1000),
    )
    model.fit([row["text"] for row in fit], [row["intent"] for row in fit])
    return float(model.score([row["text"] for row in test], [row["intent"] for row in test]))


def shared_five_grams(rows: list[Row], language: str) -> float:
    """Share of test rows with at least one 5-gram that also occurs in train."""
    grams = {
        split: [ngrams(units(row["text"], language), 5) for row in rows if row["split"] == split]
        for split in ("train", "test")
    }
    seen = set().union(*grams["train"])
    return sum(bool(own & seen) for own in grams["test"]) / len(grams["test"])


def closest_pair(fit: list[Row], test: list[Row]) -> tuple[float, Row, Row]:
    """The test row and the other row whose sets of character 3-grams are the most alike, by Jaccard similarity."""
    fit_grams = [ngrams(list(row["text"].lower()), 3) for row in fit]
    best = (-1.0, test[0], fit[0])
    for row in test:
        own = ngrams(list(row["text"].lower()), 3)
        for other, grams in zip(fit, fit_grams, strict=True):
            score = len(own & grams) / (len(own | grams) or 1)
            if score > best[0]:
                best = (score, row, other)
    return best


def print_card(path: Path) -> None:
    """Everything about one language."""
    language, rows = path.stem, read(path)
    fit = [row for row in rows if row["split"] != "test"]
    test = [row for row in rows if row["split"] == "test"]
    lengths = [len(units(row["text"], language)) for row in rows]
    texts = Counter(" ".join(row["text"].lower().split()) for row in rows)
    score, left, right = closest_pair(fit, test)
    print(f"== {language}: {len(rows)} rows")
    print_counts(rows)
    quartiles = " / ".join(f"{value:g}" for value in quantiles(lengths, n=4, method="inclusive"))
    print(
        f"length in {'characters' if language == 'zh' else 'words'}: "
        f"min {min(lengths)}, quartiles {quartiles}, max {max(lengths)}"
    )
    print(f"TF-IDF + logistic regression, accuracy on test: {baseline_accuracy(fit, test, language):.3f}")
    print(f"test rows sharing a 5-gram with train: {shared_five_grams(rows, language):.1%}")
    print(f"highest 3-gram Jaccard, test against the rest: {score:.3f}")
    for row in (left, right):
        print(f"  {row['id']} ({row['split']}, {row['intent']}): {row['text']}")
    print(f"exact duplicates: {sum(count - 1 for count in texts.values())}\n")


def main() -> None:
    """Print a card for each language present."""
    for language in ("en", "zh"):
        path = FOLDER / f"{language}.jsonl"
        if path.exists():
            print_card(path)


if __name__ == "__main__":
    main()
