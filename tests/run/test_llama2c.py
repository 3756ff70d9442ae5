"""The importer of llama2.c checkpoints: what microtune generates from the folder is what the raw tensors say.

The reference is written from the layout alone, in plain numpy: interleaved rotary positions, one token at a time, and
the tokenizer's greedy merging by score.
"""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from microtune.run.generate import generate_ids
from microtune.run.load import load

pytestmark = pytest.mark.usefixtures("quick")

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "import_llama2c.py"
DIM, HIDDEN, LAYERS, HEADS, KEYS, LENGTH = 24, 40, 3, 6, 2, 32
WORDS = [
    "o",
    "n",
    "c",
    "e",
    "t",
    "i",
    "m",
    "on",
    "ce",
    "once",
    "ti",
    "me",
    "time",
    " ",
    " o",
    " once",
    " t",
    " time",
    "é",
]
VOCABULARY = 3 + 256 + len(WORDS)
TEXTS = ["once time", "once  once", "eon", " time", "é", "a 🙂 time", "notice me\n", "mometimetime"]


@pytest.fixture(scope="module")
def importer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("import_llama2c", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_checkpoint(path: Path, *, tied: bool) -> dict[str, Any]:
    """A random checkpoint, and its tensors by the names of run.c."""
    make = np.random.default_rng(5)
    width = DIM // HEADS
    shapes = {
        "token_embedding_table": (VOCABULARY, DIM),
        "rms_att_weight": (LAYERS, DIM),
        "wq": (LAYERS, DIM, DIM),
        "wk": (LAYERS, KEYS * width, DIM),
        "wv": (LAYERS, KEYS * width, DIM),
        "wo": (LAYERS, DIM, DIM),
        "rms_ffn_weight": (LAYERS, DIM),
        "w1": (LAYERS, HIDDEN, DIM),
        "w2": (LAYERS, DIM, HIDDEN),
        "w3": (LAYERS, HIDDEN, DIM),
        "rms_final_weight": (DIM,),
        "freq_cis": (LENGTH, width),
    }
    shapes |= {} if tied else {"wcls": (VOCABULARY, DIM)}
    sizes = {"token_embedding_table": 0.3}
    tensors = {n: make.normal(0, sizes.get(n, 0.8), shape).astype("<f4") for n, shape in shapes.items()}
    vocabulary = VOCABULARY if tied else -VOCABULARY
    header = struct.pack("<7i", DIM, HIDDEN, LAYERS, HEADS, KEYS, vocabulary, LENGTH)
    path.write_bytes(header + b"".join(tensor.tobytes() for tensor in tensors.values()))
    return tensors


def write_tokenizer(path: Path) -> list[tuple[bytes, float]]:
    """Specials, 256 bytes, letters and words; longer words were merged later, so they have lower scores."""
    pieces: list[tuple[bytes, float]] = [(b"<unk>", 0.0), (b"\n<s>\n", 0.0), (b"\n</s>\n", 0.0)]
    pieces += [(f"<0x{i:02X}>".encode(), 0.0) for i in range(256)]
    pieces += [(word.encode(), -float(i)) for i, word in enumerate(WORDS)]
    body = b"".join(struct.pack("<fi", score, len(piece)) + piece for piece, score in pieces)
    path.write_bytes(struct.pack("<i", max(len(piece) for piece, _ in pieces)) + body)
    return pieces


def norm(x: Any, weight: Any) -> Any:
    return weight * x / np.sqrt((x * x).mean() + 1e-5)


def turned(x: Any, position: int) -> Any:
    """Pairs 2i and 2i + 1 of each head, turned."""
    width = DIM // HEADS
    heads = x.reshape(-1, width // 2, 2)
    angle = position / 10000.0 ** (np.arange(0, width, 2) / width)
    first, second = heads[..., 0], heads[..., 1]
    cos, sin = np.cos(angle), np.sin(angle)
    return np.stack([first * cos - second * sin, first * sin + second * cos], -1).reshape(-1, width)


def forward(tensors: dict[str, Any], ids: list[int]) -> list[Any]:
    """Logits after each token, with a cache of keys and values."""
    w = {name: tensor.astype(np.float64) for name, tensor in tensors.items()}
    width = DIM // HEADS
    cache: list[tuple[list[Any], list[Any]]] = [([], []) for _ in range(LAYERS)]
    out = []
    for position, token in enumerate(ids):
        x = w["token_embedding_table"][token]
        for layer, (keys, values) in enumerate(cache):
            read = norm(x, w["rms_att_weight"][layer])
            q = turned(w["wq"][layer] @ read, position)
            keys.append(turned(w["wk"][layer] @ read, position))
            values.append((w["wv"][layer] @ read).reshape(KEYS, width))
            heads = []
            for head in range(HEADS):
                own = head // (HEADS // KEYS)
                scores = np.array([q[head] @ key[own] for key in keys]) / np.sqrt(width)
                weights = np.exp(scores - scores.max())
                heads.append(sum(p * value[own] for p, value in zip(weights / weights.sum(), values, strict=True)))
            x = x + w["wo"][layer] @ np.concatenate(heads)
            read = norm(x, w["rms_ffn_weight"][layer])
            gate = w["w1"][layer] @ read
            x = x + w["w2"][layer] @ (gate / (1 + np.exp(-gate)) * (w["w3"][layer] @ read))
        out.append(w.get("wcls", w["token_embedding_table"]) @ norm(x, w["rms_final_weight"]))
    return out


def merged(pieces: list[tuple[bytes, float]], text: str) -> list[int]:
    """Ids as run.c finds them: characters, or their bytes, then the best merge again and again."""
    table = {piece: i for i, (piece, _) in enumerate(pieces)}
    ids = [] if not text else [table[b" "]]
    for letter in text:
        raw = letter.encode()
        ids += [table[raw]] if raw in table else [3 + byte for byte in raw]
    while True:
        joined = [table.get(pieces[a][0] + pieces[b][0]) for a, b in pairwise(ids)]
        known = [(pieces[i][1], -place, i) for place, i in enumerate(joined) if i is not None]
        if not known:
            return ids
        _, place, best = max(known)
        ids[-place : 2 - place] = [best]


@pytest.mark.parametrize("tied", [True, False])
def test_the_same_tokens_as_the_raw_tensors(importer: ModuleType, tmp_path: Path, tied: bool) -> None:
    tensors = write_checkpoint(tmp_path / "model.bin", tied=tied)
    pieces = write_tokenizer(tmp_path / "tokenizer.bin")
    importer.convert(tmp_path / "model.bin", tmp_path / "tokenizer.bin", tmp_path / "out")
    model = load(tmp_path / "out", dtype="float64")
    assert model.spec.tied == tied
    assert model.text.id("bos") == 1
    assert model.text.stop_ids == [2]
    ids = [1, *merged(pieces, "once time")]
    found = model.logits([ids])[0].numpy()
    assert np.abs(found - np.array(forward(tensors, ids))).max() < 1e-10  # float64 on both sides
    wanted = list(ids)
    while len(wanted) < LENGTH - 4:
        wanted.append(int(forward(tensors, wanted)[-1].argmax()))
    new = list(generate_ids(model.network, ids, max_new_tokens=len(wanted) - len(ids), stop_ids=[]))
    assert new == wanted[len(ids) :]
    assert len(set(new)) > 3


def test_rows_in_the_old_order_give_another_model(importer: ModuleType, tmp_path: Path) -> None:
    """The control: without the permutation, the comparison above fails."""
    tensors = write_checkpoint(tmp_path / "model.bin", tied=True)
    write_tokenizer(tmp_path / "tokenizer.bin")
    importer.convert(tmp_path / "model.bin", tmp_path / "tokenizer.bin", tmp_path / "out")
    raw = load_file(tmp_path / "out" / "model.safetensors")
    for part, name in (("wq", "q_proj"), ("wk", "k_proj")):
        for layer in range(LAYERS):
            raw[f"model.layers.{layer}.self_attn.{name}.weight"] = tensors[part][layer]
    save_file(raw, tmp_path / "out" / "model.safetensors")
    ids = [1, 260, 261, 262]
    found = load(tmp_path / "out", dtype="float64").logits([ids])[0].numpy()
    assert np.abs(found - np.array(forward(tensors, ids))).max() > 1e-2


def test_the_tokenizer(importer: ModuleType, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "model.bin", tied=True)
    pieces = write_tokenizer(tmp_path / "tokenizer.bin")
    importer.convert(tmp_path / "model.bin", tmp_path / "tokenizer.bin", tmp_path / "out")
    text = load(tmp_path / "out").text
    for line in TEXTS:
        assert text.encode(line) == [1, *merged(pieces, line)], line
        assert text.decode(text.encode(line)) == line


def test_on_the_command_line(importer: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_checkpoint(tmp_path / "model.bin", tied=True)
    write_tokenizer(tmp_path / "tokenizer.bin")
    names = [str(tmp_path / name) for name in ("model.bin", "tokenizer.bin", "out")]
    done = subprocess.run([sys.executable, str(SCRIPT), *names], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"saved: {names[2]}\n"), done.stderr
    assert torch.isfinite(load(names[2]).logits([[1, 2]])[0]).all()
    whole = (tmp_path / "model.bin").read_bytes()
    for data, part in (
        (whole[:-4], "bytes, but its header asks for"),
        (struct.pack("<7i", 0x616B3432, 1, 1, 1, 1, 1, 1), "later version of the llama2.c layout"),
        (b"x", "too short"),
        (struct.pack("<7i", 16, 8, 1, 3, 1, 9, 9), "not a llama2.c checkpoint"),
    ):
        (tmp_path / "model.bin").write_bytes(data)
        assert importer.main([names[0], names[1], str(tmp_path / "new")]) == 2
        assert part in capsys.readouterr().err
        assert not (tmp_path / "new").exists()
    (tmp_path / "model.bin").write_bytes(whole)
    (tmp_path / "tokenizer.bin").write_bytes((tmp_path / "tokenizer.bin").read_bytes()[:-3])
    assert importer.main([names[0], names[1], str(tmp_path / "new")]) == 2
    assert "not a tokenizer of llama2.c with" in capsys.readouterr().err
    assert importer.main(names) == 2
    assert "exists already" in capsys.readouterr().err
