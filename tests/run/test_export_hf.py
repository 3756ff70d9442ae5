"""Whole models for transformers and sentence-transformers, merging, and what a failed check leaves: nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_exports import TEXTS, make, make_run, make_sentences, opened, report
from torch.testing import assert_close

import microtune as mt
from microtune.errors import CheckError, InputError, RunError
from microtune.run.export import hf_folder, merging, parity, readers
from microtune.run.saved import load_run
from microtune.run.sources import locate

transformers = pytest.importorskip("transformers")
pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("quick")]
KINDS = ["llama", "llama tied", "qwen2", "gpt2", "bert"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Models, and LoRA runs of a classifier on a Llama and on a BERT."""
    folder = tmp_path_factory.mktemp("made")
    found = {kind: make(folder / kind, kind) for kind in KINDS}
    found["sentences"] = make_sentences(folder / "sentences")
    found["run"] = make_run(folder / "run", found["llama"])
    found["bert run"] = make_run(folder / "bert-run", found["bert"])
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_opens_a_whole_model(kind: str, made: dict[str, Path], tmp_path: Path) -> None:
    done = mt.export(made[kind], format="hf", out=tmp_path / "out")
    assert done.path == tmp_path / "out"
    assert done.parity.independent
    assert done.parity.reader == f"transformers {transformers.__version__}"
    assert (done.parity.compared, done.parity.rows) == ("logits", 6)
    assert 0 < done.parity.gap < 2e-5  # float32 through two blocks, logits up to 3
    found = report(done.path)
    assert found["passed"] is True
    assert found["ids"] == "equal for 6 texts"
    stops = opened(made[kind]).text.stop_ids
    if kind != "bert":
        assert transformers.GenerationConfig.from_pretrained(done.path).eos_token_id == stops
    first, again = opened(made[kind]).network.state_dict(), opened(done.path).network.state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)


def test_half_precision_is_compared_with_what_the_file_keeps(made: dict[str, Path], tmp_path: Path) -> None:
    done = mt.export(made["llama"], format="hf", out=tmp_path / "out", dtype="bfloat16")
    assert done.parity.gap < 2e-5
    wide, narrow = opened(made["llama"]).network.state_dict(), opened(done.path).network.state_dict()
    assert all(torch.equal(tensor.bfloat16().float(), narrow[name]) for name, tensor in wide.items())


@pytest.mark.parametrize("kind", ["run", "bert run"])
def test_a_classifier_as_the_architectures_own_class(kind: str, made: dict[str, Path], tmp_path: Path) -> None:
    done = mt.export(made[kind], format="hf", out=tmp_path / "out")
    assert (done.parity.compared, done.facts["merged_updates"]) == ("label scores", {"run": 14, "bert run": 12}[kind])
    assert done.parity.rows == 6 + 8  # stored texts, and rows of the test split
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(done.path).eval()
    assert theirs.config.id2label == {0: "card", 1: "transfer"}
    tokenizer = transformers.AutoTokenizer.from_pretrained(done.path)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        scores = theirs(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    model = opened(made[kind])
    wanted = parity.outputs(model, [model.text.encode(text) for text in TEXTS])
    assert_close(list(scores), wanted, rtol=1e-5, atol=1e-5)


def test_a_sentence_encoder_in_the_layout_of_sentence_transformers(made: dict[str, Path], tmp_path: Path) -> None:
    library = pytest.importorskip("sentence_transformers")
    done = mt.export(made["sentences"], format="hf", out=tmp_path / "out")
    assert done.parity.compared == "embeddings"
    assert report(done.path)["sentence_transformers"].startswith(f"{library.__version__}: embeddings of 6 texts")
    assert {p.name for p in done.path.iterdir()} >= {"modules.json", "1_Pooling", "2_Normalize", "model.safetensors"}
    again, spare = opened(done.path), opened(made["sentences"]).spare
    assert (again.normalize, again.max_length) == (True, 24)
    assert spare.keys() == {"head.pooler.weight", "head.pooler.bias"}
    assert all(torch.equal(again.spare[name], value) for name, value in spare.items())
    texts = [*TEXTS, "a long text " * 30]
    assert torch.equal(again.embed(texts), opened(made["sentences"]).embed(texts))


def test_a_head_that_the_class_does_not_have_is_refused(made: dict[str, Path], tmp_path: Path) -> None:
    mean = make_run(tmp_path / "mean", made["llama"], task={"name": "classification", "pooling": "mean"})
    with pytest.raises(InputError, match=r"cannot become a LlamaForSequenceClassification.*pooling: mean"):
        mt.export(mean, format="hf", out=tmp_path / "out")
    sentence = make_run(tmp_path / "normalized", made["sentences"])
    with pytest.raises(InputError, match=r"BertForSequenceClassification.*label_head: normalized"):
        mt.export(sentence, format="hf", out=tmp_path / "out")
    assert not list(tmp_path.glob("out*"))


def test_merge_says_what_it_moved(made: dict[str, Path], tmp_path: Path) -> None:
    done = mt.merge(made["run"], out=tmp_path / "out")
    facts = report(done.path)
    assert facts["merged_updates"] == 14
    assert 0 < facts["merge_gap"] < 1e-5  # float32: W + B A once, against W x + B (A x)
    assert facts["test_before"]["accuracy"] == facts["test_after"]["accuracy"]
    assert abs(facts["test_before"]["loss"] - facts["test_after"]["loss"]) < 1e-5
    assert done.parity.gap < 2e-5


def test_merge_refuses_what_moves_too_far(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = merging.fold

    def broken(network: Any) -> int:
        count = real(network)
        network.decoder.blocks[0].mlp.up.weight.mul_(1.01)
        return count

    monkeypatch.setattr(merging, "fold", torch.no_grad()(broken))
    with pytest.raises(CheckError, match="Merging moves the outputs by"):
        mt.merge(made["run"], out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_nothing_to_merge(made: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is nothing to merge"):
        mt.merge(made["llama"], out=tmp_path / "out")


def test_changed_data_gives_no_score(made: dict[str, Path], tmp_path: Path) -> None:
    other = make_run(tmp_path / "run", made["llama"])
    data = tmp_path / "run.csv"
    data.write_text(data.read_text() + "one more,card\n")
    done = mt.merge(other, out=tmp_path / "out")
    assert (report(done.path)["test"], done.parity.rows) == ("not scored: its data has changed", 6)
    data.unlink()
    assert parity.run_items(load_run(locate(str(other)), None))[0] is None


def test_a_broken_writer_leaves_nothing(made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = hf_folder.save_folder

    def broken(path: Path, spec: Any, state: dict[str, Any], **options: Any) -> None:
        real(path, spec, {n: t * 1.01 if n.endswith("q.weight") else t for n, t in state.items()}, **options)

    monkeypatch.setattr(hf_folder, "save_folder", broken)
    with pytest.raises(CheckError, match=r"do not compute what the model does.*logits that differ by"):
        mt.export(made["llama"], format="hf", out=tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_without_transformers_it_says_so(
    made: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readers, "optional", lambda name: None)
    for kind in ("bert", "bert run"):
        done = mt.export(made[kind], format="hf", out=tmp_path / kind)
        assert not done.parity.independent
        assert report(done.path)["note"] == "not checked by an independent reader: install transformers"
        assert report(done.path)["reader"] == "microtune itself"


def test_what_stands_there_is_not_overwritten(made: dict[str, Path], tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("x")
    with pytest.raises(RunError, match="exists and is not an export"):
        mt.export(made["gpt2"], format="hf", out=tmp_path / "mine", overwrite=True)
    mt.export(made["gpt2"], format="hf", out=tmp_path / "out")
    with pytest.raises(RunError, match="holds an export already"):
        mt.export(made["gpt2"], format="hf", out=tmp_path / "out")
    mt.export(made["gpt2"], format="hf", out=tmp_path / "out", dtype="float16", overwrite=True)
    assert opened(tmp_path / "out").config["dtype"] == "float16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "hff"}, 'unknown value "hff". Did you mean "hf"?'),
        ({"format": "onnx", "dtype": "float16"}, 'onnx files are not written in "float16"; known are float32'),
        ({"format": "peft"}, "a whole model, not an adapter"),
    ],
)
def test_refused_options(options: dict[str, Any], message: str, made: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        mt.export(made["gpt2"], out=tmp_path / "out", **options)
    assert message in str(error.value)
