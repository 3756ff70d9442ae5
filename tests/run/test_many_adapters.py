"""Many adapters on one base: each as its run alone, rows of several in one pass, memory, and what is refused."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from microtune.errors import InputError, RunError
from microtune.run.adapters import Adapters, load_adapters
from microtune.run.disk import read_tensors
from microtune.run.load import load
from microtune.run.predict import predict, task_of, text_rows
from microtune.tasks.classification import Classification
from microtune.tasks.regression import Regression
from microtune.tasks.sequence_to_sequence import SequenceToSequence
from tiny_adapters import ANSWERS, CLASSES, make_run
from tiny_model import make_model

pytestmark = pytest.mark.usefixtures("quick")

TEXTS = [
    "my card was declined at the shop",
    "the transfer has not arrived",
    "退款还没有到账",
    "card",
    "my card was declined at the shop again",
    "where is my transfer",
]
IDS = [[5, 8, 2, 40], [7, 1], [300, 12, 9, 9, 9, 41, 3], [33], [5, 8, 2, 41], [60, 61, 62]]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32: the same sums over batches of other shapes
OTHERS = CLASSES.model_copy(update={"labels": ("hotel", "flight", "train"), "pooling": "mean"})
RUNS: dict[str, dict[str, Any]] = {
    "cards": {"seed": 1},
    "travel": {"seed": 2, "rank": 3, "variant": "rslora", "roles": ["q", "v"], "task": OTHERS},
    "long": {"seed": 3, "variant": "dora", "first_block": 1},
    "head": {"seed": 4, "name": "head", "rank": None},
    "top": {"seed": 5, "name": "top", "blocks": 1, "rank": None},
    "talk": {"seed": 6, "task": ANSWERS},
    "whisper": {"seed": 7, "task": ANSWERS, "roles": ["o", "down"], "rank": 4},
}
LABELLED = ["cards", "travel", "long", "head", "top"]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    found = {}
    for name, options in RUNS.items():
        found[name] = make_run(root / name, base, **options)
    return found


@pytest.fixture(scope="module")
def many(base: Path, runs: dict[str, Path]) -> Adapters:
    return load_adapters(base, {**runs, "peft": runs["talk"] / "model" / "adapter"})


def state(adapters: Adapters) -> dict[str, Tensor]:
    """The base's own tensors, copied."""
    return {n: t.clone() for n, t in adapters._base.network.network.state_dict().items()}


def answers(path: Path, texts: list[str]) -> list[Any]:
    model = load(path)
    return list(predict(model, text_rows(task_of(model), texts), max_new_tokens=6))


def test_the_names_and_the_tasks(many: Adapters) -> None:
    assert many.names == [*RUNS, "peft"]
    assert len(many) == 8
    assert "cards" in many
    assert many.active is None
    assert [a.mixes for a in many._adapters.values()] == [True, True, True, True, False, True, True, True]
    assert isinstance(many._adapters["travel"].model.task, Classification)
    assert all(a.model.tokenizer is many._base.model.tokenizer for a in many._adapters.values())


@pytest.mark.parametrize("name", LABELLED)
def test_use_is_bit_for_bit_what_the_run_gives_alone(many: Adapters, runs: dict[str, Path], name: str) -> None:
    many.use(name)
    assert many.predict(TEXTS) == answers(runs[name], TEXTS)
    many.use(None)
    assert many.predict(TEXTS, name) == answers(runs[name], TEXTS)


@pytest.mark.parametrize("name", ["talk", "whisper", "peft"])
def test_scores_of_tokens_are_bit_for_bit_those_of_the_run(many: Adapters, runs: dict[str, Path], name: str) -> None:
    path = runs["talk"] / "model" / "adapter" if name == "peft" else runs[name]
    alone = load(path)
    many.use(name)
    for got, wanted, plain in zip(many.logits(IDS), alone.logits(IDS), load_plain(many), strict=True):
        assert torch.equal(got, wanted)
        assert float((got - plain).abs().max()) > 1e-3
    assert many.generate("my card") == alone.generate("my card")
    options = {"max_new_tokens": 5, "temperature": 0.8, "seed": 3}
    assert many.generate("my card", name, **options) == alone.generate("my card", **options)
    many.use(None)
    assert all(torch.equal(a, b) for a, b in zip(many.logits(IDS), load_plain(many), strict=True))


def load_plain(many: Adapters) -> list[Tensor]:
    assert many._base.model.place is not None
    return load(many._base.model.place.path).logits(IDS)


def test_mixed_logits_equal_row_by_row(many: Adapters) -> None:
    owners = ["talk", None, "whisper", "peft", "whisper", "talk"]
    got = many.logits(IDS, owners)
    for name, ids, scores in zip(owners, IDS, got, strict=True):
        many.use(name)
        assert_close(scores, many.logits([ids])[0], **CLOSE)
    many.use(None)


def test_mixed_predictions_are_each_rows_own(many: Adapters, runs: dict[str, Path]) -> None:
    """Labels of five heads and the generated answers of two adapters, in one call and in its order."""
    owners = ["cards", "travel", "talk", "long", "top", "travel"]
    got = many.predict(TEXTS, owners, max_new_tokens=6)
    for row, (name, text, found) in enumerate(zip(owners, TEXTS, got, strict=True)):
        (wanted,) = answers(runs[name], [text])
        assert found.answer == wanted.answer
        assert found.row == row
        assert found.scores.keys() == wanted.scores.keys()
        assert_close(torch.tensor(found.confidence), torch.tensor(wanted.confidence), **CLOSE)
        for label, share in found.scores.items():
            assert abs(share - wanted.scores[label]) < 1e-5
    assert set(got[1].scores) == {"hotel", "flight", "train"}


def test_tasks_that_do_not_mix_answer_as_alone(base: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    """A number and a text that is written from a source, beside labels: each by its own task, as its run gives it."""
    number = Regression(text_field="text", label_field="score")
    pairs = SequenceToSequence(source_field="en", target_field="zh", form="decoder", max_new_tokens=6)
    paths = {
        "cards": runs["cards"],
        "score": make_run(tmp_path / "score", base, seed=8, task=number),
        "pairs": make_run(tmp_path / "pairs", base, seed=9, task=pairs),
    }
    owners = ["score", "cards", "pairs", "score", "pairs", "cards"]
    got = load_adapters(base, paths).predict(TEXTS, owners, max_new_tokens=6)
    for name, text, found in zip(owners, TEXTS, got, strict=True):
        (wanted,) = answers(paths[name], [text])
        assert found.answer == (pytest.approx(wanted.answer, rel=1e-5) if name == "score" else wanted.answer)
    assert got[2].answer != got[4].answer


def test_mixed_rows_really_are_one_pass(many: Adapters) -> None:
    passes: list[int] = []
    hook = many._base.network.network.tokens.register_forward_hook(lambda *_: passes.append(1))
    many.predict(TEXTS, ["cards", "travel", "long", "head", "cards", "travel"])
    hook.remove()
    assert len(passes) == 1


def test_many_prompts_are_continued_together(many: Adapters) -> None:
    """Rows of unequal length through one cache, each with its adapter; greedy, so equal to one at a time."""
    owners = ["talk", "whisper", None, "peft", "talk", "top"]
    prompts = ["my card", "the transfer has", "退款", "card", "where is my transfer now", "my"]
    swapped = [name if name != "top" else "whisper" for name in owners]
    got = many.generate_many(prompts, swapped, max_new_tokens=7)
    for name, prompt, text in zip(swapped, prompts, got, strict=True):
        many.use(name)
        assert text == many.generate(prompt, max_new_tokens=7)
    many.use(None)
    assert got[0] != many.generate(prompts[0], max_new_tokens=7)
    with pytest.raises(InputError, match="was tuned for labels"):
        many.generate_many(prompts, owners)
    assert many.generate_many([], []) == []


def test_a_stream_goes_on_while_others_ask(many: Adapters) -> None:
    whole = many.generate("my card", "talk", max_new_tokens=8)
    pieces = []
    for piece in many.generate("my card", "talk", max_new_tokens=8, stream=True):
        pieces.append(piece)
        many.predict(TEXTS[:1], "cards")
        many.logits(IDS[:2], ["whisper", None])
    assert "".join(pieces) == whole


def test_threads_wait_for_each_other(many: Adapters) -> None:
    wanted = {name: many.predict(TEXTS, name) for name in LABELLED}
    wrong: list[str] = []

    def ask(name: str) -> None:
        wrong.extend(name for _ in range(6) if many.predict(TEXTS, name) != wanted[name])

    threads = [threading.Thread(target=ask, args=(name,)) for name in LABELLED]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_base_is_untouched_bit_for_bit(base: Path, runs: dict[str, Path]) -> None:
    adapters = load_adapters(base)
    before, modules = state(adapters), [id(m) for m in adapters._base.network.network.modules()]
    for name, path in runs.items():
        adapters.add(name, path)
    adapters.predict(TEXTS, ["cards", "travel", "talk", "long", "top", "head"], max_new_tokens=2)
    for name in runs:
        adapters.use(name)
        adapters.remove(name)
        assert adapters.active is None
    assert adapters.names == []
    after = state(adapters)
    assert before.keys() == after.keys()
    assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())
    assert modules == [id(m) for m in adapters._base.network.network.modules()]


def test_memory_grows_by_the_adapters_alone(base: Path, runs: dict[str, Path]) -> None:
    """Tensors that can be reached from the object: the base once, and of each adapter its own file."""
    adapters = load_adapters(base)
    begun = held(adapters)
    sizes = 0
    for number in range(4):
        for name in ("cards", "travel", "long", "top", "talk"):
            adapters.add(f"{name}{number}", runs[name])
            sizes += trained_bytes(runs[name])
    adapters.predict(TEXTS, ["cards0", "cards1", "travel2", "long3", "top0", "talk1"], max_new_tokens=2)
    assert sizes <= held(adapters) - begun <= 1.05 * sizes
    assert sum(adapters.bytes.values()) == held(adapters) - begun
    for name in adapters.names:
        adapters.remove(name)
    assert held(adapters) == begun


def held(adapters: Adapters) -> int:
    """Bytes of all storages in the network, under every patch, mixed batches included."""
    shared, found = adapters._base.network, {}
    for patch in (None, adapters._mixed.patch, *(a.patch for a in adapters._adapters.values())):
        with shared.wearing(patch) as network:
            for tensor in (*network.parameters(), *network.buffers(), *loose(network)):
                storage = tensor.untyped_storage()
                found[storage.data_ptr()] = storage.nbytes()
    return sum(found.values())


def loose(network: torch.nn.Module) -> list[Tensor]:
    """Tensors that grouped layers hold besides parameters."""
    parts = [p for m in network.modules() for p in getattr(m, "updates", {}).values()]
    found = [t for p in parts for u in p.updates for t in (u.A, u.B)]
    return found + [p.rescale.magnitude for p in parts if p.rescale is not None]


def trained_bytes(run: Path) -> int:
    tensors = read_tensors(run / "model" / "trained.safetensors").values()
    return sum(t.numel() * t.element_size() for t in tensors)


@pytest.mark.parametrize("dtype", ["bfloat16", "float64"])
def test_other_number_formats(base: Path, runs: dict[str, Path], dtype: str) -> None:
    adapters = load_adapters(base, {"talk": runs["talk"], "whisper": runs["whisper"]}, dtype=dtype)
    adapters.use("talk")
    alone = load(runs["talk"], dtype=dtype)
    assert all(torch.equal(a, b) for a, b in zip(adapters.logits(IDS), alone.logits(IDS), strict=True))
    mixed = adapters.logits(IDS[:2], ["talk", "whisper"])
    gap = {"rtol": 0.05, "atol": 0.05} if dtype == "bfloat16" else {"rtol": 1e-12, "atol": 1e-12}
    assert_close(mixed[0], alone.logits(IDS[:1])[0], **gap)


def test_saved_adapters_load_again(many: Adapters, runs: dict[str, Path], tmp_path: Path) -> None:
    for name in ("cards", "long", "top"):
        path = many.save(name, tmp_path / name)
        assert answers(path, TEXTS) == answers(runs[name], TEXTS)
    path = many.save("peft", tmp_path / "peft")
    assert all(torch.equal(a, b) for a, b in zip(load(path).logits(IDS), load(runs["talk"]).logits(IDS), strict=True))
    with pytest.raises(RunError, match="exists already"):
        many.save("cards", tmp_path / "cards")


def test_what_is_refused(many: Adapters, base: Path, runs: dict[str, Path], tmp_path: Path) -> None:
    def refused(message: str, call: Any, *given: Any, **options: Any) -> None:
        with pytest.raises((InputError, RunError), match=message):
            call(*given, **options)

    refused('There is no adapter "cardz". Did you mean "cards"', many.use, "cardz")
    refused('no adapter "trvel". Did you mean "travel"', many.predict, TEXTS[:1], ["trvel"])
    refused('There is an adapter "cards" already', many.add, "cards", runs["cards"])
    refused("text that is not empty", many.add, "", runs["cards"])
    refused("6 rows, but 2 names", many.logits, IDS, ["talk", "talk"])
    refused("The plain base was not tuned", many.predict, TEXTS, ["cards", None, None, None, None, None])
    refused("have no confidence", many.predict, TEXTS[:2], ["cards", "talk"], min_confidence=0.5)
    refused("was tuned for labels", many.logits, IDS[:2], ["cards", "talk"])
    refused("a whole model, not an adapter", many.add, "base", base)
    refused("an adapter, not a base", load_adapters, runs["cards"])
    refused('dtype: unknown value "int4"', load_adapters, base, dtype="int4")
    whole = make_run(tmp_path / "whole", base, seed=8, name="full", rank=None)
    refused("holds a whole model of its own", many.add, "whole", whole)
    assert many.names == [*RUNS, "peft"]


def test_an_adapter_of_another_base(base: Path, tmp_path: Path, many: Adapters) -> None:
    """Of the same shape, so that only the hash of the weights can tell."""
    other = make_model(tmp_path / "other")
    file = other / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-2] ^= 1
    file.write_bytes(content)
    run = make_run(tmp_path / "run", other, seed=1)
    before = state(many)
    with pytest.raises(InputError, match=r"\[same-base\] .*whose weights are not those of"):
        many.add("other", run)
    with pytest.raises(InputError, match=r"\[same-base\] .*was made on .*whose weights are not those of"):
        many.add("other", run / "model" / "adapter")
    assert all(torch.equal(tensor, state(many)[name]) for name, tensor in before.items())


def test_a_damaged_adapter_leaves_the_base_as_it_is(many: Adapters, runs: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    shutil.copytree(runs["talk"] / "model" / "adapter", folder)
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    (folder / "adapter_config.json").write_text(json.dumps({**config, "r": 3}), encoding="utf-8")
    before = state(many)
    with pytest.raises(InputError, match=r"\[fits\]"):
        many.add("bad", folder)
    assert before.keys() == state(many).keys()
    (folder / "adapter_config.json").write_text(
        json.dumps({**config, "base_model_name_or_path": "somebody/nothing"}), encoding="utf-8"
    )
    many.add("far", folder)
    assert many.notes == [
        f'{folder}: names "somebody/nothing" as its base, which is not on this computer; only the shapes of its '
        "tensors were compared."
    ]
    many.remove("far")
