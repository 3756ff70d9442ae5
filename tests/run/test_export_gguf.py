"""GGUF files of a Llama-, a Qwen- and a GPT-2-shaped model, read back by the gguf package."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from tiny_exports import SPECS, TEXTS, VOCAB, make, make_run, report
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

import microtune as mt
from microtune.data.text import QWEN2_PATTERN, Tokenizer, train_bpe
from microtune.errors import CheckError, InputError
from microtune.nn.spec import ModelSpec
from microtune.run.export import gguf_file, gguf_tokenizer
from microtune.run.export.gguf_check import _pieces
from microtune.run.export.gguf_tokenizer import GPT2_PATTERN, LLAMA3_PATTERN, pre_tokenizer, vocabulary
from microtune.run.load import Model, load

gguf = pytest.importorskip("gguf", reason='the extra "export" is not installed')
pytestmark = pytest.mark.usefixtures("quick")
KINDS = ["llama", "llama tied", "qwen2", "gpt2"]
SHAPES = {"llama": "llama", "llama tied": "llama", "qwen2": "qwen2", "gpt2": "gpt2"}
# Shares of the largest logit. Random weights amplify rounding: found are 0.3 % and 5.9 %, a trained model has far less.
TIGHT = {"float32": 1e-12, "float16": 5e-3, "q8_0": 9e-2}


def fields(folder: Path) -> dict[str, Any]:
    """The key-value part of a file, by the package's reader."""
    reader = gguf.GGUFReader(str(folder / "model.gguf"))
    return {name: field.contents() for name, field in reader.fields.items()}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("made")
    return {kind: make(folder / kind, kind) for kind in KINDS}


@pytest.mark.parametrize("dtype", ["float32", "float16", "q8_0"])
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_logits(kind: str, dtype: str, made: dict[str, Path], tmp_path: Path) -> None:
    done = mt.export(made[kind], format="gguf", out=tmp_path / "out", dtype=dtype)
    assert done.parity.independent
    share = gguf_check_share(done.parity.bound, dtype)
    assert done.parity.gap <= TIGHT[dtype] * share
    found = report(done.path)
    assert found["rounding_used"] <= 1
    assert (found["ids"], found["passed"]) == ("equal for 6 texts", True)
    assert found["same_best_token"] >= {"float32": 1.0, "float16": 0.97, "q8_0": 0.8}[dtype]
    types = {t.name: t.tensor_type.name for t in gguf.GGUFReader(str(done.path / "model.gguf")).tensors}
    wanted = {"float32": "F32", "float16": "F16", "q8_0": "Q8_0"}[dtype]
    assert types["token_embd.weight"] == wanted
    assert types["output_norm.weight"] == "F32"
    assert ("output.weight" in types) == (kind == "llama")  # a tied head is not written twice


def gguf_check_share(bound: float, dtype: str) -> float:
    """The largest logit, out of the bound that was allowed."""
    from microtune.run.export.gguf_check import BOUNDS

    return bound / BOUNDS[dtype][0]


def test_the_shape_of_a_llama(made: dict[str, Path], tmp_path: Path) -> None:
    mt.export(made["llama tied"], format="gguf", out=tmp_path / "out")
    found = fields(tmp_path / "out")
    assert found["general.architecture"] == "llama"
    assert [found[f"llama.{name}"] for name in ("block_count", "embedding_length", "feed_forward_length")] == [
        2,
        32,
        64,
    ]
    assert (found["llama.attention.head_count"], found["llama.attention.head_count_kv"]) == (4, 2)
    assert found["llama.rope.dimension_count"] == found["llama.attention.key_length"] == 12
    assert found["llama.rope.freq_base"] == 5000.0
    assert found["llama.attention.layer_norm_rms_epsilon"] == pytest.approx(1e-5)
    assert found["llama.context_length"] == 160
    assert found["general.file_type"] == gguf.LlamaFileType.MOSTLY_F16


def test_q_and_k_turn_neighbouring_pairs_in_a_llama_and_nowhere_else(made: dict[str, Path], tmp_path: Path) -> None:
    """llama.cpp's `llama` rotates rows 2i and 2i+1 of a head together, its `qwen2` rows i and i + E/2."""
    for kind, paired in (("llama", True), ("qwen2", False)):
        mt.export(made[kind], format="gguf", out=tmp_path / kind, dtype="float32")
        tensors = {t.name: t.data for t in gguf.GGUFReader(str(tmp_path / kind / "model.gguf")).tensors}
        ours = load(made[kind]).network.get_parameter("decoder.blocks.1.attention.k.weight").detach()
        written = torch.from_numpy(tensors["blk.1.attn_k.weight"].copy())
        order = [row for head in (0, 8) for i in range(4) for row in (head + i, head + i + 4)]
        assert torch.equal(written, ours[order] if paired else ours)


def test_the_tokenizer_template_and_stop_ids(made: dict[str, Path], tmp_path: Path) -> None:
    mt.export(made["llama"], format="gguf", out=tmp_path / "out")
    found, text = fields(tmp_path / "out"), load(made["llama"]).text
    assert (found["tokenizer.ggml.model"], found["tokenizer.ggml.pre"]) == ("gpt2", "qwen2")
    assert len(found["tokenizer.ggml.tokens"]) == VOCAB
    assert found["tokenizer.ggml.tokens"][:2] == ["<|bos|>", "<|eos|>"]
    assert found["tokenizer.ggml.tokens"][-1] == f"[PAD{VOCAB - 1}]"
    assert found["tokenizer.ggml.token_type"][0] == gguf.TokenType.CONTROL
    assert found["tokenizer.ggml.token_type"][-1] == gguf.TokenType.UNUSED
    assert found["tokenizer.ggml.bos_token_id"] == text.id("bos")
    assert found["tokenizer.ggml.padding_token_id"] == text.id("pad")
    assert [found["tokenizer.ggml.eos_token_id"], found["tokenizer.ggml.eot_token_id"]] == text.stop_ids
    assert (found["tokenizer.ggml.add_bos_token"], found["tokenizer.ggml.add_eos_token"]) == (True, False)
    assert found["tokenizer.chat_template"] == text.chat_template


def with_splitting(pattern: str | None, *, digits: bool = False, whole: bool = False) -> Tokenizer:
    """A small byte-level BPE that splits by a pattern, GPT-2's own where there is none."""
    backend = tokenizers.Tokenizer(models.BPE(ignore_merges=whole))
    steps: list[Any] = [pre_tokenizers.Digits(individual_digits=True)] if digits else []
    if pattern is not None:
        steps.append(pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated"))
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=pattern is None))
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps) if len(steps) > 1 else steps[0]
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(TEXTS, trainer)
    return Tokenizer(backend, {})


NAMED = {
    "gpt-2": with_splitting(None),
    "smollm": with_splitting(None, digits=True),
    "qwen2": with_splitting(QWEN2_PATTERN),
    "llama-bpe": with_splitting(LLAMA3_PATTERN, whole=True),
}


@pytest.mark.parametrize("name", NAMED)
def test_names_of_splitting(name: str) -> None:
    assert pre_tokenizer(json.loads(NAMED[name].backend.to_str())) == name


REFUSED: dict[str, tuple[Tokenizer, str]] = {
    "a pattern of its own": (with_splitting(r"\p{L}+|\S"), r"llama.cpp has no name for \(\\p\{L\}\+\|\\S\)"),
    "whole words": (with_splitting(LLAMA3_PATTERN), r'splits as "llama-bpe" does, but treats whole words differently'),
    "another kind": (Tokenizer(tokenizers.Tokenizer(models.WordLevel({"a": 0}, "a")), {}), "of the kind WordLevel"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tokenizer_that_llama_cpp_does_not_know_is_refused(name: str) -> None:
    tokenizer, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        vocabulary(tokenizer, 400)


def sentencepiece_like(*, complete: bool) -> Tokenizer:
    """BPE with byte fallback as a converted Llama 2 tokenizer has it; complete: with every way to make a token."""
    words = ["▁my", "▁card", "▁the", "ed", "my", "ca", "rd", "card", "th", "the", "▁t", "▁th"]
    letters = sorted({c for text in TEXTS[:2] for c in f"▁{text}".replace(" ", "▁")})
    tokens = ["<unk>", "<s>", "</s>", *(f"<0x{b:02X}>" for b in range(256)), *letters, *words]
    ids = {token: i for i, token in enumerate(dict.fromkeys(tokens))}
    merges = []
    for word in sorted(words, key=lambda w: ids[w]):
        ways = [(word[:i], word[i:]) for i in range(1, len(word)) if word[:i] in ids and word[i:] in ids]
        merges += ways if complete else ways[:1]
    backend = tokenizers.Tokenizer(models.BPE(ids, merges, unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    backend.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return Tokenizer(backend, {"bos": "<s>", "eos": "</s>", "unk": "<unk>"})


def test_byte_fallback_becomes_a_sentencepiece_model() -> None:
    tokenizer = sentencepiece_like(complete=True)
    found = vocabulary(tokenizer, 400)
    assert (found.model, found.pre, found.merges) == ("llama", "default", [])
    assert found.types[:4] == [
        gguf.TokenType.UNKNOWN,
        gguf.TokenType.NORMAL,
        gguf.TokenType.NORMAL,
        gguf.TokenType.BYTE,
    ]
    encode = _pieces(found.tokens, found.scores)
    for text in (*TEXTS, "the mythed carded my", "名 é\n"):
        assert encode(text) == tokenizer.encode(text, special=False)
    with pytest.raises(InputError, match="some of its merges are missing"):
        vocabulary(sentencepiece_like(complete=False), 400)


SPEC_REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "another activation": ("llama", {"activation": "gelu_tanh"}, r"llama.cpp's llama cannot express .*activation gelu"),
    "unscaled attention": ("gpt2", {"attention_scale": 1.0}, r"gpt2 cannot express this model \(attention_scale 1.0\)"),
    "exact GELU": ("gpt2", {"activation": "gelu"}, r"gpt2 cannot express this model \(activation gelu\)"),
}


@pytest.mark.parametrize("name", SPEC_REFUSED)
def test_a_model_that_llama_cpp_does_not_compute_is_refused(name: str, tmp_path: Path) -> None:
    kind, change, message = SPEC_REFUSED[name]
    folder = make(tmp_path / "model", kind, **change)
    with pytest.raises(InputError, match=message):
        mt.export(folder, format="gguf", out=tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_a_field_that_nobody_listed_is_refused() -> None:
    model = Model(load_network(replace(SPECS["qwen2"], logit_softcap=30.0)), None, family="qwen2")
    with pytest.raises(InputError, match=r"qwen2 cannot express this model \(logit_softcap 30.0\)"):
        gguf_file.architecture_of(model)


def load_network(spec: ModelSpec) -> Any:
    from microtune.nn.transformer import Transformer

    return Transformer(spec)


def test_classifiers_and_encoders_are_refused(made: dict[str, Path], tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", made["llama"])
    with pytest.raises(InputError, match="this one was tuned for labels"):
        mt.export(run, format="gguf", out=tmp_path / "out")
    with pytest.raises(InputError, match='not of "bert"'):
        mt.export(make(tmp_path / "bert", "bert"), format="gguf", out=tmp_path / "out")


def test_values_beyond_half_precision_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "model", "gpt2")
    from safetensors.torch import load_file, save_file

    state = load_file(folder / "model.safetensors")
    state["transformer.h.0.mlp.c_fc.weight"][0, 0] = 1e5
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(InputError, match="beyond float16"):
        mt.export(folder, format="gguf", out=tmp_path / "out")


def broken_order(tensor: Any, ours: str, spec: Any, *, paired: bool) -> Any:
    return tensor


def broken_merges(tokenizer: Tokenizer, size: int) -> Any:
    found = vocabulary(tokenizer, size)
    return replace(found, merges=found.merges[::-1])


PLANTED: dict[str, tuple[str, Any, str]] = {
    "rows of q and k as they are": ("_arranged", broken_order, "times the error of its number format"),
    "merges the other way round": ("vocabulary", broken_merges, "tokenizer that was written gives other ids"),
}


@pytest.mark.parametrize("name", PLANTED)
def test_a_broken_writer_leaves_nothing(
    name: str, made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attribute, broken, message = PLANTED[name]
    monkeypatch.setattr(gguf_file, attribute, broken)
    with pytest.raises(CheckError, match=message):
        mt.export(made["llama"], format="gguf", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_without_the_package_it_says_what_to_install(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gguf_file, "optional", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "microtune\[export\]"'):
        mt.export(made["gpt2"], format="gguf", out=tmp_path / "out")


def test_more_stops_than_llama_cpp_has() -> None:
    tokenizer = train_bpe(TEXTS, 320)
    tokenizer.stops = ("<|end|>", "<|user|>", "<|system|>")
    with pytest.raises(InputError, match=r"has 4 tokens that end an answer; llama\.cpp knows 3"):
        vocabulary(tokenizer, 320)
    assert gguf_tokenizer.STOPS == ("eos", "eot", "eom")
    assert GPT2_PATTERN.startswith("'s|")


def test_a_tuned_model_goes_in_merged(made: dict[str, Path], tmp_path: Path) -> None:
    rows = [{"prompt": f"{TEXTS[i % 2]} {i}", "completion": f"answer {i % 3}"} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run = mt.tune(
        str(tmp_path / "rows.jsonl"),
        task="instruction",
        model=str(made["llama"]),
        method={"name": "lora", "rank": 2},
        epochs=1,
        train={"lr": 0.02, "precision": "float32"},
        out=tmp_path / "run",
    )
    done = mt.export(run.path, format="gguf", out=tmp_path / "out", dtype="float32")
    assert (done.facts, done.parity.gap) == ({"merged_updates": 14}, 0.0)
    assert done.parity.rows == 6 + 4  # stored texts, and the rows of the test split
    written = {t.name: t.data for t in gguf.GGUFReader(str(done.path / "model.gguf")).tensors}
    base = load(made["llama"]).network.get_parameter("decoder.blocks.0.mlp.up.weight").detach().numpy()
    assert abs(written["blk.0.ffn_up.weight"] - base).max() > 1e-3
