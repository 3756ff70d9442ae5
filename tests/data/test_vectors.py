"""Word vectors in word2vec's text format: what is written comes back exactly, and a wrong line is named."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from microtune.data.vectors import read_vectors, write_vectors
from microtune.errors import InputError


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
        ("", r"v\.txt, line 1: ''.*begins with their number and their width"),
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
    with pytest.raises(InputError, match=r"v\.bin: not UTF-8 text \(byte"):
        read_vectors(path)
