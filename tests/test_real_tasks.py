"""benchmarks/real_tasks.py: baselines and scores by hand, rows read as said, a table that goes on where it stopped."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

FOLDER = Path(__file__).resolve().parent.parent / "benchmarks"


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))


def work(kind: str, text: str, label: str | None, **more: Any) -> Any:
    from all_tasks.works import Work, parts_in

    return Work("made", kind, more.pop("language", "en"), parts_in("made/{}.jsonl"), text, label, **more)


def parts(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> Any:
    return {"train": train, "validation": train, "test": test}


def value(name: str, found: Any, asked: Any) -> dict[str, float]:
    from all_tasks.baselines import baseline

    return dict(baseline(name, found, asked)["values"])


def test_scores_by_hand() -> None:
    from all_tasks import measures

    given, said = [{(0, 2, "a")}, {(3, 5, "b"), (6, 7, "a")}], [{(0, 2, "a")}, {(3, 5, "a")}]
    found = measures.of_spans(given, said)["values"]
    assert found == {"f1": pytest.approx(2 / 5), "precision": 0.5, "recall": pytest.approx(1 / 3)}
    bits = np.array([[1, 0], [1, 1], [0, 0]])
    found = measures.of_many_labels(bits, np.array([[1, 0], [0, 1], [0, 1]]))["values"]
    assert found == {"micro_f1": pytest.approx(4 / 6), "macro_f1": pytest.approx((2 / 3 + 2 / 3) / 2)}
    found = measures.of_labels(["0", "4", "2"], ["1", "4", "0"])["values"]
    assert found == {"accuracy": pytest.approx(1 / 3), "mae_steps": 1.0}
    right = measures.of_shares([True] * 8 + [False] * 2)
    low, high = right["intervals"]["accuracy"]
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)  # Wilson's interval of 8 in 10


def test_baselines_of_each_kind() -> None:
    rows = parts([{"t": "good film", "n": "4"}, {"t": "bad film", "n": "0"}], [{"t": "bad", "n": "0"}])
    assert value("mean", rows, work("regression", "t", "n")) == {"rmse": 2.0}
    ask = {"context": "It rains. The shop is in Berlin.", "question": "Where is the shop?", "answers": ["Berlin"]}
    reading = work("question-answering", "question", "answers")
    assert value("whole passage", parts([ask], [ask]), reading) == {"f1": pytest.approx(2 / 7), "exact_match": 0.0}
    assert value("tf-idf sentence", parts([ask], [ask]), reading)["f1"] == pytest.approx(2 / 5)
    one = {"question": "which fruit is red?", "choices": ["a red fruit", "stone", "car"], "answer": "a red fruit"}
    choosing = work("multiple-choice", "question", "answer", options={"choices_field": "choices"})
    assert value("guessing", parts([one], [one]), choosing) == {"accuracy": pytest.approx(1 / 3)}
    assert value("tf-idf option", parts([one], [one]), choosing) == {"accuracy": 1.0}
    pair = {"prompt": "what is rain", "chosen": "rain is water", "rejected": "a very long text of stones"}
    preferring = work("preference", "prompt", None)
    assert value("longer answer", parts([pair], [pair]), preferring) == {"preference_accuracy": 0.0}
    assert value("tf-idf cosine", parts([pair], [pair]), preferring) == {"preference_accuracy": 1.0}
    texts = [{"q": f"about {word}", "p": f"{word} is a word"} for word in ("rain", "stone", "bread", "light")]
    search = work("similarity", "q", None, options={"pair_field": "p"})
    assert value("tf-idf", parts(texts, texts), search) == {"mrr": 1.0, "recall@1": 1.0}
    assert value("guessing", parts(texts, texts), search)["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_known_words_and_written_answers() -> None:
    spans = [{"label": "who", "start": 5, "end": 9}]
    rows = parts([{"text": "call Anna now", "s": spans}], [{"text": "wait Anna", "s": spans}])
    found = value("known words", rows, work("token-labelling", "text", "s"))
    assert found == {"f1": 1.0, "precision": 1.0, "recall": 1.0}
    pairs = parts(
        [{"a": "one cat", "b": "eine Katze"}, {"a": "two dogs", "b": "zwei Hunde"}], [{"a": "a cat", "b": "eine"}]
    )
    writing = work("sequence-to-sequence", "a", "b", scores=("rouge1", "length_ratio"))
    assert value("nearest", pairs, writing) == {"rouge1": pytest.approx(2 / 3), "length_ratio": 2.0}
    from all_tasks.of_writing import numbers_met

    sums = [{"q": "a", "n": "so #### 1,200"}, {"q": "b", "n": "#### $-3.50."}]
    answers = ["it is 1200", "none here"]
    assert numbers_met(sums, work("instruction", "q", "n"), answers)["values"] == {"number_match": pytest.approx(1 / 2)}


def test_spans_and_pairs_are_derived_from_what_stands_in_the_set() -> None:
    from all_tasks import derived

    turn = {
        "content": "去全聚德吃烤鸭",
        "dialog_act": [["Inform", "餐馆", "名称", "全聚德"], ["Request", "餐馆", "电话", ""]],
    }
    row = derived.crosswoz_slots([{"12": {"messages": [turn]}}])[0]
    assert row["slots"] == [{"label": "餐馆 名称", "start": 1, "end": 4}]
    assert derived.unfair_types([{"sentence": "s", "tags": ["ltd2", "j1", "countrym", "a3"]}])[0]["types"] == [
        "a",
        "ltd",
    ]
    made = derived.own_answer("q", "a")([{"q": f"q{i}", "a": f"a{i}"} for i in range(9)])
    assert made
    assert all(r["chosen"][1:] == r["prompt"][1:] and r["rejected"] != r["chosen"] for r in made)


def test_rows_of_the_test_leave_training_and_the_caps_hold(tmp_path: Path) -> None:
    from all_tasks.reading import read

    (tmp_path / "made").mkdir()
    for part, numbers in (("train", range(30)), ("validation", range(40, 50)), ("test", range(25, 35))):
        rows = [json.dumps({"t": f"text {i}", "l": "ab"[i % 2] if i < 49 else "new"}) + "\n" for i in numbers]
        (tmp_path / "made" / f"{part}.jsonl").write_text("".join(rows), encoding="utf-8")
    found = read(tmp_path, work("classification", "t", "l", train=20))
    assert {name: len(rows) for name, rows in found.items()} == {"train": 20, "validation": 9, "test": 10}
    assert not {row["t"] for row in found["train"]} & {row["t"] for row in found["test"]}


def test_the_table_goes_on_where_it_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import real_tasks

    calls: list[str] = []

    def measured(arguments: Any, asked: Any, what: str, run: Any) -> dict[str, Any]:
        calls.append(what)
        if what == "tf-idf" and calls.count("tf-idf") == 1:
            return {"state": "failed with exit code 1"}
        return {"values": {"rmse": 1.25}, "intervals": {"rmse": (1.0, 1.5)}, "rows": "3 / 2", "seconds": 2, "peak": 9}

    monkeypatch.setattr(real_tasks, "measured", measured)
    one = work("regression", "t", "n", baselines=("mean", "tf-idf"), scores=("rmse",), runs=())
    monkeypatch.setitem(real_tasks.WORKS, "made", one)
    asked = argparse.Namespace(
        tasks=["made"],
        table=False,
        rows=None,
        models=[],
        methods=None,
        output=str(tmp_path / "t.md"),
        data=str(tmp_path),
    )
    assert "failed with exit code 1" in "\n".join(real_tasks.run_all(asked))
    lines = real_tasks.run_all(asked)
    assert calls == ["mean", "tf-idf", "tf-idf"]
    assert lines[2] == "| regression | made | en | 3 / 2 | mean | - | rmse 1.250 (1.000 to 1.500) | 2 | 9 |"
    assert (tmp_path / "t.md").read_text(encoding="utf-8").startswith(lines[0])
    monkeypatch.setitem(real_tasks.WORKS, "made", work("regression", "t", "n", baselines=("mean",), train=5))
    real_tasks.run_all(asked)
    assert calls[3:] == ["mean"]  # other rows: it is measured again
    asked.table = True
    monkeypatch.setitem(real_tasks.WORKS, "made", work("regression", "t", "n", baselines=("mean", "other"), train=5))
    assert [line.split(" | ")[4] for line in real_tasks.run_all(asked)[2:3]] == ["mean"]
    assert calls[4:] == []  # nothing is measured for a look at the table
    capsys.readouterr()
