"""Loading takes the memory of the weights once, in a process of its own; and they are nobody's view of a file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tiny_runs import SPEC

import fresh_process
from microtune.adapt.base import make_method
from microtune.data.text import train_bpe
from microtune.families import save_folder
from microtune.families.tensorfile import TensorFile
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice, ModelChoice
from microtune.run.load import Model, load
from microtune.run.saved import save_run
from microtune.tasks.classification import Classification

assert SPEC.decoder is not None
WIDER = {"num_layers": 5, "hidden_size": 384, "num_heads": 6, "intermediate_size": 1024}
LLAMA = replace(SPEC, vocab_size=8000, decoder=replace(SPEC.decoder, **WIDER))  # type: ignore[arg-type]
GPT2 = ModelSpec(
    vocab_size=8000,
    decoder=StackSpec(
        num_layers=4,
        hidden_size=384,
        num_heads=6,
        intermediate_size=1536,
        causal=True,
        activation="gelu_tanh",
        positions="learned",
        max_positions=64,
        dropout=0.1,
    ),
)
# A second copy of the largest tensor would be 12 MB, of everything 40 MB. What loading needs besides the weights is one
# block of 1 MB for what is converted or turned, and the objects of the modules and a tokenizer of 4,000 ids
# (measured: 2 to 6 MB).
SLACK = 10_000_000
CHILD = """
import sys, torch
from microtune.run import load, saved

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

torch.set_num_threads(1)
load.load(sys.argv[3], dtype=sys.argv[2])  # a tiny one: then the pages of the libraries are here
before = status("VmRSS")
model = load.load(sys.argv[1], dtype=sys.argv[2])
assert {str(p.dtype) for p in model.network.parameters()} == {"torch." + sys.argv[2]}
print(status("VmHWM") - before, sum(p.nbytes for p in model.network.parameters()))
"""
linux = pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="reads /proc")


def folder(path: Path, spec: ModelSpec, family: str, dtype: torch.dtype) -> Path:
    network = Transformer(spec).to(dtype)
    save_folder(path, spec, network.state_dict(), family=family, dtype=dtype)
    tokenizer = train_bpe(["a few words"] * 2, 320)
    tokenizer.save(path)
    _fill(path / "tokenizer.json", spec.vocab_size // 2)
    return path


def _fill(file: Path, rows: int) -> None:
    """Ids for half of the rows of the embedding: a tokenizer that leaves more of them without one is refused."""
    values = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = values["model"]["vocab"]
    vocabulary |= {f"<{number}>": number for number in range(len(vocabulary), rows)}
    file.write_text(json.dumps(values), encoding="utf-8")


def llama(path: Path) -> Path:
    return folder(path, LLAMA, "llama", torch.float32)


def half(path: Path) -> Path:
    stack = replace(LLAMA.output_stack, num_layers=12)
    return folder(path, replace(LLAMA, decoder=stack), "llama", torch.bfloat16)


def gpt2_with_the_head_twice(path: Path) -> Path:
    """Tied, and the file has both names all the same."""
    folder(path, replace(GPT2, tied=False), "gpt2", torch.float32)
    file = path / "model.safetensors"
    from safetensors.torch import load_file, save_file

    tensors = load_file(file)
    tensors["lm_head.weight"] = tensors["transformer.wte.weight"].clone()
    save_file(tensors, file)
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": True}))
    return path


def run(path: Path, method: str) -> Path:
    """A finished run of the Llama, a folder."""
    base = load(llama(path / "base"))
    task = Classification(labels=("a", "b"), text_field="text", pooling="last")
    made = make_method(Choice(name=method, **({"blocks": 5} if method == "top" else {})))
    head = task.make_head(base.spec)
    assert head is not None
    base.network.head = head
    base.task = task
    save_run(path / "run", base, made, made.attach(base.network), ModelChoice(source=str(path / "base")), 0)
    (path / "run" / "recipe.yaml").write_text("task: classification")
    return path / "run"


def full_run(path: Path) -> Path:
    return run(path, "full")


def top_run(path: Path) -> Path:
    return run(path, "top")


CASES: list[tuple[Callable[[Path], Path], str]] = [
    (half, "bfloat16"),
    (half, "float32"),  # converted block by block
    (gpt2_with_the_head_twice, "float32"),  # turned block by block, its fused weights taken apart
    (full_run, "float32"),
]


@linux
@pytest.mark.parametrize(("make", "dtype"), CASES, ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_loading_takes_the_memory_of_the_weights_once(make: Callable[[Path], Path], dtype: str, tmp_path: Path) -> None:
    peak, weights = measured(make(tmp_path), dtype)
    assert weights > 30_000_000
    assert peak < 1.01 * weights + SLACK


@linux
def test_a_tuned_run_takes_the_base_and_what_it_trained(tmp_path: Path) -> None:
    path = top_run(tmp_path)
    peak, weights = measured(path, "float32")
    trained = (path / "model" / "trained.safetensors").stat().st_size
    assert trained > 0.7 * weights  # a copy of them for undoing would be seen
    assert peak < 1.01 * weights + trained + SLACK


def measured(path: Path, dtype: str) -> tuple[int, int]:
    """Growth of the peak from after the imports, and bytes of the weights."""
    stack = replace(LLAMA.output_stack, num_layers=1, hidden_size=12, intermediate_size=8)
    tiny = folder(path.parent / "tiny", replace(LLAMA, decoder=stack, vocab_size=330), "llama", torch.float32)
    done = fresh_process.run(CHILD, path, dtype, tiny)
    peak, weights = map(int, done.stdout.split())
    return peak, weights


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_do_not_follow_the_file(dtype: str, tmp_path: Path) -> None:
    """A map of the file would change with it, and kill the process where the file becomes shorter."""
    stack = replace(GPT2.output_stack, num_layers=1, hidden_size=12, intermediate_size=8)
    model: Model = load(
        folder(tmp_path, replace(GPT2, decoder=stack, vocab_size=320), "gpt2", torch.float32), dtype=dtype
    )
    before = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    with (tmp_path / "model.safetensors").open("r+b") as file:
        file.write(bytes(20_000))
        file.truncate(20_000)
    assert all(torch.equal(p, before[name]) for name, p in model.network.named_parameters())
    assert not any(p.is_meta for p in model.network.parameters())


def test_a_file_that_becomes_shorter_while_it_is_read(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"a": torch.arange(5000.0), "b": torch.ones(3)}, tmp_path / "x.safetensors")
    with TensorFile(tmp_path / "x.safetensors") as file:
        assert torch.equal(file.read("a"), torch.arange(5000.0))
        with (tmp_path / "x.safetensors").open("r+b") as other:
            other.truncate(9000)
        for dtype in (None, torch.float64):
            with pytest.raises(OSError, match="the file ends before the tensor does"):
                file.read("a", dtype)


@pytest.mark.parametrize("shape", [(), (0,), (7,), (3, 0), (0, 3), (5, 3), (3000, 1100), (2, 3, 4)])
@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.int64, torch.bool])
def test_every_shape_and_type_is_read_as_the_library_reads_it(
    shape: tuple[int, ...], kind: torch.dtype, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    torch.manual_seed(0)
    save_file({"pad": torch.ones(1, dtype=torch.uint8), "x": (torch.randn(shape) * 9).to(kind)}, tmp_path / "x")
    wanted = load_file(tmp_path / "x")["x"]
    with TensorFile(tmp_path / "x") as file:
        assert torch.equal(file.read("x"), wanted)
        assert torch.equal(file.read("x", torch.float64), wanted.double())
        assert file.same("x", file, "x")
        if len(shape) == 2:
            turned = torch.empty(shape[::-1], dtype=torch.float64)
            file.read_into("x", list(turned.split(max(1, shape[1] // 3))), transposed=True)
            assert torch.equal(turned, wanted.double().t())
