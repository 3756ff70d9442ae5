"""Files of encoder-decoders: written and read bit for bit, in every form that people have, or refused with a reason."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from pairs import (
    HEAD,
    PAIRS,
    UNTIED,
    WEIGHTS,
    Pair,
    bart,
    each,
    marian,
    mbart,
    mt5,
    our_logits,
    pegasus,
    reference,
    t5,
    their_logits,
)
from references import open_ours
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import BartForSequenceClassification, T5EncoderModel

from microtune.errors import InputError
from microtune.families import expected_shapes, families, load_folder, module_name, save_folder
from microtune.nn.transformer import Transformer

SHARED, SOURCE, TARGET = (f"model.{n}.weight" for n in ("shared", "encoder.embed_tokens", "decoder.embed_tokens"))
DTYPES = [torch.float64, torch.float32, torch.bfloat16]


def assert_same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> None:
    assert found.keys() == wanted.keys()
    for name, tensor in wanted.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name].view(torch.uint8), tensor.view(torch.uint8)), name


def rewrite(folder: Path, change: Any) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file(change(tensors) or tensors, folder / WEIGHTS, metadata={"format": "pt"})


def configure(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@each(PAIRS)
def test_ours_theirs_ours_is_bit_exact(pair: Pair, dtype: torch.dtype, tmp_path: Path) -> None:
    reference(pair, tmp_path / "theirs")
    spec = load_folder(tmp_path / "theirs").spec
    generator = torch.Generator().manual_seed(0)
    state = {n: torch.randn(s, generator=generator).to(dtype) for n, s in expected_shapes(spec).items()}
    if spec.tied:
        state["head.out.weight"] = state["tokens.weight"]
    save_folder(tmp_path / "ours", spec, state, family=pair.kind)
    loaded = load_folder(tmp_path / "ours")
    assert_same(loaded.state, state)
    assert (replace(loaded.spec, initializer_range=spec.initializer_range), loaded.head) == (spec, "vocabulary")


@each(PAIRS)
def test_transformers_opens_what_we_write_and_the_files_agree(pair: Pair, tmp_path: Path) -> None:
    theirs = reference(pair, tmp_path / "theirs", torch.float32)
    loaded = load_folder(tmp_path / "theirs")
    save_folder(tmp_path / "ours", loaded.spec, loaded.state, family=pair.kind, config=loaded.config)
    wanted, found = load_file(tmp_path / "theirs" / WEIGHTS), load_file(tmp_path / "ours" / WEIGHTS)
    more = {n for n in found.keys() - wanted.keys() if n.endswith("embed_positions.weight") or n in HEAD}
    unread = {n for n in (SHARED, "shared.weight") if loaded.spec.target_tokens == "own"}
    assert (bool(more), pair.kind) in ((True, "marian"), (False, pair.kind))  # what transformers leaves out of a file
    assert_same(without(found, more | unread), without(wanted, unread))
    again, report = pair.build.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    for mine, first in zip(their_logits(again.eval()), their_logits(theirs), strict=True):
        torch.testing.assert_close(mine, first, rtol=1e-5, atol=1e-6)
    before, after = theirs.config.to_dict(), again.config.to_dict()
    kept = {k: v for k, v in before.items() if after.get(k) != v and k not in ("dtype", "_name_or_path")}
    assert kept == ({"tie_word_embeddings": True} if "not_shared" in kept else {}) or pair.kind == "marian"


def without(tensors: dict[str, Tensor], names: set[str]) -> dict[str, Tensor]:
    return {name: t for name, t in tensors.items() if name not in names}


@pytest.mark.parametrize("family", ["t5", "mt5", "bart", "mbart", "marian", "pegasus"])
def test_a_model_from_nothing_is_opened_by_transformers(family: str, tmp_path: Path) -> None:
    pair = PAIRS[family]
    reference(pair, tmp_path / "theirs")
    model = Transformer(load_folder(tmp_path / "theirs").spec).double().eval()
    save_folder(tmp_path / "ours", model.spec, model.state_dict(), family=family)
    theirs, report = pair.build.from_pretrained(tmp_path / "ours", output_loading_info=True, dtype=torch.float64)
    assert not any(report.values()), report
    for mine, other in zip(our_logits(model), their_logits(theirs.eval()), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_one_embedding_under_several_names(tmp_path: Path) -> None:
    """Whichever of the names a file has, and however often."""
    for name in ("t5", "bart"):
        folder = tmp_path / name
        reference(PAIRS[name], folder)
        first = load_folder(folder)
        prefix = "" if name == "t5" else "model."
        shared = f"{prefix}shared.weight"
        others = [f"{prefix}encoder.embed_tokens.weight", f"{prefix}decoder.embed_tokens.weight", "lm_head.weight"]
        whole = load_file(folder / WEIGHTS)
        assert shared in whole
        assert not whole.keys() & set(others)
        for names in (others[:1], others[1:2], others[2:], others, [shared, *others]):
            tensors = {n: t for n, t in whole.items() if n != shared} | {n: whole[shared].clone() for n in names}
            save_file(tensors, folder / WEIGHTS)
            found = load_folder(folder)
            assert (found.spec, found.head) == (first.spec, "vocabulary")
            assert_same(found.state, first.state)
        rewrite(folder, lambda t, n=others[0]: t.update({n: t[n] + 1}))
        with pytest.raises(InputError, match=r"is a second version of .*; keep one of them"):
            load_folder(folder)


@pytest.mark.parametrize("name", ["t5", "bart", "marian"])
def test_a_head_of_its_own_counts_where_it_differs(name: str, tmp_path: Path) -> None:
    """Also where the embedding stands under another name than the usual one."""
    reference(PAIRS[name], tmp_path)
    first = load_folder(tmp_path)
    shared = "shared.weight" if name == "t5" else SHARED
    source = "encoder.embed_tokens.weight" if name == "t5" else SOURCE
    rewrite(tmp_path, lambda t: {source if n == shared else n: v for n, v in t.items()} | {HEAD[0]: 2 * t[shared]})
    other = load_folder(tmp_path)
    assert other.spec == replace(first.spec, tied=False)
    assert torch.equal(other.state["head.out.weight"], 2 * first.state["tokens.weight"])


def test_an_untied_copy_of_the_head_is_two_tensors_for_transformers_too(tmp_path: Path) -> None:
    """What training the head of a tied model leaves: the embedding as it was, and a head that moved."""
    for name in ("t5", "bart", "mbart", "marian", "pegasus", "mt5"):
        reference(PAIRS[name], tmp_path / name)
        loaded = load_folder(tmp_path / name)
        spec, state = replace(loaded.spec, tied=False), dict(loaded.state)
        state["head.out.weight"] = state["tokens.weight"] * 1.5
        save_folder(tmp_path / "own", spec, state, family=name, config=loaded.config)
        again = load_folder(tmp_path / "own")
        assert again.spec == spec
        assert_same(again.state, state)
        theirs, report = PAIRS[name].build.from_pretrained(
            tmp_path / "own", output_loading_info=True, dtype=torch.float64
        )
        assert not any(report.values()), report
        for mine, other in zip(our_logits(open_ours(tmp_path / "own")), their_logits(theirs.eval()), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-5, atol=1e-5)


def test_what_a_file_may_leave_out(tmp_path: Path) -> None:
    reference(PAIRS["pegasus"], tmp_path)
    first = load_folder(tmp_path)
    tables = ("model.encoder.embed_positions.weight", "model.decoder.embed_positions.weight")
    assert load_file(tmp_path / WEIGHTS).keys() > set(tables)
    rewrite(tmp_path, lambda t: without(t, {*tables, "final_logits_bias"}))
    again = load_folder(tmp_path)
    assert_same(without(again.state, {"head.out.bias"}), without(first.state, {"head.out.bias"}))
    assert again.state["head.out.bias"].tolist() == [0.0] * 41
    rewrite(tmp_path, lambda t: t.update({tables[0]: torch.ones(24, 16, dtype=torch.float64)}))
    assert load_folder(tmp_path).state["encoder.positions.weight"].eq(1).all(), "a table that is there counts"


def test_old_tables_and_versions_are_passed_over(tmp_path: Path) -> None:
    reference(PAIRS["t5"], tmp_path / "t5")
    reference(PAIRS["bart"], tmp_path / "bart")
    before = {name: load_folder(tmp_path / name).state for name in ("t5", "bart")}
    table = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"
    rewrite(tmp_path / "t5", lambda t: t.update({table: torch.ones(12, 4)}))
    rewrite(tmp_path / "bart", lambda t: t.update({"model.encoder.version": torch.ones(1)}))
    for name, state in before.items():
        assert_same(load_folder(tmp_path / name).state, state)


def test_labels_on_bart_are_read_and_written(tmp_path: Path) -> None:
    pair = bart(BartForSequenceClassification, num_labels=3)
    theirs = reference(pair, tmp_path / "theirs")
    loaded = load_folder(tmp_path / "theirs")
    assert (loaded.head, loaded.num_labels) == ("label", 3)
    assert torch.equal(loaded.spare["head.pooler.weight"], theirs.classification_head.dense.weight)
    trunk = {n: t for n, t in loaded.state.items() if not n.startswith("head.")}
    save_folder(tmp_path / "ours", loaded.spec, trunk | loaded.spare, family="bart", config=loaded.config, head="label")
    assert_same(load_file(tmp_path / "ours" / WEIGHTS), load_file(tmp_path / "theirs" / WEIGHTS))
    with pytest.raises(InputError, match="transformers has no t5 with this head"):
        families["t5"].to_config(loaded.spec, head="label")


def test_names_of_modules() -> None:
    assert module_name("t5", "decoder.blocks.2.cross.v") == ("decoder.block.2.layer.1.EncDecAttention.v", 0, 1)
    assert module_name("t5", "encoder.blocks.0.mlp.up") == ("encoder.block.0.layer.1.DenseReluDense.wi", 0, 1)
    assert module_name("mt5", "decoder.blocks.0.mlp.up") == ("decoder.block.0.layer.2.DenseReluDense.wi_1", 0, 1)
    assert module_name("marian", "decoder.blocks.1.cross.o") == ("model.decoder.layers.1.encoder_attn.out_proj", 0, 1)


VALUES = [
    (t5(), "feed_forward_proj", "gated-mish", 'feed_forward_proj "gated-mish" is not supported. '),
    (t5(), "feed_forward_proj", "silu-gated", 'feed_forward_proj "silu-gated" is not supported. '),
    (t5(), "feed_forward_proj", "gelu", 'dense_act_fn is "relu", which contradicts feed_forward_proj.'),
    (t5(), "is_gated_act", True, "is_gated_act is True, which is not supported: it contradicts feed_forward_proj."),
    (t5(), "is_encoder_decoder", False, "is_encoder_decoder is False, which is not supported: this family has an enc"),
    (t5(), "is_decoder", True, "is_decoder is True"),
    (t5(), "relative_attention_num_buckets", 3, "relative_buckets 3 and relative_max_distance 10 leave no bucket"),
    (t5(), "relative_attention_max_distance", 3, "relative_buckets 12 and relative_max_distance 3 leave no bucket"),
    (t5(), "d_kv", "64", 'd_kv is "64", but must be a whole number'),
    (t5(), "architectures", ["T5EncoderModel"], "architectures names T5EncoderModel, an encoder alone; only T5 with"),
    (mt5(), "num_decoder_layers", 0, "num_decoder_layers is 0, but must be a whole number"),
    (bart(), "activation_function", "quick_gelu", 'activation_function "quick_gelu" is not supported. '),
    (bart(), "normalize_before", True, "normalize_before is True, which is not supported: this architecture"),
    (mbart(), "add_final_layer_norm", False, "add_final_layer_norm is False"),
    (pegasus(), "static_position_embeddings", False, "static_position_embeddings is False"),
    (bart(), "encoder_attention_heads", 3, "hidden_size 16 is not a multiple of num_heads 3"),
    (bart(), "decoder_layers", None, 'the field "decoder_layers" is missing.'),
    (bart(), "scale_embedding", 4.0, "scale_embedding is 4.0, but must be true or false."),
    (marian(), "decoder_vocab_size", 50, "decoder_vocab_size is not vocab_size 41: two vocabularies are not supported"),
    (pegasus(), "max_position_embeddings", 25, "has shape [24, 16], but config.json asks for [25, 16]."),
]


@pytest.mark.parametrize(("pair", "key", "value", "message"), VALUES, ids=[f"{k}={v}" for _, k, v, _ in VALUES])
def test_an_unknown_value_is_refused_and_never_guessed(
    pair: Pair, key: str, value: Any, message: str, tmp_path: Path
) -> None:
    reference(pair, tmp_path)
    load_folder(tmp_path)
    configure(tmp_path, **{key: value})
    with pytest.raises(InputError) as caught:
        load_folder(tmp_path)
    assert str(caught.value).startswith(str(tmp_path))
    assert message in str(caught.value)


def test_one_of_two_stacks_is_refused(tmp_path: Path) -> None:
    reference(t5(T5EncoderModel), tmp_path)
    with pytest.raises(InputError, match=r"config\.json: architectures names T5EncoderModel, an encoder alone"):
        load_folder(tmp_path)
    configure(tmp_path, architectures=None)
    with pytest.raises(InputError, match="is_encoder_decoder is False"):
        load_folder(tmp_path)
    configure(tmp_path, is_encoder_decoder=True)
    with pytest.raises(InputError, match=r"tensor \"decoder\..* is missing; the folder is incomplete"):
        load_folder(tmp_path)


def test_a_spec_that_a_family_cannot_express_is_not_written(tmp_path: Path) -> None:
    reference(PAIRS["t5"], tmp_path / "t5")
    reference(bart(**UNTIED), tmp_path / "bart")
    first, second = load_folder(tmp_path / "t5").spec, load_folder(tmp_path / "bart").spec
    wrong = [
        (replace(first, logit_scale=0.5), "t5", "logit_scale: 0.5"),
        (replace(first, decoder=replace(first.decoder, intermediate_size=7)), "t5", "decoder.intermediate_size: 7"),
        (replace(first, encoder=None), "t5", "only one stack"),
        (replace(first, head_bias=True), "t5", "head_bias: True"),
        (replace(second, encoder=replace(second.encoder, norm_eps=1e-6)), "bart", "encoder.norm_eps: 1e-06"),
        (replace(second, decoder=replace(second.decoder, embedding_scale=2.0)), "bart", "decoder.embedding_scale: 2.0"),
        (second, "mbart", "encoder.placement: post"),
        (second, "t5", "encoder.norm: layer"),
    ]
    for spec, family, message in wrong:
        with pytest.raises(InputError, match="cannot express") as caught:
            save_folder(tmp_path / "out", spec, {}, family=family)
        assert message in str(caught.value)
        assert not (tmp_path / "out").exists()
