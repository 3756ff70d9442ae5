"""Word vectors in runs: trained (where gensim is), asked on the command line, the start of a model's embeddings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_ngram_runs import CORPUS, make_recipe

import microtune as mt
from microtune.cli.app import main
from microtune.data.vectors import read_vectors, write_vectors
from microtune.errors import InputError
from microtune.recipe import build
from microtune.run.classic.vectors import WordVectors
from microtune.run.vectors import load_word_vectors, vectors_file, vectors_hash
from tiny_model import SPEC

pytestmark = pytest.mark.usefixtures("quick")


def command(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    printed = capsys.readouterr()
    assert isinstance(caught.value.code, int)
    return caught.value.code, printed.out, printed.err


def test_pretraining_says_how_many_rows_started_from_vectors(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    spec = SPEC.to_dict()
    spec.pop("vocab_size")
    write_vectors(tmp_path / "v.txt", ["card", "shop"], np.ones((2, 16), dtype=np.float32) * [[1], [2]])
    recipe["model"] = {"spec": spec, "tokenizer": {"vocab_size": 400}, "vectors": str(tmp_path / "v.txt")}
    recipe |= {"method": "full", "train": {"epochs": 1, "max_steps": 1, "lr": 0.01, "precision": "float32"}}
    recipe["data"]["block_size"] = 16
    run = mt.pretrain(recipe, out=tmp_path / "run")
    assert any("token embeddings begin with" in note for note in run.notes)
    stored = json.loads((run.path / "environment.json").read_text(encoding="utf-8"))
    assert len(stored["data"]["word vectors"]) == 64


def test_vectors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    recipe = make_recipe(tmp_path)
    spec = SPEC.to_dict()
    spec.pop("vocab_size")
    write_vectors(tmp_path / "wide.txt", ["card"], np.ones((1, 17), dtype=np.float32))
    write_vectors(tmp_path / "other.txt", ["xylophone"], np.ones((1, 16), dtype=np.float32))
    for name, sentence in [
        ("wide.txt", r"wide\.txt, line 1: the vectors have 17 numbers, but the embedding of the model 16"),
        ("other.txt", r"other\.txt: none of its words is a token"),
        (".", "no file of word vectors, and no run of word2vec"),
    ]:
        recipe["model"] = {"spec": spec, "tokenizer": {"vocab_size": 400}, "vectors": str(tmp_path / name)}
        recipe |= {"method": "full", "train": {"epochs": 1, "max_steps": 1, "lr": 0.01, "precision": "float32"}}
        recipe["data"]["block_size"] = 16
        with pytest.raises(InputError, match=sentence):
            mt.pretrain(recipe, out=tmp_path / "run")
        assert not (tmp_path / "run").exists()
    rows = [{"text": f"a {i}", "label": "bc"[i % 2]} for i in range(20)]
    with pytest.raises(InputError, match=r"model\.vectors is for a new model"):
        mt.tune(rows, task="classification", model={"vectors": str(tmp_path / "other.txt")}, out=tmp_path / "tuned")
    with pytest.raises(InputError, match=r"model\.classic belongs to `microtune pretrain`"):
        mt.tune(rows, task="classification", model={"classic": "ngram"}, out=tmp_path / "tuned")
    assert not (tmp_path / "tuned").exists()


def test_a_run_of_word2vec_gives_an_embedding_its_vectors(tmp_path: Path) -> None:
    """As a file of vectors does; another file in the run is another beginning."""
    (tmp_path / "run" / "model").mkdir(parents=True)
    path = tmp_path / "run" / "model" / "vectors.txt"
    recipe = build(make_recipe(tmp_path, None, vectors=str(tmp_path / "run")))
    found = []
    for number in (1, 2):
        write_vectors(path, ["card", "shop"], np.full((2, 16), number, dtype=np.float32))
        found.append(vectors_hash(recipe))
    assert found[0] != found[1]
    assert vectors_file(tmp_path / "run") == path
    assert load_word_vectors(tmp_path / "run").names == ["card", "shop"]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "v.txt"
    write_vectors(path, ["king", "queen", "man"], np.array([[1, 1], [1, 0], [0, 1]], dtype=np.float32))
    code, out, _ = command(capsys, "vectors", path, "king", "--json")
    assert code == 0
    assert json.loads(out) == [{"word": "queen", "cosine": 0.707107}, {"word": "man", "cosine": 0.707107}]
    code, out, _ = command(capsys, "vectors", path, "king", "--count", "1")
    assert (code, out.split()) == (0, ["0.707", "queen"])
    code, _, error = command(capsys, "vectors", path, "king", "queen")
    assert code == 2
    assert error.startswith("error: 2 words; give one for its neighbours")
    code, _, error = command(capsys, "vectors", tmp_path / "none", "king")
    assert code == 2
    assert "no such file of word vectors" in error


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> mt.Run:
    """A run of word2vec on the tiny corpus."""
    pytest.importorskip("gensim")
    folder = tmp_path_factory.mktemp("word2vec")
    recipe = make_recipe(folder, {"name": "word2vec", "width": 8, "min_count": 2})
    recipe["model"].pop("tokenizer")
    return mt.pretrain(recipe | {"train": {"epochs": 2}}, out=folder / "run")


def test_a_run_of_word2vec(trained: mt.Run) -> None:
    model = trained.model
    assert isinstance(model, WordVectors)
    names, matrix = read_vectors(trained.path / "model" / "vectors.txt")
    assert {"card", "shop", "你"} <= set(names)
    assert matrix.shape == (len(names), 8)
    assert model.parameters == matrix.size
    assert len(model.neighbours("card", 3)) == len(model.analogy("my", "card", "the", 3)) == 3
    assert model.embed([CORPUS[0], "?"]).shape == (2, 8)
    assert trained.checks == {"reload": "passed"}
    assert "skip-gram" in (trained.path / "README.md").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="a model of word vectors has no text to generate"):
        model.generate("my")
    with pytest.raises(InputError, match="nothing to score on rows"):
        trained.evaluate([{"text": "a"}])


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"classic": {"name": "word2vec", "window": 0}}, r"model\.classic: window"),
        ({"classic": "word2vec:3"}, r"word2vec takes no number; write model\.classic=word2vec"),
        ({"classic": "word2vec", "tokenizer": {"vocab_size": 300}}, r"model\.tokenizer is for unit: tokens"),
    ],
)
def test_wrong_recipes(tmp_path: Path, changes: dict[str, Any], sentence: str) -> None:
    recipe = make_recipe(tmp_path)
    recipe["model"].pop("tokenizer")
    recipe["model"] |= changes
    with pytest.raises(InputError, match=sentence):
        mt.pretrain(recipe, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
