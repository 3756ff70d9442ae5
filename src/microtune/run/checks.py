"""The checks that every run makes by itself, by name, and the ledger of those that a run has made.

A run that fails silently ends with a normal-looking loss curve and a model that learnt nothing, or something else. Each
check here answers such a failure of other tools; it is on in every run and cannot be turned off. One that finds
something stops the run with a sentence that begins with the check's name in brackets, or becomes a note; one that finds
nothing is written down too (`checks` in scores.json), so that a reader can see what was verified. docs/checks.md has
the table with the test of each.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from microtune.data.sources import Row
from microtune.errors import at
from microtune.registry import Registry

When = Literal[
    "before training",
    "after two steps",
    "every step",
    "after the first epoch",
    "in evaluation",
    "at the end",
    "on load",
    "on export",
]
Does = Literal["stop", "warn", "warn or stop"]
SHOWN = 3  # places that a sentence names


@dataclass(frozen=True)
class Check:
    """What a check looks for, when it runs, what it does where it finds it, and which failure elsewhere it answers."""

    about: str
    when: tuple[When, ...]
    does: Does
    answers: str


@dataclass(frozen=True)
class Warned:
    """An event: a check has found something that a reader should know; the run goes on."""

    check: str
    note: str


checks: Registry[Check] = Registry("check")


class Ledger:
    """Which checks a run has made, and what they found."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def passed(self, *names: str) -> None:
        """These checks have run; what one of them has warned of stays."""
        for name in names:
            checks[name]  # an unknown name is a slip of the programmer
            self._found.setdefault(name, [])

    def warned(self, name: str, sentence: str) -> str:
        """This check has found something; returns the note for the reader."""
        self.passed(name)
        self._found[name].append(sentence)
        return f"[{name}] {sentence}"

    def record(self) -> list[dict[str, str]]:
        """`{name, result: passed | warned}` of every check that has run, in the order of the registry."""
        return [{"name": n, "result": "warned" if self._found[n] else "passed"} for n in checks if n in self._found]


def places(rows: Sequence[Row], indexes: Sequence[int], *, total: int | None = None) -> str:
    """Where rows stand: "data.csv, line 3; data.csv, line 8 and 2 more"; "item 5" for the index ~5, without a row.

    total: how many there are, where `indexes` are only the first of them.
    """
    named = [at(rows[i].path, rows[i].line) if 0 <= i < len(rows) else f"item {max(i, ~i)}" for i in indexes[:SHOWN]]
    more = (len(indexes) if total is None else total) - len(named)
    return "; ".join(named) + (f" and {more} more" if more else "")


def _add(name: str, when: tuple[When, ...], does: Does, about: str, answers: str) -> None:
    checks.add(name, Check(about, when, does, answers))


_BEFORE: tuple[When, ...] = ("before training",)
_END: tuple[When, ...] = ("at the end",)
_TWO: tuple[When, ...] = ("after two steps", "at the end")
_LOAD: tuple[When, ...] = ("on load",)

_add(
    "no-target",
    _BEFORE,
    "stop",
    "a row, or all rows, of which no token is learnt (the loss mask is all zero)",
    "trl#1820, trl#588, marin#7237, trl PR #6025: whole samples ignored, nothing learnt",
)
_add(
    "all-target",
    _BEFORE,
    "stop",
    "every token is learnt, prompts included (the loss mask is all one)",
    "marin#7237, Megatron-Bridge#3359: the prompt is learnt too, the curve looks normal",
)
_add(
    "answer-cut",
    _BEFORE,
    "warn or stop",
    "rows whose answer would be cut off by the longest length: left out, counted and named; above 5 % of rows it stops",
    "LLaMA-Factory#3995, transformers#30998, trl#2400: answers cut silently",
)
_add(
    "text-cut",
    _BEFORE,
    "warn",
    "texts that are longer than the model reads: cut, counted and named",
    "unsloth#2904: silent truncation",
)
_add(
    "stop-token",
    _BEFORE,
    "stop",
    "an answer whose last target is not a token that ends generation",
    "unsloth#416, unsloth#419: the model never stops",
)
_add(
    "double-bos",
    _BEFORE,
    "stop",
    "a row that begins with two beginning-of-text tokens",
    "trl PR #3856, retaining-by-doing#5: the template writes one and the tokenizer adds another",
)
_add(
    "prompt-ids",
    _BEFORE,
    "warn or stop",
    "a row whose prompt has other ids in training than generation would give it; a note if it was parted to have them",
    "trl PR #3856, Soup#781: training and inference see other ids",
)
_add(
    "test-in-train",
    _BEFORE,
    "warn or stop",
    "test rows that stand in train or validation too: taken out, counted and named; above half of the test it stops",
    "npc_gzip#13, mteb#1036: 90 to 100 % overlap",
)
_add(
    "test-near-train",
    _BEFORE,
    "warn",
    "test rows that nearly repeat a training row",
    "fashion-mnist#44: the same examples on both sides",
)
_add(
    "class-unseen",
    _BEFORE,
    "warn",
    "a class of the training split that never occurs in validation or test",
    "none that we know; such a score says nothing about the class",
)
_add(
    "data-faults",
    _BEFORE,
    "warn",
    "labels that contradict each other, copies, classes spelled twice, garbled text, personal data in training rows",
    "none that we know; `microtune lint` looks for more",
)
_add(
    "rate-zero",
    _BEFORE,
    "stop",
    "a learning rate that no step of the schedule raises above zero",
    "peft#1142, peft#137: training that does not train",
)
_add(
    "tied",
    ("before training", "at the end"),
    "stop",
    "token embedding and output matrix that the model's fields promise to be one tensor, but that are two",
    "transformers#45127, unsloth#1971, peft PR #2972: untied by training, tied again on reload",
)
_add(
    "finite",
    ("every step",),
    "stop",
    "a loss, gradient or weight that is no finite number, and the rows that give it; the last checkpoint stays good",
    "trl PR #6025: a gradient of nan, and training goes on",
)
_add(
    "gradient",
    ("after two steps",),
    "stop",
    "a trainable tensor that no gradient reaches, even where weight decay moves it",
    "peft#137, open-unlearning#178, microsoft/LoRA#120: no gradient reaches the adapter",
)
_add(
    "moved",
    _TWO,
    "stop",
    "a trainable tensor that is still as it was",
    "opacus#820: the weights never moved",
)
_add(
    "frozen",
    _TWO,
    "stop",
    "a frozen tensor that has changed, by a single bit",
    "none that we know; it would make every saved adapter wrong",
)
_add(
    "chance",
    ("after the first epoch",),
    "warn",
    "validation accuracy that cannot be told from always answering the most frequent class, or the mean number",
    "none that we know; labels that do not belong to their texts",
)
_add(
    "never-answered",
    _END,
    "warn",
    "a label that rows of the test split have and that the model never gives",
    "none that we know; where 8 % of the rows are of one class, 92 % accuracy is reached without it",
)
_add(
    "no-effect",
    _END,
    "stop",
    "a tuned model that gives the same outputs with and without what it learnt",
    "peft#2566, peft#1932, sentence-transformers PR #3865: the base answers silently",
)
_add(
    "reload",
    _END,
    "stop",
    "a saved run that gives other outputs than the model that was trained",
    "peft#310, peft#577, sentence-transformers#3980: the head is random after reload",
)
_add(
    "nothing-to-score",
    ("in evaluation",),
    "stop",
    "a split without a single target",
    "none that we know",
)
_add(
    "fits",
    _LOAD,
    "stop",
    "a tensor that is missing, unknown or of another shape than the model asks for",
    "peft#2566, peft#1457, trl#4416: keys that do not match are skipped, a 40-byte adapter is accepted",
)
_add(
    "same-base",
    _LOAD,
    "stop",
    "a base model whose weights are not those that the run was made with",
    "none that we know; an update only makes sense beside its own base",
)
_add(
    "export",
    ("on export",),
    "stop",
    "exported files that another program reads to other outputs, ids or tensors than the model has",
    "unsloth#3899, LLaMA-Factory#6320, llama.cpp#7062, ollama#1110: good in Python, gibberish after export",
)
_add(
    "merge",
    ("on export",),
    "stop",
    "a merged model whose outputs or test score are not those of the adapter beside its base",
    "none that we know; merging into rounded weights changes answers",
)
