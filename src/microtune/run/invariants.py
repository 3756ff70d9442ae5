"""Checks on what was read, before the first step: masks, lengths, stop tokens, openings, classes, rates.

Each is listed in run/checks.py under the name that its sentence begins with; each names the row, file and line, in
which it finds something.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from microtune.data.batches import Items
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import CheckError, at
from microtune.nn.heads import VocabularyHead
from microtune.nn.transformer import Transformer
from microtune.run import optimizers as rates
from microtune.run.checks import Ledger, places
from microtune.tasks.base import Encoded, EncodingReport
from microtune.tasks.classification import Classification, Label

PERIOD = 256  # words after which the weights of a fingerprint repeat
DROPPED_SHARE = 0.05  # more rows lost to their length than this is an error


def check_supervision(report: EncodingReport, *, whole_text: bool, rows: Sequence[Row] = ()) -> None:
    """The supervised share is neither 0 nor, unasked, 1; not too many rows were lost to their length."""
    if report.rows and report.dropped / report.rows > DROPPED_SHARE:
        first = f" First: {places(rows, report.left_out, total=report.dropped)}." if report.left_out else ""
        raise CheckError(
            f"{report.dropped} of {report.rows} rows are longer than the model can read and would lose their answer; "
            f"shorten them or raise model.max_length.{first}",
            check="answer-cut",
        )
    if report.supervised == 0:
        where = f"{at(rows[0].path)}: " if rows else ""
        raise CheckError(
            f"{where}No token is supervised: nothing could be learnt. Look at the fields that the task reads.",
            check="no-target",
        )
    if not whole_text and report.supervised >= report.tokens:
        first = f" (first: {places(rows, report.whole, total=report.items)})" if report.whole else ""
        raise CheckError(
            f"Every token is supervised, prompts included{first}; the answers cannot be told from the prompts.",
            check="all-target",
        )


def check_stops(items: Items, tokenizer: Tokenizer, rows: Sequence[Row] = ()) -> None:
    """The last target of a generated answer is a stop token, so that the model learns to stop."""
    stops = set(tokenizer.stop_ids)
    for index in range(len(items)):
        item = items[index]
        if not len(item.targets) or int(item.targets[-1]) not in stops:
            raise CheckError(
                f"{_where(rows, item.row)}An answer does not end with a stop token: the model would never learn to "
                "stop. Let the chat template write one after the assistant's turn.",
                check="stop-token",
            )


def check_openings(items: Items, tokenizer: Tokenizer, rows: Sequence[Row] = ()) -> None:
    """No row begins with two beginning-of-text tokens: the template's and the tokenizer's, or the text's own."""
    firsts = {i for i in (tokenizer.id("bos"), tokenizer.id("cls")) if i is not None}
    for index in range(len(items)):
        item = items[index]
        if len(item.ids) > 1 and int(item.ids[0]) == int(item.ids[1]) in firsts:
            token = tokenizer.decode([int(item.ids[0])], special=True)
            raise CheckError(
                f'{_where(rows, item.row)}The text begins with "{token}" twice: tokenizer, chat template and text '
                "must not write it more than once together.",
                check="double-bos",
            )


def check_classes(task: Classification, rows: Mapping[str, Sequence[Row]], ledger: Ledger) -> list[str]:
    """Notes about classes of the training split that a split never asks about."""
    notes = []
    reader = task.reader
    first: dict[Label, Row] = {}  # a declared label may stand in no row at all
    for row in rows["train"]:
        for label in reader.labels(row):
            first.setdefault(label, row)
    for name in ("validation", "test"):
        if name not in rows:
            continue
        ledger.passed("class-unseen")
        there = {label for row in rows[name] for label in reader.labels(row)}
        missing = [label for label in task.labels if label not in there and label in first]
        if missing:
            example = first[missing[0]]
            more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
            notes.append(
                ledger.warned(
                    "class-unseen",
                    f'The class "{missing[0]}"{more} never occurs in the {name} split, whose scores say nothing about '
                    f"it (in training: {at(example.path, example.line)}).",
                )
            )
    return notes


def check_rates(optimizers: rates.Optimizers) -> None:
    """Some step has a learning rate above zero, for every group of tensors."""
    total = optimizers.total_steps
    rises = any(rates.schedule(optimizers.settings, step, total) > 0 for step in range(total))
    peaks = [group["peak"] for member in optimizers.members for group in member.param_groups]
    if not rises or min(peaks) <= 0:
        raise CheckError(
            f"The learning rate is never above zero in {total} steps (train.lr {optimizers.base_lr:g}, schedule "
            f"{optimizers.settings.schedule}): nothing would be learnt.",
            check="rate-zero",
        )


def check_tied(network: Transformer) -> None:
    """Token embedding and output matrix are one tensor where the model's fields say so."""
    head = network.head
    if network.spec.tied and isinstance(head, VocabularyHead) and head.out.weight is not network.tokens.weight:
        gap = float((head.out.weight.detach() - network.tokens.weight.detach()).abs().max())
        raise CheckError(
            f"head.out.weight and tokens.weight are two tensors (largest difference {gap:.2g}), but the model's fields "
            "promise one: what is trained in one would be lost in the other.",
            check="tied",
        )


def report_lengths(name: str, encoded: Encoded, rows: Sequence[Row], limit: int, ledger: Ledger) -> list[str]:
    """Notes about the rows of a split that were cut, left out for their length, or parted at a turn."""
    report, notes = encoded.report, []
    if report.truncated:
        share = f"{report.truncated} of {report.rows}"
        where = places(rows, report.cut, total=report.truncated)
        sentence = f"{share} texts of the {name} split are longer than {limit} tokens and were cut. First: {where}."
        notes.append(ledger.warned("text-cut", sentence))
    if report.dropped:
        where = places(rows, report.left_out, total=report.dropped)
        sentence = (
            f"{report.dropped} of {report.rows} rows of the {name} split are longer than {limit} tokens and were "
            f"left out with {report.lost_targets} answer tokens. First: {where}."
        )
        notes.append(ledger.warned("answer-cut", sentence))
    if report.parted:
        where = places(rows, report.apart, total=report.parted)
        sentence = (
            f"{report.parted} of {report.rows} conversations of the {name} split were parted where a turn begins or "
            f"ends, as generation will part them; read as one text, a token would reach over it. First: {where}."
        )
        notes.append(ledger.warned("prompt-ids", sentence))
    return [*notes, *(f"Of the {name} split {sentence}" for sentence in report.remarks)]


def _where(rows: Sequence[Row], index: int) -> str:
    return f"{at(rows[index].path, rows[index].line)}: " if 0 <= index < len(rows) else ""
