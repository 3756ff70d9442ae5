"""Hostile model folders: the header of safetensors, the index of shards, config.json.

Every file is generated from a good one with knowledge of its structure and never stored; `door_checks` says what may
come of it. `-m slow` runs thirty times as many.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from door_checks import VALUES, Judge, attack, hostile_json
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from test_data_doors import mutated

import microtune as mt
from microtune.families import load_folder
from patience import within
from tiny_model import make_model

EXAMPLES, MANY = 120, 3600
WEIGHTS, INDEX, CONFIG = "model.safetensors", "model.safetensors.index.json", "config.json"
AMOUNTS = pytest.mark.parametrize("examples", [EXAMPLES, pytest.param(MANY, marks=pytest.mark.slow)])


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("good"))


@pytest.fixture
def folder(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "model")
    return tmp_path / "model"


def use(folder: Path) -> None:
    """Load a model and ask it for something."""
    model = mt.load(folder)
    assert len(model.logits([[1, 2, 3]])[0]) == 3


# ------------------------------------------------------------------------------------------------- safetensors

DTYPES = [
    "F64",
    "F32",
    "F16",
    "BF16",
    "I64",
    "I8",
    "U8",
    "BOOL",
    "F8_E4M3",
    "C64",
    "f32",
    "",
    "object",
    None,
    7,
    ["F32"],
]
SHAPES = [[], [0], [-1], [1], [16, 16], [2**63], [2**40, 2**40], [1] * 500, "16", None, [1.5], [16, "16"], {"0": 1}]
OFFSETS = [[0, 0], [0, 1], [1, 0], [-1, 4], [0, 2**63], [0, 10**30], [0], [0, 4, 8], None, "0", [0.5, 1], [[0], 4]]
LENGTHS = [0, 1, 7, 100_000_001, 2**31, 2**63 - 1, 2**64 - 1]


@st.composite
def hostile_safetensors(draw: st.DrawFn, raw: bytes) -> bytes:
    """A file whose header lies about types, shapes, places, names or its own length, or that is cut or scrambled."""
    size = int.from_bytes(raw[:8], "little")
    header, body = json.loads(raw[8 : 8 + size]), raw[8 + size :]
    kind = draw(st.sampled_from(["entry"] * 5 + ["names", "double", "length", "cut", "bytes", "metadata", "deep"]))
    names = [name for name in header if name != "__metadata__"]
    name = names[draw(st.integers(0, 1 << 20)) * 2654435761 % len(names)]
    if kind == "cut":
        return raw[: draw(st.integers(0, 1 << 20)) * 2654435761 % len(raw)]
    if kind == "bytes":
        return draw(mutated(raw[: 8 + size])) + body
    if kind == "length":
        length = draw(st.sampled_from([*LENGTHS, size - 1, size + 1, len(raw), size + len(body)]))
        return length.to_bytes(8, "little") + raw[8:]
    if kind == "entry":
        field, values = draw(
            st.sampled_from([("dtype", DTYPES), ("shape", SHAPES), ("data_offsets", OFFSETS), ("extra", VALUES)])
        )
        header[name] = {**header[name], field: draw(st.sampled_from(values))}
        if draw(st.booleans()):
            header[name].pop(draw(st.sampled_from(["dtype", "shape", "data_offsets"])))
    elif kind == "names":
        other = names[draw(st.integers(0, 1 << 20)) * 2654435761 % len(names)]
        named = ["", "../x", "a" * 9000, "x\x00", "\x1b[31m", other + "x", other.upper(), "model.layers.999999.x", "0"]
        header[draw(st.sampled_from(named))] = header.pop(name)
    elif kind == "metadata":
        header["__metadata__"] = draw(st.sampled_from(VALUES))
    text = json.dumps(header)
    if kind == "double":
        text = json.dumps({name: header[name]})[:-1] + ", " + text[1:]
    if kind == "deep":
        text = "[" * 100_000
    packed = text.encode()
    packed += b" " * (-len(packed) % 8)
    return len(packed).to_bytes(8, "little") + packed + body


@AMOUNTS
def test_safetensors(folder: Path, examples: int) -> None:
    raw = (folder / WEIGHTS).read_bytes()

    def action(data: bytes) -> None:
        (folder / WEIGHTS).write_bytes(data)
        use(folder)

    attack(Judge(folder.parent, folder), hostile_safetensors(raw), action, examples)


# ------------------------------------------------------------------------------------------------- shards


@pytest.fixture
def shards(folder: Path) -> Path:
    """The same model in two files with an index."""
    tensors = load_file(folder / WEIGHTS)
    names = sorted(tensors)
    table = {name: f"model-{1 + i % 2}.safetensors" for i, name in enumerate(names)}
    for file in set(table.values()):
        save_file({name: tensors[name] for name in names if table[name] == file}, folder / file)
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": table}))
    use(folder)
    return folder


@AMOUNTS
def test_index(shards: Path, examples: int) -> None:
    index = json.loads((shards / INDEX).read_text())

    def action(data: bytes) -> None:
        (shards / INDEX).write_bytes(data)
        use(shards)

    attack(Judge(shards.parent, shards), hostile_json(index), action, examples)


def test_shards_outside_the_folder_are_not_opened(shards: Path, good: Path) -> None:
    """A good file is no excuse: the index may name files of its own folder only."""
    index = json.loads((shards / INDEX).read_text())
    name = min(index["weight_map"])
    long = "x" * 300 + ".safetensors"
    for bad in (long, str(good / WEIGHTS), f"../{good.name}/{WEIGHTS}", "sub/x.safetensors", "..", ".", "\\\\host\\x"):
        (shards / INDEX).write_text(json.dumps({"weight_map": index["weight_map"] | {name: bad}}))
        with pytest.raises(mt.InputError, match="is not the name of a safetensors file in this folder"):
            mt.load(shards)


# ------------------------------------------------------------------------------------------------- config.json


@AMOUNTS
def test_config(folder: Path, examples: int) -> None:
    config = json.loads((folder / CONFIG).read_text())
    more = {"rope_scaling": None, "quantization_config": None, "auto_map": {"AutoModel": "x.y"}, "id2label": {"0": "a"}}

    def action(data: bytes) -> None:
        (folder / CONFIG).write_bytes(data)
        use(folder)

    attack(Judge(folder.parent, folder), hostile_json(config | more), action, examples)


SIZES = [10**6, 2**20, 2**24, 10**12, 2**63, -1, 0, 1.5, True, "16", float("nan"), None, [16], {"a": 1}]
FIELDS = (
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "intermediate_size",
    "head_dim",
)


@pytest.mark.parametrize("field", [*FIELDS, "vocab_size", "max_position_embeddings"])
def test_sizes_are_refused_before_anything_is_built(folder: Path, field: str) -> None:
    """A number in a file allocates nothing, and takes no time."""
    config = json.loads((folder / CONFIG).read_text())
    with within(5):
        for value in SIZES:
            if value is None and field in ("num_key_value_heads", "head_dim", "max_position_embeddings"):
                continue  # these have defaults
            if field == "max_position_embeddings" and isinstance(value, int) and 10**6 <= value <= 2**24:
                continue  # only a promise: rotary positions allocate nothing
            (folder / CONFIG).write_text(json.dumps(config | {field: value}))
            with pytest.raises(mt.InputError):
                load_folder(folder)


def test_config_chooses_no_code(folder: Path) -> None:
    """Keys by which other libraries import code are read by nobody here: an audit hook sees no import and no socket."""
    config = json.loads((folder / CONFIG).read_text())
    use(folder)
    seen: list[str] = []
    watching = True

    def hook(event: str, arguments: Any) -> None:
        if watching and (event.startswith(("socket.", "subprocess.", "os.system", "os.exec")) or event == "import"):
            seen.append(f"{event} {arguments[:1]}")

    sys.addaudithook(hook)
    for keys in (
        {"auto_map": {"AutoModelForCausalLM": "evil.Model"}, "trust_remote_code": True},
        {"_attn_implementation_internal": "org/kernel", "attn_implementation": "org/kernel"},
        {"architectures": ["os.system"], "custom_pipelines": {"x": {"impl": "evil.P"}}},
        {"tokenizer_class": "evil.T", "_name_or_path": "http://169.254.169.254/latest"},
    ):
        (folder / CONFIG).write_text(json.dumps(config | keys))
        use(folder)
    watching = False
    assert seen == []
