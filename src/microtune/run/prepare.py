"""From a recipe to everything that training needs: rows, splits, task, model, items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from microtune.data.class_folders import is_classes, left_out
from microtune.data.ordered_split import check_order, order_note, split_in_order
from microtune.data.sources import Row
from microtune.data.splits import few, near_duplicates, overlap, remove_overlap, split_by_field, split_rows
from microtune.data.steps import (
    RowStep,
    Step,
    StepReport,
    TextStep,
    make_step,
    run_steps,
    step_warnings,
    text_changer,
)
from microtune.errors import CheckError, InputError, at
from microtune.recipe import Data, Recipe, validated
from microtune.run.checks import Ledger, places
from microtune.run.given import is_embedded, read, split_files
from microtune.run.guesses import MaskedModel
from microtune.run.invariants import (
    check_classes,
    check_openings,
    check_stops,
    check_supervision,
    report_lengths,
)
from microtune.run.load import Model
from microtune.run.mixture import PARTS, check_parts, mixed, named, sources_of, task_values
from microtune.run.quick_lint import quick_lint
from microtune.run.unread import unread_note
from microtune.tasks.base import Encoded, Task, length_limit, tasks
from microtune.tasks.classification import Classification
from microtune.tasks.instruction import Instruction
from microtune.tasks.language_modelling import LanguageModelling
from microtune.tasks.mixture import Mixture, named_task
from microtune.tasks.sequence_to_sequence import SequenceToSequence
from microtune.tasks.wording import ANSWERS

NEAR_DUPLICATE_ROWS = 20_000  # above, the look for near-duplicates is left to `microtune lint`


@dataclass
class Splits:
    """Rows by split name, what a reader should know about them, and which checks were made."""

    rows: dict[str, list[Row]]
    notes: list[str] = field(default_factory=list)
    removed: list[Row] = field(default_factory=list)
    ledger: Ledger = field(default_factory=Ledger)
    steps: list[StepReport] = field(default_factory=list)
    order: str = ""  # the field in whose order the rows are parted


def make_task(recipe: Recipe) -> Task:
    """The task's own section, with its options checked."""
    kind = tasks[recipe.task.name]
    values = {"name": recipe.task.name, **recipe.task.options}
    if kind is LanguageModelling:
        values.setdefault("block_size", recipe.data.block_size)
    if values.get("generate") and "generate_seed" in kind.model_fields:
        values.setdefault("generate_seed", recipe.seed)
    task = validated(kind, values | task_values(recipe), "task").naming_fields()
    for option, _ in task.wordings:
        flag = "label_field" if option in ANSWERS else "text_field"
        if getattr(recipe.data, flag) is not None:
            raise InputError(f"task.{option} and data.{flag} both say where the text stands; leave one of them out.")
    return task


def make_splits(recipe: Recipe, task: Task, data: Mapping[str, Any]) -> tuple[Task, Splits]:
    """Read and split the rows, let the task find its fields, take copies of test rows out of train."""
    several = sources_of(recipe)
    apart = [source for source in several if source.train is not None]
    if data.get("train") is None and not apart:
        raise InputError(
            "There is no training data; name a file, for instance: microtune tune data.csv --task classification, or, "
            "behind a recipe, data.train=data.csv."
        )
    fields = {"text_field": recipe.data.text_field, "label_field": recipe.data.label_field}
    folders = [source for source in data.values() if isinstance(task, Classification) and is_classes(source)]
    if isinstance(task, Classification) and data.get("train") in folders:
        form = "single" if task.form == "auto" else task.form
        task = task.model_copy(update={"whole": True, "form": form})
    parts: dict[str, list[Row]] = {} if apart else _read_parts(recipe, task, data, fields)
    for source in apart:
        own = {part: getattr(source, part) for part in PARTS}
        for part, rows in _read_parts(recipe, task, own, fields, source.name).items():
            parts.setdefault(part, []).extend(rows)
    if several:
        check_parts(parts, [source.name for source in several])
    prepared, splits = task.prepare(parts, **fields), Splits(parts)
    splits.notes += _of_folders(folders)
    prepared = _with_steps(recipe, prepared, splits)
    parts = splits.rows
    splits.notes += _nothing_to_choose_by(recipe, prepared, parts)
    if recipe.data.split_by is not None:
        splits.order = recipe.data.split_by.field
        splits.notes.append(order_note(parts, splits.order))
    _remove_copies(recipe.data, text_key(prepared), splits)
    _near_copies(text_key(prepared), splits)
    if recipe.data.examples is not None:
        seed = split_seed(recipe)
        parts["train"] = few(parts["train"], recipe.data.examples, label=label_reader(prepared), seed=seed)
    if several:
        parts["train"], note = mixed(parts["train"], several, recipe.data.temperature, split_seed(recipe))
        splits.notes.append(note)
    return prepared, splits


def _of_folders(folders: Sequence[str | Path]) -> list[str]:
    """That folders are classes, and what stands in them and is no row."""
    said = ["Each file is a row, and the name of its folder its label."] if folders else []
    return said + [sentence for folder in folders for sentence in left_out(folder)]


def _nothing_to_choose_by(recipe: Recipe, task: Task, parts: Mapping[str, Any]) -> list[str]:
    """A note where something is asked of a validation split that there is not."""
    if "validation" in parts:
        return []
    patience, choose = type(recipe.train).model_fields["patience"].default, type(task).model_fields.get("choose")
    asked = ["train.patience"] if recipe.train.patience not in (0, patience) else []
    asked += ["task.choose"] if choose is not None and getattr(task, "choose", None) != choose.default else []
    if not asked:
        return []
    has = "has" if len(asked) == 1 else "have"
    return [
        f"There is no validation split, so {' and '.join(asked)} {has} nothing to go by: the weights are those of the "
        "last step."
    ]


def _read_parts(
    recipe: Recipe, task: Task, data: Mapping[str, Any], fields: dict[str, str | None], name: str = ""
) -> dict[str, list[Row]]:
    """The rows of a source by split, as the task reads them; name: the task that they all are, among several."""

    def ready(source: Any) -> list[Row]:
        rows = read(source, recipe)
        return task.ready(named(rows, name) if name else rows)

    data = {**data, **split_files(data, classes=isinstance(task, Classification))}
    rows = ready(data["train"])
    given = {part: ready(data[part]) for part in ("validation", "test") if data.get(part) is not None}
    return _parts(recipe, task, rows, given, data, fields)


def _with_steps(recipe: Recipe, task: Task, splits: Splits) -> Task:
    """Put the splits through the recipe's steps; the task keeps those that prediction has to repeat."""
    found = _steps(recipe)
    if not found:
        return task
    if any(isinstance(step, RowStep) and step.writes for step in found):  # afterwards, copies would not be seen
        key, change = text_key(task), text_changer(found, task.text_fields)
        _remove_copies(recipe.data, lambda row: key(change(row)), splits)
    label, seed = label_reader(task), split_seed(recipe)
    splits.rows, splits.steps = run_steps(
        found, splits.rows, task.text_fields, label=label, seed=seed, task=task.name, guesser=MaskedModel
    )
    splits.notes += [report.sentence() for report in splits.steps]
    repeated = tuple(step.model_dump(mode="json") for step in found if isinstance(step, TextStep))
    return task.model_copy(update={"steps": repeated})


def _steps(recipe: Recipe) -> list[Step]:
    return [make_step(choice.model_dump()) for choice in recipe.data.steps]


def split_seed(recipe: Recipe) -> int:
    """What the split is drawn with."""
    return recipe.seed if recipe.data.split_seed is None else recipe.data.split_seed


def label_reader(task: Task) -> Any:
    """Row -> its label as it stands in the file, or its task among several; None where there is neither."""
    if isinstance(task, Mixture) and task.mixture:
        return named_task
    name = task.label_field if isinstance(task, Classification) else None
    return None if name is None else lambda row: row.data.get(name)


def _parts(
    recipe: Recipe,
    task: Task,
    rows: list[Row],
    given: dict[str, list[Row]],
    data: Mapping[str, Any],
    fields: dict[str, str | None],
) -> dict[str, list[Row]]:
    split = recipe.data.split
    if recipe.data.split_by is not None:
        return _parts_in_order(recipe, rows, given)
    if is_embedded(data.get("train")) and isinstance(split, dict) and not given:
        split = "split"
    if isinstance(split, str) and split != "none":
        parts = split_by_field(rows, split)
        if "train" not in parts:
            raise InputError(f'data.split: no row says "train" in the field "{split}".')
        return {**parts, **given}
    wanted = {} if split == "none" else {k: v for k, v in split.items() if k not in given}  # type: ignore[union-attr]
    if not wanted:
        return {"train": rows, **given}
    whole = task.prepare({"train": rows}, **fields)
    own, label = whole.group_key() or text_key(whole), whole.stratum(rows)
    change = text_changer(_steps(recipe), whole.text_fields)
    key = (lambda row: own(change(row))) if recipe.data.steps else own  # copies after the steps stay together
    return {**split_rows(rows, split=wanted, label=label, group=key, seed=split_seed(recipe)), **given}


def _parts_in_order(recipe: Recipe, rows: list[Row], given: dict[str, list[Row]]) -> dict[str, list[Row]]:
    """Parts of which each begins after the one before has ended, given ones among them."""
    split, by = recipe.data.split, recipe.data.split_by
    assert by is not None
    if isinstance(split, str) and split != "none":
        raise InputError(f"data.split ({split}) and data.split_by ({by.field}) are two ways to part rows; take one.")
    wanted = {} if isinstance(split, str) else {name: share for name, share in split.items() if name not in given}
    parts = split_in_order(rows, split=wanted, field=by.field) if wanted else {"train": rows}
    parts |= given
    check_order(parts, by.field)
    return parts


def text_key(task: Task) -> Any:
    """Row -> the text by which copies are recognised."""
    own = task.copy_key()
    if own is not None:
        return own
    name = (
        getattr(task, "text_field", None)
        or getattr(task, "source_field", None)
        or getattr(task, "prompt_field", None)
        or getattr(task, "messages_field", None)
    )
    pair = getattr(task, "pair_field", None) or getattr(task, "input_field", None)
    if pair:
        return lambda row: f"{row.data.get(name or '', '')}\n{row.data.get(pair) or ''}"
    return lambda row: str(row.data.get(name or "", ""))


def _remove_copies(data: Data, key: Callable[[Row], str], splits: Splits) -> None:
    """Rows of the other splits whose text stands in the test split; without one, a note about those of validation."""
    if "test" not in splits.rows:
        _note_copies(key, splits)
        return
    test = splits.rows["test"]
    for name in ("train", "validation"):
        if name not in splits.rows:
            continue
        splits.ledger.passed("test-in-train")
        kept, copies = remove_overlap(splits.rows[name], test, key)
        if not copies:
            continue
        affected = len({id(twin) for _, twin in copies})
        found = [row for row, _ in copies]
        where = places(found, range(len(found)))
        if data.overlap == "error" or affected > len(test) / 2:
            raise CheckError(
                f"{len(copies)} rows of the {name} split stand in the test split too (first: {where}); the scores "
                "would mean nothing. Split the data anew.",
                check="test-in-train",
            )
        if data.overlap == "drop":
            splits.rows[name] = kept
            splits.removed += found
        verb = "were removed from" if data.overlap == "drop" else "are in"
        sentence = f"{len(copies)} rows of the test split {verb} the {name} split. First: {where}."
        splits.notes.append(splits.ledger.warned("test-in-train", sentence))


def _note_copies(key: Callable[[Row], str], splits: Splits) -> None:
    """Where validation gives the final scores: a note about its rows that stand in the training split too."""
    rows = splits.rows.get("validation", [])
    found = [row for row, _ in overlap(rows, splits.rows["train"], key)]
    if found:
        sentence = (
            f"{len(found)} of {len(rows)} rows of the validation split stand in the train split too, and there is no "
            f"test split: the scores are better than those of new rows. First: {places(found, range(len(found)))}."
        )
        splits.notes.append(splits.ledger.warned("test-in-train", sentence))


def _near_copies(key: Callable[[Row], str], splits: Splits) -> None:
    """A note about test rows that nearly repeat a training row."""
    if "test" not in splits.rows:
        return
    test = splits.rows["test"]
    if max(len(splits.rows["train"]), len(test)) <= NEAR_DUPLICATE_ROWS:
        splits.ledger.passed("test-near-train")
        near = near_duplicates(splits.rows["train"], test, key)
        if near:
            row, twin, share = near[0]
            sentence = (
                f"{len(near)} rows of the test split nearly repeat a training row. First: {at(twin.path, twin.line)}, "
                f"which is like {at(row.path, row.line)} ({share:.0%} alike)."
            )
            splits.notes.append(splits.ledger.warned("test-near-train", sentence))


def encode_splits(
    task: Task, splits: Splits, model: Model, max_length: int | None, taken: int = 0
) -> dict[str, Encoded]:
    """Items of every split, with the checks that come before the first step; taken: positions of virtual tokens."""
    limit = items_limit(model, max_length, taken)
    encoded: dict[str, Encoded] = {}
    splits.notes += step_warnings([report.name for report in splits.steps], cased=is_cased(model))
    answers = isinstance(task, (Instruction, SequenceToSequence))
    for name, rows in splits.rows.items():
        encoded[name] = task.encode_all(rows, model.text, limit, training=name == "train")
        splits.notes += report_lengths(name, encoded[name], rows, limit, splits.ledger)
        check_openings(encoded[name].items, model.text, rows)
    items = encoded["train"].items
    if model.is_encoder_decoder and len(items) and not len(items[0].sources):
        raise InputError(f"The task {task.name} has no input for an encoder; take a model that has one stack.")
    rows = splits.rows["train"]
    check_supervision(encoded["train"].report, whole_text=not answers, rows=rows)
    splits.ledger.passed("no-target", "double-bos", "answer-cut" if answers else "text-cut")
    if answers:
        check_stops(encoded["train"].items, model.text.target, rows)
        splits.ledger.passed("all-target", "stop-token")
    if isinstance(task, Classification):
        splits.notes += check_classes(task, splits.rows, splits.ledger)
    splits.notes += [*task.remarks(splits.rows), *unread_note(task, rows)]
    splits.notes += quick_lint(task, rows, splits.ledger)
    if not len(encoded["train"].items):
        raise InputError("No row of the training split is left to learn from.")
    return encoded


def is_cased(model: Model) -> bool:
    """Whether the tokenizer tells upper from lower case."""
    upper, lower = (model.text.encode(text, special=False) for text in ("Text", "text"))
    return upper != lower


def items_limit(model: Model, asked: int | None, taken: int) -> int:
    """Tokens that one item may have: what is asked, or what the model's files say; `taken` by virtual tokens."""
    room, own = model.spec.max_positions, model.max_length
    if taken and own is not None and room is not None:
        own = min(own, room - taken)
    return length_limit(model.spec, asked or own, taken)
