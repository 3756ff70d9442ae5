"""Words replaced by what a masked model guesses: which, how, by which probability, and where it is refused."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_exports import BERT, make, stir

from microtune.data.sources import Row
from microtune.data.steps import RowStep, make_step
from microtune.data.steps.base import View
from microtune.data.tokenizer_training import Vocabulary, framing, train_tokenizer
from microtune.errors import InputError
from microtune.families.base import save_folder
from microtune.nn.transformer import Transformer
from microtune.recipe import build
from microtune.run.guesses import MaskedModel, step_hashes
from microtune.run.prepare import Splits, make_splits, make_task

TEXTS = [
    "my card was declined at the shop",
    "the transfer has not arrived in account",
    "退款还没有到账吗",
    "Don't go, 5 pm!",
]


@pytest.fixture(scope="module", params=["wordpiece", "bpe"])
def masked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random BERT whose tokenizer knows every word of TEXTS."""
    folder = tmp_path_factory.mktemp(request.param)
    tokenizer = framing(train_tokenizer(TEXTS * 4, Vocabulary(kind=request.param, vocab_size=460)))
    spec = replace(BERT, vocab_size=len(tokenizer))
    network = Transformer(spec)
    stir(network)
    save_folder(folder, spec, network.state_dict(), family="bert")
    tokenizer.save(folder)
    return str(folder)


def substituted(rows: list[Row], model: str, seed: int = 0, **options: Any) -> list[Row]:
    step = make_step({"name": "substitute", "model": model, **options})
    assert isinstance(step, RowStep)
    return step.choose(rows, View(("text",), None, random.Random(seed), guesser=MaskedModel))


def rows_of(texts: list[str]) -> list[Row]:
    return [Row({"text": text, "label": i}, "a.csv", i + 2) for i, text in enumerate(texts)]


def words(text: str) -> list[str]:
    return list(text) if text[0] > "\u2e80" else text.split()


def test_copies_differ_in_words_alone(masked: str) -> None:
    rows = rows_of(TEXTS[:3])
    made = substituted(rows, masked, rate=0.3, copies=3, candidates=20)
    assert made[:3] == rows
    wide = "wordpiece" in masked  # of pieces of bytes none is a Chinese character, so nothing can take the place of one
    assert len(made) == 3 + 3 * (2 + wide)
    for row in made[3:]:
        old, new = words(TEXTS[row.line - 2]), words(row.data["text"])
        assert row.data["label"] == row.line - 2, "labels and places stay"
        assert len(old) == len(new)
        changed = [i for i, (a, b) in enumerate(zip(old, new, strict=True)) if a != b]
        assert 1 <= len(changed) <= 2
        assert not any(i + 1 in changed for i in changed), "never two neighbours"
        assert all(new[i].casefold() != old[i].casefold() and new[i].isalpha() for i in changed)
        assert all((new[i] > "\u2e80") == (old[i] > "\u2e80") for i in changed), "characters for characters"
    again = substituted(rows, masked, rate=0.3, copies=3, candidates=20)
    assert again == made, "the same each time"
    assert substituted(rows, masked, seed=1, rate=0.3, copies=3, candidates=20) != made


def test_guesses_are_those_of_the_model(masked: str) -> None:
    asked = MaskedModel(masked)
    text = TEXTS[0]
    places = [(3, 7), (24, 27)]
    ids, readout = asked.hidden(text, places)
    whole = asked.model.text.encode(text)
    spans = asked.model.text.encode_places(text, 100)[1]
    inside = [any(a < e and b > s and a < b for s, e in places) for a, b in spans]
    assert [i for i in ids if i != asked.mask] == [i for i, gone in zip(whole, inside, strict=True) if not gone]
    assert [ids[readout[k]] for k in range(2)] == [asked.mask] * 2
    scores = asked.model.logits([ids])[0].softmax(-1)
    [guesses] = asked([text], [places], 8)
    by_word = {w: i for i, (w, blank) in enumerate(asked.surfaces) if w and (blank or not asked.blanks)}
    for number, found in enumerate(guesses):
        assert found
        probabilities = [p for _, p in found]
        assert probabilities == sorted(probabilities, reverse=True)
        for word, p in found:
            torch.testing.assert_close(torch.tensor(p), scores[readout[number], by_word[word]], rtol=1e-5, atol=1e-9)
    assert asked.tokens == len(ids)
    # In a batch with others, and far behind in a longer text that is cut, the answer is as when asked alone.
    both = asked([TEXTS[1] * 3, text], [[(0, 3)], places], 8)
    assert [w for w, _ in both[1][0]] == [w for w, _ in guesses[0]]
    long = "my card " * 200
    assert asked([long], [[(3, 7), (1592, 1599)]], 8)[0][1] == []


def test_a_guess_that_is_the_word_itself_is_no_change() -> None:
    class Echo:
        cost = "nothing"

        def __call__(self, texts: Any, places: Any, most: int) -> Any:
            return [
                [[(text[s:e].upper(), 0.9), ("x1", 0.1)] for s, e in own]
                for text, own in zip(texts, places, strict=True)
            ]

    step = make_step({"name": "substitute", "model": "m"})
    assert isinstance(step, RowStep)
    rows = rows_of(TEXTS)
    assert step.choose(rows, View(("text",), None, random.Random(0), guesser=lambda _: Echo())) == rows


def test_case_follows_the_word_that_was_there() -> None:
    class Says:
        cost = "nothing"

        def __call__(self, texts: Any, places: Any, most: int) -> Any:
            return [[[("new", 1.0)] for _ in own] for own in places]

    step = make_step({"name": "substitute", "model": "m", "rate": 0.5})
    assert isinstance(step, RowStep)
    made = step.choose(
        rows_of(["One TWO three, 4 five!"]), View(("text",), None, random.Random(2), guesser=lambda _: Says())
    )
    assert made[1].data["text"] in ("New TWO new, 4 five!", "One NEW three, 4 new!", "New TWO three, 4 new!")


def made_splits(masked: str, rows: list[dict[str, Any]], test: list[dict[str, Any]], **options: Any) -> Splits:
    steps = [{"name": "substitute", "model": masked, **options}]
    recipe = build({"task": "classification", "data": {"train": rows, "test": test, "split": "none", "steps": steps}})
    return make_splits(recipe, make_task(recipe), {"train": rows, "test": test})[1]


def test_training_rows_alone_and_no_copy_of_a_test_row(masked: str) -> None:
    rows = [{"text": f"{TEXTS[i % 2]} number {i}", "label": "ab"[i % 2]} for i in range(8)]
    test = [rows[0], {"text": "退款还没有到账", "label": "a"}, {"text": "no more", "label": "b"}]
    splits = made_splits(masked, rows, test, candidates=50)
    assert [row.data["text"] for row in splits.rows["test"]] == [row["text"] for row in test]
    assert [row.line for row in splits.removed] == [1]
    assert {row.line for row in splits.rows["train"]} == set(range(2, 9)), "nothing is made of a row that is taken out"
    assert len(splits.rows["train"]) == 14
    note = next(note for note in splits.notes if note.startswith("Step substitute"))
    assert note.startswith("Step substitute: 7 added. First (<memory>, line 2): ")
    assert " words replaced; " in note
    assert " tokens in " in note


def test_another_model_makes_another_run(masked: str, tmp_path: Path) -> None:
    def hashes(model: str) -> dict[str, str]:
        steps = [{"name": "substitute", "model": model}]
        return step_hashes(build({"task": "classification", "data": {"train": "x.csv", "steps": steps}}))

    other = str(make(tmp_path / "other", "bert"))
    assert list(hashes(masked)) == [f"substitute {masked}"]
    assert list(hashes(masked).values()) != list(hashes(other).values())
    assert step_hashes(build({"task": "classification", "data": {"train": "x.csv", "steps": ["html"]}})) == {}


def test_what_is_no_masked_model(tmp_path: Path) -> None:
    llama = str(make(tmp_path / "llama", "llama"))
    for name, message in (
        (llama, "llama is no masked model; name one of the BERT kind"),
        (str(tmp_path / "nowhere"), "nowhere"),
    ):
        with pytest.raises(InputError) as caught:
            MaskedModel(name)
        assert message in str(caught.value)
    with pytest.raises(InputError, match=r'data\.steps, substitute: "model" is missing'):
        make_step({"name": "substitute"})
    with pytest.raises(InputError, match="The step substitute needs a model, and nothing here can ask one"):
        make_step({"name": "substitute", "model": llama}).choose([], View(("text",), None, random.Random(0)))  # type: ignore[attr-defined]
