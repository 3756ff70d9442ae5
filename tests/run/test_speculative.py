"""Speculative decoding: greedy gives the ids of the large model alone; drawn, ids of its distribution."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import microtune as mt
from microtune.classic.recurrent import Recurrent
from microtune.classic.recurrent_spec import RecurrentSpec
from microtune.errors import InputError
from microtune.run.classic.ngram import NGramModel
from microtune.run.picking import Drawing
from microtune.run.speculative import Tally, accept, drafted_ids, rest
from tiny_model import TEXTS, make_model

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[mt.Model, NGramModel]:
    """A tiny random model, and an n-gram model of what it writes, so that some guesses are right."""
    folder = tmp_path_factory.mktemp("speculative")
    model = mt.load(make_model(folder / "model"))
    written = [
        model.generate(text, max_new_tokens=20, temperature=0.5, seed=seed) for text in TEXTS for seed in range(9)
    ]
    written += [text + model.generate(text, max_new_tokens=30) for text in TEXTS]
    lines = ["".join(c if c.isprintable() else " " for c in line) for line in written]
    (folder / "c.txt").write_text("\n".join(line for line in lines if line.strip()), encoding="utf-8")
    recipe = {
        "task": "language-modelling",
        "model": {"classic": "ngram:3", "tokenizer": str(folder / "model")},
        "data": {"folder": str(folder), "sources": [{"path": "c.txt"}]},
    }
    draft = mt.pretrain(recipe, out=folder / "run").model
    assert isinstance(draft, NGramModel)
    return model, draft


@pytest.mark.parametrize("guesses", [1, 3, 8])
@pytest.mark.parametrize("sure", [0.0, 0.3])
def test_greedy_output_is_that_of_the_model_alone(pair: tuple[mt.Model, NGramModel], guesses: int, sure: float) -> None:
    model, draft = pair
    tally = Tally()
    for text in TEXTS:
        ids = model.prompt_ids(text)
        alone = list(model.next_ids(ids, max_new_tokens=30))
        found = list(drafted_ids(model, draft, ids, max_new_tokens=30, draft_tokens=guesses, sure=sure, tally=tally))
        assert found == alone
        stop = alone[7]
        short = drafted_ids(model, draft, ids, max_new_tokens=30, stop_ids=[stop], draft_tokens=guesses)
        assert list(short) == alone[: alone.index(stop)]
    assert 0 < tally.right <= tally.guessed
    assert tally.passes + tally.right == 30 * len(TEXTS)


def test_generate_takes_a_draft(pair: tuple[mt.Model, NGramModel]) -> None:
    model, draft = pair
    assert model.generate(TEXTS[0], draft=draft, max_new_tokens=20) == model.generate(TEXTS[0], max_new_tokens=20)
    options = {"draft": draft, "max_new_tokens": 12, "temperature": 1.0, "top_k": 20, "top_p": 0.9, "draft_tokens": 2}
    drawn = [model.generate(TEXTS[0], seed=seed, **options) for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    long = len(model.prompt_ids(TEXTS[0])) + 500  # more than there are positions: as many as there are
    assert len(list(model.next_ids(model.prompt_ids(TEXTS[0]), max_new_tokens=long, draft=draft))) == 64 - len(
        model.prompt_ids(TEXTS[0])
    )


def test_what_is_drawn_has_the_distribution_of_the_model() -> None:
    """Exactly: min(p, q) + (1 - sum min(p, q)) rest = p; and in 20,000 draws, within 4 standard deviations."""
    p, q = torch.tensor([0.5, 0.3, 0.2, 0.0]).double(), torch.tensor([0.1, 0.2, 0.3, 0.4]).double()
    stands = torch.minimum(p, q)
    assert torch.allclose(stands + (1 - stands.sum()) * rest(p, q), p, atol=1e-15)
    drawing = Drawing.of(temperature=1.0)
    counts = torch.zeros(4)
    scores = p.log().expand(2, 4)
    draws = 20_000
    for _ in range(draws):
        guess = drawing.draw(q)
        right, last = accept(scores, [guess], [q], drawing)
        counts[guess if right else last] += 1
    deviation = (draws * p * (1 - p)).sqrt()
    assert ((counts - draws * p).abs() <= 4 * deviation).all()


def test_a_draft_that_cannot_serve_is_refused(pair: tuple[mt.Model, NGramModel]) -> None:
    model, draft = pair
    with pytest.raises(InputError, match="only an n-gram model can guess ahead"):
        model.generate("my", draft=model)
    with pytest.raises(InputError, match="its tokenizer is not that of the model"):
        mt.load("sprout").generate("my", draft=draft)
    with pytest.raises(InputError, match="draft_tokens: 0"):
        model.generate("my", draft=draft, draft_tokens=0)
    size = {"num_layers": 1, "hidden_size": 8}
    spec = RecurrentSpec.from_dict({"vocab_size": len(model.text), "decoder": size})
    recurrent = mt.Model(Recurrent(spec), model.tokenizer, family="seq2seq-rnn")
    with pytest.raises(InputError, match="a recurrent network cannot take a token back"):
        recurrent.generate("my", draft=draft)


def test_a_model_of_a_run_is_no_draft_by_its_path(pair: tuple[mt.Model, NGramModel], tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give what mt\.load makes of its run"):
        pair[0].generate("my", draft=str(tmp_path))
