"""Small slips of real users, and what keeps them from harm: told by name, with the option that helps."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import call
from planted import tune, write

from microtune.data.sources import Row
from microtune.recipe import build, override, parse_short
from microtune.run.predict import in_its_field
from microtune.tasks.classification import Classification
from microtune.tasks.instruction import Instruction
from microtune.tasks.sequence_to_sequence import SequenceToSequence
from tiny_model import make_model, rows

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize("option", ["--input", "--source"])
def test_answers_do_not_replace_the_rows(option: str, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "rows.csv"
    data.write_text("text\nhello\n", encoding="utf-8")
    answer = call(capsys, "predict", "sprout", option, data, "--output", tmp_path / "." / "rows.csv")
    assert answer.code == 2
    assert answer.sentence.endswith("rows.csv: --output is the file with the rows to answer; name another one.")
    assert data.read_text(encoding="utf-8") == "text\nhello\n"


def test_a_folder_that_is_not_there_is_said_before_anything_is_loaded(tmp_path: Path, capsys: Capture) -> None:
    answer = call(capsys, "predict", "no/such-run", "hello", "--output", tmp_path / "none" / "out.csv")
    assert answer.code == 2
    assert answer.sentence.endswith("none; make it first.")


@pytest.mark.parametrize(
    ("row", "more", "flag"),
    [
        ({"ask": "who?", "reply_text": "she"}, [], "--text-field"),
        ({"prompt": "who?", "said": "she"}, [], "--label-field"),
        ({"talk": [{"role": "user", "content": "who?"}]}, ["task.form=messages"], "task.messages_field"),
    ],
)
def test_the_option_that_names_a_field_exists(
    row: dict[str, object], more: list[str], flag: str, tmp_path: Path, capsys: Capture
) -> None:
    data = write(tmp_path / "d.jsonl", [row] * 12)
    answer = call(capsys, "tune", data, "--task", "instruction", *more)
    assert answer.sentence.endswith(f"name it with {flag}.")


def test_a_plain_text_is_read_by_a_model_that_calls_its_text_otherwise(
    tmp_path: Path, capsys: Capture, quick: None
) -> None:
    model = make_model(tmp_path / "model")
    data = write(tmp_path / "data.jsonl", [{"remark": r["text"], "label": r["label"]} for r in rows(40)])
    assert tune(capsys, model, data, "--text-field", "remark").code == 0
    asked = tmp_path / "new.txt"
    asked.write_text("my card was declined\n\nthe transfer has not arrived\n", encoding="utf-8")
    out = tmp_path / "out.jsonl"
    assert call(capsys, "predict", tmp_path / "run", "--input", asked, "--output", out).code == 0
    answered = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [a["text"] for a in answered] == ["my card was declined", "the transfer has not arrived"]
    given = call(capsys, "predict", tmp_path / "run", *(a["text"] for a in answered), "--json")
    assert [json.loads(line)["prediction"] for line in given.out.splitlines()] == [a["prediction"] for a in answered]


def test_a_field_of_few_values_is_proposed_as_the_label(tmp_path: Path, capsys: Capture) -> None:
    values = [{"sentence": f"clause number {i}", "unfair": i % 2} for i in range(20)]
    answer = call(capsys, "tune", write(tmp_path / "d.jsonl", values), "--task", "classification")
    assert answer.code == 2
    assert answer.sentence.endswith(
        'd.jsonl: no field looks like the label; the fields are "sentence", "unfair"; '
        'name it with --label-field (perhaps "unfair", whose few values come back).'
    )
    two = [{**v, "site": "abc"[i % 3]} for i, v in enumerate(values)]
    answer = call(capsys, "tune", write(tmp_path / "e.jsonl", two), "--task", "classification")
    assert answer.sentence.endswith(
        'name it with --label-field (perhaps "unfair" or "site", whose few values come back).'
    )
    three = [{**v, "floor": i % 4} for i, v in enumerate(two)]
    answer = call(capsys, "tune", write(tmp_path / "f.jsonl", three), "--task", "classification")
    assert answer.sentence.endswith("name it with --label-field.")
    lists = [{"sentence": v["sentence"], "matters": ["a", "b"][: 1 + i % 2]} for i, v in enumerate(values)]
    answer = call(capsys, "tune", write(tmp_path / "g.jsonl", lists), "--task", "classification")
    assert answer.sentence.endswith('(perhaps "matters", whose few values come back).')


def test_plain_text_holds_no_labels(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "1.txt").write_text("a text", encoding="utf-8")
    answer = call(capsys, "tune", tmp_path / "folder", "--task", "classification")
    assert answer.code == 2
    assert answer.sentence.endswith(
        "1.txt: plain text has no field for the label; make a table (.csv) or JSON lines with one, or put the texts of "
        "each class into a folder of its own."
    )


def test_one_value_where_a_list_stands(tmp_path: Path, capsys: Capture) -> None:
    data = write(tmp_path / "d.jsonl", rows(24))
    answer = call(capsys, "tune", data, "--task", "classification", "train.track=wandb")
    assert answer.sentence == "recipe: train.track: the value should be a valid list; write [wandb]."


def test_signs_of_a_chinese_keyboard(tmp_path: Path, capsys: Capture) -> None:
    assert parse_short("lora：8") == {"name": "lora", "size": 8}
    data = write(tmp_path / "d.jsonl", rows(24))
    answer = call(capsys, "compare", data, "--task", "classification", "--methods", "head，tpo:1")
    assert answer.sentence.startswith('Unknown method "tpo".')


def test_who_names_no_task_hears_what_guesses_it(tmp_path: Path, capsys: Capture) -> None:
    answer = call(capsys, "tune", write(tmp_path / "d.jsonl", rows(24)))
    assert answer.sentence.startswith("Say what the data is for, with --task (`microtune lint` guesses it): ")


def test_rows_of_one_text_are_what_the_task_reads() -> None:
    rows_of = [Row({"text": "How are you?"}, "d.txt", 3)]
    summary = SequenceToSequence(source_field="dialogue", target_field="summary")
    assert in_its_field(summary, rows_of) == [Row({"dialogue": "How are you?"}, "d.txt", 3)]
    asked = Instruction(form="messages", messages_field="talk")
    assert in_its_field(asked, rows_of)[0].data == {"talk": [{"role": "user", "content": "How are you?"}]}
    two = Classification(text_field="premise", pair_field="hypothesis", labels=("a", "b"))
    assert in_its_field(two, rows_of) == rows_of
    full = [Row({"text": "a", "id": 1}, "d.csv", 2)]
    assert in_its_field(summary, full) == full


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        (
            "--validation",
            "0.2",
            "a file of rows, not a share; to cut from the data, write data.split.validation=0.2 data.split.test=0.1.",
        ),
        (
            "--test",
            "20%",
            "a file of rows, not a share; to cut from the data, write data.split.validation=0.1 data.split.test=0.2.",
        ),
        (
            "--split",
            ".25",
            "a field, not a share; to cut from the data, write data.split.validation=0.1 data.split.test=0.25.",
        ),
    ],
)
def test_a_share_is_no_file(option: str, value: str, said: str, tmp_path: Path, capsys: Capture) -> None:
    data = write(tmp_path / "d.jsonl", rows(24))
    answer = call(capsys, "tune", data, "--task", "classification", option, value)
    assert answer.code == 2
    assert answer.sentence == f"{option} names {said}"
    first, second = said.removesuffix(".").split()[-2:]
    split = build(override({"task": "classification"}, [first, second])).data.split
    assert isinstance(split, dict)
    assert sorted(split) == ["test", "validation"]


@pytest.mark.parametrize(
    ("called", "task"),
    [("summarization", "sequence-to-sequence"), ("NER", "token-labelling"), ("chat", "instruction"), ("分类", None)],
)
def test_what_a_task_is_called_elsewhere(called: str, task: str | None, tmp_path: Path, capsys: Capture) -> None:
    answer = call(capsys, "tune", write(tmp_path / "d.jsonl", rows(24)), "--task", called)
    assert answer.sentence.startswith(f'Unknown task "{called}". Did you mean "{task or "classification"}"? Known: ')
