"""Several methods in one recipe: the union trains, everything else is as with one, and nonsense is refused."""

from __future__ import annotations

import copy
import re
from dataclasses import replace
from typing import Any

import pytest
import torch
from test_contract import SPECS, build, loss_of, outputs
from torch.testing import assert_close

from microtune.adapt.base import Attachment, make_method
from microtune.adapt.ia3 import IA3Linear
from microtune.adapt.lora import LoRALinear
from microtune.errors import InputError
from microtune.nn.transformer import Cut, Transformer
from microtune.recipe import Choice, Train
from microtune.recipe import build as build_recipe
from microtune.run.optimizers import Optimizers

LOW_LORA = {"name": "lora", "rank": 2, "roles": ["q", "v"]}
COMBINED: dict[str, list[Any]] = {
    "head+bitfit": ["head", "bitfit"],
    "head+norms": ["head", "norms"],
    "bitfit+norms": ["bitfit", "norms"],
    "reinit+norms": [{"name": "reinit", "blocks": 1}, "norms"],
    "reinit+top": [{"name": "reinit", "blocks": 1}, {"name": "top", "blocks": 2}],
    "ia3+lora": [{"name": "ia3", "roles": ["k", "down"]}, LOW_LORA],
    "lora+bitfit+norms": [LOW_LORA, "bitfit", {"name": "norms", "first_block": 1}],
    "ia3+bitfit": ["ia3", "bitfit"],
    "top+ia3": [{"name": "ia3", "last_block": 1}, {"name": "top", "blocks": 1}],
    "lora+lora": [LOW_LORA, {"name": "lora", "rank": 3, "roles": ["down"], "first_block": 1}],
}
KINDS = ("decoder with vocabulary", "encoder")  # which have biases
kinds = pytest.mark.parametrize("kind", KINDS)
every = pytest.mark.parametrize("name", list(COMBINED))


def several(parts: list[Any]) -> dict[str, Any]:
    """As a recipe makes it."""
    return dict(build_recipe({"task": "classification", "method": parts}).method)


def attach(kind: str, parts: list[Any], dtype: torch.dtype = torch.float64) -> tuple[Transformer, Attachment]:
    model = build(kind, dtype)
    torch.manual_seed(2)
    return model, make_method(build_recipe({"task": "classification", "method": parts}).method).attach(model)


def train(model: Transformer, attachment: Attachment, steps: int = 2) -> None:
    optimizer = torch.optim.SGD([p for _, p in attachment.parameters()], lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of(model).backward()
        optimizer.step()


def plain(name: str) -> str:
    """The name of a base weight below the modules that methods put around it."""
    return name.replace(".base.", ".")


@kinds
@every
def test_the_union_trains_and_the_lowest_cut_holds(kind: str, name: str) -> None:
    model, attachment = attach(kind, COMBINED[name])
    alone = [attach(kind, [part])[1] for part in COMBINED[name]]
    wanted = {plain(n): size for one in alone for n, size in one.trainable.items()}
    assert {plain(n): size for n, size in attachment.trainable.items()} == wanted
    cuts = [one.cut for one in alone]
    assert attachment.cut == model.cut == Cut(min(c.encoder for c in cuts), min(c.decoder for c in cuts))
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    train(model, attachment)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, start[n])}
    resting = {n for n in attachment.trainable if plain(n).endswith(".k.bias")}
    assert moved | resting == set(attachment.trainable) | resting


@kinds
@every
def test_the_output_is_unchanged_at_the_start_and_comes_back(kind: str, name: str) -> None:
    model, attachment = attach(kind, COMBINED[name])
    base = build(kind)
    with torch.no_grad():
        same = torch.equal(outputs(model), outputs(base))
    assert same is ("reinit" not in name)
    train(model, attachment)
    attachment.detach()
    found = dict(model.named_parameters())
    assert list(found) == [n for n, _ in base.named_parameters()]
    own = "none" if kind == "decoder with vocabulary" else "head."
    assert [n for n, p in base.named_parameters() if not n.startswith(own) and not torch.equal(p, found[n])] == []
    assert all(p.requires_grad for p in found.values())
    assert model.cut == Cut()


@kinds
@every
def test_merged_equals_unmerged(kind: str, name: str) -> None:
    model, attachment = attach(kind, COMBINED[name], torch.float32)
    with torch.no_grad():
        for n, parameter in attachment.parameters():
            if n.endswith(("lora_B", "factor", "bias")):
                parameter.add_(torch.linspace(-0.3, 0.3, parameter.numel()).view_as(parameter))
        learnt = outputs(model)
        attachment.merge()
        merged = outputs(model)
    assert_close(merged, learnt, rtol=1e-5, atol=1e-5 * float(learnt.abs().max()))
    assert not any(isinstance(module, (LoRALinear, IA3Linear)) for module in model.modules())
    assert [n for n, _ in model.named_parameters()] == [n for n, _ in build(kind).named_parameters()]


@every
def test_state_alone_restores_the_outputs(name: str) -> None:
    model, attachment = attach("encoder", COMBINED[name])
    train(model, attachment)
    other, again = attach("encoder", COMBINED[name])
    again.load_state(attachment.state())
    assert torch.equal(outputs(other), outputs(model))


def rates(parts: list[Any], **train: Any) -> dict[str, float]:
    model = build("encoder")
    method = make_method(build_recipe({"task": "classification", "method": parts}).method)
    attachment = method.attach(model)
    optimizers = Optimizers(attachment, Train(**train), method, 10)
    names = {id(p): n for n, p in attachment.parameters()}
    found = {names[id(p)]: g["lr"] for m in optimizers.members for g in m.param_groups for p in g["params"]}
    assert found.keys() == attachment.trainable.keys()
    return found


def test_everything_learns_with_the_rate_of_its_own_method() -> None:
    parts = [{"name": "reinit", "blocks": 1}, {"name": "lora", "rank": 2, "roles": ["down"], "last_block": 1}]
    if "last_block" not in type(make_method(Choice(name="lora"))).model_fields:
        parts[1] = {"name": "ia3", "roles": ["down"], "last_block": 1}
    found = rates(parts)
    first, second = (make_method(Choice(**part)) for part in parts)
    assert first.default_lr != second.default_lr
    assert found["encoder.blocks.2.mlp.up.weight"] == first.default_lr
    lower = {lr for n, lr in found.items() if n.startswith(("encoder.blocks.0.", "encoder.blocks.1."))}
    assert lower == {second.default_lr}
    assert found["head.out.weight"] == first.default_head_lr


def test_what_two_methods_train_goes_by_the_first_and_a_given_rate_is_for_all() -> None:
    head, bitfit = make_method(Choice(name="head")), make_method(Choice(name="bitfit"))
    assert rates(["head", "bitfit"])["head.out.weight"] == head.default_lr
    assert rates(["bitfit", "head"])["head.out.weight"] == bitfit.default_head_lr
    assert rates(["head", "bitfit"])["encoder.blocks.0.mlp.up.bias"] == bitfit.default_lr
    assert set(rates(["head", {"name": "top", "blocks": 1}], lr=7e-4).values()) == {7e-4}


def test_short_forms_and_lists_say_the_same() -> None:
    wanted = {"name": "several", "parts": [{"name": "head"}, {"name": "lora", "size": 4}]}
    for value in ("head+lora:4", ["head", "lora:4"], [{"name": "head"}, {"name": "lora", "size": 4}]):
        recipe = build_recipe({"task": "classification", "method": value})
        assert recipe.method.model_dump() == wanted
        assert recipe.method.title == "head+lora"
    method = make_method(recipe.method)
    saved = method.model_dump(mode="json")
    assert [part["name"] for part in saved["parts"]] == ["head", "lora"]
    assert saved["parts"][1]["rank"] == 4
    assert saved["parts"][1]["dropout"] == 0.0  # every default written out
    assert make_method(Choice(**saved)) == method
    one = build_recipe({"task": "classification", "method": ["lora:4"]}).method
    assert one.model_dump() == {"name": "lora", "size": 4}


def test_the_random_numbers_are_those_of_the_method_alone() -> None:
    """Asking beforehand what a method would take draws nothing."""
    _, alone = attach("encoder", [LOW_LORA])
    _, both = attach("encoder", ["bitfit", LOW_LORA])
    assert len([n for n in alone.trainable if n.endswith("lora_A")]) == 6
    for n, value in alone.state().items():
        if n.endswith("lora_A"):
            assert torch.equal(both.state()[n], value)


REFUSED: dict[str, tuple[Any, str]] = {
    "full with anything": ("full+bitfit", "full trains every weight already, so bitfit has nothing to add to it"),
    "full after reinit": (
        [{"name": "reinit", "then": "full"}, "lora"],
        "reinit trains every weight already, so lora has nothing to add to it; take one of them.",
    ),
    "one role": (
        ["ia3", {"name": "lora", "roles": ["q", "v"]}],
        "two methods for one role: ia3 and lora both change encoder.blocks.0.attention.v; part them by last_block, "
        "first_block or roles.",
    ),
    "an update of what trains": (
        ["lora", "top:1"],
        "two methods for one role: lora changes encoder.blocks.2.attention.k, whose weight top trains already; "
        "part them by",
    ),
    "the same twice": (
        "top:1+top:2",
        "top stands twice, and both would train encoder.blocks.2.attention.k.bias; name it once, or part them by "
        "blocks.",
    ),
    "the same head twice": ("head+head", "head stands twice, and both would train the same head; name it once."),
    "nothing added": ("reinit:2+top:1", "top adds nothing: reinit trains all of that already; leave it out."),
    "nothing added by biases": (
        [{"name": "bitfit", "first_block": 2}, "top:1"],
        "bitfit adds nothing: top trains all of that already",
    ),
    "virtual tokens twice": (
        "prefix:2+prefix:3",
        "prefix stands twice, and both would train encoder.virtual.weight; name it once.",
    ),
    "one place for virtual tokens": (
        "prompt:2+prefix:2",
        "two methods for one role: prompt and prefix both change encoder.virtual; take one of them.",
    ),
    "several inside": (
        [{"name": "several", "parts": [{"name": "head"}, {"name": "norms"}]}, "bitfit"],
        "several methods inside several; write all of them in one list.",
    ),
    "an unknown one": ("head+bitfti", 'Unknown method "bitfti". Did you mean "bitfit"'),
    "an unknown option": ([{"name": "lora", "rnak": 2}, "norms"], 'method: lora: unknown key "rnak"'),
    "too deep": ("norms+top:4", "4 blocks were asked for, the model has 3"),
    "no name": (["head", {"rank": 2}], '"parts.1.name" is missing'),
    "no method": ([], "a list holds methods, such as lora:8 or {name: lora, rank: 8}; this holds nothing."),
    "a number": (["head", 3], "this holds 3."),
    "an empty part": ("head+", 'Unknown method ""'),
    "an option of the whole": ({"name": "several", "parts": [{"name": "head"}], "rank": 2}, "parts: .* at least 2"),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_combinations_without_sense(name: str) -> None:
    value, message = REFUSED[name]
    model = build("encoder")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(InputError, match=message if "*" in message else re.escape(message)) as error:
        make_method(build_recipe({"task": "classification", "method": value}).method).attach(model)
    assert "\n" not in str(error.value)
    assert_close(dict(model.state_dict()), dict(before), rtol=0, atol=0)
    assert all(p.requires_grad for p in model.parameters())


def test_a_model_that_one_part_does_not_fit() -> None:
    with pytest.raises(InputError, match="bitfit: there is no bias to train"):
        attach("decoder", ["head", "bitfit"])


def test_the_vocabulary_head_is_parted_from_a_tied_embedding() -> None:
    model = Transformer(replace(SPECS["decoder with vocabulary"], tied=True))
    spec = model.spec
    attachment = make_method(Choice(name="several", parts=[Choice(name="head"), Choice(name="norms")])).attach(model)
    assert "head.out.weight" in attachment.trainable
    assert "tokens.weight" not in attachment.trainable
    attachment.detach()
    assert model.spec == spec
    assert model.head.out.weight is model.tokens.weight  # type: ignore[union-attr]
