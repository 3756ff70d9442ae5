"""Weighted sums of LoRA adapters: against dense arithmetic, against the real peft, heads, and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from peft import PeftModel
from torch import Tensor
from torch.testing import assert_close

from microtune.adapt.combine import Factors, added, shortened, widened
from microtune.errors import InputError
from microtune.nn.frozen import Update
from microtune.nn.heads import LabelHead
from microtune.run.adapters import Adapters, load_adapters
from microtune.run.load import load
from tiny_adapters import ANSWERS, CLASSES, make_run
from tiny_model import make_model

pytestmark = [
    pytest.mark.parity,
    pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning"),  # peft 0.21 with transformers 5
]
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()

IDS = [[5, 8, 2, 40], [7, 1], [300, 12, 9, 9, 9, 41, 3]]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}  # float32: sums in another order


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, base: Path) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("runs")
    short = {"roles": ["q", "v"], "rank": 4, "variant": "rslora", "alpha": 3.0, "first_block": 1}
    options: dict[str, dict[str, Any]] = {
        "a": {"task": ANSWERS},
        "b": {"task": ANSWERS, **short},
        "cards": {},
        "more": {"rank": 3},
        "dora": {"variant": "dora"},
        "wide": {"task": ANSWERS, "rank": 13},
        "head": {"name": "head", "rank": None},
        "other": {"task": CLASSES.model_copy(update={"labels": ("x", "y")})},
    }
    return {name: make_run(root / name, base, seed=i, **given) for i, (name, given) in enumerate(options.items())}


@pytest.fixture
def many(base: Path, runs: dict[str, Path]) -> Adapters:
    return load_adapters(base, runs)


def updates(adapters: Adapters, name: str) -> dict[str, Tensor]:
    """The dense update of every role."""
    found = adapters._adapters[name].roles
    return {role: (m.scale * (m.lora_B @ m.lora_A)).detach() for role, m in found.items()}


def dense_sum(adapters: Adapters, weights: dict[str, float]) -> dict[str, Tensor]:
    total: dict[str, Tensor] = {}
    for name, weight in weights.items():
        for role, update in updates(adapters, name).items():
            total[role] = total.get(role, torch.zeros_like(update)) + weight * update
    return total


def test_linear_is_the_exact_sum(many: Adapters) -> None:
    weights = {"a": 0.7, "b": -0.3}
    assert many.combine("mix", weights) == 0.0
    wanted, got = dense_sum(many, weights), updates(many, "mix")
    assert wanted.keys() <= got.keys()
    for role, update in got.items():
        assert_close(update, wanted.get(role, torch.zeros_like(update)), rtol=1e-6, atol=1e-6)
    rank = {len(m.lora_A) for m in many._adapters["mix"].roles.values()}
    assert rank == {6}
    assert many.predict(["my card"], "mix", max_new_tokens=3)[0].answer == many.generate(
        "my card", "mix", max_new_tokens=3
    )


def test_svd_is_the_nearest_update_and_says_what_is_lost(many: Adapters) -> None:
    weights = {"a": 0.7, "b": 0.6}
    lost = many.combine("mix", weights, how="svd", rank=3)
    wanted, got = dense_sum(many, weights), updates(many, "mix")
    without = whole = 0.0
    for role, update in wanted.items():
        U, S, V = torch.linalg.svd(update.double())
        assert_close(got[role].double(), (U[:, :3] * S[:3]) @ V[:3], **CLOSE)
        without, whole = without + float(S[3:].square().sum()), whole + float(S.square().sum())
    assert lost == pytest.approx((without / whole) ** 0.5, rel=1e-5)
    assert 0.01 < lost < 1
    assert many.combine("whole", weights, how="svd", rank=6) < 1e-6
    assert many.combine("usual", weights, how="svd") > 0
    assert {len(m.lora_A) for m in many._adapters["usual"].roles.values()} == {4}


def test_one_adapter_with_weight_one_is_itself(many: Adapters) -> None:
    many.combine("same", {"a": 1.0})
    many.use("same")
    got = many.logits(IDS)
    many.use("a")
    for one, two in zip(got, many.logits(IDS), strict=True):
        assert_close(one, two, **CLOSE)


@pytest.mark.parametrize(("how", "theirs", "rank"), [("linear", "cat", None), ("svd", "svd", 2), ("svd", "svd", 5)])
def test_as_peft_combines_them(
    base: Path, runs: dict[str, Path], how: Any, theirs: Any, rank: int | None, tmp_path: Path
) -> None:
    """Both adapters as folders of peft, both ways of adding them; and peft reads what we write of it."""
    folders = {name: runs[name] / "model" / "adapter" for name in ("a", "b")}
    model = PeftModel.from_pretrained(transformers.LlamaForCausalLM.from_pretrained(base), folders["a"], "a").eval()
    model.load_adapter(folders["b"], "b")
    options = {"svd_rank": rank} if rank else {}
    model.add_weighted_adapter(["a", "b"], [0.7, 0.4], "mix", combination_type=theirs, **options)
    model.set_adapter("mix")
    many = load_adapters(base, folders)
    many.combine("mix", {"a": 0.7, "b": 0.4}, how=how, rank=rank)
    many.use("mix")
    with torch.no_grad():
        wanted = [model(input_ids=torch.tensor([row])).logits[0] for row in IDS]
    for ours, reference in zip(many.logits(IDS), wanted, strict=True):
        assert_close(ours, reference, **CLOSE)
    written = many.save("mix", tmp_path / "mix")
    again = PeftModel.from_pretrained(transformers.LlamaForCausalLM.from_pretrained(base), written).eval()
    with torch.no_grad():
        for row, reference in zip(IDS, wanted, strict=True):
            assert_close(again(input_ids=torch.tensor([row])).logits[0], reference, **CLOSE)
    assert all(torch.equal(a, b) for a, b in zip(load(written).logits(IDS), many.logits(IDS), strict=True))
    assert json.loads((written / "combined.json").read_text(encoding="utf-8"))["adapters"] == {"a": 0.7, "b": 0.4}


def test_heads_are_averaged_and_updates_are_not(many: Adapters) -> None:
    many.combine("mix", {"cards": 0.9, "more": 0.3})
    heads = {name: many._adapters[name].head for name in ("cards", "more", "mix")}
    assert all(isinstance(head, LabelHead) for head in heads.values())
    for name, weight in heads["mix"].state_dict().items():
        assert_close(weight, 0.75 * heads["cards"].state_dict()[name] + 0.25 * heads["more"].state_dict()[name])
    wanted = dense_sum(many, {"cards": 0.9, "more": 0.3})
    for role, update in updates(many, "mix").items():
        assert_close(update, wanted[role], rtol=1e-6, atol=1e-6)
    many.combine("first", {"cards": 1.0, "more": 0.0})
    texts = ["my card was declined", "the transfer"]
    for got, alone in zip(many.predict(texts, "first"), many.predict(texts, "cards"), strict=True):
        assert got.answer == alone.answer
        assert got.confidence == pytest.approx(alone.confidence, abs=1e-5)


def test_a_combination_takes_part_in_a_mixed_batch(many: Adapters) -> None:
    many.combine("mix", {"a": 0.5, "b": 0.5})
    got = many.logits(IDS, ["mix", "a", "b"])
    for name, row, scores in zip(["mix", "a", "b"], IDS, got, strict=True):
        many.use(name)
        assert_close(scores, many.logits([row])[0], **CLOSE)


def test_what_is_refused(many: Adapters) -> None:
    def refused(message: str, weights: dict[str, float], **options: Any) -> None:
        names = many.names
        with pytest.raises(InputError, match=message):
            many.combine("mix", weights, **options)
        assert many.names == names

    refused('no adapter "card". Did you mean "cards"', {"card": 1.0})
    refused("There is no adapter to combine", {})
    refused('how: unknown value "ties"', {"a": 1.0}, how="ties")
    refused("linear keeps every update whole", {"a": 1.0, "b": 1.0}, rank=3)
    refused("rank: 0 leaves no update", {"a": 1.0}, how="svd", rank=0)
    refused(
        "rank: 17 is more than the 16 that decoder.blocks.0.attention.q can have; take svd", {"wide": 1.0, "b": 1.0}
    )
    refused("weights: nan is no finite number", {"a": float("nan")})
    refused("weights: all are 0", {"a": 0.0, "b": 0.0})
    refused("weights: their sum is -1, but label heads are averaged", {"cards": 1.0, "more": -2.0})
    refused(r'"head" \(head\) has no low-rank form', {"cards": 0.5, "head": 0.5})
    refused('"dora" is weight-decomposed', {"cards": 0.5, "dora": 0.5})
    refused(r"different tasks \(instruction and classification\)", {"a": 0.5, "cards": 0.5})
    refused(r'"cards" and "other" differ in task.labels', {"cards": 0.5, "other": 0.5})
    with pytest.raises(InputError, match='There is an adapter "a" already'):
        many.combine("a", {"b": 1.0})


def test_factors() -> None:
    torch.manual_seed(0)
    one = Update(torch.randn(2, 5), torch.randn(7, 2), 0.5, 0.0)
    two = Update(torch.randn(3, 5), torch.randn(7, 3), 2.0, 0.0)
    both = added([(0.7, one), (-1.5, two)])
    dense = 0.7 * 0.5 * one.B @ one.A - 1.5 * 2.0 * two.B @ two.A
    assert_close(both.B @ both.A, dense)
    kept, lost, size = shortened(both, 9)  # more than there is: nothing is lost
    assert_close(kept.B @ kept.A, dense, rtol=1e-5, atol=1e-5)
    assert lost == 0.0
    assert size == pytest.approx(float(dense.square().sum()), rel=1e-5)
    wide = widened(both, 8)
    assert wide.A.shape == (8, 5)
    assert_close(wide.B @ wide.A, dense)
    assert widened(both, 2) is both
    assert isinstance(both, Factors)
