"""Encoder-decoders are pretrained by span denoising (T5) and text infilling (BART), resume, and write afterwards."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from tiny_objectives import ENCODER, objective_recipe
from tiny_runs import picture, run

import microtune as mt
from microtune.errors import InputError
from microtune.run.train import Step

pytestmark = pytest.mark.usefixtures("quick")

NO_BIAS = {f"{name}_bias": False for name in ("query", "key", "value", "output", "mlp")}
SIZES = {"num_layers": 1, "hidden_size": 32, "num_heads": 2, "intermediate_size": 64}
BELOW = {"causal": True, "cross_attention": True}
T5 = {**SIZES, **NO_BIAS, "norm": "rms", "norm_eps": 1e-6, "activation": "relu", "positions": "relative"} | {
    "attention_scale": 1.0
}
BART = {**SIZES, "placement": "post", "final_norm": False, "positions": "learned", "max_positions": 66} | {
    "position_offset": 2,
    "embedding_norm": True,
}
MODELS: dict[str, dict[str, Any]] = {
    "span-denoising": {
        "family": "t5",
        "spec": {"logit_scale": 32**-0.5, "initializer_range": 0.2, "encoder": T5, "decoder": T5 | BELOW},
    },
    "infilling": {
        "family": "bart",
        "spec": {
            "head_bias": True,
            "label_head": "tanh_pooler",
            "label_bias": True,
            "initializer_range": 0.1,
            "encoder": BART,
            "decoder": BART | BELOW,
        },
    },
}


class Stopped(Exception):  # noqa: N818 - an event
    """Raised in the middle of a run."""


@pytest.mark.parametrize("objective", MODELS)
def test_it_learns_saves_and_resumes(objective: str, tmp_path: Path) -> None:
    recipe = objective_recipe(tmp_path, objective, MODELS[objective], epochs=7, checkpoint_steps=5)
    losses: list[float] = []
    whole = run(recipe, tmp_path / "a", event=lambda e: losses.append(e.loss) if isinstance(e, Step) else None)
    assert losses[-1] < 0.65 * losses[0]
    scores = json.loads((tmp_path / "a" / "scores.json").read_text(encoding="utf-8"))["scores"]["tiny (en)"]["values"]
    assert set(scores) == {"loss", "perplexity", "token_accuracy"}
    counted = itertools.count(1)

    def stop(event: object) -> None:
        if isinstance(event, Step) and next(counted) == 13:
            raise Stopped

    with pytest.raises(Stopped):
        run(recipe, tmp_path / "b", event=stop)
    assert picture(run(recipe, tmp_path / "b").path) == picture(whole.path)

    model = mt.load(tmp_path / "a" / "model")
    config = json.loads((tmp_path / "a" / "model" / "config.json").read_text(encoding="utf-8"))
    assert model.text is not None
    start = "pad" if objective == "span-denoising" else "eos"
    assert config["decoder_start_token_id"] == model.text.id(start)
    ids = model.text.encode("the cat")
    assert ids[-1] == model.text.id("eos")
    assert (ids[0] == model.text.id("bos")) == (objective == "infilling")
    assert isinstance(model.generate("the cat eats", max_new_tokens=4), str)
    tuned = mt.tune(
        [{"source": f"cat {i}", "target": f"milk {i}"} for i in range(30)],
        task="sequence-to-sequence",
        model=str(tmp_path / "a" / "model"),
        method="top:1",
        train={"epochs": 1, "precision": "float32"},
        out=tmp_path / "tuned",
    )
    assert "test" in tuned.scores


def test_what_cannot_be_saved_or_read_is_refused_before_training(tmp_path: Path) -> None:
    recipe = objective_recipe(tmp_path, "infilling", MODELS["infilling"] | {"family": "t5"})
    with pytest.raises(InputError, match="A t5 file cannot express"):
        run(recipe, tmp_path / "run")
    short = BART | {"max_positions": 34}  # 32 of them for tokens, and a block of 32 needs two marks
    spec = MODELS["infilling"]["spec"] | {"encoder": short, "decoder": short | BELOW}
    with pytest.raises(InputError, match=r"data\.block_size 32 needs 34 positions, but the network has 32"):
        run(objective_recipe(tmp_path, "infilling", {"family": "bart", "spec": spec}), tmp_path / "run")
    with pytest.raises(InputError, match="masked, which needs an encoder alone"):
        run(objective_recipe(tmp_path, "masked", MODELS["infilling"]), tmp_path / "run")
    with pytest.raises(InputError, match="span-denoising, which needs an encoder and a decoder"):
        run(objective_recipe(tmp_path, "span-denoising", {"family": "modernbert", "spec": ENCODER}), tmp_path / "run")
