"""`load` of encoder-decoders: scores for given targets, answers that begin and end as the files say, and refusals."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import WORDS, make_base, make_rows, run, tune_recipe
from torch.testing import assert_close

from microtune.data.text import train_bpe
from microtune.errors import InputError
from microtune.families.base import save_folder
from microtune.nn.parameters import initialize
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice
from microtune.run.decoding import Decoding
from microtune.run.encoders import encoder_spec
from microtune.run.load import Model, load

pytestmark = pytest.mark.usefixtures("quick")

VOCAB, LIMIT = 320, 40
SIDE = StackSpec(
    num_layers=2,
    hidden_size=16,
    num_heads=2,
    intermediate_size=24,
    placement="post",
    final_norm=False,
    embedding_norm=True,
    positions="learned",
    max_positions=LIMIT + 2,
    position_offset=2,
)
SPEC = ModelSpec(
    vocab_size=VOCAB,
    encoder=SIDE,
    decoder=replace(SIDE, num_layers=1, causal=True, cross_attention=True),
    head_bias=True,
    pooling="last",
    label_head="tanh_pooler",
    label_bias=True,
)
SOURCES, TARGETS = [[70, 71, 72, 73, 74], [90], [80, 81, 82]], [[2, 75], [2, 76, 77, 78], [2]]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random BART with a tokenizer, whose decoder begins with id 2."""
    folder = tmp_path_factory.mktemp("base") / "bart"
    tokenizer = train_bpe(WORDS.values(), VOCAB)
    torch.manual_seed(3)
    network = Transformer(SPEC)
    initialize(network, 0.4, num_layers=2)
    torch.nn.init.normal_(network.head.out.bias)
    ids = {"decoder_start_token_id": 2, "eos_token_id": tokenizer.id("eos"), "bos_token_id": 0, "pad_token_id": 2}
    save_folder(folder, SPEC, network.state_dict(), family="bart", config=ids)
    tokenizer.save(folder)
    return str(folder)


@pytest.fixture(scope="module")
def model(base: str) -> Model:
    return load(base, dtype="float64")


def with_files(base: str, folder: Path, generation: dict[str, Any] | None = None, **config: Any) -> Model:
    """The same model with other fields in config.json, and a generation_config.json."""
    shutil.copytree(base, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config))
    if generation is not None:
        (folder / "generation_config.json").write_text(json.dumps(generation))
    return load(folder, dtype="float64")


def greedy(model: Model, source: list[int], count: int, start: int = 2, banned: tuple[int, ...] = ()) -> list[int]:
    """Argmax with a full pass over all tokens each time."""
    found = [start]
    for _ in range(count):
        scores = model.logits([source], targets=[found])[0][-1].clone()
        scores[list(banned)] = float("-inf")
        found.append(int(scores.argmax()))
    return found[1:]


def test_logits_of_given_targets(model: Model) -> None:
    found = model.logits(SOURCES, targets=TARGETS)
    assert [tuple(logits.shape) for logits in found] == [(2, VOCAB), (4, VOCAB), (1, VOCAB)]
    for source, target, logits in zip(SOURCES, TARGETS, found, strict=True):
        assert_close(logits, model.logits([source], targets=[target])[0], rtol=1e-12, atol=1e-12)
    other = model.logits([[70, 71], *SOURCES[1:]], targets=TARGETS)
    assert not torch.allclose(other[0], found[0], atol=1e-3), "the source is read"
    assert_close(other[1:], found[1:], rtol=1e-12, atol=1e-12)


def test_what_logits_refuse(model: Model, base: str, tmp_path: Path) -> None:
    calls = [
        (lambda: model.logits(SOURCES), "give them there and only there"),
        (lambda: model.logits(SOURCES, targets=TARGETS[:2]), "There are 3 rows of ids, but 2 of targets."),
        (lambda: model.logits(SOURCES, targets=[[2], [2], [VOCAB]]), "Row 2 holds an id outside 0..319"),
        (lambda: model.logits([[1] * (LIMIT + 1)], targets=[[2]]), "Row 0 has 41 tokens, but the model has 40"),
        (lambda: load(make_base(tmp_path / "llama")).logits([[5]], targets=[[2]]), "give them there and only there"),
    ]
    for call, message in calls:
        with pytest.raises(InputError) as caught:
            call()
        assert message in str(caught.value)


@pytest.mark.parametrize("source", SOURCES)
def test_answers_equal_full_passes(model: Model, source: list[int]) -> None:
    wanted = greedy(model, source, 12)
    eos = model.text.id("eos")
    wanted = wanted[: wanted.index(eos)] if eos in wanted else wanted
    assert list(model.next_ids(source, max_new_tokens=12)) == wanted
    if len(wanted) > 4:
        assert (
            list(model.next_ids(source, max_new_tokens=12, stop_ids=[wanted[3]])) == wanted[: wanted.index(wanted[3])]
        )
    assert model.text.decode(wanted).startswith("".join(model.continue_ids(source, max_new_tokens=12)))


def test_text_in_text_out(model: Model) -> None:
    text = "the transfer has not arrived"
    wanted = "".join(model.continue_ids(model.text.encode(text), max_new_tokens=8))
    assert model.generate(text, max_new_tokens=8) == wanted
    assert "".join(model.generate(text, max_new_tokens=8, stream=True)) == wanted
    drawn = [model.generate(text, max_new_tokens=8, temperature=3.0, seed=seed) for seed in range(4)]
    assert len(set(drawn)) > 1


def test_ids_that_are_forced_or_banned(base: str, model: Model, tmp_path: Path) -> None:
    source = SOURCES[0]
    free = greedy(model, source, 6)
    forced = with_files(base, tmp_path / "a", forced_bos_token_id=99, forced_eos_token_id=98)
    found = list(forced.next_ids(source, max_new_tokens=6))
    wanted = [99]
    while len(wanted) < 5:
        wanted.append(int(model.logits([source], targets=[[2, *wanted]])[0][-1].argmax()))
    assert found == [*wanted, 98]
    better = with_files(base, tmp_path / "b", {"forced_bos_token_id": 97}, forced_bos_token_id=99)
    assert next(iter(better.next_ids(source))) == 97
    words = [[free[0]], [2, free[1]], [model.text.id("eos")]]
    banned = with_files(base, tmp_path / "c", {"bad_words_ids": words})
    assert next(iter(banned.next_ids(source))) == greedy(model, source, 1, banned=(free[0],))[0] != free[0]
    other = with_files(base, tmp_path / "d", {"decoder_start_token_id": 5, "eos_token_id": [0, free[2]]})
    assert list(other.next_ids(source, max_new_tokens=1)) == greedy(model, source, 1, start=5)
    assert Decoding.of(other.config, other.generation, VOCAB).stops == (0, free[2])


def test_a_banned_word_of_two_ids_is_broken_off() -> None:
    said = {"decoder_start_token_id": 2, "eos_token_id": 1, "bad_words_ids": [[7], [1], [4, 5], [2, 9], []]}
    asked = Decoding.of(said, {"suppress_tokens": [11]}, 20)
    assert asked.banned([2]) == [7, 9, 11]  # the stop itself cannot be banned
    assert asked.banned([2, 3, 4]) == [7, 5, 11]
    assert asked.banned([2, 3]) == [7, 11]


def test_strange_ids_are_reported_and_refused_only_where_they_are_needed(base: str, tmp_path: Path) -> None:
    found = with_files(base, tmp_path / "a", {"eos_token_id": [1, 400]}, pad_token_id=999, sep_token_id=-1)
    assert found.notes == [
        "config.json: pad_token_id is 999, but the embedding ends at 319.",
        "config.json: sep_token_id is -1, but the embedding ends at 319.",
        "generation_config.json: eos_token_id is 400, but the embedding ends at 319.",
    ]
    assert len(found.logits(SOURCES, targets=TARGETS)) == 3
    with pytest.raises(InputError, match="eos_token_id is 400, but the embedding of this model ends at 319"):
        found.generate("card")
    padded = with_files(base, tmp_path / "b", pad_token_id=999)
    assert isinstance(padded.generate("card", max_new_tokens=3), str)
    cases: list[tuple[dict[str, Any], str]] = [
        ({"decoder_start_token_id": 320}, "decoder_start_token_id is 320, but the embedding"),
        ({"decoder_start_token_id": None, "bos_token_id": None}, "do not say with which id its decoder begins"),
        ({"decoder_start_token_id": "2"}, "decoder_start_token_id is 2, but must be an id or a list of ids."),
        ({"forced_bos_token_id": 320}, "forced_bos_token_id is 320"),
        ({"bad_words_ids": 7}, "bad_words_ids is 7, but must be a list of lists of ids."),
    ]
    for number, (fields, message) in enumerate(cases):
        with pytest.raises(InputError) as caught:
            with_files(base, tmp_path / f"case {number}", **fields).generate("card")
        assert message in str(caught.value)


def test_the_decoder_stops_at_the_end_of_its_positions(model: Model) -> None:
    found = list(model.next_ids(SOURCES[0], max_new_tokens=1000))
    assert 0 < len(found) <= LIMIT - 1


def test_embedding_a_text_is_what_the_encoder_makes_of_it(model: Model) -> None:
    found = model.embed(["my card was declined", "arrived"])
    assert found.shape == (2, 16)
    assert_close(found[1], model.embed(["arrived"])[0])
    assert not torch.allclose(found[0], found[1], atol=1e-3)


def test_a_task_that_gives_an_encoder_nothing_to_read_is_refused(base: str, tmp_path: Path) -> None:
    recipe = tune_recipe(base, make_rows(tmp_path / "rows.csv"))
    recipe = recipe.model_copy(update={"task": Choice(name="language-modelling")})
    with pytest.raises(
        InputError, match=r"The task language-modelling has no input for an encoder; take a model that has one"
    ):
        run(recipe, tmp_path / "run")


def test_a_classifier_keeps_the_encoder_alone(base: str, tmp_path: Path) -> None:
    folder = run(tune_recipe(base, make_rows(tmp_path / "rows.csv"), epochs=1), tmp_path / "run")
    found = load(str(folder.path))
    assert found.network.decoder is None
    assert found.network.encoder is not None
    assert found.spec == encoder_spec(load(base).spec)


def test_a_run_keeps_what_the_base_says_about_generation(tmp_path: Path) -> None:
    base = make_base(tmp_path / "llama")
    (tmp_path / "llama" / "generation_config.json").write_text('{"eos_token_id": 7}')
    recipe = tune_recipe(base, make_rows(tmp_path / "rows.csv"), epochs=1)
    whole = recipe.model_copy(update={"method": Choice(name="full")})
    folder = run(whole, tmp_path / "run")
    shutil.rmtree(tmp_path / "llama")
    assert load(folder.path).generation == {"eos_token_id": 7}
