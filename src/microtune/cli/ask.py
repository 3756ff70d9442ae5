"""`microtune predict`, `microtune evaluate` and `microtune chat`: what one does with a tuned model."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer

from microtune.cli.console import err, out, plain, show_note, show_score, written_answers
from microtune.cli.language import said, word
from microtune.cli.mixing import mixed
from microtune.cli.pairs import SourceFile, TargetFile, pair
from microtune.cli.words import TheirLabel, TheirText
from microtune.errors import InputError

DecodingOptions = Annotated[
    list[str] | None,
    typer.Option(
        "--decoding",
        metavar="KEY=VALUE",
        help="how answers are written, such as beams=5, top_p=0.9, regex=[0-9]+, json_schema=@file.json; repeatable",
    ),
]
NAMED = 20  # rows that are left out and named each by itself
_BORDER = re.compile(r",(?=[a-z_]+=)")  # between two options in one value
FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)


def predict(
    run: Annotated[
        str, typer.Argument(help="run folder, or a decoder that goes on with texts; with --adapter, the base of all")
    ],
    texts: Annotated[list[str] | None, typer.Argument(metavar="[TEXT]...", help="texts to answer")] = None,
    input_file: Annotated[str | None, typer.Option("--input", help="file with rows to answer")] = None,
    source_file: Annotated[str | None, typer.Option("--source", help="plain text to answer, line by line")] = None,
    output_file: Annotated[
        str | None, typer.Option("--output", help=".jsonl or .csv; default: JSON lines on stdout")
    ] = None,
    min_confidence: Annotated[float, typer.Option(help='below it, the answer is "unsure"')] = 0.0,
    max_new_tokens: Annotated[
        int | None, typer.Option(help="longest generated answer [default: the task's, or 128]")
    ] = None,
    decoding: DecodingOptions = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=RUN", help="an adapter on the base; each row of --input names its own; repeatable"),
    ] = None,
    text_field: TheirText = None,
    adapter_field: Annotated[str, typer.Option(help="field of a row with the name of its adapter")] = "adapter",
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="name rows that cannot be answered, answer all others, exit with 1")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="JSON lines on stdout")] = False,
) -> None:
    """Answer texts, or every row of a file in its order."""
    _check_asked(texts, input_file, source_file, output_file, min_confidence, max_new_tokens)
    for option, given in (("--skip-bad", skip_bad), ("--text-field", text_field)):
        if given and (adapter or not input_file):
            raise InputError(f"{option} is for the rows of --input FILE, answered by one run; leave it out.")
    options = decoding_of(decoding)
    if adapter:
        pairs = mixed(run, adapter, input_file, adapter_field, options, min_confidence, max_new_tokens or 128)
        _show([{**_asked(row.data), **_record(p)} for row, p in pairs], output_file, as_lines=True)
        return
    how = {"min_confidence": min_confidence, "max_new_tokens": max_new_tokens, "decoding": options}
    bad: list[InputError] = []
    notes: list[str] = []
    take = bad.append if skip_bad else None
    records = _some(_records(run, texts, input_file, source_file, text_field, take, notes, how), bad)
    _show(records, output_file, as_lines=bool(input_file or source_file or as_json))
    for note in notes:
        show_note(note)
    if bad:
        _name(bad)
        raise typer.Exit(1)


def _records(
    run: str,
    texts: list[str] | None,
    input_file: str | None,
    source_file: str | None,
    text_field: str | None,
    bad: Callable[[InputError], None] | None,
    notes: list[str],
    how: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """Each row with its answer. bad: takes the errors of rows that are left out; notes: what was done to the rows."""
    from microtune.data.sources import read_rows
    from microtune.run.given import rows_for
    from microtune.run.load import load
    from microtune.run.predict import predict as run_predict
    from microtune.run.predict import task_of, text_rows
    from microtune.run.their_fields import called_otherwise

    model = load(run)
    task = task_of(model)
    if source_file:
        texts = [str(row.data["text"]) for row in read_rows(source_file, format="text")]
    rows = rows_for(task, input_file, bad) if input_file else text_rows(task, texts or [])
    typed = texts if texts and len(texts) == len(rows) else [""] * len(rows)
    for found in run_predict(model, called_otherwise(task, rows, text_field), bad=bad, notes=notes, **how):
        row = rows[found.row]
        given = _asked(row.data) if input_file or len(row.data) > 1 else {"text": typed[found.row]}
        yield {**given, **_record(found)}


def _some(records: Iterator[dict[str, Any]], bad: list[InputError]) -> Iterator[dict[str, Any]]:
    """The records; where none is left, the error of the first row that could not be answered."""
    first = next(records, None)
    if first is not None:
        return chain([first], records)
    if bad:
        raise bad[0]
    return records


def _name(bad: list[InputError]) -> None:
    """The rows that were left out, each with its reason."""
    for error in bad[:NAMED]:
        show_note(str(error), "left out: ", "略去：")
    err.print(said("rows left out: {count}", count=f"{len(bad):,}"))


def _check_asked(
    texts: list[str] | None,
    input_file: str | None,
    source_file: str | None,
    output_file: str | None,
    min_confidence: float,
    max_new_tokens: int | None,
) -> None:
    """Refuse what `predict` cannot do before anything is loaded."""
    if sum(map(bool, (texts, input_file, source_file))) != 1:
        raise InputError("Give either texts, --input FILE or --source FILE.")
    if output_file and Path(output_file).suffix not in (".jsonl", ".csv"):
        raise InputError(f"{output_file}: --output writes .jsonl or .csv.")
    if output_file and not Path(output_file).parent.is_dir():  # said now, not after hours of answering
        raise InputError(f"{output_file}: there is no folder {Path(output_file).parent}; make it first.")
    if output_file and any(_same(output_file, read) for read in (input_file, source_file) if read):
        raise InputError(f"{output_file}: --output is the file with the rows to answer; name another one.")
    if not 0 <= min_confidence <= 1:
        raise InputError("--min-confidence is a probability between 0 and 1.")
    if max_new_tokens is not None and max_new_tokens < 1:
        raise InputError("--max-new-tokens is at least 1.")


def _same(one: str, other: str) -> bool:
    """Whether both name one file that is there."""
    return Path(one).exists() and Path(other).exists() and Path(one).samefile(other)


def _show(records: Iterable[dict[str, Any]], output_file: str | None, *, as_lines: bool) -> None:
    """Answers into a file, as JSON lines, or for people."""
    if output_file:
        written = list(records)
        _write(Path(output_file), written)
        err.print(said("{count} answers written to {path}", count=len(written), path=plain(output_file)))
        return
    for record in records:
        if as_lines:
            print(json.dumps(record, ensure_ascii=False, default=str))
            continue
        sure = f"  ({record['confidence']:.2f})" if "confidence" in record else ""
        out.print(f"{plain(_shown(record['prediction']))}{sure}", soft_wrap=True)


def evaluate(
    run: Annotated[str, typer.Argument(help="run folder; with rows to score, any model that `predict` takes")],
    data: Annotated[str | None, typer.Option(help="rows to score; default: show the run's own scores")] = None,
    source: SourceFile = None,
    target: TargetFile = None,
    text_field: TheirText = None,
    label_field: TheirLabel = None,
    as_json: Annotated[bool, typer.Option("--json", help="the scores as JSON on stdout")] = False,
) -> None:
    """Score a model on a file, or show the scores its run ended with."""
    files = pair(source, target)
    if data is None and files is None:
        _show_own(run, as_json)
        return
    from microtune.run.given import rows_for
    from microtune.run.known_rows import learnt_from, one_split
    from microtune.run.load import load
    from microtune.run.predict import evaluate as run_evaluate
    from microtune.run.predict import task_of
    from microtune.run.their_fields import called_otherwise

    given = files or one_split(str(data))
    model = load(run)
    rows = rows_for(model.task, given)
    if text_field or label_field:
        rows = list(called_otherwise(task_of(model, rows), rows, text_field, label_field))
    score = run_evaluate(model, rows)
    for note in [*score.notes, *learnt_from(model.place, given)]:
        show_note(note)
    if as_json:
        parts = {name: {"scores": p.values, "intervals": p.intervals} for name, p in score.parts.items()}
        tasks = {"tasks": parts} if parts else {}
        print(json.dumps({"scores": score.values, "intervals": score.intervals, **tasks}, ensure_ascii=False))
        if written := written_answers(score):
            err.print(written)
    else:
        named, task = Path(data or str(source)).name, task_of(model, rows)  # a heading is one line, cut where it ends
        show_score(named, score, task)
        for name, part in score.parts.items():
            show_score(f"{named}: {name}", part, task)


def _show_own(run: str, as_json: bool) -> None:
    """The scores that a run ended with."""
    from microtune.run.verbs import Run

    done = Run(run)
    values, intervals = done.scores, done.intervals
    if as_json:
        print(json.dumps({"scores": values, "intervals": intervals}, ensure_ascii=False))
        return
    for split, scores in values.items():
        for name, value in scores.items():
            low, high = intervals[split].get(name, (float("nan"), float("nan")))
            between = said("{low} to {high}", low=f"{low:.4f}", high=f"{high:.4f}")
            out.print(f"{word(split):12} {plain(name):18} {value:.4f}  ({between})")


def chat(
    model: Annotated[str, typer.Argument(help="run folder, embedded base or model folder")] = "sprout",
    max_new_tokens: Annotated[int, typer.Option(help="longest answer")] = 128,
    temperature: Annotated[
        float | None, typer.Option(help="0: always the likeliest token [default: 0.7; with beams, 0]")
    ] = None,
    top_p: Annotated[float, typer.Option(help="draw from the likeliest tokens with this share")] = 0.9,
    seed: Annotated[int, typer.Option(help="of the draws")] = 0,
    decoding: DecodingOptions = None,
) -> None:
    """Talk to a model; an empty line or Ctrl-D ends it."""
    options = decoding_of(decoding)
    if temperature is None:
        temperature = 0.0 if options.get("beams", 1) > 1 else 0.7
    options = checked_decoding({"temperature": temperature, "top_p": top_p, "seed": seed, **options})
    from microtune.run.load import load
    from microtune.run.predict import conversation_ids

    talker = load(model)
    talker.vocabulary_head()  # says at once that a classifier cannot talk
    for note in talker.notes:
        err.print(plain(note), soft_wrap=True)
    messages: list[dict[str, Any]] = []
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if not line.strip():
            return
        messages.append({"role": "user", "content": line})
        answer = ""
        for piece in talker.continue_ids(conversation_ids(talker, messages), max_new_tokens=max_new_tokens, **options):
            answer += piece
            print("".join(c if c == "\n" else plain(c) for c in piece), end="", flush=True)
        print(flush=True)
        messages.append({"role": "assistant", "content": answer})


def decoding_of(assignments: list[str] | None) -> dict[str, Any]:
    """`--decoding KEY=VALUE ...` as options; texts stand as they are, `json_schema=@FILE` reads a file."""
    from microtune.recipe import override

    options: dict[str, Any] = {}
    for one in _parted(assignments or []):
        key, sign, text = one.partition("=")
        if key == "json_schema" and text.startswith("@"):
            from microtune.data.objects import read_object

            options[key] = read_object(Path(text[1:]))
        elif sign and key in ("regex", "json_schema"):
            options[key] = text
        else:
            options |= override({}, [one])
    for key in {"stops", "labels"} & options.keys():
        value = options[key]
        options[key] = [str(part) for part in value] if isinstance(value, list) else [str(value)]
    return options


def _parted(assignments: list[str]) -> list[str]:
    """`temperature=0.9,top_k=20` as two; texts, of which a comma may be part, stay whole."""
    whole = ("regex=", "json_schema=", "labels=", "stops=")
    return [part for one in assignments for part in ([one] if one.startswith(whole) else _BORDER.split(one))]


def checked_decoding(options: dict[str, Any]) -> dict[str, Any]:
    """The same options, or an InputError."""
    from microtune.recipe import validated
    from microtune.tasks.writing import Writing

    validated(Writing, options, "decoding")
    return options


def _shown(answer: Any) -> str:
    """An answer for people: several labels with commas, a number with six digits."""
    if isinstance(answer, list):
        return ", ".join(_span(one) if isinstance(one, dict) else str(one) for one in answer) or "-"
    return f"{answer:.6g}" if isinstance(answer, float) else str(answer)


def _span(span: dict[str, Any]) -> str:
    """A piece of a text with its place in characters."""
    return f'{span["label"]} "{span["text"]}" ({span["start"]} to {span["end"]})'


def _asked(data: dict[str, Any]) -> dict[str, Any]:
    """A row without the answer that another model gave it: its confidence would stand beside ours."""
    return {k: v for k, v in data.items() if k != "confidence"} if "prediction" in data else data


def _record(prediction: Any) -> dict[str, Any]:
    record: dict[str, Any] = {"prediction": prediction.answer}
    if prediction.scores:
        record["confidence"] = round(prediction.confidence, 6)
    if prediction.answers:
        record["answers"] = [{"text": text, "score": round(score, 6)} for text, score in prediction.answers]
    return record


def _write(path: Path, records: list[dict[str, Any]]) -> None:
    """All at once: an interrupted prediction leaves no half file."""
    from microtune.run.disk import write_text

    if path.suffix == ".jsonl":
        write_text(path, "".join(json.dumps(r, ensure_ascii=False, default=str) + "\n" for r in records))
        return
    buffer = io.StringIO()
    names = list(dict.fromkeys(name for record in records for name in record))
    writer = csv.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    plain_numbers = {name for name in names if name == "prediction" or all(_is_number(r.get(name)) for r in records)}
    writer.writerows(
        {name: value if name in plain_numbers and _is_number(value) else _safe(value) for name, value in record.items()}
        for record in records
    )
    write_text(path, "\ufeff" + buffer.getvalue())


def _is_number(value: Any) -> bool:
    """Whether a cell is a number, which no spreadsheet takes for a formula: an answer such as the label -1."""
    return isinstance(value, (int, float)) or (isinstance(value, str) and bool(NUMBER.fullmatch(value)))


def _safe(value: Any) -> Any:
    """A cell that a spreadsheet would take for a formula gets a quote in front; several labels are joined by "|"."""
    if isinstance(value, list):
        plain_values = not any(isinstance(one, (dict, list)) or "|" in str(one) for one in value)
        value = "|".join(map(str, value)) if plain_values else json.dumps(value, ensure_ascii=False)
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
