"""Instruction: turns of weight 0 are read only; answers that a run writes at its end, and how they are scored."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from tiny_runs import SPEC, make_base, run
from tiny_scratch import READER

from microtune.data.sources import Row
from microtune.data.text import train_bpe
from microtune.errors import InputError
from microtune.recipe import build
from microtune.run.answers import question_of
from microtune.run.load import load
from microtune.run.predict import evaluate
from microtune.tasks.base import EncodingReport
from microtune.tasks.conversation import chat_segments
from microtune.tasks.instruction import Instruction
from microtune.tasks.preference import Preference

TOKENIZER = train_bpe(["my card was declined at the shop number 1 2 3"], SPEC.vocab_size)
TURNS = [
    {"role": "user", "content": "my card"},
    {"role": "assistant", "content": "at the shop", "weight": 0},
    {"role": "user", "content": "was declined"},
    {"role": "assistant", "content": "number 12", "weight": 1},
    {"role": "user", "content": "my"},
    {"role": "assistant", "content": "thanks", "weight": 0},
]
PROBLEMS = [{"prompt": f"{i} and {i + 1}:", "completion": f"they make #### {2 * i + 1}"} for i in range(4)]


def item_of(turns: list[dict[str, Any]]) -> Any:
    task = Instruction(form="messages", messages_field="messages")
    return task.encode(Row({"messages": turns}, "m.jsonl", 3), 0, TOKENIZER, 128, EncodingReport())


def test_a_turn_of_weight_0_is_read_and_not_learnt() -> None:
    """The ids are those of the whole conversation, the targets those of the turns that count, nothing else."""
    bare = [{k: v for k, v in turn.items() if k != "weight"} for turn in TURNS]
    whole, some = item_of(bare), item_of(TURNS)
    assert list(whole.ids) == list(some.ids)
    learnt = [segment.ids for segment in chat_segments(bare, TOKENIZER) if segment.supervised]
    assert len(learnt) == 3
    assert list(some.targets) == list(learnt[1])
    assert [int(whole.ids[place + 1]) for place in some.readout] == list(some.targets)
    asked = question_of(some)
    assert list(asked.ids) == list(whole.ids[: int(some.readout[0]) + 1])
    assert list(question_of(whole).ids) == list(whole.ids[: len(whole.ids) - len(learnt[2]) + 1])


@pytest.mark.parametrize("weight", [-1, -0.5, "much", "0.5", None, float("nan"), float("inf"), 10**400, [1]])
def test_other_weights_are_refused(weight: Any) -> None:
    turns = [TURNS[0], {**TURNS[1], "weight": weight}]
    with pytest.raises(InputError, match=r'm\.jsonl, line 3: the weight of a message in "messages" is 0 .* not '):
        item_of(turns)


def test_a_row_of_which_nothing_is_learnt_is_refused() -> None:
    with pytest.raises(InputError, match=r"m\.jsonl, line 3: there is no answer to learn in this row"):
        item_of(TURNS[:2])
    with pytest.raises(InputError, match=r"task\.generate is for instruction"):
        Preference(generate=True).prepare({"train": []}, text_field=None, label_field=None)


def test_a_run_writes_answers_and_scores_them(tmp_path: Path) -> None:
    """Learnt by heart: exact and numeric match are 1; the second decoder, asked of a saved run, says the same."""
    base = make_base(tmp_path / "base")
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS), encoding="utf-8")
    recipe = {
        "task": {"name": "instruction", "generate": True, "max_new_tokens": 24},
        "model": {"source": base},
        "data": {"train": str(file), "validation": str(file), "split": "none"},
        "method": "full",
        "train": {"epochs": 80, "batch_size": 4, "lr": 0.01, "precision": "float32"},
    }
    done = run(build(recipe), tmp_path / "run")
    scores = json.loads((done.path / "scores.json").read_text(encoding="utf-8"))["scores"]["validation"]
    values = scores.get("values", scores)
    assert (values["exact_match"], values["numeric_match"], values["rougeL"]) == (1.0, 1.0, 1.0)
    model = load(tmp_path / "run")
    rows = [Row(row, str(file), i + 1) for i, row in enumerate(PROBLEMS)]
    wrong = [Row({**rows[0].data, "completion": "they make #### 7"}, str(file), 1), *rows[1:]]
    score = evaluate(model, wrong)
    assert (score.values["exact_match"], score.values["numeric_match"]) == (0.75, 0.75)
    low, high = score.intervals["numeric_match"]
    assert low <= 0.75 <= high
    words = [Row({"prompt": "1 and 2:", "completion": "a text"}, str(file), 1)]
    assert "numeric_match" not in evaluate(model, words).values
    assert math.isfinite(score.values["loss"])
    plain = Instruction(form="prompt", prompt_field="prompt", completion_field="completion")
    assert not plain.writes


def test_an_encoder_cannot_learn_to_answer(tmp_path: Path) -> None:
    """It would see the answer that it has to say, and learn to copy."""
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS), encoding="utf-8")
    model = {"source": None, "family": "bert", "tokenizer": {"vocab_size": 320}, "spec": READER}
    asked = {"task": "instruction", "model": model, "method": "full", "data": {"train": str(file), "split": "none"}}
    with pytest.raises(InputError, match="it has no decoder to write a text with, which the task instruction needs"):
        run(build(asked), tmp_path / "run")
    assert not (tmp_path / "run" / "model").exists()
