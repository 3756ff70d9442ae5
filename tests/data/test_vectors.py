"""Word vectors as the beginning of an embedding, and what a bad file says."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch

from microtune.data.text import train_bpe
from microtune.data.vectors import token_vectors
from microtune.errors import InputError
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Limits
from microtune.run.continued import begin_with_vectors

TOKENIZER = train_bpe(["cat cat cat dog dog dog the cat the dog", "dog", "dog"] * 9, 330)
LINES = ["3 4", "cat 1 2 3 4", "dog -1 0.5 1e-2 0", "nowhere 9 9 9 9"]


def _write(folder: Path, lines: list[str]) -> Path:
    (folder / "v.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "v.txt"


def test_words_with_and_without_a_space_take_their_vector(tmp_path: Path) -> None:
    ids, rows = token_vectors(_write(tmp_path, LINES), TOKENIZER, 4, Limits())
    found = {TOKENIZER.decode([int(i)]): row.tolist() for i, row in zip(ids, rows, strict=True)}
    assert found["cat"] == found[" cat"] == [1, 2, 3, 4]
    assert found["dog"] == pytest.approx([-1, 0.5, 0.01, 0])
    assert set(found) == {"cat", " cat", "dog", " dog"}
    with gzip.open(tmp_path / "v.txt.gz", "wt", encoding="utf-8") as out:
        out.write("\n".join(LINES[1:]))  # without a first line
    again = token_vectors(tmp_path / "v.txt.gz", TOKENIZER, 4, Limits())
    assert np.array_equal(again[1], rows)


def test_an_embedding_begins_with_them_at_its_own_scale(tmp_path: Path) -> None:
    stack = {"num_layers": 1, "hidden_size": 4, "num_heads": 1, "intermediate_size": 4, "causal": True}
    torch.manual_seed(0)
    network = Transformer(ModelSpec.from_dict({"vocab_size": len(TOKENIZER), "decoder": stack}))
    before = network.tokens.weight.detach().clone()
    path = _write(tmp_path, LINES)
    begin_with_vectors(network, path, TOKENIZER, Limits())
    ids, rows = token_vectors(path, TOKENIZER, 4, Limits())
    after = network.tokens.weight.detach()
    literal = rows - rows.mean(0)
    assert after[ids].numpy() == pytest.approx(literal * 0.02 / literal.std(ddof=1), rel=1e-5)
    rest = [i for i in range(len(TOKENIZER)) if i not in ids]
    assert torch.equal(after[rest], before[rest])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["2 5", "cat 1 2 3 4 5"], r"v\.txt, line 1: the vectors have 5 numbers, but the embedding of the model 4"),
        (["2 4", "cat 1 2 3"], r"v\.txt, line 2: the vectors have 3 numbers"),
        (["cat 1 2 x 4"], r"v\.txt, line 1: after the word there must be 4 numbers"),
        (["cat 1 2 nan 4"], r"v\.txt, line 1: a vector holds a number that is not finite"),
        (["chat 1 2 3 4"], "none of its words is a token"),
    ],
)
def test_bad_files(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        token_vectors(_write(tmp_path, lines), TOKENIZER, 4, Limits())
    with pytest.raises(InputError, match="no such file of word vectors"):
        token_vectors(tmp_path / "none.txt", TOKENIZER, 4, Limits())
