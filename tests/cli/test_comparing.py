"""`microtune compare` as a user types it: the table, JSON, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command import call

from microtune.cli.console import out
from microtune.run.compare.place import Place
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("compare")
    data = folder / "rows.jsonl"
    lines = [json.dumps(row, ensure_ascii=False) for row in rows(60)]
    data.write_text("\n".join(lines), encoding="utf-8")
    return make_model(folder / "base"), data


def arguments(files: tuple[Path, Path], out: Path, *more: str) -> list[str | Path]:
    common = ["--task", "classification", "--model", files[0], "--out", out, "--epochs", "2"]
    return ["compare", files[1], "train.precision=float32", *common, *more]


def test_a_table_and_what_to_do_next(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(out.console, "_width", 200)  # whoever made it
    monkeypatch.setattr(out.console, "_height", 50)
    answer = call(capsys, *arguments(files, tmp_path / "c", "--methods", "head,top:1,top:9"))
    assert answer.code == 0
    heads = next(line for line in answer.out.splitlines() if line.startswith("method"))
    assert all(word in heads for word in ("score", "95 % interval", "trains", "time", "stored", "forgetting"))
    assert "recommended: " in answer.out
    assert "skipped: method: 9 blocks were asked for, the model has 2." in " ".join(answer.out.split())
    assert "top:9: left out." in answer.err
    assert "validation: " in answer.err
    following = next(line for line in answer.out.splitlines() if line.startswith("  next: "))
    run = following.split()[3]
    assert call(capsys, "predict", run, "my card was declined").code == 0
    again = call(capsys, *arguments(files, tmp_path / "c", "--methods", "head,top:1,top:9"))
    assert again.code == 2
    assert "this comparison is finished; choose another folder with --out" in again.sentence


def test_json_alone_on_stdout(files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    answer = call(capsys, *arguments(files, tmp_path / "c", "--methods", "head,top:1", "--curve", "4", "--json"))
    assert answer.code == 0
    found = json.loads(answer.out)
    assert {line["method"] for line in found["lines"]} == {"head", "top:1"}
    assert found["spent"] < found["budget"] == 600
    assert answer.err == ""


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--methods", "head,lorra:8"], 'Unknown method "lorra". Did you mean "lora"?'),
        (["--methods", "head"], "methods: head alone; a comparison needs two methods at least."),
        (["--methods", "head,head"], 'methods: "head" stands twice'),
        (["--methods", "head,lora:x"], '"lora:x" is not a short form'),
        ([], "Say what to compare, for instance --methods head,top:2,lora:8."),
        (["--methods", "head,lora", "--budget", "10 parsecs"], 'budget: "10 parsecs" is not a time'),
        (["--methods", "head,lora", "--curve", "8,many"], '--curve: "8,many" is not a list of numbers'),
        (["--methods", "head,lora", "--curve", "0"], "curve: 0 is not a number of examples"),
        (["--methods", "head,lora", "--curve", "500"], "curve: no size is left; 500 examples of each label"),
        (["--methods", "head,lora", "--seeds", "0"], "seeds is 0; a comparison needs one seed at least."),
        (["--methods", "head,lora", "--seeds", "1000000000"], "seeds is 1000000000; a comparison takes 100 seeds at"),
        (["--methods", ", ,"], "methods: none alone; a comparison needs two methods at least."),
        (["--methods", "head,auto"], 'Unknown method "auto".'),
        (["--methods", "head,lora", "--split", "none"], "A comparison chooses by the validation split, and this data"),
        (["--methods", "head,lora", "--memory", "4 elephants"], "train.memory: a size of memory is a number and"),
        (["--methods", "head,lora", "--general", "nothing.txt"], "nothing.txt"),
        (["--methods", "top:8,top:9"], "No method fits this model. top:8: method: 8 blocks were asked for"),
        (["--methods", "head,lora", "--budget", "0.01s"], "The budget of 0.01 s is too small"),
    ],
)
def test_what_is_refused(
    more: list[str],
    sentence: str,
    files: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    answer = call(capsys, *arguments(files, tmp_path / "c", "--quiet", *more))
    assert answer.code == 2
    assert sentence in answer.sentence
    assert not (tmp_path / "c").exists()


def test_a_folder_that_is_something_else(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "thesis.txt").write_text("years of work", encoding="utf-8")
    answer = call(capsys, *arguments(files, tmp_path / "c", "--methods", "head,lora", "--overwrite"))
    assert "exists and is not a comparison; choose another folder with --out" in answer.sentence
    assert (tmp_path / "c" / "thesis.txt").is_file()
    other = Place(tmp_path / "d")
    other.open({"methods": []}, overwrite=False)
    answer = call(capsys, *arguments(files, tmp_path / "d", "--methods", "head,lora"))
    assert "another process is working on this comparison" in answer.sentence
    other.close()
