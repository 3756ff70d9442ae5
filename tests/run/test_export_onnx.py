"""ONNX files of a classifier, encoders and decoders, run by onnxruntime on padded rows."""

from __future__ import annotations

import importlib.util
import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from tiny_exports import BERT, BERT_STACK, LEARNED, ROTARY, SPECS, make, make_run, make_sentences, opened, report, stir
from torch.testing import assert_close

import microtune as mt
from microtune.errors import CheckError, InputError
from microtune.nn.heads import LabelHead
from microtune.nn.spec import LabelHeadKind, ModelSpec, RopeScaling, StackSpec
from microtune.nn.transformer import Transformer
from microtune.run.export import Exported, onnx_file, onnx_network, parity
from microtune.run.load import Model

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
LACKING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
needs_packages = pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}")
pytestmark = pytest.mark.usefixtures("quick")
ROWS = [[3, 1, 4, 1, 5, 9, 2], [6, 5, 3], [35, 8, 9, 7, 9, 3, 2, 38], [11]]
TINY = {"num_layers": 2, "hidden_size": 16, "num_heads": 4, "intermediate_size": 24}
STACKS: dict[str, StackSpec] = {
    "learned": replace(LEARNED, **TINY),
    "rotary, grouped": replace(ROTARY, **TINY),
    "post norm, embedding norm": replace(BERT_STACK, **TINY),
    "window shorter than the row": replace(ROTARY, **TINY, window=3, pattern="LG", rope_local_theta=100.0),
    "two-sided window": replace(BERT_STACK, **TINY, window=2, pattern="L"),
    "sandwich, shifted norms, soft cap": replace(
        ROTARY, **TINY, placement="sandwich", norm_shift=True, attention_softcap=5.0, embedding_scale=3.0
    ),
    "query and key norm, width of its own": replace(ROTARY, **TINY, query_key_norm="head", head_dim=6),
    "norms behind the branches, of the whole width": replace(ROTARY, **TINY, placement="after", query_key_norm="width"),
    "parallel, part of a head turns": replace(LEARNED, **TINY, positions="rotary", residuals="parallel", rotary_dim=2),
    "neighbours turn, yarn": replace(
        ROTARY, **TINY, rope_layout="pairs", rope_scaling=RopeScaling(kind="yarn", factor=4.0, original_max_positions=4)
    ),
    "dynamic, by the length of each row": replace(
        ROTARY, **TINY, rope_scaling=RopeScaling(kind="dynamic", factor=2.0, original_max_positions=4)
    ),
    "first block without a norm, norms without bias": replace(LEARNED, **TINY, first_norm=False, norm_bias=False),
    "narrow embedding": replace(BERT_STACK, **TINY, embedding_size=6),
    "sinusoidal, offset, ReLU": replace(LEARNED, **TINY, positions="sinusoidal", position_offset=2, activation="relu"),
    "no positions, exact scale": replace(LEARNED, **TINY, positions="none", attention_scale=0.3),
}
HEADS: dict[str, dict[str, Any]] = {
    "soft cap and scale": {"logit_softcap": 4.0, "logit_scale": 0.5},
    "transform and bias": {"head_transform": True, "head_bias": True, "token_types": 2},
}


def model_of(stack: StackSpec, *, labels: int = 0, **fields: Any) -> Model:
    """A random model without files."""
    side = "decoder" if stack.causal else "encoder"
    if stack.embedding_size is not None:
        fields["head_transform"] = True
    spec = ModelSpec(vocab_size=41, **{side: stack}, **fields)  # type: ignore[arg-type]
    network = Transformer(spec)
    if labels:
        network.head = LabelHead(spec, labels)
    stir(network)
    return Model(network.eval(), None)


def padded(model: Model, *, behind: bool) -> list[torch.Tensor]:
    """What the padded network gives for `ROWS`, pads cut away, through the same path as onnxruntime's answers."""
    network = onnx_network.Padded(model.network, parity.kind_of(model), normalize=model.normalize)

    def ask(_: Any, inputs: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
        with torch.no_grad():
            return [network(*(torch.from_numpy(v) for v in inputs.values()))[-1].numpy()]

    return onnx_file._answers(ask, ROWS, parity.kind_of(model), behind=behind)


@pytest.mark.parametrize("behind", [True, False], ids=["pads behind", "pads in front"])
@pytest.mark.parametrize("name", STACKS)
def test_the_padded_network_is_the_ragged_one(name: str, behind: bool) -> None:
    model = model_of(STACKS[name])
    onnx_network.require_computable(model.spec)
    assert_close(padded(model, behind=behind), parity.outputs(model, ROWS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", HEADS)
def test_heads_of_a_vocabulary(name: str) -> None:
    model = model_of(STACKS["post norm, embedding norm"], **HEADS[name])
    assert_close(padded(model, behind=True), parity.outputs(model, ROWS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("behind", [True, False], ids=["pads behind", "pads in front"])
@pytest.mark.parametrize("kind", get_args(LabelHeadKind))
@pytest.mark.parametrize("pooling", ["first", "last", "mean"])
def test_label_heads(pooling: Any, kind: Any, behind: bool) -> None:
    stack = STACKS["rotary, grouped" if pooling == "last" else "post norm, embedding norm"]
    model = model_of(stack, labels=3, pooling=pooling, label_head=kind, label_bias=True)
    assert_close(padded(model, behind=behind), parity.outputs(model, ROWS), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (replace(BERT, encoder=replace(BERT_STACK, positions="relative")), r"\(positions relative\)"),
        (ModelSpec(vocab_size=9, encoder=BERT_STACK, decoder=LEARNED), "not of both in one model"),
    ],
)
def test_what_the_graph_does_not_compute_is_refused(spec: ModelSpec, message: str) -> None:
    with pytest.raises(InputError, match=message):
        onnx_network.require_computable(spec)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("made")
    found = {kind: make(folder / kind, kind) for kind in SPECS}
    found["sentences"] = make_sentences(folder / "sentences")
    found["run"] = make_run(folder / "run", found["llama"])
    found["sentence run"] = make_run(folder / "sentence-run", found["sentences"])
    return found


COMPARED = {
    "llama": "logits",
    "qwen2": "logits",
    "gpt2": "logits",
    "bert": "logits",
    "sentences": "embeddings",
    "run": "label scores",
    "sentence run": "label scores",
}


QUICK = ("llama", "sentences", "run")  # a decoder, an encoder, a label head


class Exports:
    """Exports of the models made here. torch takes seconds for one, so there is one of each, made when asked for."""

    def __init__(self, made: dict[str, Path], folder: Path) -> None:
        self.made, self.folder = made, folder
        self.done: dict[str, Exported] = {}

    def __call__(self, kind: str) -> Exported:
        if kind not in self.done:
            self.done[kind] = mt.export(self.made[kind], format="onnx", out=self.folder / kind.replace(" ", "-"))
        return self.done[kind]


@pytest.fixture(scope="module")
def exports(made: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Exports:
    return Exports(made, tmp_path_factory.mktemp("exports"))


def write_instead(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    """Let the exporter of torch write this."""
    monkeypatch.setattr(torch.onnx, "export", lambda network, inputs, path, **_: path.write_bytes(content))


@needs_packages
@pytest.mark.parametrize("kind", [k if k in QUICK else pytest.param(k, marks=pytest.mark.slow) for k in COMPARED])
def test_onnxruntime_gives_the_same(kind: str, made: dict[str, Path], exports: Exports) -> None:
    import onnxruntime

    done = exports(kind)
    assert done.parity.reader == f"onnxruntime {onnxruntime.__version__}"
    assert done.parity.compared == COMPARED[kind]
    assert done.parity.gap < 2e-5
    assert report(done.path)["passed"] is True
    session = onnxruntime.InferenceSession(str(done.path / "model.onnx"))
    assert [i.name for i in session.get_inputs()] == ["input_ids", "attention_mask"]
    assert [i.shape for i in session.get_inputs()] == [["batch", "length"]] * 2
    model = opened(made[kind])
    for rows in ([[5]], [[5, 6, 7, 8] * 20, [9]], [[i + 1, i + 2] for i in range(7)]):  # other sizes than the example's
        asked = onnx_file._answers(session.run, rows, parity.kind_of(model), behind=True)
        assert_close(asked, parity.outputs(model, rows), rtol=1e-4, atol=1e-4)
    if "run" in kind:
        assert json.loads((done.path / "labels.json").read_text()) == ["card", "transfer"]
    assert (done.path / "tokenizer.json").is_file()


@needs_packages
def test_a_broken_writer_leaves_nothing(
    made: dict[str, Path], exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes weights that are a hundredth too large."""
    import onnx

    graph = onnx.load(exports("run").path / "model.onnx")
    for tensor in graph.graph.initializer:
        value = onnx.numpy_helper.to_array(tensor)
        if value.dtype == np.float32 and np.abs(value).max() < 1e3:  # no mask
            tensor.CopyFrom(onnx.numpy_helper.from_array(value * np.float32(1.01), tensor.name))
    write_instead(monkeypatch, graph.SerializeToString())
    with pytest.raises(CheckError, match="label scores that differ by"):
        mt.export(made["run"], format="onnx", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


@needs_packages
def test_without_onnxruntime_it_says_so(
    made: dict[str, Path], exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_instead(monkeypatch, (exports("sentences").path / "model.onnx").read_bytes())
    real = onnx_file.optional
    monkeypatch.setattr(onnx_file, "optional", lambda name: None if name == "onnxruntime" else real(name))
    done = mt.export(made["sentences"], format="onnx", out=tmp_path / "out")
    assert done.parity.note == "not checked by onnxruntime: install onnxruntime"
    assert "reference evaluator" in done.parity.reader
    assert done.parity.gap < 2e-5


def test_without_the_packages_it_says_what_to_install(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(onnx_file, "optional", lambda name: None)
    with pytest.raises(InputError, match=r'pip install "microtune\[export\]"'):
        mt.export(made["bert"], format="onnx", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())
