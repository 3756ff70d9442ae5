"""Preference: the losses are their formulas, rows in every form, bad rows."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from microtune.data.sources import Row
from microtune.errors import InputError
from microtune.tasks.preference import Preference, _others
from microtune.tasks.preference_scores import scores_of


def rows(*data: dict[str, Any]) -> list[Row]:
    """Rows of a file."""
    return [Row(row, "rows.jsonl", i + 1) for i, row in enumerate(data)]


def ready(*data: dict[str, Any], **options: Any) -> Preference:
    """The task that knows the fields of these rows."""
    return Preference(**options).prepare({"train": rows(*data)}, text_field=None, label_field=None)


def test_dpo_is_its_formula() -> None:
    """Rafailov et al., 2023, equation 7, in plain floats; with swapped pairs too; nothing moved gives log 2."""
    task = Preference(beta=0.3, label_smoothing=0.1)
    now, base = [-3.0, -7.5], [-4.0, -6.0]
    margin = 0.3 * ((now[0] - base[0]) - (now[1] - base[1]))
    expected = -0.9 * math.log(1 / (1 + math.exp(-margin))) - 0.1 * math.log(1 / (1 + math.exp(margin)))
    found = task.pair_losses(torch.tensor([now], dtype=torch.float64), torch.tensor([base], dtype=torch.float64))
    assert float(found) == pytest.approx(expected, abs=1e-12)
    still = torch.zeros(1, 2, dtype=torch.float64)
    assert float(Preference().pair_losses(still, still)) == pytest.approx(math.log(2), abs=1e-12)
    columns = {name: np.array([value]) for name, value in (("first", 1.0), ("second", -1.5), ("good", 1.0))}
    columns |= {"drift": np.array([0.5]), "tokens": np.array([2.0])}
    scores = scores_of(task.model_copy(update={"objective": "dpo"}), columns, None)
    assert scores["loss"] == pytest.approx(expected, abs=1e-12)
    assert scores["margin"] == pytest.approx(margin, abs=1e-12)
    assert (scores["preference_accuracy"], scores["drift"]) == (1.0, 0.25)


def test_kto_is_its_formula() -> None:
    """Ethayarajh et al., 2024, equation 8: good and bad answers, each with its weight."""
    task = Preference(beta=0.5, good_weight=2.0, bad_weight=3.0)
    moved, drift = torch.tensor([1.2, -0.4], dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    found = task.answer_losses(moved, drift, [True, False]).tolist()
    assert found[0] == pytest.approx(2 * (1 - 1 / (1 + math.exp(-0.5 * (1.2 - 0.3)))), abs=1e-12)
    assert found[1] == pytest.approx(3 * (1 - 1 / (1 + math.exp(-0.5 * (0.3 + 0.4)))), abs=1e-12)


def test_fields_are_found() -> None:
    """Texts, a conversation with two further answers, two whole conversations, single answers."""
    turn = {"from": "human", "value": "hello"}
    good, bad = {"from": "gpt", "value": "hi"}, {"from": "gpt", "value": "go"}
    assert ready({"prompt": "a", "chosen": "b", "rejected": "c"}).form == "prompt"
    task = ready({"conversations": [turn], "chosen": good, "rejected": bad})
    assert (task.objective, task.form, task.messages_field) == ("dpo", "messages", "conversations")
    whole = {"chosen": [turn, good], "rejected": [turn, bad]}
    task = ready(whole)
    assert task.asked(rows(whole)[0]) == [{"role": "user", "content": "hello"}]
    assert task._turns(rows(whole)[0], "rejected") == [{"role": "assistant", "content": "go"}]
    task = ready({"prompt": "a", "completion": "b", "label": True})
    assert (task.objective, task.coupled, task.label_field) == ("kto", True, "label")


@pytest.mark.parametrize(
    ("row", "sentence"),
    [
        ({"prompt": "a", "chosen": "b"}, "looks like the rejected"),
        ({"prompt": "a", "chosen": "b", "rejected": None}, r"rows\.jsonl.*2.*\"?rejected\"? is empty"),
        ({"prompt": "a", "chosen": " ", "rejected": "b"}, "chosen.* is empty"),
    ],
)
def test_bad_rows(row: dict[str, Any], sentence: str, tokens: Any) -> None:
    """A missing field and an empty answer are refused with their place."""
    first = {"prompt": "a", "chosen": "b", "rejected": "c"}
    with pytest.raises(InputError, match=sentence):
        _encoded([row] if "rejected" not in row else [first, row], tokens)


def test_roles_out_of_order(tokens: Any) -> None:
    """The prompt must end with the user, and an answer must be the assistant's."""
    row = {"messages": [{"role": "assistant", "content": "x"}], "chosen": "b", "rejected": "c"}
    with pytest.raises(InputError, match="must follow a message of the user"):
        _encoded([row], tokens)
    row = {"messages": [{"role": "user", "content": "x"}] * 2, "chosen": "b", "rejected": "c"}
    with pytest.raises(InputError, match="out of order"):
        _encoded([row], tokens)


def test_equal_answers_are_counted(tokens: Any) -> None:
    """A pair of one answer is left out, and said."""
    found = _encoded([{"prompt": "a", "chosen": c, "rejected": "no"} for c in ("yes", "no", "yes")], tokens)
    assert len(found.items) == 2
    assert found.report.remarks[0].startswith("1 of 3 rows have a chosen answer that equals")
    first = found.items[0]
    answers = [tokens.encode(text, special=False) for text in ("yes", "no")]
    assert list(first.targets) == [*answers[0], tokens.stop_ids[0], *answers[1], tokens.stop_ids[0]]


def _encoded(data: list[dict[str, Any]], tokens: Any) -> Any:
    task = ready(*data)
    return task.encode_all(rows(*data), tokens, 64, training=True)


@pytest.fixture(scope="module")
def tokens() -> Any:
    """A small tokenizer."""
    from microtune.data.text import train_bpe

    return train_bpe(["yes no yes no a b c hello"], 280)


def test_kto_holds_an_answer_against_one_to_another_prompt() -> None:
    """Rows of one prompt often stand side by side: the next answer may be to the same one."""
    asked = ["a", "a", "b", "a"]
    items = [SimpleNamespace(ids=[ord(p), 7, n], readout=[1], row=n, sources=()) for n, p in enumerate(asked)]
    assert [other.row for other in _others(items)] == [2, 2, 3, 2]  # type: ignore[arg-type, union-attr]
    assert _others(items[:2]) == [None, None]  # type: ignore[arg-type]
