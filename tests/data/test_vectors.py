"""Word vectors: what is written comes back exactly, a wrong line is named, an embedding begins with them."""

from __future__ import annotations

import gzip
import lzma
from pathlib import Path

import numpy as np
import pytest
import torch

from microtune.data.text import train_bpe
from microtune.data.vectors import read_vectors, token_vectors, write_vectors
from microtune.errors import InputError, LimitError
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
    note = begin_with_vectors(network, path, TOKENIZER, Limits())
    assert note == f"4 of {len(TOKENIZER)} token embeddings begin with {path}; the others at random."
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
        (["2 4", "cat 1 2 3"], r"v\.txt, line 2: 3 numbers, but the first line says that a vector has 4"),
        (["cat 1 2 3"], r"v\.txt, line 1: 3 numbers, but the embedding of the model has 4"),
        (["cat 1 2 x 4"], r"v\.txt, line 1: 'x' stands where a number should; a vector has 4"),
        (["cat 1 2 nan 4"], r"v\.txt, line 1: a number that is not finite"),
        (["chat 1 2 3 4"], "none of its words is a token"),
    ],
)
def test_bad_files(lines: list[str], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        token_vectors(_write(tmp_path, lines), TOKENIZER, 4, Limits())
    with pytest.raises(InputError, match="no such file of word vectors"):
        token_vectors(tmp_path / "none.txt", TOKENIZER, 4, Limits())


def test_the_best_form_of_a_token_wins(tmp_path: Path) -> None:
    """As the tokenizer writes it, as text, in small letters; half a character and a special token have no form."""
    tokenizer = train_bpe(["The cat The cat The cat"] * 9, 330)
    ids = {text: tokenizer.encode(text, special=False) for text in ("The", " cat", "cat")}
    assert [len(found) for found in ids.values()] == [1, 1, 1]
    lines = ["the 1 1", "\u0120cat 2 2", "cat 3 3", "<|endoftext|> 4 4", "Cat 5 5"]
    found, rows = token_vectors(_write(tmp_path, lines), tokenizer, 2, Limits())
    by_id = {int(i): row.tolist() for i, row in zip(found, rows, strict=True)}
    assert [by_id[i] for (i,) in ids.values()] == [[1, 1], [2, 2], [3, 3]]
    assert found.tolist() == sorted(by_id)
    assert [4, 4] not in by_id.values()
    _write(tmp_path, lines[::-1])  # whatever comes first in the file
    again = token_vectors(tmp_path / "v.txt", tokenizer, 2, Limits())
    assert np.array_equal(again[1], rows)


def test_what_is_written_comes_back_bit_for_bit(tmp_path: Path) -> None:
    path = tmp_path / "v.txt"
    matrix = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    matrix[0, :3] = [1e-30, -3e20, 0.1]
    names = ["the", "Ġthe", "你好", "3", "two words"]
    write_vectors(path, names, matrix)
    again, found = read_vectors(path)
    assert again == names
    assert found.dtype == np.float32
    assert np.array_equal(found, matrix)
    packed = tmp_path / "v.txt.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert np.array_equal(read_vectors(packed)[1], matrix)
    (tmp_path / "v.txt.xz").write_bytes(lzma.compress(path.read_bytes()))
    assert np.array_equal(read_vectors(tmp_path / "v.txt.xz")[1], matrix)
    packed.write_bytes(packed.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"v\.txt\.gz: cannot be read as gzip"):
        read_vectors(packed)
    with pytest.raises(LimitError, match=r"limits\.file_bytes is 100"):
        read_vectors(path, Limits(file_bytes=100))


def test_the_form_of_other_tools(tmp_path: Path) -> None:
    """Spaces at the ends of lines (word2vec), Windows line ends, numbers with exponents."""
    path = tmp_path / "v.txt"
    path.write_bytes(b"2 3\r\nking 1.0 2e-1 -3 \r\nqueen 0 0 1E2\r\n")
    names, found = read_vectors(path)
    assert names == ["king", "queen"]
    assert found.tolist() == [[1.0, np.float32(0.2), -3.0], [0.0, 0.0, 100.0]]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", r"v\.txt: the file is empty"),
        ("\n", r"v\.txt, line 1: ''.*begins with their number and their width"),
        ("1 2\n\n", r"v\.txt: there is no vector in it"),
        ("king 1 2 3\n", r"v\.txt, line 1: 'king 1 2 3'"),
        ("1 0\nking\n", r"v\.txt, line 1: 1 vectors of width 0"),
        ("2 3\nking 1 2 3\nqueen 1 2\n", r"v\.txt, line 3: 2 numbers, but the first line says that a vector has 3"),
        ("2 3\nking 1 2 3\nqueen 1 2 3 4\n", r"v\.txt, line 3: 4 numbers"),
        ("1 3\nking 1 x 3\n", r"v\.txt, line 2: 'x' stands where a number should"),
        ("1 3\nking 1 nan 3\n", r"v\.txt, line 2: a number that is not finite"),
        ("2 1\nking 1\nking 2\n", r'v\.txt, line 3: "king" stands there twice'),
        ("3 1\nking 1\nqueen 2\n", r"v\.txt: the first line promises 3 vectors, but there are 2"),
    ],
)
def test_a_wrong_line_is_named(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "v.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_vectors(path)


def test_no_file_and_no_text(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file of word vectors"):
        read_vectors(tmp_path / "none.txt")
    path = tmp_path / "v.bin"
    path.write_bytes(b"1 2\nking \xff\xfe\x00\x01\n")
    with pytest.raises(InputError, match=r"v\.bin, line 2: byte 9 \(0xff\) is not valid UTF-8"):
        read_vectors(path)
