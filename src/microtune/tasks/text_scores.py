"""Scores of written texts against one reference each: BLEU, chrF, ROUGE, length, repetition, exact match.

BLEU (Papineni et al., 2002) and chrF (Popović, 2015) are sacrebleu's (Post, 2018), ROUGE (Lin, 2004) is that of the
package rouge-score. Of each row only the counts are kept from which these scores are computed (some 150 bytes), so a
bootstrap adds counts up instead of reading texts again. Both packages are optional: without one, its scores are left
out, and `missing` says so before anybody trains.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np

from microtune.data.word_places import CLOSE, IS_CLOSE
from microtune.tasks.outcomes import Column, Columns

Words = Literal["13a", "zh", "char"]
ROUGE = ("rouge1", "rouge2", "rougeL")
REPEATED = 4  # words of the n-grams whose return counts as repetition, and of the longest ones of BLEU
WRITTEN_CLOSE = 0.3  # share of letters that are Chinese or Japanese above which words are not parted by blanks
_WORD = re.compile(f"[{CLOSE}]|[^\\W_{CLOSE}]+")
_UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]")  # Thai, Lao, Burmese, Khmer
_KANA = re.compile("[\u3040-\u30ff]")


def split_words(text: str) -> list[str]:
    """Lower-case words; each Chinese or Japanese character is one. Of English, what rouge-score itself takes."""
    return _WORD.findall(text.lower())


def words_of(texts: Sequence[str]) -> Words:
    """How sacrebleu should part these texts: 13a (as at WMT), zh for Chinese, char for scripts without blanks."""
    joined = "".join(texts)
    letters = sum(map(str.isalpha, joined)) or 1
    if len(_UNSPACED.findall(joined)) > WRITTEN_CLOSE * letters:
        return "char"
    close = len(IS_CLOSE.findall(joined))
    if close <= WRITTEN_CLOSE * letters:
        return "13a"
    return "char" if len(_KANA.findall(joined)) > 0.1 * close else "zh"


def missing() -> list[str]:
    """One sentence for each package whose scores have to be left out."""
    wanted = {"sacrebleu": "BLEU and chrF", "rouge_score": "ROUGE"}
    return [
        f'{scores} will not be computed: {name.replace("_", "-")} is not installed; pip install "microtune[metrics]" '
        "brings it."
        for name, scores in wanted.items()
        if not _there(name)
    ]


class TextScores:
    """Counts of each row, and scores from their sums."""

    def __init__(self, words: Words) -> None:
        self.words = words

    def count(self, answers: Sequence[str], references: Sequence[str]) -> dict[str, Column]:
        """Columns with one entry, or one row of counts, for each answer."""
        found: dict[str, Column] = {}
        for name, metric in self._sacrebleu.items():
            stats = metric._extract_corpus_statistics(list(answers), [list(references)])
            found[name] = np.array(stats, dtype=np.int32).reshape(len(answers), -1)
        if self._rouge is not None:
            scores = [self._rouge.score(r, a) for a, r in zip(answers, references, strict=True)]
            found["rouge"] = np.array([[s[n].fmeasure for n in ROUGE] for s in scores], dtype=np.float32)
        parted = [(split_words(a), split_words(r)) for a, r in zip(answers, references, strict=True)]
        found["words"] = np.array([(len(a), len(r)) for a, r in parted], dtype=np.int32)
        found["repeated"] = np.array([_repeated(a) for a, _ in parted], dtype=np.int32)
        found["exact"] = np.array([a.strip() == r.strip() for a, r in zip(answers, references, strict=True)])
        return found

    def scores(self, columns: Columns, weights: Column | None = None) -> dict[str, float]:
        """BLEU and chrF from 0 to 100; ROUGE F1, exact match and repetition from 0 to 1; words per reference word.

        BLEU counts runs of one to four words: where no text has four it would be 0 for right answers too, so only the
        runs that there are count (sacrebleu's effective order).
        weights: how often each row counts.
        """
        times = np.ones(len(columns["words"])) if weights is None else weights
        result: dict[str, float] = {}
        for name, metric in self._sacrebleu.items():
            if name in columns:
                if name == "bleu":  # of texts that all have fewer words than it counts in a run, by shorter runs
                    metric.effective_order = columns[name][:, :2].max(initial=0) < REPEATED
                sums = (times @ columns[name]).tolist()
                result[name] = float(metric._compute_score_from_stats(sums).score)
        if "rouge" in columns:
            means = times @ columns["rouge"] / times.sum()
            result |= {name: float(value) for name, value in zip(ROUGE, means, strict=True)}
        written, wanted = times @ columns["words"]
        again, all_grams = times @ columns["repeated"]
        result["length_ratio"] = float(written / max(wanted, 1))
        result["repetition"] = float(again / max(all_grams, 1))
        result["exact_match"] = float(times @ columns["exact"] / times.sum())
        return result

    @cached_property
    def _sacrebleu(self) -> dict[str, Any]:
        """Its two metrics; the counts per segment are what its own significance tests are computed from."""
        if not _there("sacrebleu"):
            return {}
        from sacrebleu.metrics.bleu import BLEU
        from sacrebleu.metrics.chrf import CHRF

        return {"bleu": BLEU(tokenize=self.words, force=True), "chrf": CHRF()}

    @cached_property
    def _rouge(self) -> Any:
        if not _there("rouge_score"):
            return None
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer(list(ROUGE), tokenizer=_Words())


class _Words:
    """rouge-score's interface of a tokenizer."""

    def tokenize(self, text: str) -> list[str]:
        return split_words(text)


def _repeated(words: Sequence[str]) -> tuple[int, int]:
    """How many runs of four words have stood in the text before, and how many there are."""
    runs = list(_runs(words))
    return len(runs) - len(set(runs)), len(runs)


def _runs(words: Sequence[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(words[i : i + REPEATED]) for i in range(len(words) - REPEATED + 1))


def _there(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
