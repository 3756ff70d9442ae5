"""Options and verbs that people know from other tools: refused with what to write here."""

from __future__ import annotations

from pathlib import Path

import pytest
from command import call

from microtune.cli.ask import decoding_of
from microtune.cli.mistaken import OPTIONS, VALUES, VERBS
from microtune.recipe import Data, ModelChoice, Train

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("typed", "sentence"),
    [
        (["--lr", "3e-4"], "There is no option --lr; write train.lr=VALUE behind the data or the recipe."),
        (
            ["--learning-rate=1"],
            "There is no option --learning-rate; write train.lr=VALUE behind the data or the recipe.",
        ),
        (
            ["--batch_size", "8"],
            "There is no option --batch-size; write train.batch_size=VALUE behind the data or the recipe.",
        ),
        (["--rank", "8"], "There is no option --rank; write method.rank=VALUE behind the data or the recipe."),
        (
            ["--max-length", "8"],
            "There is no option --max-length; write model.max_length=VALUE behind the data or the recipe.",
        ),
        (["--output-dir", "x"], "There is no option --output-dir; here it is --out."),
        (
            ["--taks", "x"],
            "No such option: --taks (Possible options: --task, --test) (microtune tune --help shows what there is)",
        ),
    ],
)
def test_options(typed: list[str], sentence: str, capsys: Capture) -> None:
    answer = call(capsys, "tune", "a.csv", "--task", "classification", *typed)
    assert (
        answer.code,
        answer.sentence.replace("Did you mean one of: --task, --test?", "(Possible options: --task, --test)"),
    ) == (2, sentence)


def test_a_value_without_its_section(capsys: Capture) -> None:
    answer = call(capsys, "tune", "a.csv", "--task", "classification", "lr=3e-4")
    assert answer.sentence.startswith('recipe: unknown key "lr". Did you mean "train.lr"? Known: data, limits, ')


@pytest.mark.parametrize(
    ("verb", "sentence"),
    [
        ("train", 'There is no command "train"; here it is `microtune tune`.'),
        ("generate", 'There is no command "generate"; here it is `microtune predict`.'),
        ("serve", 'There is no command "serve" yet; `microtune --help` shows what there is.'),
        ("zzz", "No such command 'zzz'. (microtune --help shows what there is)"),
    ],
)
def test_verbs(verb: str, sentence: str, capsys: Capture) -> None:
    answer = call(capsys, verb, "a.csv")
    assert (answer.code, answer.sentence) == (2, sentence)


@pytest.mark.parametrize(
    ("typed", "meant"), [("adapter", "bottleneck"), ("qlora", "lora"), ("prompt-tuning", "prompt"), ("freeze", "top")]
)
def test_methods(typed: str, meant: str, tmp_path: Path, capsys: Capture) -> None:
    data = tmp_path / "d.csv"
    data.write_text("text,label\n" + "hello there,x\ngood bye,y\n" * 20, encoding="utf-8")
    answer = call(capsys, "tune", data, "--task", "classification", "--method", typed)
    assert answer.sentence.startswith(f'Unknown method "{typed}". Did you mean "{meant}"? Known: bitfit, bottleneck, ')


def test_options_of_decoding_in_one_value() -> None:
    assert decoding_of(["temperature=0.9,top_k=20", "seed=3"]) == {"temperature": 0.9, "top_k": 20, "seed": 3}
    assert decoding_of(["regex=a,b=c", "labels=[a,b]"]) == {"regex": "a,b=c", "labels": ["a", "b"]}


def test_in_chinese(capsys: Capture) -> None:
    assert call(capsys, "train", "a.csv", "--lang", "zh").err == "错误：没有命令“train”；这里用 `microtune tune`。\n"
    said = call(capsys, "tune", "a.csv", "--lr", "1", "--lang", "zh").err
    assert said == "错误：没有选项 --lr；请在数据或配方后面写 train.lr=值。\n"


def test_what_the_tables_name_exists(capsys: Capture) -> None:
    known = {f"train.{name}" for name in Train.model_fields} | {f"model.{name}" for name in ModelChoice.model_fields}
    known |= {f"data.{name}" for name in Data.model_fields}
    assert {key for key in VALUES.values() if key.split(".")[0] in ("train", "model", "data")} <= known
    shown = call(capsys, "tune", "--help").out
    assert [option for option in OPTIONS.values() if option not in shown] == []
    verbs = call(capsys, "--help").out
    assert [verb for verb in VERBS.values() if f"  {verb} " not in verbs] == []


def test_plan_reads_the_fields_that_tune_reads(tmp_path: Path, capsys: Capture) -> None:
    shown = call(capsys, "plan", "--help").out
    for option in ("--text-field", "--label-field", "--encoding", "--header", "--validation", "--test", "--split"):
        assert option in shown
    data = tmp_path / "d.csv"
    data.write_text("text,label\nhello there,x\n", encoding="utf-8")
    answer = call(capsys, "plan", data, "--task", "classification", "--text-field", "c")
    assert answer.sentence.endswith('d.csv: there is no field "c" for the text; it has "text", "label".')


def test_a_folder_that_is_not_there_is_no_unfinished_run(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "topics_ng").mkdir()
    (tmp_path / "topics_ng" / "recipe.yaml").write_text("task: classification", encoding="utf-8")
    monkeypatch.chdir(tmp_path.parent)
    run = Path(tmp_path.name) / "topics"  # as short as a name of a hub, which is not asked
    near = f'{run}: no such folder; did you mean "{run.parent / "topics_ng"}"?'
    assert call(capsys, "predict", run, "hello").sentence == near
    for verb in ("report", "evaluate"):
        answer = call(capsys, verb, tmp_path / "topics")
        assert answer.sentence == f'{tmp_path / "topics"}: no such folder; did you mean "{tmp_path / "topics_ng"}"?'
    assert call(capsys, "report", tmp_path / "zzz").sentence == f"{tmp_path / 'zzz'}: no such folder."
    assert call(capsys, "report", tmp_path / "topics_ng").sentence.endswith("there is no scores.json in it.")
