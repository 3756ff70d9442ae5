"""Ours -> theirs -> ours bit for bit, and back; transformers opens what we write; names agree with its modules."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from references import (
    BARE,
    LABELS,
    VOCABULARY,
    Case,
    each,
    llama,
    our_hidden,
    our_logits,
    ours,
    reference,
    their_logits,
)
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM, BertForPreTraining
from transformers.pytorch_utils import Conv1D

from microtune.errors import InputError
from microtune.families import Loaded, expected_shapes, families, load_folder, module_name, roles, save_folder
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer

WEIGHTS = "model.safetensors"
DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
INTEGERS = {8: torch.int64, 4: torch.int32, 2: torch.int16}


def bits(tensor: Tensor) -> Tensor:
    return tensor.view(INTEGERS[tensor.element_size()])


def assert_same_bits(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(bits(found[name]), bits(tensor)), name


def everything(loaded: Loaded) -> dict[str, Tensor]:
    """What `save_folder` writes for the head that was found."""
    if loaded.head == "vocabulary":
        return loaded.state
    return {name: t for name, t in loaded.state.items() if not name.startswith("head.")} | loaded.spare


def save_again(loaded: Loaded, folder: Path, **other: Any) -> None:
    labels = None if loaded.id2label is None else list(loaded.id2label.values())
    arguments = {"family": loaded.family, "config": loaded.config, "head": loaded.head, "labels": labels}
    save_folder(folder, loaded.spec, everything(loaded), **(arguments | other))


ALL = VOCABULARY | {f"{name}, labels": c for name, c in LABELS.items()}
WHOLE = {name: case for name, case in ALL.items() if case.build is not BertForPreTraining}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@each(WHOLE)
def test_ours_theirs_ours_is_bit_exact(case: Case, dtype: torch.dtype, tmp_path: Path) -> None:
    """From a state of random bits: signed zeros, infinities and subnormal numbers survive, too."""
    spec = families[case.config.model_type].to_spec(case.config.to_dict())
    labelled = "Sequence" in case.build.__name__
    shapes = expected_shapes(spec, case.config.num_labels if labelled else None)
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in shapes.items():
        integers = torch.randint(-(2**15), 2**15, (*shape, dtype.itemsize // 2), generator=generator).to(torch.int16)
        tensor = integers.view(dtype).reshape(shape)
        state[name] = torch.where(tensor.isnan(), -0.0, tensor)
    if spec.tied and not labelled:
        state["head.out.weight"] = state["tokens.weight"]
    head = "label" if labelled else "vocabulary"
    save_folder(tmp_path, spec, state, family=case.config.model_type, head=head)
    loaded = load_folder(tmp_path)
    assert_same_bits(everything(loaded), state)
    wanted = replace(spec, initializer_range=loaded.spec.initializer_range)
    assert (loaded.spec, loaded.head, loaded.config["dtype"]) == (wanted, head, str(dtype).removeprefix("torch."))


@each(WHOLE | {f"{name}, bare": c for name, c in BARE.items() if name != "gpt2"})
def test_theirs_ours_theirs_is_bit_exact_and_transformers_opens_it(case: Case, tmp_path: Path) -> None:
    theirs = reference(case, tmp_path / "theirs", torch.float32)
    loaded = load_folder(tmp_path / "theirs")
    save_again(loaded, tmp_path / "ours")
    wanted = load_file(tmp_path / "theirs" / WEIGHTS)
    if case.config.model_type == "bert" and not case.config.tie_word_embeddings:
        wanted["cls.predictions.bias"] = wanted["cls.predictions.decoder.bias"]  # which the model does not read
    assert_same_bits(load_file(tmp_path / "ours" / WEIGHTS), wanted)
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["architectures"] == [case.build.__name__]
    again, report = case.build.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    for mine, first in zip(their_logits(case, again.eval()), their_logits(case, theirs), strict=True):
        # The same bits, but transformers maps the file: some BLAS kernels round by where a tensor stands in memory.
        torch.testing.assert_close(mine, first, rtol=1e-5, atol=1e-6)
    before, after = case.config.to_dict(), again.config.to_dict()
    assert {k: v for k, v in before.items() if after.get(k) != v and k not in CHANGES} == {}


CHANGES = ("architectures", "dtype", "_name_or_path", "label2id")  # label2id: follows from id2label


def test_a_model_from_nothing_is_opened_by_transformers(tmp_path: Path) -> None:
    """Pretraining: no config.json to start from."""
    stack = StackSpec(
        num_layers=2, hidden_size=16, num_heads=2, num_kv_heads=1, intermediate_size=24, causal=True, norm="rms",
        mlp="gated", activation="silu", positions="rotary", rope_theta=500.0, norm_eps=1e-6,
        query_bias=False, key_bias=False, value_bias=False, output_bias=False, mlp_bias=False, dropout=0.1,
    )  # fmt: skip
    spec = ModelSpec(vocab_size=41, decoder=stack)
    model = Transformer(spec).double().eval()
    save_folder(tmp_path, spec, model.state_dict(), family="llama", dtype=torch.float64)
    theirs, report = AutoModelForCausalLM.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values()), report
    case = llama()
    for mine, other in zip(our_logits(case, model), their_logits(case, theirs), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-6)


@each({name: ALL[name] for name in ("gpt2", "llama, tied, one key head", "bert, untied", "bert, labels")})
def test_shards_equal_one_file(case: Case, tmp_path: Path) -> None:
    reference(case, tmp_path / "one").save_pretrained(tmp_path / "many", max_shard_size="9KB")
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    one, many = load_folder(tmp_path / "one"), load_folder(tmp_path / "many")
    assert_same_bits(many.state | many.spare, one.state | one.spare)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes_are_as_asked(dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = reference(llama(), tmp_path, torch.float32)
    loaded = load_folder(tmp_path, dtype)
    wanted = theirs.state_dict()["model.norm.weight"].to(dtype)
    assert_same_bits({"w": loaded.state["decoder.norm.weight"]}, {"w": wanted})
    save_again(loaded, tmp_path / "half", dtype=torch.bfloat16)
    assert {t.dtype for t in load_file(tmp_path / "half" / WEIGHTS).values()} == {torch.bfloat16}


def test_tensors_do_not_change_when_their_file_does(tmp_path: Path) -> None:
    reference(llama(), tmp_path)
    loaded = load_folder(tmp_path)
    before = {name: tensor.clone() for name, tensor in loaded.state.items()}
    (tmp_path / WEIGHTS).write_bytes(bytes((tmp_path / WEIGHTS).stat().st_size))
    assert_same_bits(loaded.state, before)


@each({"gpt2": BARE["gpt2"], "llama": BARE["llama"], "bert": BARE["bert"]})
def test_a_bare_model_is_a_usable_trunk(case: Case, tmp_path: Path) -> None:
    reference(case, tmp_path)
    loaded = load_folder(tmp_path)
    trunk = ours(loaded, strict=False)
    wanted = {
        "gpt2": ("vocabulary", 0, 0),  # tied: the embedding is the head
        "llama": ("none", 1, 0),
        "bert": ("none", 5, 2),  # with its pooler to spare
    }[case.config.model_type]
    assert (loaded.head, len(loaded.missing_head), len(loaded.spare)) == wanted
    assert {n for n in trunk.state_dict() if n not in loaded.state} == set(loaded.missing_head)
    assert len(our_hidden(case, trunk)) == 5


def test_labels_come_with_their_names(tmp_path: Path) -> None:
    reference(LABELS["llama, two labels"], tmp_path / "named")
    reference(LABELS["bert"], tmp_path / "numbered")
    named, numbered = load_folder(tmp_path / "named"), load_folder(tmp_path / "numbered")
    assert (named.head, named.num_labels, named.id2label) == ("label", 2, {0: "no", 1: "yes"})
    assert (numbered.num_labels, numbered.id2label) == (5, {i: f"LABEL_{i}" for i in range(5)})
    save_again(named, tmp_path / "again", labels=["nein", "ja"])
    config = json.loads((tmp_path / "again" / "config.json").read_text())
    assert (config["id2label"], config["label2id"]) == ({"0": "nein", "1": "ja"}, {"nein": 0, "ja": 1})
    with pytest.raises(InputError, match=r"labels: 2 names \(1 different\) for a head with 2 rows"):
        save_again(named, tmp_path / "again", labels=["ja", "ja"])


def rewrite(folder: Path, change: Any) -> None:
    """The weights of a folder with something else in them."""
    tensors = load_file(folder / WEIGHTS)
    save_file(change(tensors) or tensors, folder / WEIGHTS)


def test_older_spellings_and_buffers_are_understood(tmp_path: Path) -> None:
    """`gamma` and `beta` of the first BERTs, stored masks of GPT-2, and the bare prefix that the GPT-2 files have."""
    for name in ("bert", "gpt2", "llama"):
        reference(VOCABULARY[name], tmp_path / name)
    before = {name: load_folder(tmp_path / name).state for name in ("bert", "gpt2", "llama")}
    old = (("LayerNorm.weight", "LayerNorm.gamma"), ("LayerNorm.bias", "LayerNorm.beta"))
    buffers = {"bert.embeddings.position_ids": torch.arange(9)[None], "cls.seq_relationship.weight": torch.ones(2, 16)}
    rewrite(tmp_path / "bert", lambda t: {_old(n, old): v for n, v in t.items()} | buffers)
    mask = {f"h.{i}.attn.{n}": torch.ones(9, 9) for i in range(2) for n in ("bias", "masked_bias")}
    rewrite(tmp_path / "gpt2", lambda t: {n.removeprefix("transformer."): v for n, v in t.items()} | mask)
    inverse = {f"model.layers.{i}.self_attn.rotary_emb.inv_freq": torch.ones(2) for i in range(2)}
    rewrite(tmp_path / "llama", lambda t: t | inverse)
    for name, state in before.items():
        assert_same_bits(load_folder(tmp_path / name).state, state)


def _old(name: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for new, old in pairs:
        name = name.replace(new, old)
    return name


@pytest.mark.parametrize("name", ["gpt2", "llama, tied, one key head", "bert"])
def test_a_stored_copy_of_a_tied_head_counts_where_it_differs(name: str, tmp_path: Path) -> None:
    reference(VOCABULARY[name], tmp_path)
    first = load_folder(tmp_path)
    tokens = first.state["tokens.weight"]
    out = "cls.predictions.decoder.weight" if name == "bert" else "lm_head.weight"
    rewrite(tmp_path, lambda t: t | {out: tokens.clone()})
    same = load_folder(tmp_path)
    assert (same.spec, same.head) == (first.spec, "vocabulary")
    assert same.state["head.out.weight"] is same.state["tokens.weight"]
    rewrite(tmp_path, lambda t: t | {out: 2 * tokens})
    other = load_folder(tmp_path)
    assert other.spec == replace(first.spec, tied=False)
    assert torch.equal(other.state["head.out.weight"], 2 * tokens)
    save_again(other, tmp_path / "again")
    assert_same_bits(load_folder(tmp_path / "again").state, other.state)


def test_a_tied_head_alone_gives_the_embedding(tmp_path: Path) -> None:
    reference(VOCABULARY["gpt2"], tmp_path)
    first = load_folder(tmp_path)
    rewrite(tmp_path, lambda t: {n.replace("transformer.wte", "lm_head"): v for n, v in t.items()})
    assert_same_bits(load_folder(tmp_path).state, first.state)


@each({name: ALL[name] for name in ("gpt2", "llama", "bert", "gpt2, labels", "llama, labels", "bert, labels")})
def test_every_linear_role_has_its_module_in_the_reference(case: Case, tmp_path: Path) -> None:
    theirs, loaded = reference(case, tmp_path), load_folder(tmp_path)
    mine, modules = ours(loaded), dict(theirs.named_modules())
    for role, layer in mine.named_modules():
        if not isinstance(layer, torch.nn.Linear) or (loaded.head == "vocabulary" and role == "head.transform.dense"):
            continue
        name, part, parts = module_name(loaded.family, role, head=loaded.head)
        weight = modules[name].weight.t() if isinstance(modules[name], Conv1D) else modules[name].weight
        assert torch.equal(weight.chunk(parts)[part], layer.weight)
        assert roles(loaded.family, name)[part] == role
        assert len(roles(loaded.family, name)) == parts


def test_unknown_roles_and_modules_are_refused() -> None:
    assert module_name("gpt2", "decoder.blocks.3.attention.v") == ("transformer.h.3.attn.c_attn", 2, 3)
    assert roles("bert", "encoder.layer.1.attention.self.key") == ("encoder.blocks.1.attention.k",)  # bare prefix
    with pytest.raises(InputError, match=r'llama has no module for the role "encoder\.blocks\.0\.attention\.q"'):
        module_name("llama", "encoder.blocks.0.attention.q")
    with pytest.raises(InputError, match=r'The family llama has no module "model\.layers\.0\.self_attn\.qkv"'):
        roles("llama", "model.layers.0.self_attn.qkv")
