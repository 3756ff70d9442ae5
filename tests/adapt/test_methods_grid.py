"""Every method x {decoder, encoder, encoder-decoder} x {float32, bfloat16}: one contract.

Each method on one kind in each number format by default; the whole grid is marked slow. bfloat16 is what a run with
`train.precision: bfloat16` computes: frozen weights prepared, products in mixed precision, what trains in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import methods_grid as grid
import pytest
import torch
from methods_grid import CASES, SMALL, SPECS, WHOLE, outputs
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.testing import assert_close

import fresh_process
from microtune.adapt.base import Attachment, methods
from microtune.errors import InputError
from microtune.nn.transformer import Cut, Transformer
from microtune.run.precision import HeldBase

Combination = tuple[str, str, str]
MERGED = {"float32": 1e-5, "bfloat16": 1e-5}  # merging happens in float32 either way
ROUNDING = {"float32": 0.0, "bfloat16": 0.05}  # sums rounded in other places, through three blocks

every = pytest.mark.parametrize(
    ("case", "kind", "dtype"),
    [pytest.param(*one, marks=() if one in SMALL else (pytest.mark.slow,), id="-".join(one)) for one in WHOLE],
)


def prepare(case: str, kind: str, dtype: str) -> tuple[Transformer, Attachment, HeldBase]:
    model = grid.build(kind)
    attachment = grid.attach(case, model)
    return model, attachment, grid.hold(model, kind, dtype)


def learnt(case: str, kind: str, dtype: str) -> tuple[Transformer, Attachment]:
    """Trained as a run does it, and the base as its files have it."""
    model, attachment, held = prepare(case, kind, dtype)
    grid.train(model, attachment, dtype)
    held.release()
    return model, attachment


def size(value: Tensor) -> float:
    return float(value.abs().max())


def test_the_grid_knows_every_method() -> None:
    named = {part.split(":")[0] for case in CASES.values() for part in names(case.method)}
    assert named | {"several"} >= set(methods)


def names(method: object) -> list[str]:
    if isinstance(method, str):
        return method.split("+")
    parts: Sequence[object] = method if isinstance(method, list) else [method]
    return [part["name"] if isinstance(part, dict) else str(part) for part in parts]


@every
def test_the_output_is_unchanged_at_the_start(case: str, kind: str, dtype: str) -> None:
    base, model = grid.build(kind), grid.build(kind)
    grid.attach(case, model)
    if dtype == "bfloat16":
        grid.hold(base.requires_grad_(False), kind, dtype)
        grid.hold(model, kind, dtype)
    with torch.no_grad():
        wanted, found = outputs(base, dtype), outputs(model, dtype)
    if CASES[case].unchanged:
        rounding = ROUNDING[dtype] if CASES[case].exact or dtype == "bfloat16" else 1e-5
        assert_close(found, wanted, rtol=0, atol=rounding * size(wanted))
    else:
        assert size(found - wanted) > 0.01


@every
def test_exactly_what_is_reported_gets_gradients_and_moves(case: str, kind: str, dtype: str) -> None:
    model, attachment, held = prepare(case, kind, dtype)
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    trainable = attachment.trainable
    grid.loss_sum(model, dtype).backward()
    assert {n for n, p in model.named_parameters() if p.grad is not None} == set(trainable)
    assert {n: start[n].numel() for n in trainable} == trainable
    grid.train(model, attachment, dtype)
    moved = {n for n, p in model.named_parameters() if not torch.equal(p, start[n])}
    resting = {n for n in trainable if n.endswith((".k.bias", ".k.base.bias"))}  # their gradient is only rounding
    assert moved | resting == set(trainable) | resting
    held.release()
    base = dict(grid.build(kind).named_parameters())
    for name, parameter in model.named_parameters():
        if name not in trainable and "reinit" not in case and CASES[case].exact:
            assert torch.equal(parameter, base[name.replace(".base.", ".")]), name


@every
def test_merged_equals_unmerged(case: str, kind: str, dtype: str) -> None:
    model, attachment = learnt(case, kind, dtype)
    if not CASES[case].merges:
        with pytest.raises(InputError, match="cannot be folded into"):
            attachment.merge()
        return
    with torch.no_grad():
        wanted = outputs(model)
        attachment.merge()
        found = outputs(model)
    assert_close(found, wanted, rtol=MERGED[dtype], atol=MERGED[dtype] * size(wanted))
    parted = {"head.out.weight"} if "head" in case and kind == "decoder" else set()  # from the embedding
    assert {n for n, _ in model.named_parameters()} == {n for n, _ in grid.build(kind).named_parameters()} | parted
    assert model.cut == Cut()


@every
def test_on_and_off_differ_and_detaching_restores_the_base(case: str, kind: str, dtype: str) -> None:
    model, attachment = learnt(case, kind, dtype)
    off = grid.build(kind)
    with torch.no_grad():
        assert size(outputs(model) - outputs(off)) > 1e-3
    attachment.detach()
    base, found = dict(off.named_parameters()), dict(model.named_parameters())
    assert list(found) == list(base)
    own = "head." if kind == "encoder" else "none"
    assert [n for n, p in base.items() if not n.startswith(own) and not torch.equal(p, found[n])] == []
    assert all(p.requires_grad for p in found.values())


@every
def test_accumulation_equals_the_full_batch(case: str, kind: str, dtype: str) -> None:
    model, attachment, _ = prepare(case, kind, dtype)
    grid.train(model, attachment, dtype)  # so that no gradient is zero by construction
    gradients = []
    for pieces in ([slice(None)], [slice(0, 1), slice(1, 3), slice(3, 4)]):
        model.zero_grad()
        for piece in pieces:
            (grid.loss_sum(model, dtype, piece) / len(grid.ROWS)).backward()
        gradients.append(torch.cat([p.grad.flatten() for _, p in attachment.parameters() if p.grad is not None]))
    off = float((gradients[0] - gradients[1]).norm() / gradients[0].norm())
    assert off < {"float32": 1e-5, "bfloat16": 0.02}[dtype]


def changed_by_reloading(combinations: Sequence[Combination], folder: Path) -> list[str]:
    """Train, save, load all in one fresh process; names of those whose outputs are not the same bits."""
    wanted: dict[str, Tensor] = {}
    for kind in SPECS:
        save_file(dict(grid.build(kind).named_parameters()), folder / f"base.{kind}.safetensors")
    for case, kind, dtype in combinations:
        model, attachment, _ = prepare(case, kind, dtype)
        grid.train(model, attachment, dtype)
        name = f"state.{case}.{kind}.{dtype}.safetensors"
        save_file({n: t.contiguous() for n, t in attachment.state().items()}, folder / name)
        with torch.no_grad():
            wanted[name] = outputs(model, dtype)
    code = "import sys; sys.path.insert(0, sys.argv[1]); from methods_grid import Path, reload_all; "
    fresh_process.run(code + "reload_all(Path(sys.argv[2]))", Path(__file__).parent, folder)
    found = load_file(folder / "again.safetensors")
    assert found.keys() == wanted.keys()
    return [n for n, value in wanted.items() if not torch.equal(found[n], value)]


def test_a_fresh_process_gives_the_same_outputs_bit_for_bit(tmp_path: Path) -> None:
    assert changed_by_reloading(SMALL, tmp_path) == []


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_outputs_for_the_whole_grid(tmp_path: Path) -> None:
    assert changed_by_reloading(WHOLE, tmp_path) == []
