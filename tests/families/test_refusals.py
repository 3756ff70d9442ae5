"""Folders that cannot be read and specs that cannot be written: one sentence with the file and the tensor or field."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from references import LABELS, VOCABULARY, bert, gpt2, llama, reference
from safetensors.torch import load_file, save_file

from microtune.errors import InputError
from microtune.families import families, load_folder, save_folder
from microtune.nn.transformer import Transformer

WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    reference(VOCABULARY["llama"], tmp_path)
    return tmp_path


def refused(folder: Path, *parts: str) -> str:
    """The message, which begins with a path in the folder, is one line and ends as a sentence does."""
    with pytest.raises(InputError) as caught:
        load_folder(folder)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert message.endswith((".", "?", "`."))
    assert "\n" not in message
    for part in parts:
        assert part in message
    return message


def configure(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def rewrite(folder: Path, change: Any) -> None:
    tensors = load_file(folder / WEIGHTS)
    save_file(change(tensors) or tensors, folder / WEIGHTS)


VALUES = [
    (gpt2(), "activation_function", "quick_gelu", 'activation_function "quick_gelu" is not supported. '),
    (
        gpt2(),
        "scale_attn_by_inverse_layer_idx",
        True,
        "scale_attn_by_inverse_layer_idx is True, which is not supported",
    ),
    (gpt2(), "add_cross_attention", True, "add_cross_attention is True"),
    (gpt2(), "n_layer", None, 'the field "n_layer" is missing.'),
    (gpt2(), "n_embd", "16", 'n_embd is "16", but must be a whole number from 1 to 1048576.'),
    (gpt2(), "n_embd", 2**40, "n_embd is 1099511627776, but must be"),
    (gpt2(), "n_head", True, "n_head is True, but must be a whole number"),
    (gpt2(), "n_head", 5, "hidden_size 16 is not a multiple of num_heads 5"),
    (gpt2(), "n_layer", 1000, "promises 1000 layers, but the weights are 28 tensors."),
    (gpt2(), "layer_norm_epsilon", -1.0, "layer_norm_epsilon is -1.0, but must be a number from 0 to 1."),
    (gpt2(), "layer_norm_epsilon", float("nan"), "layer_norm_epsilon is nan"),
    (gpt2(), "tie_word_embeddings", "no", 'tie_word_embeddings is "no", but must be true or false.'),
    (llama(), "hidden_act", "../x.py", 'hidden_act "../x.py" is not supported.'),
    (
        llama(),
        "rope_scaling",
        {"type": "linear", "factor": 2.0},
        "rope_scaling and rope_parameters say different things",
    ),
    (llama(), "rope_parameters", {"rope_type": "llama4", "rope_theta": 5e5}, 'rope_type "llama4" is not supported.'),
    (
        llama(),
        "rope_parameters",
        {"full_attention": {}},
        'the field "full_attention" is not supported with the default',
    ),
    (llama(), "rope_parameters", {"partial_rotary_factor": 0.5}, "partial_rotary_factor is 0.5"),
    (llama(), "rope_parameters", [1], "rope_parameters is [1], but must be an object."),
    (llama(), "rope_theta", 5.0, "rope_theta is given as 5 and as 10000; keep one."),
    (llama(), "num_key_value_heads", 3, "num_heads 4 is not a multiple of num_kv_heads 3"),
    (llama(), "head_dim", 5, "head_dim is 5, but rotary positions need an even number."),
    (
        llama(),
        "quantization_config",
        {"bits": 4},
        "quantised weights cannot be read; export the model in 16 or 32 bits",
    ),
    (bert(), "is_decoder", True, "is_decoder is True"),
    (bert(), "position_embedding_type", "relative_key", 'position_embedding_type is "relative_key"'),
    (bert(), "pruned_heads", {"0": [1]}, "pruned_heads is {'0': [1]}"),
    (bert(), "model_type", "mamba", 'model_type "mamba" is not supported.'),
    (bert(), "model_type", "brt", f'Did you mean "bert"? Known: {", ".join(families)}.'),
    (bert(), "model_type", None, 'model_type "None" is not supported.'),
]


@pytest.mark.parametrize(
    ("case", "key", "value", "message"), VALUES, ids=[f"{k}={str(v)[:30]}" for _, k, v, _ in VALUES]
)
def test_an_unknown_value_is_refused_and_never_guessed(
    case: Any, key: str, value: Any, message: str, tmp_path: Path
) -> None:
    reference(case, tmp_path)
    load_folder(tmp_path)
    configure(tmp_path, **{key: value})
    refused(tmp_path, str(tmp_path / "config.json"), message)


def test_defaults_stand_where_the_reference_has_them(folder: Path) -> None:
    before = load_folder(folder).spec
    config = json.loads((folder / "config.json").read_text())
    for key in ("rope_parameters", "hidden_act", "attention_bias", "mlp_bias", "rms_norm_eps", "head_dim"):
        del config[key]
    (folder / "config.json").write_text(json.dumps(config))
    assert load_folder(folder).spec == replace(before, decoder=replace(before.decoder, head_dim=None))


def test_what_is_no_folder_with_a_model(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "there is no such file; name a folder with a model in Hugging Face form.")
    refused(tmp_path, "config.json: there is no such file")
    for text, part in (("{", "not readable as JSON"), ("[1]", "holds a list"), ("[" * 100_000, "not readable as JSON")):
        (tmp_path / "config.json").write_text(text)
        refused(tmp_path, "config.json", part)


def test_only_safetensors_are_read(folder: Path) -> None:
    (folder / WEIGHTS).unlink()
    refused(folder, f"there is neither {WEIGHTS} nor {INDEX}")
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    refused(folder, "pytorch_model.bin: pickled weights can run code and are not read", "save_pretrained(new_folder)")


def test_damaged_files(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    for content in (b"", b"\xff" * 64, whole[: len(whole) // 2], whole + b"x", (2**63).to_bytes(8, "little") + b"{}"):
        (folder / WEIGHTS).write_bytes(content)
        refused(folder, WEIGHTS, "not a readable safetensors file", "download or export it again.")


def test_a_thousand_mutations_end_in_a_sentence_or_a_model(folder: Path) -> None:
    whole = (folder / WEIGHTS).read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    pick, outcomes = random.Random(0), {"loaded": 0, "refused": 0}
    for _ in range(1_000):
        data = bytearray(whole)
        for _ in range(pick.randint(1, 3)):
            data[pick.randrange(header)] = pick.choice(b'\x00\xff"{}[]:,0123456789-.eF\\')
        (folder / WEIGHTS).write_bytes(data)
        try:
            load_folder(folder)
        except InputError:
            outcomes["refused"] += 1
        else:
            outcomes["loaded"] += 1
    assert outcomes["refused"] > 900


def test_tensors_that_do_not_fit(folder: Path) -> None:
    name = "model.layers.1.self_attn.k_proj.weight"
    changes = [
        (lambda t: t.update({name: t[name][:3]}), f'"{name}" has shape [3, 16], but config.json asks for [16, 16].'),
        (lambda t: {n: v for n, v in t.items() if n != name}, f'"{name}" is missing; the folder is incomplete.'),
        (lambda t: {n: v for n, v in t.items() if ".1." not in n}, "(and 8 more) is missing"),
        (lambda t: t.update(extra=t[name].clone()), 'tensor "extra" has no place in this family'),
        (lambda t: t.update({"model.layers.2.mlp.up_proj.weight": torch.ones(20, 16)}), "config.json describes."),
        (lambda t: t.update({"model.layers.01.mlp.up_proj.weight": torch.ones(20, 16)}), "has no place in this family"),
        (
            lambda t: t.update({name.replace("weight", "bias"): torch.ones(16)}),
            "no place in the model that config.json",
        ),
        (lambda t: t.update({name: t[name].to(torch.int8)}), f'"{name}" has type I8, but only F64, F32, F16, BF16'),
        (
            lambda t: t.update({name[6:]: t[name].clone()}),
            f'"{name}" is a second version of "{name[6:]}"; keep one of them.',
        ),
    ]
    whole = (folder / WEIGHTS).read_bytes()
    for change, message in changes:
        (folder / WEIGHTS).write_bytes(whole)
        rewrite(folder, change)
        refused(folder, message)


def test_one_of_three_fused_parts_shows_in_the_shape(tmp_path: Path) -> None:
    reference(gpt2(), tmp_path)
    name = "transformer.h.0.attn.c_attn.weight"
    rewrite(tmp_path, lambda t: t.update({name: t[name].t().contiguous()}))
    refused(tmp_path, WEIGHTS, f'"{name}" has shape [48, 16], but config.json asks for [16, 48].')


def test_two_biases_of_bert_must_agree(tmp_path: Path) -> None:
    reference(bert(), tmp_path)
    name = "cls.predictions.decoder.bias"
    rewrite(tmp_path, lambda t: t.update({name: t["cls.predictions.bias"].clone()}))
    load_folder(tmp_path)
    rewrite(tmp_path, lambda t: t.update({name: t["cls.predictions.bias"] + 1}))
    refused(tmp_path, f'"{name}" is a second version of "cls.predictions.bias"; keep one of them.')


def test_a_name_twice_in_the_header(tmp_path: Path) -> None:
    reference(llama(), tmp_path)
    data = (tmp_path / WEIGHTS).read_bytes()
    size = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + size].decode().rstrip()
    entry = header[header.index('"model.norm.weight"') :].split("}")[0] + "}"
    double = ("{" + entry + "," + header[1:]).encode()
    (tmp_path / WEIGHTS).write_bytes(len(double).to_bytes(8, "little") + double + data[8 + size :])
    refused(tmp_path, 'tensor "model.norm.weight" stands twice in the header; export the model again.')


def test_shards(tmp_path: Path) -> None:
    reference(llama(), tmp_path / "one").save_pretrained(tmp_path / "many", max_shard_size="9KB")
    folder = tmp_path / "many"
    index = json.loads((folder / INDEX).read_text())
    name, shard = next(
        (n, s) for n, s in index["weight_map"].items() if list(index["weight_map"].values()).count(s) > 1
    )

    def change(table: Any) -> None:
        (folder / INDEX).write_text(json.dumps({"weight_map": table}))

    for bad in ("../one/model.safetensors", "/etc/passwd", "a\\b.safetensors", "C:x.safetensors", "x.bin", "..", ""):
        change(index["weight_map"] | {name: bad})
        refused(folder, INDEX, f'"{bad}" is not the name of a safetensors file in this folder.')
    change(index["weight_map"] | {name: "model-9.safetensors"})
    refused(folder, 'the shard "model-9.safetensors" is missing; download the folder again.')
    change({n: s for n, s in index["weight_map"].items() if n != name})
    refused(folder, shard, f'tensor "{name}" is not listed for this file')
    change(index["weight_map"] | {"model.other": shard})
    refused(folder, shard, 'tensor "model.other", which', "is missing.")
    for bad_table in (None, [1], {"a": 1}):
        change(bad_table)
        refused(folder, 'the field "weight_map" must map tensor names to file names.')


def test_labels_and_rows_must_agree(tmp_path: Path) -> None:
    reference(LABELS["llama, two labels"], tmp_path)
    for table in ({"0": "a"}, {"0": "a", "2": "b"}, ["a", "b"]):
        configure(tmp_path, id2label=table)
        refused(tmp_path, "config.json: id2label must name the labels 0 to 1, one per row of the label head.")


def test_a_spec_that_a_family_cannot_express_is_not_written(folder: Path, tmp_path: Path) -> None:
    spec = load_folder(folder).spec
    decoder = spec.decoder
    assert decoder is not None
    wrong = [
        (replace(spec, decoder=replace(decoder, placement="post")), "llama", "decoder.placement: post"),
        (replace(spec, decoder=replace(decoder, window=4, pattern="L")), "llama", "decoder.pattern: L"),
        (replace(spec, decoder=replace(decoder, output_bias=True)), "llama", "decoder.output_bias: True"),
        (replace(spec, logit_softcap=30.0), "llama", "logit_softcap: 30.0"),
        (spec, "gpt2", "decoder.norm: rms"),
        (spec, "bert", "this model (type_vocab_size is 0, but must be a whole number from 1 to 1048576): save in"),
        (replace(spec, encoder=decoder), "llama", "encoder.num_layers: 2"),
    ]
    for other, family, message in wrong:
        with pytest.raises(InputError, match="cannot express") as caught:
            save_folder(tmp_path / "out", other, {}, family=family)
        assert message in str(caught.value)
        assert not (tmp_path / "out").exists()
    with pytest.raises(InputError, match="pooling: mean"):
        families["llama"].to_config(replace(spec, pooling="mean"), head="label")
    families["llama"].to_config(replace(spec, pooling="mean"))  # no label head, no matter
    harmless = replace(decoder, dropout=0.3, max_positions=None, num_kv_heads=None, attention_scale=0.5)
    families["llama"].to_config(replace(spec, decoder=harmless))  # 0.5 is what the default comes to


def test_a_state_that_is_not_the_spec_is_not_written(folder: Path, tmp_path: Path) -> None:
    loaded = load_folder(folder)
    out = tmp_path / "out"
    state = dict(loaded.state)
    cases = [
        (state | {"x": torch.ones(1)}, '"x" is unexpected.'),
        ({n: t for n, t in state.items() if n != "decoder.norm.weight"}, '"decoder.norm.weight" is missing.'),
        (state | {"tokens.weight": torch.ones(2, 16)}, '"tokens.weight" is of the wrong shape.'),
    ]
    for wrong, message in cases:
        with pytest.raises(InputError) as caught:
            save_folder(out, loaded.spec, wrong, family="llama")
        assert str(caught.value) == f"The state to save does not fit its spec: {message}"
    tied = replace(loaded.spec, tied=True)
    with pytest.raises(InputError, match=r"head.out.weight differs from tokens.weight, but spec.tied promises one"):
        save_folder(out, tied, state, family="llama")
    with pytest.raises(InputError, match='Unknown family "lama"'):
        save_folder(out, tied, state, family="lama")
    assert not out.exists()
    model = Transformer(tied)
    with torch.no_grad():
        model.tokens.weight.fill_(float("nan"))
    save_folder(out, tied, model.state_dict(), family="llama")  # a broken model is still one tensor under two names
