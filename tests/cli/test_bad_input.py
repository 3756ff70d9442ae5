"""Bad input ends in one sentence with file, line and field, exit code 2, no traceback, and nothing half-written."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from command import Answer, call, child, forked

import microtune as mt
from tiny_model import POSITIONS, make_model, rows

pytestmark = pytest.mark.usefixtures("quick")

ROWS = rows(30)
FAST = ["train.precision=float32", "train.batch_size=8", "--epochs", "1", "--quiet"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    (folder / "data.jsonl").write_text(jsonl(ROWS), encoding="utf-8")
    recipe = {"epochs": 1, "train": {"precision": "float32", "batch_size": 8}, "out": folder / "run"}
    return mt.tune(str(folder / "data.jsonl"), task="classification", model=str(model), method="head", **recipe).path


def jsonl(values: list[Any]) -> str:
    return "".join(json.dumps(value, ensure_ascii=False) + "\n" for value in values)


def csv(values: list[dict[str, str]]) -> str:
    return "\n".join(["text,label", *(f"{v['text']},{v['label']}" for v in values)]) + "\n"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# Name -> (file, its content, further arguments, what the sentence says). {} is the folder of the test.
DATA: dict[str, tuple[str, str | bytes | None, list[str], list[str]]] = {
    "missing file": ("none.csv", None, [], ["{}/none.csv: no such file."]),
    "nearest name": (
        "d/data.csv",
        csv(ROWS),
        ["{}/d/dota.csv"],
        ['{}/d/dota.csv: no such file; did you mean "data.csv"?'],
    ),
    "empty file": ("empty.csv", "", [], ["{}/empty.csv: the file is empty."]),
    "nothing readable": ("d/a.bin", "x", ["{}/d"], ["{}/d: no readable file in this folder; read are .jsonl,"]),
    "unknown ending": ("data.xyz", "x", [], ['{}/data.xyz: the ending ".xyz" is not known; known are .jsonl,']),
    "too many fields": (
        "a.csv",
        csv(ROWS) + "a,b,c\n",
        [],
        ["{}/a.csv, line 32: 3 fields where the header on line 1 has 2; quote a field"],
    ),
    "invalid bytes": (
        "a.csv",
        csv(ROWS).encode() + b"caf\xe9 ole,card\n",
        [],
        ["{}/a.csv, line 32: byte ", f"byte {len(csv(ROWS)) + 3:,} (0xe9) is not valid UTF-8; ", "gb18030"],
    ),
    "broken line": (
        "a.jsonl",
        jsonl(ROWS) + '{"text": "a" "label": 1}\n',
        [],
        ["{}/a.jsonl, line 31: column 14: broken JSON"],
    ),
    "missing field": (
        "a.csv",
        csv(ROWS),
        ["--text-field", "txet"],
        ['{}/a.csv: there is no field "txet" for the text; did you mean "text"? It has "text", "label".'],
    ),
    "no label field": ("a.jsonl", jsonl([{"text": r["text"]} for r in ROWS]), [], ["{}/a.jsonl: ", "--label-field"]),
    "empty text": (
        "a.jsonl",
        jsonl([*ROWS, {"text": "  ", "label": "card"}]),
        [],
        ['{}/a.jsonl, line 31: the field "text" is empty'],
    ),
    "null label": (
        "a.jsonl",
        jsonl([*ROWS, {"text": "x", "label": None}]),
        [],
        ['{}/a.jsonl, line 31: the label in "label" is missing.'],
    ),
    "one class": (
        "a.csv",
        csv([r | {"label": "card"} for r in ROWS]),
        [],
        ['{}/a.csv: all rows have the label "card"; ', "two classes"],
    ),
    "mixed labels": (
        "a.jsonl",
        jsonl([{"text": f"t {i}", "label": (1, "one")[i % 2]} for i in range(30)]),
        [],
        ["The labels are of mixed types: ", "int ({}/a.jsonl, line 1)", "str ({}/a.jsonl, line 2)"],
    ),
    "unknown model": (
        "a.csv",
        csv(ROWS),
        ["--model", "sprut"],
        ['There is no model or folder "sprut". Did you mean "sprout"?'],
    ),
    "unknown task": (
        "a.csv",
        csv(ROWS),
        ["--task", "clasification"],
        ['Unknown task "clasification". Did you mean "classification"?'],
    ),
    "unknown method": (
        "a.csv",
        csv(ROWS),
        ["--method", "lorra:2"],
        ['Unknown method "lorra". Did you mean "lora"? Known: bitfit,'],
    ),
    "method without number": ("a.csv", csv(ROWS), ["--method", "head:2"], ['"head:2": head takes no number.']),
    "too many blocks": ("a.csv", csv(ROWS), ["--method", "top:9"], ["9 blocks were asked for, the model has 2."]),
    "unknown key": ("a.csv", csv(ROWS), ["trian.lr=1"], ['unknown key "trian". Did you mean "train"?']),
    "unknown inner key": ("a.csv", csv(ROWS), ["train.lrr=1"], ['unknown key "train.lrr". Did you mean "lr"?']),
    "unknown option": ("a.csv", csv(ROWS), ["method.rnk=1"], ['method: unknown key "rnk". Did you mean "rank"?']),
    "wrong value": ("a.csv", csv(ROWS), ["train.lr=-1"], ["train.lr: the value should be greater than 0, not '-1'."]),
    "no override": ("a.csv", csv(ROWS), ["train.lr"], ['"train.lr" is not an override; write key=value']),
    "too long asked": (
        "a.csv",
        csv(ROWS),
        ["model.max_length=99"],
        ["model.max_length: 99 is more than the 64 positions"],
    ),
    "split of one row": ("a.csv", csv(ROWS[:2]), [], ["2 rows are too few to part into train, validation, test"]),
}


@pytest.mark.parametrize("name", DATA)
def test_data_and_recipe(name: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = prepare(tmp_path, name, model)
    before = files(tmp_path)
    answer = call(capsys, *arguments)
    check(answer, DATA[name][3], tmp_path)
    assert files(tmp_path) == before
    assert not (tmp_path / "run").exists()


def prepare(folder: Path, name: str, model: Path) -> list[str]:
    """Write the file of a case and return its command."""
    file, content, more, _ = DATA[name]
    path = folder / file
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    more = [part.replace("{}", str(folder)) for part in more]
    source = more.pop(0) if more and more[0].startswith(str(folder)) else str(path)
    defaults = ["--model", str(model), "--task", "classification", "--method", "lora:2", "--out", str(folder / "run")]
    return ["tune", source, *defaults, *more, *FAST]


def check(answer: Answer, parts: list[str], folder: Path, code: int = 2) -> None:
    sentence = answer.sentence
    for part in parts:
        assert part.replace("{}", str(folder)) in sentence
    assert answer.code == code


def test_a_class_only_in_the_test_split(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(csv(ROWS))
    (tmp_path / "test.csv").write_text(csv([{"text": "x", "label": "card"}, {"text": "y", "label": "refund"}]))
    out = ["--out", tmp_path / "run", "--model", model, "--test", tmp_path / "test.csv"]
    answer = call(capsys, "tune", tmp_path / "a.csv", "--task", "classification", *out, *FAST)
    check(
        answer, ['{}/test.csv, line 3: the label "refund" of the test split does not occur in the training'], tmp_path
    )
    assert not (tmp_path / "run").exists()


def test_a_recipe_file(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for text, part in (
        ("task: classification\ntrian: {}\n", '{}/r.yaml: unknown key "trian". Did you mean "train"?'),
        ("task: classification\ntask: x\n", '{}/r.yaml: not valid YAML: key "task" stands twice (line 1).'),
        ("task: [", "{}/r.yaml: not valid YAML: "),
        ("seed: 1\n", "Say what the data is for, with --task"),
        ("task: classification\n", "There is no training data; name a file"),
    ):
        (tmp_path / "r.yaml").write_text(text)
        check(call(capsys, "tune", tmp_path / "r.yaml", "--out", tmp_path / "run", *FAST), [part], tmp_path)
    check(call(capsys, "tune", tmp_path / "none.yaml"), ["{}/none.yaml: no such recipe file."], tmp_path)
    check(call(capsys, "pretrain", tmp_path / "none.yaml"), ["{}/none.yaml: no such recipe file."], tmp_path)
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------------------- models


def cut(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])


def corrupt(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(b"\xff" * 64 + file.read_bytes()[64:])


def foreign_tokenizer(folder: Path) -> None:
    config = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    token = {"id": 5000, "content": "<new>", "single_word": False, "lstrip": False, "rstrip": False}
    config["added_tokens"].append(token | {"normalized": False, "special": True})
    (folder / "tokenizer.json").write_text(json.dumps(config))


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


MODELS: list[tuple[Callable[[Path], None], list[str]]] = [
    (cut, ["{}/model/model.safetensors: not a readable safetensors file", "download or export it again."]),
    (corrupt, ["{}/model/model.safetensors: not a readable safetensors file", "download or export it again."]),
    (foreign_tokenizer, ["{}/model: the tokenizer can give ids up to 340, but the model's embedding ends at 339"]),
    (pickled, ["{}/model/pytorch_model.bin: pickled weights can run code and are not read"]),
    (lambda folder: (folder / "config.json").unlink(), ["{}/model: holds no model: there is no config.json"]),
    (lambda folder: (folder / "tokenizer.json").unlink(), ["This model has no tokenizer (no tokenizer.json"]),
]


@pytest.mark.parametrize(("damage", "parts"), MODELS, ids=["cut", "corrupt", "ids", "pickle", "config", "tokenizer"])
def test_models(
    damage: Callable[[Path], None], parts: list[str], model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(model, tmp_path / "model")
    damage(tmp_path / "model")
    (tmp_path / "a.csv").write_text(csv(ROWS))
    named = ["--model", tmp_path / "model", "--out", tmp_path / "run"]
    answer = call(capsys, "tune", tmp_path / "a.csv", "--task", "classification", *named, *FAST)
    check(answer, parts, tmp_path)
    assert not (tmp_path / "run").exists()


# ------------------------------------------------------------------------------------------------- long texts


def test_a_long_text_is_cut_and_counted(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Classification reads the beginning of a text; the note says how many were cut."""
    parts = [r | {"split": "train"} for r in ROWS]
    parts[3]["text"] = "card " * 200
    (tmp_path / "a.jsonl").write_text(jsonl(parts))
    arguments = ["--model", model, "--out", tmp_path / "run", "--split", "none", *FAST]
    answer = call(capsys, "tune", tmp_path / "a.jsonl", "--task", "classification", "--method", "head", *arguments)
    assert answer.code == 0
    assert f"1 of 30 texts of the train split are longer than {POSITIONS} tokens and were cut." in answer.err


def test_a_long_answer_drops_its_row(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """An answer is never cut: the row is left out and counted, and above 5 % of rows that is an error."""
    turns = [{"prompt": f"say {i}", "completion": f"yes {i}"} for i in range(40)]
    turns[5]["completion"] = "yes " * 200
    (tmp_path / "a.jsonl").write_text(jsonl(turns))
    arguments = ["--task", "instruction", "--model", model, "--split", "none", "--method", "top:1", *FAST]
    answer = call(capsys, "tune", tmp_path / "a.jsonl", "--out", tmp_path / "run", *arguments)
    assert answer.code == 0
    assert f"1 of 40 rows of the train split are longer than {POSITIONS} tokens and were left out with " in answer.err
    turns[6:9] = [{"prompt": "x", "completion": f"{i} " * 300} for i in range(3)]
    (tmp_path / "a.jsonl").write_text(jsonl(turns))
    answer = call(capsys, "tune", tmp_path / "a.jsonl", "--out", tmp_path / "other", *arguments)
    check(answer, ["4 of 40 rows are longer than the model can read and would lose their answer; shorten"], tmp_path)
    assert not (tmp_path / "other").exists()


# ------------------------------------------------------------------------------------------------- run folders


def test_the_run_folder_exists(finished: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = files(finished)
    data = finished.parent / "data.jsonl"
    same = ["--task", "classification", "--model", model, "--method", "head", "--out", finished, *FAST]
    check(call(capsys, "tune", data, *same), ["this run is finished; choose another folder with --out, or"], tmp_path)
    parts = ["holds a different run (seed: 0 there, 5 now); choose another folder with --out, or replace it with"]
    check(call(capsys, "tune", data, *same, "--seed", "5"), parts, tmp_path)
    assert files(finished) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("dear diary")
    answer = call(capsys, "tune", data, *same, "--out", tmp_path / "mine", "--overwrite")
    check(answer, ["{}/mine: exists and is not a run; choose another folder with --out."], tmp_path)
    assert files(tmp_path) == {"mine/diary.txt": b"dear diary"}


def test_asking_a_run(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "recipe.yaml").write_text("task: {name: classification}\n")
    (tmp_path / "a.csv").write_text("text,label\nhello,card\nbye,nothing\n")
    for arguments, part in (
        (
            ["predict", tmp_path / "begun", "x"],
            "{}/begun: this run has no model yet; run its command again to finish it.",
        ),
        (["evaluate", tmp_path / "begun"], "{}/begun: not a finished run; there is no scores.json in it."),
        (["predict", finished, "x", "--min-confidence", "7"], "--min-confidence is a probability between 0 and 1."),
        (["predict", finished, "x", "--min-confidence", "nan"], "--min-confidence is a probability between 0 and 1."),
        (
            ["predict", finished, "--input", tmp_path / "a.csv", "--output", tmp_path / "o.txt"],
            "o.txt: --output writes .jsonl or",
        ),
        (["predict", finished], "Give either texts, --input FILE or --source FILE."),
        (
            ["predict", finished, "x", "--input", tmp_path / "a.csv"],
            "Give either texts, --input FILE or --source FILE.",
        ),
        (["predict", finished, "--input", tmp_path / "none.csv"], "{}/none.csv: no such file"),
        (["predict", finished, "  "], "is empty"),
        (["predict", tmp_path / "nowhere", "x"], "{}/nowhere: no such folder."),
        (["predict", tmp_path / "none" / "nowhere", "x"], "There is no model or folder"),
        (
            ["evaluate", finished, "--data", tmp_path / "a.csv"],
            '{}/a.csv, line 3: the model does not know the label "nothing"',
        ),
        (["chat", finished], "This model was tuned for labels"),
        (["list", "planets"], 'There is no list of "planets". '),
    ):
        check(call(capsys, *arguments), [part], tmp_path)
    assert sorted(files(tmp_path)) == ["a.csv", "begun/recipe.yaml"]


def test_a_damaged_run(finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(finished, tmp_path / "run")
    file = tmp_path / "run" / "model" / "trained.safetensors"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    parts = ["{}/run/model: the saved model is damaged (trained.safetensors has changed); run its command again"]
    check(call(capsys, "predict", tmp_path / "run", "x"), parts, tmp_path)


def test_wrong_flags(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["tune"], ["tune", "a.csv", "--epoch", "3"], ["tune", "a.csv", "--seed", "x"], ["tun"]):
        answer = call(capsys, *arguments)
        assert answer.code == 2
        assert answer.err.count("\n") == 1
    assert call(capsys).code == 2


@pytest.mark.parametrize("name", ["missing file", "broken line", "unknown key"])
def test_in_a_process_of_its_own(name: str, model: Path, tmp_path: Path) -> None:
    arguments = prepare(tmp_path, name, model)
    before = files(tmp_path)
    answer = child(*arguments) if name == "missing file" else forked(*arguments)
    check(answer, DATA[name][3], tmp_path)
    assert files(tmp_path) == before
