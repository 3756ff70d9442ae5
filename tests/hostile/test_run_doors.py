"""Hostile run folders and adapters: somebody else's run is as foreign as somebody else's model.

The manifest is made to fit after each change, as an attacker would: hashes keep accidents out, not intent.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from door_checks import Judge, attack, hostile_json
from hypothesis import strategies as st
from test_data_doors import mutated
from test_model_doors import AMOUNTS, hostile_safetensors

import microtune as mt
from microtune.errors import MicrotuneError
from microtune.run.folder import read_metrics
from microtune.run.train import Step
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")

OPTIONS: dict[str, Any] = {"task": "classification", "method": "lora:2", "epochs": 1, "train": {"precision": "float32"}}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("base") / "model")


@pytest.fixture(scope="module")
def finished(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mt.tune(rows(), model=str(base), out=tmp_path_factory.mktemp("runs") / "done", **OPTIONS).path


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "run"


def seal(folder: Path) -> None:
    """A manifest that fits what is there."""
    files = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "manifest.json":
            data = path.read_bytes()
            name = path.relative_to(folder).as_posix()
            files[name] = {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (folder / "manifest.json").write_text(json.dumps({"files": files}))


def use(run: Path) -> None:
    """Everything that one does with a finished run."""
    done = mt.Run(run)
    found = done.predict(["my card", "transfer"])
    pairs = getattr(done.model.task, "pair_field", None)  # a file may say so: then two texts are one pair
    assert [p.row for p in found] == ([0] if pairs else [0, 1])
    repr(done)


def test_the_run_is_good_and_small(run: Path) -> None:
    use(run)
    seal(run / "model")
    use(run)


@AMOUNTS
@pytest.mark.parametrize("name", ["model/model.json", "model/manifest.json", "scores.json"])
def test_json_of_a_run(run: Path, name: str, examples: int) -> None:
    valid = json.loads((run / name).read_text(encoding="utf-8"))

    def action(data: bytes) -> None:
        (run / name).write_bytes(data)
        if name == "model/model.json":
            seal(run / "model")
        use(run)

    attack(Judge(run.parent, run), hostile_json(valid), action, examples)


@AMOUNTS
def test_weights_of_a_run(run: Path, examples: int) -> None:
    file = run / "model" / "trained.safetensors"
    raw = file.read_bytes()

    def action(data: bytes) -> None:
        file.write_bytes(data)
        seal(run / "model")
        use(run)

    attack(Judge(run.parent, run), hostile_safetensors(raw), action, examples)


def test_sizes_in_model_json_are_refused_before_anything_is_built(run: Path) -> None:
    """A run of the method `full` builds its network from model.json alone."""
    file = run / "model" / "model.json"
    valid = json.loads(file.read_text(encoding="utf-8"))
    for key, value in (("hidden_size", 2**20), ("num_layers", 2**20), ("intermediate_size", 2**20), ("num_heads", 0)):
        for method in ({"name": "full"}, valid["method"] | {"rank": 2**16}):
            spec = valid["spec"] | {"decoder": valid["spec"]["decoder"] | {key: value}, "vocab_size": 2**24}
            file.write_text(json.dumps(valid | {"spec": spec, "method": method}))
            seal(run / "model")
            with pytest.raises(MicrotuneError):
                mt.load(run)


@pytest.mark.skipif(os.name == "nt", reason="no pipes and no /dev/zero")
def test_a_manifest_reads_no_file_outside_and_no_device(run: Path) -> None:
    """/dev/zero never ends, a pipe blocks, and a hash of /etc/passwd would say whether a guess is right."""
    os.mkfifo(run / "model" / "pipe")
    (run / "model" / "link").symlink_to("/dev/zero")
    for name in ("/dev/zero", "../../../../etc/passwd", "pipe", "link", "..", "", "/"):
        (run / "model" / "manifest.json").write_text(json.dumps({"files": {name: {"bytes": 1, "sha256": ""}}}))
        with pytest.raises(mt.RunError, match="the saved model is damaged"):
            mt.load(run)


# ------------------------------------------------------------------------------------------------- unfinished runs


def interrupt(base: Path, out: Path) -> None:
    """A run that stopped after its second step, with a checkpoint."""

    def stop(event: object) -> None:
        if isinstance(event, Step) and event.step == 2:
            raise KeyboardInterrupt

    options = OPTIONS | {"train": {"precision": "float32", "checkpoint_steps": 1, "batch_size": 4}}
    with pytest.raises(KeyboardInterrupt):
        mt.tune(rows(), model=str(base), out=out, on_event=stop, **options)


@pytest.fixture(scope="module")
def stopped(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stopped") / "run"
    interrupt(base, out)
    assert list((out / "checkpoints").glob("step-*"))
    return out


def resume(base: Path, out: Path) -> None:
    """The same command again, up to its first step."""

    def stop(event: object) -> None:
        if isinstance(event, Step):
            raise KeyboardInterrupt

    options = OPTIONS | {"train": {"precision": "float32", "checkpoint_steps": 1, "batch_size": 4}}
    try:
        mt.tune(rows(), model=str(base), out=out, on_event=stop, **options)
    except KeyboardInterrupt:
        return


def wild(run: Path, name: str) -> st.SearchStrategy[bytes]:
    raw = (run / name).read_bytes()
    if name.endswith(".json"):
        return hostile_json(json.loads(raw))
    if name.endswith(".yaml"):
        return st.one_of(hostile_json(yaml.safe_load(raw)), mutated(raw))
    return hostile_safetensors(raw) if name.endswith(".safetensors") else mutated(raw)


STATES = ["state.json", "state.safetensors", "manifest.json"]


@AMOUNTS
@pytest.mark.parametrize("name", [*STATES, "recipe.yaml", "environment.json", "metrics.jsonl"])
def test_files_of_an_unfinished_run(stopped: Path, base: Path, tmp_path: Path, name: str, examples: int) -> None:
    """A checkpoint that is damaged is passed over, one that lies is refused; neither ends in a traceback."""
    target = tmp_path / "run"
    place = f"checkpoints/{max(p.name for p in (stopped / 'checkpoints').iterdir())}/{name}" if name in STATES else name
    judge = Judge(tmp_path, target)

    def action(data: bytes) -> None:
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(stopped, target)
        (target / place).write_bytes(data)
        if name in STATES[:2]:
            seal((target / place).parent)
        resume(base, target)

    strategy = wild(stopped, place)
    judge.outcomes["refused"] += examples if name in ("metrics.jsonl", "manifest.json") else 0  # these are passed over
    attack(judge, strategy, action, max(10, examples // 6))


def test_metrics_are_read_line_by_line(tmp_path: Path) -> None:
    """Whoever shows a run reads what can be read."""
    file = tmp_path / "metrics.jsonl"
    file.write_bytes(b'{"step": 1}\n' + b"[" * 100_000 + b'\n\xff\xfe\n[1]\n{"step": NaN}\n{"step": 2}\n{"step": ')
    assert [line["step"] for line in read_metrics(file) if line["step"] in (1, 2)] == [1, 2]


# ------------------------------------------------------------------------------------------------- adapters


@AMOUNTS
@pytest.mark.parametrize("name", ["adapter_config.json", "adapter_model.safetensors"])
def test_adapter(run: Path, name: str, examples: int) -> None:
    adapter = run / "model" / "adapter"

    def speak() -> None:
        model = mt.load(adapter)
        model.embed(["my card"])

    speak()

    def action(data: bytes) -> None:
        (adapter / name).write_bytes(data)
        speak()

    attack(Judge(run.parent, run), wild(adapter, name), action, examples)
