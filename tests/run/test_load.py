"""`load` and the `Model` it gives: text and lists of ids in, scores and text out, and refusals with a reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import SPEC, make_base, make_rows, run, tune_recipe
from torch import Tensor
from torch.testing import assert_close

from microtune.data.sources import Row
from microtune.data.text import train_bpe
from microtune.errors import InputError, RunError
from microtune.families.base import save_folder
from microtune.nn.heads import LabelHead
from microtune.nn.parameters import initialize
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged
from microtune.run import evaluate
from microtune.run.generate import generate_ids
from microtune.run.load import Model, load
from microtune.run.predict import predict

ROWS = [[70, 71, 72, 73, 74], [300], [80, 81, 82]]
LIMIT = 64  # positions of the model


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_base(tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture(scope="module")
def model(base: str) -> Model:
    return load(base)


def test_logits_of_every_row(model: Model) -> None:
    found = model.logits(ROWS)
    assert [tuple(logits.shape) for logits in found] == [(5, 320), (1, 320), (3, 320)]
    for row, logits in zip(ROWS, found, strict=True):
        assert_close(logits, model.logits([row])[0], rtol=1e-5, atol=1e-6)
    assert not found[0].requires_grad


def test_dtypes(base: str, model: Model) -> None:
    wanted = load(base, dtype="float64").logits(ROWS)
    assert wanted[0].dtype == torch.float64
    assert model.logits(ROWS)[0].dtype == torch.float32
    assert_close(model.logits(ROWS), [w.float() for w in wanted], rtol=1e-4, atol=1e-5)
    half = load(base, dtype="bfloat16")
    assert {p.dtype for p in half.network.parameters()} == {torch.bfloat16}
    assert_close([x.float() for x in half.logits(ROWS)], [w.float() for w in wanted], rtol=0.1, atol=0.2)
    with pytest.raises(InputError, match='dtype: unknown value "float8"; known are float64'):
        load(base, dtype="float8")


def test_random_weights_are_new_and_reproducible(base: str, model: Model) -> None:
    first, again, other = (load(base, weights="random", seed=seed) for seed in (1, 1, 2))
    assert first.spec == model.spec
    assert_close(first.logits(ROWS), again.logits(ROWS), rtol=0, atol=0)
    assert not torch.allclose(first.logits(ROWS)[0], other.logits(ROWS)[0], atol=1e-3)
    assert not torch.allclose(first.logits(ROWS)[0], model.logits(ROWS)[0], atol=1e-3)
    assert first.parameters == model.parameters == sum(p.numel() for p in model.network.parameters())


def test_a_folder_without_a_tokenizer_refuses_text_alone(base: str, tmp_path: Path) -> None:
    folder = tmp_path / "bare"
    shutil.copytree(base, folder)
    for path in folder.glob("tokenizer*"):
        path.unlink()
    found = load(folder)
    assert_close(found.logits(ROWS), load(base).logits(ROWS), rtol=0, atol=0)
    calls: list[Any] = [
        lambda: found.text,
        lambda: found.generate("a"),
        lambda: found.generate("a", stream=True),
        lambda: found.embed(["a"]),
        lambda: list(found.continue_ids([70])),
    ]
    for call in calls:
        with pytest.raises(InputError, match=r"has no tokenizer .* can only be given ids"):
            call()


def test_a_tokenizer_beyond_the_embedding_is_refused(base: str, tmp_path: Path) -> None:
    folder = tmp_path / "wide"
    shutil.copytree(base, folder)
    words = [f"{a}{b}{c}" for a in "abcdef" for b in "ghijkl" for c in "mnopqr"]
    train_bpe([" ".join(words)] * 2, 360).save(folder)
    with pytest.raises(InputError, match="can give ids up to 359, but the model's embedding ends at 319"):
        load(folder)


def greedy(model: Model, ids: list[int], count: int) -> list[int]:
    """Argmax with a full pass over all tokens each time."""
    found = list(ids)
    for _ in range(count):
        found.append(int(model.logits([found])[0][-1].argmax()))
    return found[len(ids) :]


@pytest.mark.parametrize("prompt", ROWS)
def test_generation_with_a_cache_equals_full_passes(base: str, prompt: list[int]) -> None:
    model = load(base, dtype="float64")
    wanted = greedy(model, prompt, 20)
    assert list(generate_ids(model.network, prompt, max_new_tokens=20, stop_ids=[])) == wanted
    stop = wanted[6]
    found = list(generate_ids(model.network, prompt, max_new_tokens=20, stop_ids=[stop]))
    assert found == wanted[: wanted.index(stop)]  # up to the stop token, without it


def test_sampling(model: Model) -> None:
    def draw(**options: Any) -> list[int]:
        return list(generate_ids(model.network, ROWS[0], max_new_tokens=15, stop_ids=[], **options))

    assert draw(temperature=1.0, seed=1) == draw(temperature=1.0, seed=1) != draw(temperature=1.0, seed=2)
    assert draw(temperature=1.0, top_k=1, seed=3) == draw()
    assert draw(temperature=1.0, top_p=1e-6, seed=3) == draw()
    assert draw(temperature=1e-4, seed=3) == draw()
    assert draw(temperature=1.0, top_k=10_000, seed=1) == draw(temperature=1.0, seed=1)


def test_text_in_pieces_and_as_a_whole(model: Model) -> None:
    whole = model.generate("my card", max_new_tokens=12)
    pieces = list(model.generate("my card", stream=True, max_new_tokens=12))
    assert "".join(pieces) == whole
    assert "\ufffd" not in whole
    ids = [model.text.id("bos"), *model.text.encode("my card", special=False)]
    assert all(i is not None for i in ids)
    new = list(generate_ids(model.network, ids, max_new_tokens=12, stop_ids=model.text.stop_ids))  # type: ignore[arg-type]
    assert model.text.decode(new).startswith(whole)


def test_the_models_positions_bound_a_generation(model: Model) -> None:
    room = list(model.continue_ids([70] * (LIMIT - 3), max_new_tokens=50))
    assert len(model.text.encode("".join(room), special=False)) <= 3
    with pytest.raises(InputError, match="The prompt has 64 tokens, but the model has 64 positions"):
        list(model.continue_ids([70] * LIMIT))


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 2], [320]], r"Row 1 holds an id outside 0..319"),
        ([[-1]], "Row 0 holds an id outside"),
        ([[1], []], "Row 1 has no token"),
        ([[1] * 65], "Row 0 has 65 tokens, but the model has 64 positions"),
    ],
)
def test_ids_that_the_model_cannot_read(model: Model, rows: list[list[int]], message: str) -> None:
    with pytest.raises(InputError, match=message):
        model.logits(rows)
    with pytest.raises(InputError):
        list(model.continue_ids(rows[-1]))


def test_targets_are_for_encoder_decoders(model: Model) -> None:
    with pytest.raises(InputError, match="the decoder's input ids of an encoder-decoder"):
        model.logits(ROWS, targets=ROWS)


def test_embeddings(model: Model) -> None:
    texts = ["my card was declined", "我的卡", "card"]
    found = model.embed(texts)
    assert found.shape == (3, 16)
    assert_close(found[1], model.embed(texts[1:2])[0], rtol=1e-5, atol=1e-6)
    ids = model.text.encode(texts[0])
    with torch.no_grad():
        assert_close(found[0], model.network(Ragged.from_lists([ids])).mean(0), rtol=1e-5, atol=1e-6)
    many = [texts[i % 3] * (1 + i % 5) for i in range(40)]
    assert_close(model.embed(many)[7], model.embed([many[7]])[0], rtol=1e-5, atol=1e-6)
    assert model.embed(["word " * 500]).isfinite().all()  # cut to what the model can read


def test_names_that_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "unfinished").mkdir()
    (tmp_path / "unfinished" / "recipe.yaml").write_text("task: classification")
    cases = {
        "sprot": 'There is no model or folder "sprot". Did you mean "sprout"',
        str(tmp_path / "empty" / "nothing"): "There is no model or folder",
        str(tmp_path / "nothing"): "nothing: no such folder",  # beside runs it would be one
        str(tmp_path / "file"): "a file; give the folder",
        str(tmp_path / "empty"): "holds no model: there is no config.json",
        str(tmp_path / "unfinished"): "this run has no model yet",
        "sprout@99": "embeds sprout@2",
    }
    for name, message in cases.items():
        with pytest.raises(InputError, match=message):
            load(name)


def test_a_model_whose_files_hold_no_vocabulary_head(tmp_path: Path) -> None:
    from dataclasses import replace

    spec = replace(SPEC, tied=False)
    network = Transformer(spec)
    initialize(network, 0.2, num_layers=2)
    state = {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("head.")}
    save_folder(tmp_path, spec, state, family="llama", head="none")
    found = load(tmp_path)
    assert found.missing_head == ("head.out.weight",)
    with pytest.raises(InputError, match="hold no vocabulary head"):
        found.logits(ROWS)


@pytest.fixture(scope="module", params=["lora", "top"])
def finished(request: pytest.FixtureRequest, base: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run of each kind."""
    folder = tmp_path_factory.mktemp("runs")
    before, evaluate.RESAMPLES = evaluate.RESAMPLES, 10
    run(tune_recipe(base, make_rows(folder / "rows.csv"), request.param, keep="last"), folder / "run")
    evaluate.RESAMPLES = before
    return folder / "run"


def scores(model: Model) -> Tensor:
    """Label scores of three texts."""
    head = model.network.head
    assert isinstance(head, LabelHead)
    inputs = Ragged.from_lists(ROWS)
    with torch.no_grad():
        hidden = model.network.eval()(inputs, readout=inputs.starts + inputs.lengths - 1)
        return head(hidden, torch.ones(3, dtype=torch.int64))


def test_a_run_reloads_to_the_same_outputs(finished: Path, tmp_path: Path) -> None:
    first, again = load(finished), load(str(finished))
    assert torch.equal(scores(first), scores(again))
    assert first.task == again.task
    moved = tmp_path / "elsewhere"
    shutil.copytree(finished, moved)
    assert torch.equal(scores(load(moved)), scores(first))
    assert_close(scores(load(finished, dtype="float64")).float(), scores(first), rtol=1e-4, atol=1e-5)
    assert load(finished, weights="random").task is None
    answers = list(predict(first, [Row({"text": "my card was declined"}, "x", 1), Row({"text": "card"}, "x", 2)]))
    assert [p.row for p in answers] == [0, 1]
    assert {p.answer for p in answers} <= {"card", "transfer"}
    with pytest.raises(InputError, match="tuned for labels; it has no vocabulary head"):
        first.generate("my card")


def test_a_lora_run_holds_an_adapter_in_the_form_of_peft(finished: Path) -> None:
    adapter = finished / "model" / "adapter"
    method = json.loads((finished / "model" / "model.json").read_text())["method"]["name"]
    assert adapter.is_dir() == (method == "lora")
    if method == "lora":
        assert_close(scores(load(adapter)), scores(load(finished)), rtol=1e-5, atol=1e-6)


def test_a_damaged_run_is_refused(finished: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(finished, broken)
    path = broken / "model" / "trained.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(RunError, match=r"the saved model is damaged \(trained.safetensors has changed"):
        load(broken)
