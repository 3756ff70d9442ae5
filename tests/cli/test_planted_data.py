"""Faults planted in a user's file, in otherwise ordinary runs: each is stopped, or noted, by the check of its name.

docs/checks.md names these tests.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from command import call
from planted import answers, change, conversations, labelled, made, scores, stopped, tune, warned, write
from safetensors.torch import load_file, save_file

from microtune.data.text import Tokenizer
from microtune.run.load import load
from tiny_model import POSITIONS, make_model, rows

pytestmark = pytest.mark.usefixtures("quick")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def own(model: Path, tmp_path: Path) -> Path:
    """A copy of the model that a test may spoil."""
    return Path(shutil.copytree(model, tmp_path / "model"))


def with_template(folder: Path, template: str) -> Path:
    change(folder / "tokenizer_config.json", lambda c: c.update(chat_template=template))
    return folder


# ------------------------------------------------------------------------------------------------- nothing planted


def test_what_a_run_verified_is_written_down(model: Path, tmp_path: Path, capsys: Capture) -> None:
    data = answers(tmp_path)
    assert tune(capsys, model, data, task="instruction").code == 0
    everywhere = {"no-target", "double-bos", "test-in-train", "test-near-train", "data-faults", "rate-zero", "tied"}
    everywhere |= {"finite", "gradient", "moved", "frozen", "no-effect", "reload", "nothing-to-score", "fits"}
    everywhere |= {"same-base"}
    found = made(data)
    assert found.keys() == everywhere | {"all-target", "answer-cut", "stop-token", "prompt-ids"}
    assert {name for name, result in found.items() if result == "warned"} <= {"test-near-train"}  # numbers are alike
    card = (tmp_path / "run" / "README.md").read_text(encoding="utf-8")
    assert "Checks that this run made of itself: all-target, answer-cut, data-faults, double-bos, " in card
    other = labelled(tmp_path)
    assert tune(capsys, model, other, "--overwrite").code == 0
    assert made(other).keys() == everywhere | {"text-cut", "class-unseen", "chance", "never-answered"}


# ------------------------------------------------------------------------------------------------- masks


def test_a_mask_of_zeros(own: Path, tmp_path: Path, capsys: Capture) -> None:
    """The template leaves the assistant's turns out."""
    with_template(own, "{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}{% endif %}{% endfor %}")
    data = conversations(tmp_path)
    sentence = stopped(tune(capsys, own, data, task="instruction"), "no-target")
    assert sentence == f"{data}, line 1: there is no answer to learn in this row."
    assert not (tmp_path / "run").exists()


def test_a_row_without_an_answer(model: Path, tmp_path: Path, capsys: Capture) -> None:
    data = conversations(tmp_path)
    lines = data.read_text(encoding="utf-8").splitlines()
    lines[6] = json.dumps({"messages": [{"role": "user", "content": "say 6"}]})
    data.write_text("\n".join(lines) + "\n", encoding="utf-8")
    sentence = stopped(tune(capsys, model, data, task="instruction"), "no-target")
    assert sentence.startswith(f"{data}, line 7: A conversation without an assistant's turn")


def test_a_mask_of_ones(own: Path, tmp_path: Path, capsys: Capture) -> None:
    """The template leaves the questions out, so that every token is learnt."""
    only = "{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}<|end|>{% endif %}{% endfor %}"
    with_template(own, only)
    data = conversations(tmp_path)
    sentence = stopped(tune(capsys, own, data, "--split", "none", task="instruction"), "all-target")
    first = "; ".join(f"{data}, line {n}" for n in (1, 2, 3))
    assert sentence.startswith(f"Every token is supervised, prompts included (first: {first} and 37 more); ")


# ------------------------------------------------------------------------------------------------- lengths


@pytest.mark.parametrize("count", [1, 3])
def test_answers_that_would_be_cut(count: int, model: Path, tmp_path: Path, capsys: Capture) -> None:
    """One row of 40 is left out and named, three are too many."""
    turns = [{"prompt": f"say {i}", "completion": f"yes {i}"} for i in range(40)]
    for i in range(count):
        turns[4 + i]["completion"] = "yes " * POSITIONS
    data = write(tmp_path / "data.jsonl", turns)
    answer = tune(capsys, model, data, "--split", "none", task="instruction")
    if count == 1:
        sentence = warned(answer, data, "answer-cut")
        assert sentence.startswith(f"1 of 40 rows of the train split are longer than {POSITIONS} tokens")
        assert sentence.endswith(f"First: {data}, line 5.")
    else:
        first = "; ".join(f"{data}, line {n}" for n in (5, 6, 7))
        sentence = stopped(answer, "answer-cut")
        assert sentence.startswith("3 of 40 rows are longer than the model can read and would lose their answer; ")
        assert sentence.endswith(f"First: {first}.")


def test_texts_that_are_cut(model: Path, tmp_path: Path, capsys: Capture) -> None:
    values = rows(40)
    values[8]["text"] += " so" * POSITIONS
    data = write(tmp_path / "data.jsonl", values)
    sentence = warned(tune(capsys, model, data, "--split", "none"), data, "text-cut")
    assert sentence == (
        f"1 of 40 texts of the train split are longer than {POSITIONS} tokens and were cut. First: {data}, line 9."
    )


# ------------------------------------------------------------------------------------------------- special tokens


def test_a_template_without_a_stop_token(own: Path, tmp_path: Path, capsys: Capture) -> None:
    opening = "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    with_template(own, "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}" + opening)
    data = conversations(tmp_path)
    sentence = stopped(tune(capsys, own, data, "--split", "none", task="instruction"), "stop-token")
    assert sentence.startswith(f"{data}, line 1: An answer does not end with a stop token")


def test_a_template_that_writes_bos_twice(own: Path, tmp_path: Path, capsys: Capture) -> None:
    config = json.loads((own / "tokenizer_config.json").read_text(encoding="utf-8"))
    with_template(own, "{{ bos_token }}" + config["chat_template"])
    data = conversations(tmp_path)
    sentence = stopped(tune(capsys, own, data, "--split", "none", task="instruction"), "double-bos")
    assert sentence.startswith(f'{data}, line 1: The text begins with "<|bos|>" twice')


def test_a_text_that_begins_with_an_ordinary_bos(own: Path, tmp_path: Path, capsys: Capture) -> None:
    """A tokenizer whose bos is not marked as special, that adds one, and a text that brings one."""

    def ordinary(values: dict[str, Any]) -> None:
        bos = next(t for t in values["added_tokens"] if t["content"] == "<|bos|>")
        bos["special"] = False
        piece = {"SpecialToken": {"id": "<|bos|>", "type_id": 0}}
        text = {"Sequence": {"id": "A", "type_id": 0}}
        special = {"<|bos|>": {"id": "<|bos|>", "ids": [bos["id"]], "tokens": ["<|bos|>"]}}
        pair = [piece, text, {"Sequence": {"id": "B", "type_id": 1}}]
        values["post_processor"] = {
            "type": "TemplateProcessing", "single": [piece, text], "pair": pair, "special_tokens": special
        }  # fmt: skip

    change(own / "tokenizer.json", ordinary)
    values = rows(40)
    values[2]["text"] = "<|bos|>" + values[2]["text"]
    data = write(tmp_path / "data.jsonl", values)
    sentence = stopped(tune(capsys, own, data, "--split", "none"), "double-bos")
    assert sentence.startswith(f'{data}, line 3: The text begins with "<|bos|>" twice')


def test_a_text_that_begins_with_a_special_bos_is_only_text(model: Path, tmp_path: Path, capsys: Capture) -> None:
    """By construction: text is data, so "<|bos|>" in it is seven characters."""
    tokenizer = Tokenizer.load(model)
    assert tokenizer is not None
    assert tokenizer.id("bos") not in tokenizer.encode("<|bos|>hello")
    data = write(tmp_path / "data.jsonl", [{"prompt": f"<|bos|>say {i}", "completion": "<|end|>"} for i in range(20)])
    assert tune(capsys, model, data, "--split", "none", task="instruction").code == 0
    assert made(data)["double-bos"] == "passed"


def test_a_generation_prompt_that_training_does_not_have(own: Path, tmp_path: Path, capsys: Capture) -> None:
    """The template opens the answer with a mark that it leaves out of answers that are there."""
    opening = "{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
    with_template(own, "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}" + opening)
    data = conversations(tmp_path)
    sentence = stopped(tune(capsys, own, data, task="instruction"), "prompt-ids")
    assert sentence.startswith(f"{data}, line 1: The chat template changes earlier turns")


# ------------------------------------------------------------------------------------------------- splits and labels


def test_test_rows_in_train(model: Path, tmp_path: Path, capsys: Capture) -> None:
    values = rows(48)
    data = write(tmp_path / "data.jsonl", [*values[:40], {**values[42], "text": values[42]["text"].upper()}])
    test = write(tmp_path / "test.jsonl", values[40:])
    sentence = warned(tune(capsys, model, data, "--test", test), data, "test-in-train")
    assert sentence == f"1 rows of the test split were removed from the train split. First: {data}, line 41."
    assert scores(data)["removed"] == [{"path": str(data), "line": 41}]


def test_a_test_split_that_is_mostly_in_train(model: Path, tmp_path: Path, capsys: Capture) -> None:
    values = rows(40)
    data, test = write(tmp_path / "data.jsonl", values), write(tmp_path / "test.jsonl", values[10:16])
    options = ["data.split={validation: 0.1}", "--test", test]
    sentence = stopped(tune(capsys, model, data, *options), "test-in-train")
    first = "; ".join(f"{data}, line {n}" for n in (11, 12, 13))
    assert sentence.startswith(f"6 rows of the train split stand in the test split too (first: {first} and 3 more);")


def test_test_rows_nearly_in_train(model: Path, tmp_path: Path, capsys: Capture) -> None:
    long = "my new card was declined at the little shop round the corner when i tried to pay for my tea"
    data = write(tmp_path / "data.jsonl", [*rows(40), {"text": long, "label": "card"}])
    others = [{"text": f"什么时候可以{c}", "label": "transfer"} for c in "到账退款"]
    test = write(tmp_path / "test.jsonl", [*others, {"text": long + "!", "label": "card"}])
    sentence = warned(tune(capsys, model, data, "--split", "none", "--test", test), data, "test-near-train")
    assert sentence.startswith("1 rows of the test split nearly repeat a training row. First: ")
    assert f"{test}, line 5, which is like {data}, line 41" in sentence


def test_a_class_that_validation_never_asks_about(model: Path, tmp_path: Path, capsys: Capture) -> None:
    values = rows(40)
    values[7]["label"] = "rare"
    data = write(tmp_path / "data.jsonl", values)
    held = write(tmp_path / "held.jsonl", [{"text": f"when will it come {i}", "label": "card"} for i in range(4)])
    sentence = warned(
        tune(capsys, model, data, "--split", "none", "--validation", held, method="head"), data, "class-unseen"
    )
    assert sentence.startswith('The class "rare" and 1 more never occurs in the validation split')
    assert sentence.endswith(f"(in training: {data}, line 8).")


@pytest.mark.parametrize("shuffled", [True, False])
def test_labels_shuffled_against_texts(shuffled: bool, model: Path, tmp_path: Path, capsys: Capture) -> None:
    generator = random.Random(1)
    words = {"card": "my card was declined", "transfer": "the transfer has not arrived"}
    values = [{"text": f"{words[k]} {generator.random()}", "label": k} for k in words for _ in range(60)]
    if shuffled:
        labels = [value["label"] for value in values]
        generator.shuffle(labels)
        values = [{**value, "label": label} for value, label in zip(values, labels, strict=True)]
    data = write(tmp_path / "data.jsonl", values)
    answer = tune(capsys, model, data, "data.split={validation: 0.3}", method="full")
    if shuffled:
        sentence = warned(answer, data, "chance")
        assert "95 % interval" in sentence
        assert '36 rows), no better than always answering "' in sentence
        assert "look whether the labels belong to the texts" in sentence
    else:
        assert answer.code == 0
        assert made(data)["chance"] == "passed"


# ------------------------------------------------------------------------------------------------- numbers


def test_a_base_with_a_broken_row_of_its_embedding(own: Path, tmp_path: Path, capsys: Capture) -> None:
    """Only the two rows with this letter give nan, and they are named."""
    tokenizer = Tokenizer.load(own)
    assert tokenizer is not None
    letter = tokenizer.encode("~", special=False)
    state = load_file(own / "model.safetensors")
    state["model.embed_tokens.weight"][letter] = float("nan")
    save_file(state, own / "model.safetensors")
    values = rows(40)
    for i in (9, 21):
        values[i]["text"] += "~"
    data = write(tmp_path / "data.jsonl", values)
    sentence = stopped(tune(capsys, own, data, "train.batch_size=40", "--split", "none"), "finite")
    bad = f"{data}, line 10; {data}, line 22."
    assert sentence.startswith("The loss is nan at step 1: lower train.lr, or mend the rows that give it, 2 of 40 in ")
    assert sentence.endswith(bad)


def test_a_rate_at_which_training_explodes(model: Path, tmp_path: Path, capsys: Capture) -> None:
    data = labelled(tmp_path)
    sentence = stopped(tune(capsys, model, data, "train.lr=1e30", "train.warmup=0"), "finite")
    assert "lower train.lr, for all 8 rows of the step give it (first: " in sentence
    assert f"{data}, line " in sentence


def test_texts_of_one_token_are_no_fault(model: Path, tmp_path: Path, capsys: Capture) -> None:
    """Queries and keys have no gradient then, and need none."""
    values = [{"text": "abcdefghij"[i % 10], "label": "low" if i % 10 < 5 else "high"} for i in range(40)]
    data = write(tmp_path / "data.jsonl", values)
    assert tune(capsys, model, data, "--split", "none").code == 0
    assert made(data)["gradient"] == made(data)["moved"] == "passed"


@pytest.mark.parametrize("rate", ["0", "-1e-3", "1e-30"])
def test_a_rate_that_moves_nothing(rate: str, model: Path, tmp_path: Path, capsys: Capture) -> None:
    """Zero and less are no rates, says the recipe; one that float32 cannot see is noticed after two steps."""
    answer = tune(capsys, model, labelled(tmp_path), f"train.lr={rate}", "train.weight_decay=0")
    if rate == "1e-30":
        assert "trainable tensors have not moved (first: decoder.blocks.0.attention.q.lora_A)" in (
            stopped(answer, "moved")
        )
        assert answer.sentence.endswith("Raise train.lr.")
    else:
        assert answer.code == 2
        assert "train.lr" in answer.sentence
        assert "greater than 0" in answer.sentence


# ------------------------------------------------------------------------------------------------- files that come back


def test_a_file_saved_untied_though_its_config_says_tied(own: Path, tmp_path: Path, capsys: Capture) -> None:
    """By construction: the file counts. What differs from the embedding is a matrix of its own, here and after."""
    change(own / "config.json", lambda c: c.update(tie_word_embeddings=True))
    state = load_file(own / "model.safetensors")
    state["lm_head.weight"] = state["model.embed_tokens.weight"] * 2
    save_file(state, own / "model.safetensors")
    data = answers(tmp_path, 20)
    assert tune(capsys, own, data, "--split", "none", task="instruction", method="full").code == 0
    network = load(tmp_path / "run").network
    assert not network.spec.tied
    assert network.head.out.weight is not network.tokens.weight  # type: ignore[union-attr]
    assert made(data)["tied"] == made(data)["reload"] == "passed"


@pytest.fixture(scope="module")
def finished(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a base and a run of LoRA that was tuned on it."""
    import microtune as mt

    folder = tmp_path_factory.mktemp("finished")
    base = shutil.copytree(model, folder / "base")
    train = {"precision": "float32", "batch_size": 8, "lr": 0.01}
    mt.tune(rows(), task="classification", model=str(base), method="lora:2", epochs=1, train=train, out=folder / "run")
    return folder


ADAPTER = {
    "missing": (lambda t: t.pop(min(t)), "missing"),
    "shape": (lambda t: t.update({min(t): t[min(t)][:1].clone()}), "has shape [1, 24], but"),
    "unknown": (lambda t: t.update({"base_model.model.x.lora_A.weight": t[min(t)].clone()}), '"base_model.model.x.'),
}


@pytest.mark.parametrize("name", list(ADAPTER))
def test_an_adapter_file_that_does_not_fit(name: str, finished: Path, tmp_path: Path, capsys: Capture) -> None:
    edit, said = ADAPTER[name]
    folder = Path(shutil.copytree(finished / "run" / "model" / "adapter", tmp_path / "adapter"))
    state = load_file(folder / "adapter_model.safetensors")
    first = min(state)
    edit(state)
    save_file(state, folder / "adapter_model.safetensors")
    answer = call(capsys, "chat", folder)
    sentence = stopped(answer, "fits")
    assert said in sentence
    assert name == "unknown" or f'tensor "{first}"' in sentence


def test_another_base_under_a_run(own: Path, tmp_path: Path, capsys: Capture) -> None:
    data = labelled(tmp_path)
    assert tune(capsys, own, data).code == 0
    state = load_file(own / "model.safetensors")
    state["model.embed_tokens.weight"][3, 3] += 1e-6
    save_file(state, own / "model.safetensors")
    sentence = stopped(call(capsys, "predict", tmp_path / "run", "my card"), "same-base")
    assert sentence.startswith(f"{tmp_path / 'run' / 'model'}: the base model ")


def test_a_split_without_anything_to_score(own: Path, tmp_path: Path, capsys: Capture) -> None:
    """A tokenizer without marks of beginning and end, and texts of one token: nothing is ever predicted."""
    change(own / "tokenizer_config.json", lambda c: [c.pop(name) for name in ("bos_token", "eos_token")])
    data = labelled(tmp_path)
    held = write(tmp_path / "held.jsonl", [{"text": letter} for letter in "xyz"])
    options = ["--split", "none", "--validation", held]
    sentence = stopped(tune(capsys, own, data, *options, task="language-modelling"), "nothing-to-score")
    assert sentence == "There is no token to score in this split."
