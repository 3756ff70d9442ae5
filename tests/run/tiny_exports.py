"""Small models of every shape that is exported: random everywhere, norms and biases too, with a trained tokenizer."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from tiny_runs import make_rows, run

from microtune.data.text import train_bpe
from microtune.families.base import Family, families, save_folder
from microtune.families.llama import LLAMA
from microtune.nn.heads import LabelHead
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import build
from microtune.run.load import Model, load

TEXTS = ["my card was declined at the shop", "the transfer has not arrived in account", "退款还没有到账"]
VOCAB = 330  # the tokenizer gives fewer ids: embeddings with rows that no token has are common
NO_BIAS = {f"{name}_bias": False for name in ("query", "key", "value", "output", "mlp")}
ROTARY = StackSpec(
    num_layers=2,
    hidden_size=32,
    num_heads=4,
    num_kv_heads=2,
    intermediate_size=64,
    causal=True,
    norm="rms",
    norm_eps=1e-5,
    mlp="gated",
    activation="silu",
    positions="rotary",
    rope_theta=5000.0,
    max_positions=160,
    **NO_BIAS,  # type: ignore[arg-type]
)
LEARNED = StackSpec(
    num_layers=2,
    hidden_size=32,
    num_heads=4,
    intermediate_size=64,
    causal=True,
    activation="gelu_tanh",
    positions="learned",
    max_positions=160,
)
BERT_STACK = replace(
    LEARNED, causal=False, activation="gelu", norm_eps=1e-12, placement="post", final_norm=False, embedding_norm=True
)
BERT = ModelSpec(
    vocab_size=VOCAB,
    encoder=BERT_STACK,
    token_types=2,
    head_transform=True,
    head_bias=True,
    pooling="first",
    label_head="tanh_pooler",
    label_bias=True,
)
SPECS = {
    "llama": ModelSpec(vocab_size=VOCAB, decoder=ROTARY, tied=False),
    "llama tied": ModelSpec(vocab_size=VOCAB, decoder=replace(ROTARY, head_dim=12)),
    "qwen2": ModelSpec(vocab_size=VOCAB, decoder=replace(ROTARY, query_bias=True, key_bias=True, value_bias=True)),
    "gpt2": ModelSpec(vocab_size=VOCAB, decoder=LEARNED),
    "bert": BERT,
}


def ensure_qwen2() -> None:
    """A family of that shape where this version has none: Llama's names, biases on q, k and v alone."""
    if "qwen2" in families:
        return

    def read(config: dict[str, Any]) -> ModelSpec:
        spec = LLAMA.read({**config, "attention_bias": False})
        assert spec.decoder is not None
        return replace(spec, decoder=replace(spec.decoder, query_bias=True, key_bias=True, value_bias=True))

    def write(spec: ModelSpec, config: dict[str, Any]) -> dict[str, Any]:
        return {**LLAMA.write(spec, config), "attention_bias": False}

    names = {"vocabulary": "Qwen2ForCausalLM", "label": "Qwen2ForSequenceClassification", "none": "Qwen2Model"}
    families.add("qwen2", Family("qwen2", read, write, LLAMA.rules, names))  # type: ignore[arg-type]


def stir(network: torch.nn.Module, seed: int = 0) -> None:
    """Random values everywhere, so that nothing vanishes by chance."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            noise = 0.2 * torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + noise if "norm" in name and name.endswith("weight") else noise)


def make(folder: Path, kind: str, **fields: Any) -> Path:
    """A model folder in Hugging Face form; `fields` replace some of the stack."""
    ensure_qwen2()
    spec = SPECS[kind]
    side = "decoder" if spec.decoder is not None else "encoder"
    spec = replace(spec, **{side: replace(spec.output_stack, **fields)})
    network = Transformer(spec)
    stir(network)
    save_folder(folder, spec, network.state_dict(), family=kind.split()[0])
    train_bpe(TEXTS, VOCAB - 10).save(folder)
    return folder


def make_sentences(folder: Path) -> Path:
    """A BERT without a vocabulary head as sentence-transformers has it, with a pooler that nobody reads."""
    network = Transformer(BERT)
    network.head = LabelHead(BERT, 2)
    stir(network)
    body = {name: t for name, t in network.state_dict().items() if not name.startswith("head.out.")}
    save_folder(folder, BERT, body, family="bert", head="none")
    train_bpe(TEXTS, VOCAB - 10).save(folder)
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    (folder / "modules.json").write_text(json.dumps([{"type": "sentence_transformers.models.Normalize"}]))
    (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 24}))
    return folder


def make_run(folder: Path, base: Path, *, method: str | dict[str, Any] = "lora", task: Any = "classification") -> Path:
    """A finished run on `base`: three epochs over forty-eight rows."""
    data = make_rows(folder.parent / f"{folder.name}.csv")
    chosen = {"name": "lora", "rank": 2} if method == "lora" else method
    recipe = build(
        {
            "task": task,
            "model": {"source": str(base)},
            "data": {"train": data, "split": {"validation": 0.17, "test": 0.17}},
            "method": chosen,
            "train": {"epochs": 1, "batch_size": 8, "lr": 0.02, "precision": "float32"},
        }
    )
    run(recipe, folder)
    return folder


def opened(folder: Path) -> Model:
    """A model in float32."""
    return load(folder, dtype="float32")


def report(folder: Path) -> dict[str, Any]:
    """parity.json of an export."""
    found = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found
