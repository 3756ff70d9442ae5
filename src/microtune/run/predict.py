"""Prediction with a tuned model: texts or rows in, one answer each, in the order they came.

A classifier answers with its most probable label, or with "unsure" below a confidence that the user sets; a model tuned
on text answers with the text it generates.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from microtune.data.decode import Bad, pass_over
from microtune.data.fields import text_of
from microtune.data.sources import Row
from microtune.errors import InputError, at, suggest
from microtune.nn.heads import VocabularyHead
from microtune.recipe import validated
from microtune.run.answers import Answers, written_best
from microtune.run.batched import Question
from microtune.run.checks import Ledger
from microtune.run.classic.base import ClassicModel
from microtune.run.decoding import Decoding
from microtune.run.evaluate import Score, evaluate_items, predict_items
from microtune.run.invariants import report_lengths
from microtune.run.load import Model
from microtune.run.mixture import parts_of
from microtune.run.pieces import DAMAGED
from microtune.run.prepare import items_limit
from microtune.run.reference import scored_against_base
from microtune.run.their_fields import check_fields
from microtune.tasks.base import Encoded, EncodingReport, Prediction, Task
from microtune.tasks.classification import Classification
from microtune.tasks.conversation import chat_prompt, messages_of, tools_of
from microtune.tasks.instruction import Instruction
from microtune.tasks.language_modelling import LanguageModelling
from microtune.tasks.mixture import Mixture
from microtune.tasks.regression import Regression, number_of
from microtune.tasks.sequence_to_sequence import SequenceToSequence
from microtune.tasks.writing import GREEDY, Writing

UNSURE = "unsure"
TYPED = "<text>"  # where bare texts stand
ROWS_AT_ONCE = 1024
LONGEST_ANSWER = 128  # tokens, where nobody says how many
GIVEN = "given"  # what rows are called that are of no split
LONGEST_BLOCK = 1024  # tokens of a text that a plain decoder is scored on at once


def task_of(model: Model, rows: Sequence[Row] = ()) -> Task:
    """The task a model was tuned for; a plain decoder goes on with texts, any other base is an InputError.

    rows: what it is asked about, where the field of the text has to be found.
    """
    if model.task is None and isinstance(model, ClassicModel):
        model.vocabulary_head()  # says what it has not
    if model.task is not None:
        return model.task
    if "head.out.weight" in model.spare:  # merged or exported: to go on with the text would be no answer at all
        raise InputError(
            "This folder holds a classifier in the form of other tools, without the task that says how it is asked; "
            "give the run folder that it was made of."
        )
    network = model.network
    if network.encoder is not None or not isinstance(network.head, VocabularyHead) or model.missing_head:
        raise InputError("This model was not tuned for a task; give a run folder, or tune it first.")
    size = min(model.room or LONGEST_BLOCK, LONGEST_BLOCK)
    return LanguageModelling(text_field=_only_text(rows), block_size=size)


def _only_text(rows: Sequence[Row]) -> str:
    """`text`, or the only field there is."""
    fields = sorted({name for row in rows for name in row.data})
    if fields and "text" not in fields and len(fields) > 1:
        first, named = rows[0], ", ".join(f'"{name}"' for name in fields)
        raise InputError(
            f'{at(first.path, first.line)}: a plain model reads the field "text"; the fields are {named}. Rename one.'
        )
    return fields[0] if len(fields) == 1 else "text"


def text_rows(task: Task, texts: Sequence[str | tuple[str, str]]) -> list[Row]:
    """Bare texts as rows of the task's own form; a model of pairs takes pairs, or single texts two by two."""
    own = task.text_rows(texts)
    if own is not None:
        return own
    if not all(isinstance(text, str) for text in texts):
        raise InputError("This model reads one text at a time, not pairs.")
    if isinstance(task, Instruction) and task.form == "messages":
        name = task.messages_field or "messages"
        return [Row({name: [{"role": "user", "content": t}]}, TYPED, i + 1) for i, t in enumerate(texts)]
    fields = ("prompt_field",) if isinstance(task, Instruction) else ("source_field", "text_field")
    name = next((found for field in fields if (found := getattr(task, field, None))), "text")
    return [Row({name: text}, TYPED, i + 1) for i, text in enumerate(texts)]


def in_its_field(task: Task, rows: Sequence[Row]) -> Sequence[Row]:
    """Rows of one text and nothing else as the one text that the task reads, whatever their field is called.

    A .txt file calls it `text`, a table without a header `column_1`; the training data called it what it liked.
    """
    fields = {tuple(row.data) for row in rows}
    name = next(iter(fields), ())
    if len(fields) != 1 or len(name) != 1 or (isinstance(task, Mixture) and task.mixture):
        return rows
    if not all(isinstance(row.data[name[0]], str) for row in rows):
        return rows
    try:
        own = text_rows(task, [row.data[name[0]] for row in rows])
    except InputError:  # it reads two texts or more
        return rows
    if len(own) != len(rows) or name[0] in own[0].data:
        return rows
    return [Row(found.data, row.path, row.line) for found, row in zip(own, rows, strict=True)]


def predict(
    model: Model,
    rows: Sequence[Row],
    *,
    min_confidence: float = 0.0,
    max_new_tokens: int | None = None,
    decoding: Mapping[str, Any] | None = None,
    bad: Bad | None = None,
    notes: list[str] | None = None,
) -> Iterator[Prediction]:
    """One Prediction per row, in the order of the rows; `row` is the row's index.

    decoding: options of `tasks.writing.Writing` that replace those of the task. bad: takes the error of a row that
    cannot be answered, which is then passed over; default: such a row is refused before any row is answered. notes:
    takes, at the end, what was done to the rows, such as texts that were cut.
    """
    task = task_of(model, rows)
    options = written_as(task, decoding)
    if min_confidence and not isinstance(task, Classification):
        raise InputError(f"--min-confidence is for classifiers; the task {task.name} has no confidence.")
    if min_confidence and isinstance(task, Classification) and UNSURE in task.labels:
        raise InputError(
            f'--min-confidence: "{UNSURE}" is a label of this model, so nobody could tell it from a missing answer; '
            "leave the option out and read the confidence."
        )
    rows = in_its_field(task, rows)
    check_fields(task, rows, answers=False)
    if bad is None and len(rows) <= ROWS_AT_ONCE:  # all of them are read before the first is answered
        places: Sequence[int] = range(len(rows))
    else:
        places = readable(model, task, rows, bad)
    rows = task.ready([rows[place] for place in places], answers=False)
    for found in _answered(model, task, rows, min_confidence, max_new_tokens, options, notes):
        yield replace(found, row=places[found.row])


def readable(model: Model, task: Task, rows: Sequence[Row], bad: Bad | None) -> list[int]:
    """The places of the rows that the model can be asked about; the error of each other one goes to `bad`, if any."""
    places = []
    for place, row in enumerate(rows):
        try:
            _read(model, task, task.ready([row], answers=False)[0])
        except InputError as error:
            pass_over(error, bad)
        else:
            places.append(place)
    return places


def _read(model: Model, task: Task, row: Row) -> None:
    """Read a row as answering it will, or raise the InputError that says why that cannot be done."""
    if isinstance(task, SequenceToSequence):
        task.question(row, model.text, items_limit(model, None, model.network.virtual_tokens))
    elif isinstance(task, (Instruction, LanguageModelling)):
        question_ids(model, task, row)
    else:
        limit = items_limit(model, None, model.network.virtual_tokens)
        task.unlabelled().encode(row, 0, model.text, limit, EncodingReport())


def _answered(
    model: Model,
    task: Task,
    rows: Sequence[Row],
    min_confidence: float,
    max_new_tokens: int | None,
    options: Writing,
    notes: list[str] | None,
) -> Iterator[Prediction]:
    """A Prediction for each of the rows, which are ready, in their order."""
    if isinstance(task, SequenceToSequence):
        yield from _written(model, task, rows, max_new_tokens or task.max_new_tokens, options, notes)
        return
    if isinstance(task, (Instruction, LanguageModelling)):
        yield from _generated(model, task, rows, max_new_tokens or LONGEST_ANSWER, options)
        return
    unlabelled = task.unlabelled()
    limit = items_limit(model, None, model.network.virtual_tokens)
    cut: list[int] = []
    for first in range(0, len(rows), ROWS_AT_ONCE):
        encoded = unlabelled.encode_all(rows[first : first + ROWS_AT_ONCE], model.text, limit, training=False)
        found = sorted(predict_items(model.network, unlabelled, encoded), key=lambda p: p.row)
        for prediction in unlabelled.together(found):
            sure = not min_confidence or prediction.confidence >= min_confidence
            yield replace(prediction, row=first + prediction.row, answer=prediction.answer if sure else UNSURE)
        cut += _cut_rows(encoded, first)
    if notes is not None:
        notes += _about_cut(cut, rows, limit)


def _cut_rows(encoded: Encoded, first: int) -> list[int]:
    """Places of the rows that were cut; ~place, which names none, of those that a report counts only."""
    report = encoded.report
    named = [first + row for row in report.cut]
    return named + [~first] * (report.truncated - len(named))


def _about_cut(cut: Sequence[int], rows: Sequence[Row], limit: int) -> list[str]:
    if not cut:
        return []
    report = EncodingReport(rows=len(rows), truncated=len(cut), cut=[row for row in cut if row >= 0])
    return report_lengths(GIVEN, Encoded([], report), rows, limit, Ledger())


def written_as(task: Task, decoding: Mapping[str, Any] | None) -> Writing:
    """The task's own way of writing with these options in place of its own; an InputError where it writes nothing."""
    if decoding and not isinstance(task, (SequenceToSequence, Instruction, LanguageModelling)):
        raise InputError(f"--decoding is for models that write; the task {task.name} does not.")
    own: Writing = getattr(task, "decoding", GREEDY)
    return validated(Writing, {**own.model_dump(exclude_defaults=True), **decoding}, "decoding") if decoding else own


def _generated(
    model: Model, task: Task, rows: Sequence[Row], max_new_tokens: int, options: Writing
) -> Iterator[Prediction]:
    """Answers of a decoder in batches; what an encoder-decoder answers begins as its files say."""
    if isinstance(model, ClassicModel):
        said = options.model_dump(exclude_defaults=True)
        for index, row in enumerate(rows):
            pieces = model.continue_ids(asked_ids(model, task, row), max_new_tokens=max_new_tokens, **said)
            yield Prediction("".join(pieces), 1.0, row=index)
        return
    start = None
    if model.is_encoder_decoder:
        start = Decoding.of(model.config, model.generation, model.spec.vocab_size).start
    for first in range(0, len(rows), ROWS_AT_ONCE):
        asked = model.checked([question_ids(model, task, row) for row in rows[first : first + ROWS_AT_ONCE]])
        questions = [Question(ids) if start is None else Question([start], ids) for ids in asked]
        for prediction in _in_order(model, questions, max_new_tokens, options, first):
            yield replace(prediction, answer=prediction.answer.rstrip(DAMAGED))  # as a stream gives whole characters


def _in_order(
    model: Model, questions: Sequence[Question], max_new_tokens: int, options: Writing, first: int
) -> Iterator[Prediction]:
    found = dict(written_best(model, questions, max_new_tokens=max_new_tokens, options=options))
    for index in range(len(questions)):
        answers = found[index]
        several = answers if options.answers > 1 else ()
        yield Prediction(answers[0][0], 1.0, row=first + index, answers=several)


def question_ids(model: Model, task: Task, row: Row) -> list[int]:
    """The same, where the model can read them and write behind them; else an InputError with the row's place."""
    ids = asked_ids(model, task, row)
    where = "" if row.path == TYPED else f"{at(row.path, row.line)}: "
    if not ids:
        raise InputError(f"{where}there is no token in this text.")
    room = None if isinstance(model, ClassicModel) or model.is_encoder_decoder else model.room
    if room is not None and len(ids) >= room:
        raise InputError(f"{where}The prompt has {len(ids)} tokens, but the model has {model.positions}.")
    return ids


def asked_ids(model: Model, task: Task, row: Row) -> list[int]:
    """The ids that a model tuned on text goes on from, to answer such a row."""
    if isinstance(task, Instruction):
        return prompt_ids(model, task, row)
    field = getattr(task, "text_field", None) or "text"
    return model.prompt_ids(str(row.data.get(field, "")) if row.path == TYPED else text_of(row, field))


def _written(
    model: Model,
    task: SequenceToSequence,
    rows: Sequence[Row],
    max_new_tokens: int,
    options: Writing,
    notes: list[str] | None,
) -> Iterator[Prediction]:
    """Answers in batches, in the order of the rows."""
    limit = items_limit(model, None, model.network.virtual_tokens)
    cut: list[int] = []
    for first in range(0, len(rows), ROWS_AT_ONCE):
        asked = [task.question(row, model.text, limit) for row in rows[first : first + ROWS_AT_ONCE]]
        questions = [Question(opening, sources) for sources, opening, _ in asked]
        cut += [first + place for place, (_, _, shortened) in enumerate(asked) if shortened]
        yield from _in_order(model, questions, max_new_tokens, options, first)
    if notes is not None:
        notes += _about_cut(cut, rows, limit)


def prompt_ids(model: Model, task: Instruction, row: Row) -> list[int]:
    """The ids that training put before the answer of such a row."""
    if task.form == "messages":
        messages = messages_of(row, task.messages_field or "messages")
        asked = messages[:-1] if messages[-1]["role"] == "assistant" else messages
        return chat_prompt(asked, model.text, tools_of(row))
    prompt = task.prompt_of(row)
    if task.template:
        return chat_prompt([{"role": "user", "content": prompt}], model.text)
    return task.prompt_ids(prompt, model.text)


def evaluate(model: Model, rows: Sequence[Row]) -> Score:
    """Score a tuned model on rows that have targets; one that learnt several tasks in each of them, too (`parts`)."""
    if isinstance(model, ClassicModel):
        return model.evaluate(rows)
    if not rows:
        raise InputError("There are no rows to evaluate on.")
    task = task_of(model, rows)
    check_fields(task, rows, answers=True)
    if isinstance(task, Classification):
        _known_labels(task, rows)
    elif isinstance(task, Regression):
        for row in rows:
            number_of(row, task.label_field or "score")
    task.check_rows(rows)
    limit = items_limit(model, None, model.network.virtual_tokens)
    rows = task.ready(rows)
    if isinstance(task, Mixture):
        task.check_named(rows)
    encoded = task.encode_all(rows, model.text, limit, training=False)
    encoded = scored_against_base(model, task, encoded)
    answers = Answers(model, task, encoded, rows)
    for _ in answers.fill():
        pass
    score = evaluate_items(model.network, task, encoded, answers=answers.columns)
    notes = report_lengths(GIVEN, encoded, rows, limit, Ledger())
    return replace(score, parts=parts_of(task, score, rows), notes=notes)


def _known_labels(task: Classification, rows: Sequence[Row]) -> None:
    reader, there = task.reader, set(task.labels)
    for row in rows:
        for label in reader.labels(row):
            if label not in there:
                known = suggest(str(label), [str(value) for value in task.labels])
                raise InputError(f'{at(row.path, row.line)}: the model does not know the label "{label}". {known}')


def conversation_ids(model: Model, messages: Sequence[dict[str, Any]]) -> list[int]:
    """Ids of a conversation up to the assistant's next turn; a model without a chat template reads the last text."""
    task = model.task
    if isinstance(task, SequenceToSequence):
        row = task.ready([Row({task.source_field or "source": messages[-1]["content"]}, "<chat>", 1)], answers=False)[0]
        sources, opening, _ = task.question(row, model.text, items_limit(model, None, model.network.virtual_tokens))
        return sources or opening
    plain_prompts = isinstance(task, Instruction) and task.form == "prompt" and not task.template
    if model.text.chat_template is None or plain_prompts:
        if isinstance(task, Instruction) and task.form == "prompt":
            row = Row({task.prompt_field or "prompt": messages[-1]["content"]}, "<chat>", 1)
            return prompt_ids(model, task, task.ready([row], answers=False)[0])
        bos = model.text.id("bos")
        first = [bos] if bos is not None and bos != model.text.id("eos") else []  # as in training and `generate`
        return [*first, *model.text.encode(messages[-1]["content"], special=False)]
    return chat_prompt(messages, model.text)
