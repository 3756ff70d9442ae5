"""States of trunks that runs leave to each other: the same bits as alone, computed once, and never those of others."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from test_trunk import AVERAGED, two_stacks
from tiny_runs import make_base, make_rows, tune_recipe
from tiny_trainings import DROPPING, LABELS, label_items, make, run, weights
from torch.testing import assert_close

from microtune.errors import RunError
from microtune.nn.transformer import Block, Cut
from microtune.run import shared_trunk, trunk
from microtune.run.disk import explained
from microtune.run.folder import read_metrics
from microtune.run.shared_trunk import NO_ROOM, SharedTrunk, Shelf
from microtune.run.sharing import Sharing
from microtune.run.train import Training
from microtune.run.trunk import TrunkCache
from microtune.run.verbs import tune_recipe as tune_with
from microtune.tasks.language_modelling import LanguageModelling

pytestmark = pytest.mark.usefixtures("quick")

HEAD: dict[str, Any] = {"name": "head"}
TOP, TOP2, TOP3 = ({"name": "top", "blocks": count} for count in (1, 2, 3))
LIMIT = 10**9


def stored(training: Training, shelf: Shelf, **options: Any) -> SharedTrunk:
    """States for this training, filled."""
    found = SharedTrunk(shelf, training.model, training.items, options.pop("precision", "float32"), LIMIT, **options)
    assert list(found.fill())[-1] == len(training.items)
    return found


def losses(training: Training, states: TrunkCache) -> list[float]:
    """Of a training that reads these states."""
    training.trunk = states
    return [step.loss for step in run(training)]


def alone(make_one: Callable[[], Training], path: Path) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Losses and weights of a training whose states nobody shares."""
    training = make_one()
    states = TrunkCache(training.model, training.items, path / "alone.bin", "float32", LIMIT)
    for _ in states.fill():
        pass
    found = losses(training, states), weights(training)
    states.close()
    return found


def pair(choice: dict[str, Any]) -> Training:
    """A training of an encoder-decoder with this method."""
    found = make(choice, spec=two_stacks("pre"), task=LanguageModelling())
    found.items = [replace(item, sources=label_items()[i].ids[::-1]) for i, item in enumerate(found.items)]
    found.sizes = [item.size for item in found.items]
    return found


KINDS: dict[str, Callable[[dict[str, Any]], Training]] = {
    "last token": lambda choice: make(choice, spec=DROPPING),
    "means": lambda choice: make(choice, spec=AVERAGED, task=LABELS.fitted(AVERAGED)),
    "pair": pair,
}


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The layers that were computed outside of training, one after the other."""
    seen: list[int] = []
    forward = Block.forward

    def counted(self: Block, *arguments: Any) -> Any:
        if not torch.is_grad_enabled():
            seen.append(self.layer)
        return forward(self, *arguments)

    monkeypatch.setattr(Block, "forward", counted)
    return seen


@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("lowest_first", [True, False])
def test_shared_states_are_those_of_a_run_alone(kind: str, lowest_first: bool, tmp_path: Path) -> None:
    """Losses and weights of eight steps, bit for bit, whichever run came first."""
    shelf = Shelf(tmp_path / "states")
    order = [TOP3, TOP2, TOP] if kind == "pair" else [TOP2, TOP, HEAD]  # of a pair, the encoder is trunk altogether
    order = order if lowest_first else order[::-1]
    shelf.cuts = {KINDS[kind](choice).model.cut for choice in order}  # as a comparison knows them
    for choice in order:
        expected, moved = alone(lambda choice=choice: KINDS[kind](choice), tmp_path)  # type: ignore[misc]
        training = KINDS[kind](choice)
        states = stored(training, shelf)
        assert losses(training, states) == expected
        assert all(torch.equal(value, moved[name]) for name, value in weights(training).items())
        states.close()
    assert shelf.counts == {"filled": 1, "raised": 2, "found": 2}


def test_every_block_is_computed_once(tmp_path: Path, passes: list[int]) -> None:
    """Three blocks: six passes for three runs that share nothing, three for runs that do, in either order."""
    pieces = 1  # 20 short rows are one batch
    for order in ((TOP2, TOP, HEAD), (HEAD, TOP, TOP2)):
        trainings = [make(choice) for choice in order]
        shelf = Shelf(tmp_path / str(order[0]["name"]), cuts={training.model.cut for training in trainings})
        passes.clear()
        for training in trainings:
            stored(training, shelf).close()
        assert passes == [0, 1, 2] * pieces


def test_what_nobody_wants_is_not_kept(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    stored(make(HEAD), shelf).close()
    assert shelf.counts == {"filled": 1}
    stored(make(TOP), shelf).close()  # a higher cut never serves a lower one
    assert shelf.counts == {"filled": 2}
    assert len(list(tmp_path.glob("*.json"))) == 2


def test_rounded_states_are_not_gone_on_from(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    stored(make(TOP), shelf, precision="bfloat16").close()
    stored(make(HEAD), shelf, precision="bfloat16").close()
    stored(make(HEAD), shelf, precision="bfloat16").close()
    assert shelf.counts == {"filled": 2, "found": 1}


def changed_weight(training: Training, name: str) -> None:
    with torch.no_grad():
        training.model.get_parameter(name).view(-1)[0] += 1e-3


def swapped_rows(training: Training) -> None:
    with torch.no_grad():
        training.model.tokens.weight[[3, 4]] = training.model.tokens.weight[[4, 3]]


CHANGES: dict[str, Callable[[Training], None]] = {
    "an embedding": lambda training: changed_weight(training, "tokens.weight"),
    "two rows of an embedding": swapped_rows,
    "a block below": lambda training: changed_weight(training, "decoder.blocks.0.mlp.down.weight"),
    "a token": lambda training: training.items.__setitem__(2, replace(training.items[2], ids=[7, 8, 9, 10])),  # type: ignore[attr-defined]
    "the order of rows": lambda training: training.items.reverse(),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("change", list(CHANGES))
def test_states_of_something_else_are_not_read(change: str, tmp_path: Path) -> None:
    """Of another base or other data, neither at the same cut nor on the way to a higher one."""
    shelf = Shelf(tmp_path)
    stored(make(TOP), shelf).close()
    for choice in (TOP, HEAD):
        training = make(choice)
        CHANGES[change](training)
        states = stored(training, Shelf(tmp_path))
        assert states.shelf.counts["found"] == 0 or choice is HEAD  # which finds those of the changed TOP
        fresh = TrunkCache(training.model, training.items, tmp_path / "fresh.bin", "float32", LIMIT)
        for _ in fresh.fill():
            pass
        assert torch.equal(states.stored["output"].store, fresh.stored["output"].store)
        fresh.close()


def test_what_does_not_matter_is_no_reason_to_compute(tmp_path: Path) -> None:
    """A block above the cut, the head, the target of a row, where it is read (below the last block)."""
    shelf = Shelf(tmp_path)
    stored(make(TOP), shelf).close()
    training = make(TOP)
    changed_weight(training, "decoder.blocks.2.mlp.down.weight")
    changed_weight(training, "decoder.norm.weight")
    changed_weight(training, "head.out.weight")
    training.items = [replace(item, readout=[0], targets=[1]) for item in training.items]  # type: ignore[attr-defined]
    stored(training, shelf).close()
    assert shelf.counts == {"filled": 1, "found": 1}
    stored(make(HEAD), shelf).close()
    read_first = make(HEAD)
    read_first.items = [replace(item, readout=[0]) for item in read_first.items]  # type: ignore[attr-defined]
    stored(read_first, shelf).close()
    assert shelf.counts == {"filled": 1, "found": 3, "raised": 2}


def turn_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path, Path], object]] = {
    "a bit": lambda mark, states: turn_a_bit(states),
    "shorter": lambda mark, states: states.write_bytes(states.read_bytes()[:-4]),
    "zeros, as a power cut leaves them": lambda mark, states: states.write_bytes(bytes(states.stat().st_size)),
    "gone": lambda mark, states: states.unlink(),
    "no mark": lambda mark, states: mark.unlink(),
    "half a mark": lambda mark, states: mark.write_text(mark.read_text(encoding="utf-8")[:20], encoding="utf-8"),
    "a mark of something else": lambda mark, states: mark.write_text("[1]", encoding="utf-8"),
}


@pytest.mark.parametrize("damage", list(DAMAGE))
def test_damaged_states_are_computed_again(damage: str, tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    first = stored(make(TOP), shelf)
    expected = first.stored["output"].store.clone()
    mark, file = first.mark, first.stored["output"].path
    first.close()
    DAMAGE[damage](mark, file)
    again = stored(make(TOP), shelf)
    assert shelf.counts == {"filled": 2}
    assert torch.equal(again.stored["output"].store, expected)
    again.close()
    stored(make(HEAD), shelf).close()
    assert shelf.counts == {"filled": 2, "found": 1, "raised": 1}


def test_a_full_disk_first_costs_the_older_states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored(make(TOP2), Shelf(tmp_path), precision="bfloat16").close()
    shelf = Shelf(tmp_path)
    reserve, full = trunk.reserve, [True]

    def fails_once(path: Path, size: int) -> None:
        with explained(path):
            if full.pop() if full else False:
                raise OSError(errno.ENOSPC, "No space left on device")
        reserve(path, size)

    monkeypatch.setattr(trunk, "reserve", fails_once)
    states = stored(make(TOP), shelf)
    assert states.filled
    assert shelf.notes == set()
    assert [path.stem for path in tmp_path.glob("*.json")] == [states.mark.stem]
    states.close()


@pytest.mark.parametrize("method", ["top", "head"])
def test_a_full_disk_does_not_stop_a_run(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It computes the trunk anew for every batch: only the order of sums differs, 1e-6 of the losses in float32."""
    choice = {"top": TOP, "head": HEAD}[method]
    expected, moved = alone(lambda: make(choice), tmp_path)

    def fails(path: Path, size: int) -> None:
        with explained(path):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(trunk, "reserve", fails)
    training = make(choice)
    shelf = Shelf(tmp_path / "states", cuts={Cut(decoder=1)})
    states = stored(training, shelf)
    assert not states.filled
    assert shelf.notes == {NO_ROOM}
    assert_close(losses(training, states), expected, rtol=0, atol=1e-6)
    assert_close(weights(training), moved, rtol=0, atol=1e-5)
    assert not list((tmp_path / "states").glob("*"))


def test_a_disk_that_is_broken_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path, size: int) -> None:
        with explained(path):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(trunk, "reserve", fails)
    with pytest.raises(RunError, match="cannot be written"):
        stored(make(TOP), Shelf(tmp_path))


def test_the_folder_is_bounded(tmp_path: Path) -> None:
    """Room for two: the third takes the place of the one that was read longest ago; other files stay."""
    (tmp_path / "mine.txt").write_text("not yours", encoding="utf-8")
    trainings = [make(TOP) for _ in range(3)]
    for shift, training in enumerate(trainings):
        training.items = [replace(item, ids=[i % 200 + shift for i in item.ids]) for item in training.items]  # type: ignore[attr-defined]
    one = SharedTrunk(Shelf(tmp_path), trainings[0].model, trainings[0].items, "float32", LIMIT).bytes
    shelf = Shelf(tmp_path, limit=2 * one)
    marks = []
    for number in (0, 1, 0, 2):
        states = stored(trainings[number], shelf)
        marks.append(states.mark)
        states.close()
        _older(tmp_path)
    assert shelf.counts == {"filled": 3, "found": 1}
    assert {path.name for path in tmp_path.glob("*.json")} == {marks[0].name, marks[3].name}
    assert len(list(tmp_path.glob("*.bin"))) == 2
    assert (tmp_path / "mine.txt").is_file()
    assert not SharedTrunk(Shelf(tmp_path, limit=one - 1), trainings[0].model, trainings[0].items, "float32", 1).usable


def _older(folder: Path) -> None:
    """Let time pass."""
    for path in folder.glob("*.json"):
        os.utime(path, (path.stat().st_atime - 10, path.stat().st_mtime - 10))


def test_a_fill_that_was_stopped_leaves_nothing(tmp_path: Path) -> None:
    training = make(HEAD)
    states = SharedTrunk(Shelf(tmp_path, cuts={Cut(decoder=1)}), training.model, training.items, "float32", LIMIT)
    filling = states.fill()
    next(filling)
    filling.close()  # type: ignore[attr-defined]
    states.close()
    assert not list(tmp_path.glob("*.part"))
    assert not list(tmp_path.glob("*.json"))
    (tmp_path / f"{'0' * 16}.output.1.part").write_bytes(b"of a process that was killed")
    os.utime(tmp_path / f"{'0' * 16}.output.1.part", (1, 1))
    shared_trunk.make_room(tmp_path, LIMIT)
    assert not list(tmp_path.glob("*.part"))


def test_saved_seconds_are_those_of_what_was_found(tmp_path: Path) -> None:
    shelf = Shelf(tmp_path)
    stored(make(TOP), shelf).close()
    assert shelf.saved == 0
    (mark,) = tmp_path.glob("*.json")
    noted = json.loads(mark.read_text(encoding="utf-8"))
    mark.write_text(json.dumps(noted | {"seconds": 7.0, "cpu": 6.0}), encoding="utf-8")
    states = stored(make(HEAD), shelf)
    assert (shelf.saved, shelf.saved_cpu) == (7.0, 6.0)
    assert 7.0 < states.seconds < 8.0
    states.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("shared")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


def test_runs_that_share_say_what_runs_alone_say(made: tuple[str, str], tmp_path: Path) -> None:
    """Two methods, one after the other, and rows that change in between under the same name."""
    base, rows = made
    data = tmp_path / "rows.csv"
    data.write_bytes(Path(rows).read_bytes())
    sharing = Sharing(tmp_path / "states")
    for number, change in enumerate(("", "my card was lost so much,card\n")):
        with open(data, "a", encoding="utf-8") as file:
            file.write(change)
        for method in ("top", "head"):
            recipe = tune_recipe(base, str(data), checkpoint_steps=0)
            recipe = recipe.model_copy(update={"method": recipe.method.model_copy(update={"name": method})})
            if method == "head":
                recipe = recipe.model_copy(update={"method": type(recipe.method)(name="head")})
            found = []
            for name, shared in (("shared", sharing), ("alone", None)):
                place = recipe.model_copy(update={"out": str(tmp_path / f"{name}-{method}-{number}")})
                made_run = tune_with(place, sharing=shared)
                lines = [line for line in read_metrics(made_run.path / "metrics.jsonl") if "loss" in line]
                found.append(([line["loss"] for line in lines], made_run.scores))
            assert found[0] == found[1]
    assert sharing.counts == {"filled": 4, "raised": 4, "found": 4}
