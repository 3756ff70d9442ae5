"""Whole runs of sequence-to-sequence: every method on an encoder-decoder, every family, decoders; resume and reload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from test_resuming import at_step, leave
from tiny_pairs import CONFIGS, make_pair_base, pair_recipe, pair_rows, write_rows
from tiny_runs import make_base, picture, run
from torch.testing import assert_close

import microtune as mt
from microtune.adapt.base import make_method
from microtune.data.sources import Row
from microtune.recipe import Choice, Train
from microtune.run.answers import settled
from microtune.run.load import load
from microtune.run.train import Training
from microtune.tasks.base import EncodingReport
from microtune.tasks.sequence_to_sequence import SequenceToSequence

METHODS: dict[str, dict[str, Any]] = {
    "full": {"name": "full"},
    "head": {"name": "head"},
    "top": {"name": "top", "blocks": 1},
    "reinit": {"name": "reinit", "blocks": 1},
    "lora": {"name": "lora", "rank": 2, "dropout": 0.1},
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_pair_base(tmp_path_factory.mktemp("base") / "bart")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_rows(tmp_path_factory.mktemp("data") / "rows.jsonl")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "method", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("full", "lora"))) for name in METHODS]
)
def test_a_resumed_run_is_the_uninterrupted_one(method: str, base: str, data: str, tmp_path: Path) -> None:
    """Bit for bit, saved model, steps and scores of written answers; and what was saved answers as what was trained."""
    recipe = pair_recipe(base, data, METHODS[method])
    run(recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        run(recipe, tmp_path / "parts", event=at_step(5, leave))
    run(recipe, tmp_path / "parts")
    whole, parts = picture(tmp_path / "whole"), picture(tmp_path / "parts")
    assert whole["model"] == parts["model"]
    assert whole["metrics"] == parts["metrics"]
    assert whole["scores"] == parts["scores"]
    losses = [line["loss"] for line in whole["metrics"] if line["kind"] == "step"]
    assert losses[-1] < losses[0]
    done = mt.load(tmp_path / "whole")
    again = mt.Run(tmp_path / "whole").evaluate([{"en": "one two", "de": "eins zwei"}])
    assert isinstance(done.task, SequenceToSequence)
    assert again.predictions[0].answer == mt.Run(tmp_path / "whole").predict("one two")[0].answer
    checks = json.loads((tmp_path / "whole" / "scores.json").read_text(encoding="utf-8"))["checks"]
    assert {c["name"] for c in checks} >= {"stop-token", "prompt-ids", "answer-cut", "reload", "no-effect"}


@pytest.mark.parametrize("method", ["full", "lora"])
def test_one_by_one_is_all_at_once(method: str, base: str) -> None:
    """float64; 1e-10 after six steps: sums in another order, enlarged by Adam."""

    def train(micro_tokens: int) -> tuple[Training, list[Any]]:
        model = load(base, dtype="float64")
        for stack in (model.network.encoder, model.network.decoder):
            assert stack is not None
            for module in stack.modules():
                if isinstance(getattr(module, "dropout", None), float):
                    module.dropout = 0.0
            object.__setattr__(stack.spec, "dropout", 0.0)
        task = settled(SequenceToSequence(source_field="en", target_field="de"), model)
        rows = [Row(row, "rows", i + 1) for i, row in enumerate(pair_rows(20))]
        items = task.encode_all(rows, model.text, 40, training=True).items
        torch.manual_seed(0)
        chosen = make_method(Choice(**({"name": "lora", "rank": 2} if method == "lora" else {"name": "full"})))
        settings = Train(epochs=2, batch_size=8, lr=1e-2, micro_tokens=micro_tokens, precision="float32")
        attachment = chosen.attach(model.network)
        training = Training(model.network, task, chosen, attachment, items, settings, seed=4, precision="float32")
        return training, list(training.fit())

    (one, steps), (other, others) = train(1), train(4096)
    assert len(steps) == 6
    for a, b in zip(steps, others, strict=True):
        assert (a.tokens, a.supervised) == (b.tokens, b.supervised)
        assert a.loss == pytest.approx(b.loss, rel=0, abs=1e-10)
    theirs = dict(other.model.named_parameters())
    for name, value in one.model.named_parameters():
        assert_close(value, theirs[name], rtol=0, atol=1e-10)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[pytest.mark.slow] * (name not in ("t5", "marian"))) for name in CONFIGS]
)
def test_every_family_learns_and_writes(family: str, tmp_path: Path) -> None:
    made = make_pair_base(tmp_path / "base", family)
    task = {"name": "sequence-to-sequence", "max_new_tokens": 8, "source_field": "en", "target_field": "de"}
    train = {"lr": 0.02, "batch_size": 8, "precision": "float32"}
    base = {"source": made, "weights": "random"}
    found = mt.tune(pair_rows(), task=task, model=base, method="full", epochs=4, out=tmp_path / "run", train=train)
    score = found.scores["test"]
    assert score["loss"] < 4.5  # ln 320 is 5.8
    assert {"bleu", "chrf", "rouge1", "rouge2", "rougeL"} <= score.keys()
    assert 0 <= score["length_ratio"] <= 8
    model = mt.load(tmp_path / "run")
    assert isinstance(model.task, SequenceToSequence)
    assert model.task.start == model.config["decoder_start_token_id"]
    assert found.predict(["one two"])[0].answer == model.generate("one two", max_new_tokens=8)


@pytest.mark.usefixtures("quick")
def test_a_decoder_learns_to_answer(tmp_path: Path) -> None:
    """The target of a row is all that counts: learnt by heart, every answer is exact, and ends by itself."""
    made = make_base(tmp_path / "base")
    rows = pair_rows(18)[:16]
    fields = {"source_field": "en", "target_field": "de", "mark": "=", "max_new_tokens": 24}
    train = {"lr": 0.01, "batch_size": 16, "precision": "float32"}
    found = mt.tune(
        rows,
        test=pair_rows(18)[17:],
        task={"name": "sequence-to-sequence", **fields},
        model=made,
        method="full",
        epochs=60,
        out=tmp_path / "run",
        train=train,
        split="none",
    )
    model = mt.load(tmp_path / "run")
    assert isinstance(model.task, SequenceToSequence)
    assert model.task.form == "decoder"
    score = found.evaluate(rows[1:])
    assert score.values["loss"] < 1.5
    report = EncodingReport()
    item = model.task.encode(Row(rows[1], "rows", 1), 0, model.text, 64, report)
    assert item is not None
    assert int(item.targets[-1]) == model.text.id("eos")
    assert len(item.readout) == len(item.targets) == len(model.text.encode(rows[1]["de"], special=False)) + 1
    alone = [p.answer for row in rows for p in found.predict(row["en"])]
    assert [p.answer for p in found.predict([row["en"] for row in rows])] == alone


def test_an_adapter_of_an_encoder_decoder_in_peft_form(base: str, data: str, tmp_path: Path) -> None:
    run(pair_recipe(base, data, METHODS["lora"]), tmp_path / "run")
    folder = tmp_path / "run" / "model" / "adapter"
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    assert config["task_type"] == "SEQ_2_SEQ_LM"
    ours, theirs = load(tmp_path / "run", dtype="float64"), load(folder, dtype="float64")
    ids, targets = [[70, 71, 72]], [[2, 80, 81]]
    assert_close(ours.logits(ids, targets)[0], theirs.logits(ids, targets)[0], rtol=0, atol=1e-12)
    plain = load(base, dtype="float64").logits(ids, targets)[0]
    assert float((ours.logits(ids, targets)[0] - plain).abs().max()) > 1e-3


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_peft_reads_the_adapter_of_an_encoder_decoder(base: str, data: str, tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForSeq2SeqLM

    run(pair_recipe(base, data, METHODS["lora"]), tmp_path / "run")
    their_base = AutoModelForSeq2SeqLM.from_pretrained(base, dtype=torch.float64)
    theirs = PeftModel.from_pretrained(their_base, tmp_path / "run" / "model" / "adapter").eval()
    ours = load(tmp_path / "run", dtype="float64")
    ids, targets = [[70, 71, 72]], [[2, 80, 81]]
    with torch.no_grad():
        found = theirs(input_ids=torch.tensor(ids), decoder_input_ids=torch.tensor(targets)).logits[0]
    assert_close(ours.logits(ids, targets)[0], found, rtol=1e-9, atol=1e-9)
