"""`plan`: what can be counted is exact, nothing is changed or written, and micro-batches are cut until it fits."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_runs import make_base, make_rows, pretrain_recipe, run, tune_recipe

from microtune.errors import InputError
from microtune.recipe import build, parse_size
from microtune.run import foresee, memory, plan, train
from microtune.run import groups as control_groups
from microtune.run.memory import in_words
from microtune.run.meter import Meter
from microtune.run.train import Training
from microtune.run.tune import get_ready, make_trunks, without_memory

pytestmark = pytest.mark.usefixtures("quick")

LIBRARIES = plan.LIBRARIES


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_base(tmp_path_factory.mktemp("base") / "llama")


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> str:
    return make_rows(tmp_path_factory.mktemp("rows") / "rows.csv")


@pytest.fixture(autouse=True)
def _libraries_of_a_known_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan, "resident", lambda: None)


def ready(base: str, rows: str, method: str, **train: Any) -> tuple[Training, dict[str, Any], list[Any]]:
    recipe, data = without_memory(tune_recipe(base, rows, method, **train))
    found = foresee._result(get_ready(recipe, data, foresee._decide))
    trunks = make_trunks(found.training, Path("nowhere"), found.encoded)
    return found.training, trunks, [found.encoded["validation"].items]


def test_the_meter_counts_what_is_alive() -> None:
    weight, x = torch.randn(100, 100, requires_grad=True), torch.randn(50, 100)
    with Meter() as meter:
        y = x @ weight.t()
        assert meter.now == y.nbytes == 20_000
        z = torch.tanh(y)
        view = z[:10].t()
        assert meter.now == 40_000
        del y
        assert (meter.now, meter.peak) == (20_000, 40_000)
        x.add_(1)
        weight.detach()[0] = 0
        assert (meter.now, meter.peak) == (20_000, 40_000)
        del z
        assert meter.now == 20_000  # the view keeps it
        del view
        assert meter.now == 0


@pytest.mark.parametrize("method", ["top", "lora", "dora"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_weights_and_optimizer_are_counted_exactly(method: str, optimizer: str, base: str, rows: str) -> None:
    training, trunks, judged = ready(base, rows, method, optimizer=optimizer)
    parts = {p.name: p.bytes for p in plan.plan_memory(training, trunks, judged, None).parts if p.where == "memory"}
    trained = sum(p.numel() for p in training.model.parameters() if p.requires_grad) * 4
    everything = sum(p.numel() for p in training.model.parameters()) * 4
    assert parts["weights"] == everything
    assert parts["gradients"] == parts["weights at the start, then the best"] == trained
    head = training.model.head.out.weight.numel() * 4
    assert parts["weights as they were, for undoing"] == (trained - head if method == "top" else 0)
    next(training.fit())
    tensors, _ = training.optimizers.state()
    assert parts["optimizer state"] == sum(t.nbytes for t in tensors.values())
    assert parts["libraries and data"] == LIBRARIES
    cached = sum(s.rows for t in trunks.values() for s in t.stored.values()) * 16 * 4
    assert (cached > 0) == (method == "top")
    assert parts.get("frozen trunk's states, mapped", 0) == cached


@pytest.mark.parametrize("method", ["top", "lora"])
@pytest.mark.parametrize("micro_tokens", [4096, 40])
def test_activations_are_those_of_the_largest_micro_batch(method: str, micro_tokens: int, base: str, rows: str) -> None:
    training, trunks, _ = ready(base, rows, method, micro_tokens=micro_tokens)
    found = {
        tuple(piece): plan.activations(training, piece, trunks.get("train"))
        for epoch in range(2)
        for batch in training.plan(epoch)
        for piece in batch
    }
    predicted = found[tuple(plan.largest(training, micro_tokens))]
    assert predicted >= 0.98 * max(found.values())  # the rough look that chooses it is not the exact figure
    spec = training.model.spec
    assert all(plan.rough_bytes(spec, [training.sizes[i] for i in piece]) > size for piece, size in found.items())


@pytest.mark.parametrize("method", ["top", "lora"])
def test_planning_changes_nothing(method: str, base: str, rows: str) -> None:
    training, trunks, judged = ready(base, rows, method)
    untouched, _, _ = ready(base, rows, method)
    torch.manual_seed(5)
    plan.plan_memory(training, trunks, judged, None)
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))
    assert all(p.grad is None for p in training.model.parameters())
    assert not any(member.state for member in training.optimizers.members)
    first, second = next(training.fit()), next(untouched.fit())
    assert (first.loss, first.grad_norm) == (second.loss, second.grad_norm)
    pairs = zip(training.model.parameters(), untouched.model.parameters(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_micro_batches_are_cut_until_the_peak_fits(base: str, rows: str) -> None:
    training, trunks, _ = ready(base, rows, "lora")
    judged: list[Any] = []  # an evaluation is not cut, and would be the larger one here
    whole = plan.plan_memory(training, trunks, judged, None)
    assert whole.micro_tokens == 4096
    room = whole.parts[-1].bytes
    others = whole.peak - room
    for share in (0.9, 0.6, 0.4):
        cut = plan.plan_memory(training, trunks, judged, others + int(share * room))
        assert cut.peak <= others + share * room
        assert cut.peak > others + 0.4 * share * room  # not smaller than needed by much
        pieces = [
            [sorted(i for piece in batch for i in piece) for batch in training.plan(0, m)]
            for m in (4096, cut.micro_tokens)
        ]
        assert pieces[0] == pieces[1]  # the rows of every step stay
        assert max(map(len, training.plan(0, cut.micro_tokens))) > 1


def test_a_run_that_cannot_fit_says_what_it_needs(base: str, rows: str) -> None:
    training, trunks, judged = ready(base, rows, "lora", memory="300MB")
    with pytest.raises(
        InputError, match=r"train.memory is 300MB, but it needs about 33\d MB even with one row"
    ) as caught:
        plan.fitted(training, trunks, judged)
    assert "lower model.max_length" in str(caught.value)
    assert "or raise train.memory." in str(caught.value)


def test_a_limited_run_learns_the_same(base: str, rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, trunks, judged = ready(base, rows, "lora")
    whole = plan.plan_memory(training, trunks, judged, None)
    monkeypatch.setattr(plan, "passing", lambda *_: 0)  # an evaluation is not cut, and would be the larger one here
    limit = whole.peak - whole.parts[-1].bytes // 2
    losses = []
    for name, extra in (("free", {}), ("limited", {"memory": f"{limit}B"})):
        done: list[Any] = []
        recipe = tune_recipe(base, rows, "lora", max_steps=2, **extra)
        recipe = recipe.model_copy(update={"method": build({"task": "classification", "method": "lora:2"}).method})
        folder = run(recipe, tmp_path / name, event=done.append)
        losses.append([e.loss for e in done if type(e).__name__ == "Step"])
        decided = folder.remembered("micro_tokens", lambda: None)
        assert (decided == 4096) == (name == "free")
    assert losses[0] == pytest.approx(losses[1], rel=1e-6)


def test_free_memory_goes_back_near_the_limit_only(
    base: str, rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before each micro-batch of a limited run; nothing is asked in any other."""
    held, trimmed = [690], list[int]()
    monkeypatch.setattr(memory, "resident", lambda: held[0])
    monkeypatch.setattr(memory, "_trim", lambda: trimmed.append(held[0]))
    memory.stay_below(1000)
    held[0] = 710
    memory.stay_below(1000)
    assert trimmed == [710]
    asked: list[int] = []
    monkeypatch.setattr(train, "stay_below", asked.append)
    for name, extra in (("free", {}), ("limited", {"memory": "9GB"})):
        run(tune_recipe(base, rows, "lora", max_steps=2, micro_tokens=64, **extra), tmp_path / name)
        assert set(asked) == ({9_000_000_000} if extra else set())
    assert len(asked) > 2


def test_without_a_limit_only_a_tight_machine_is_measured(
    base: str, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    training, trunks, judged = ready(base, rows, "lora")
    monkeypatch.setattr(plan, "plan_memory", lambda *_: pytest.fail("measured"))
    assert plan.fitted(training, trunks, judged) == 4096
    monkeypatch.undo()
    monkeypatch.setattr(plan, "resident", lambda: LIBRARIES)
    monkeypatch.setattr(plan, "available", lambda _: 10_000)
    with pytest.raises(InputError, match="but it needs about"):
        plan.fitted(training, trunks, judged)


@pytest.mark.parametrize("kind", ["tune", "pretrain"])
def test_a_plan_is_whole_and_writes_nothing(
    kind: str, base: str, rows: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = tune_recipe(base, rows, "top") if kind == "tune" else pretrain_recipe(tmp_path)
    before = contents(tmp_path), contents(Path(base))
    found = foresee.plan(recipe)
    assert (contents(tmp_path), contents(Path(base))) == before
    assert found.memory.peak == sum(p.bytes for p in found.memory.parts if p.where == "memory") > LIBRARIES
    assert found.pace.epoch > 0
    assert found.pace.total >= found.pace.epochs * found.pace.epoch
    assert found.fast_blocks == found.blocks
    if kind == "pretrain":
        real = run(recipe, tmp_path / "run")
        steps = [line for line in (real.path / "metrics.jsonl").read_text().splitlines() if '"kind": "step"' in line]
        assert found.pace.steps_per_epoch == len(steps)
        assert found.rows == pytest.approx(32 * len(steps), abs=32)


def contents(folder: Path) -> dict[str, str]:
    return {str(p): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.rglob("*")) if p.is_file()}


@pytest.mark.parametrize(
    ("text", "size"),
    [("4GB", 4_000_000_000), ("1.5GiB", 1_610_612_736), ("800 MB", 800_000_000), ("64k", 64_000), ("123", 123)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse_size(text) == size
    assert build({"task": "classification", "train": {"memory": text}}).train.memory == text


@pytest.mark.parametrize("text", ["", "GB", "-1GB", "0", "4 parsecs", "1e9", "9" * 13, "99999999TB"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(InputError, match=r"train.memory: a size of memory is a number and a unit, such as 4GB"):
        build({"task": "classification", "train": {"memory": text}})


def test_words() -> None:
    assert [in_words(n) for n in (12, 1_500, 93_000_000, 16_400_000_000)] == ["12 bytes", "1.5 kB", "93 MB", "16.4 GB"]


@pytest.mark.parametrize("version", [1, 2, "none"])
def test_the_containers_limit_counts(version: int | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    proc, groups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text("MemTotal: 9000000 kB\nMemAvailable: 8000000 kB\n")
    place = groups / ("memory/a/b" if version == 1 else "a/b")
    place.mkdir(parents=True)
    names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
    if version == 2:
        names = ("memory.max", "memory.current", "inactive_file")
    if version != "none":
        line = "4:cpu,memory:/a/b\n" if version == 1 else "0::/a/b\n"
        (proc / "self" / "cgroup").write_text(line)
        (place.parent / names[0]).write_text("5000\n")  # of the group above
        (place.parent / names[1]).write_text("2000\n")
        (place.parent / "memory.stat").write_text(f"anon 1\n{names[2]} 300\n")
        (place / names[0]).write_text("max\n" if version == 2 else f"{2**63 - 4096}\n")
        (place / names[1]).write_text("1000\n")
    monkeypatch.setattr(memory, "PROC", proc)
    monkeypatch.setattr(control_groups, "PROC", proc)
    monkeypatch.setattr(control_groups, "GROUPS", groups)
    wanted = 8_000_000 * 1024 if version == "none" else 3300
    assert memory.available(torch.device("cpu")) == wanted


def test_code_for_float32_products_counts_where_there_is_some(
    base: str, rows: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """q, k and v; gate and up; o; down: each there and back, of each number of tokens."""
    training, trunks, _ = ready(base, rows, "full", precision="float32", epochs=1)
    monkeypatch.setattr(plan, "onednn_is_faster", lambda: False)
    assert plan.kernels(training, trunks, [], 10**6) == 0
    monkeypatch.setattr(plan, "onednn_is_faster", lambda: True)
    assert plan.kernels(training, trunks, [], 10**6) == 0  # all of them small
    monkeypatch.setattr(plan, "WORTH", 0)
    batches = [sum(training.sizes[i] for i in piece) for batch in training.plan(0, 10**6) for piece in batch]
    assert plan.kernels(training, trunks, [], 10**6) == 8 * len(set(batches)) * plan.KERNEL_BYTES
