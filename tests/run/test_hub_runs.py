"""What is in a repository of a hub, what a run keeps of it, the command line, and ModelScope."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hub_server import INDEX, NAME, WANTED, WEIGHTS, Hub, files_of, logits, offline, other_weights, refused
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

import fresh_process
import microtune as mt
from fresh_process import PACKAGE
from microtune.errors import InputError
from microtune.run.load import load
from microtune.run.train import Step
from tiny_model import rows

pytestmark = pytest.mark.usefixtures("quick")

RESTLESS = f"import time; time.sleep = lambda _: None; {PACKAGE}"  # the client waits seconds between its retries
FAST: dict[str, Any] = {"task": "classification", "method": "lora:2", "epochs": 1}

# ------------------------------------------------------------------------------------------------- repositories


def sharded(folder: Path) -> dict[str, bytes]:
    """The model in two files with an index."""
    tensors = load_file(folder / WEIGHTS)
    table = {name: f"model-0000{1 + i % 2}-of-00002.safetensors" for i, name in enumerate(sorted(tensors))}
    files = {name: data for name, data in files_of(folder).items() if name != WEIGHTS}
    for file in set(table.values()):
        path = folder.parent / file
        save_file({name: tensors[name] for name in table if table[name] == file}, path)
        files[file] = path.read_bytes()
        path.unlink()
    return files | {INDEX: json.dumps({"weight_map": table}).encode()}


def test_shards(hub: Hub, folder: Path) -> None:
    files = sharded(folder)
    hub.publish(NAME, files | {"extra.safetensors": b"x"})
    model = load(NAME)
    assert torch.equal(logits(model), logits(load(folder)))
    assert model.place is not None
    assert model.place.weights == ("model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors")
    del files["model-00002-of-00002.safetensors"]
    hub.publish(NAME, files)
    hub.requests.clear()
    refused(NAME, "the file model-00002-of-00002.safetensors is missing on the hub")
    assert hub.downloads("model-00001-of-00002.safetensors") == 0
    for bad in ("../../x.safetensors", "/etc/x.safetensors", "x.bin"):
        table = json.loads(files[INDEX])["weight_map"] | {"model.norm.weight": bad}
        hub.publish(NAME, files | {INDEX: json.dumps({"weight_map": table}).encode()})
        refused(NAME, f'{INDEX}: "{bad}" is not the name of a safetensors file')


def test_what_cannot_be_used_is_refused_before_it_is_fetched(hub: Hub, folder: Path) -> None:
    files = files_of(folder)
    config = json.loads(files["config.json"])
    unknown = json.dumps(config | {"model_type": "mamba", "auto_map": {"AutoModel": "modeling_mamba.M"}}).encode()
    pickled = {name: data for name, data in files.items() if name != WEIGHTS} | {"pytorch_model.bin": b"\x80"}
    for changed, *parts in (
        (pickled, "holds its weights only as pytorch_model.bin: pickled weights can run code", "save_pretrained"),
        ({"README.md": b""}, "there is no config.json and no adapter_config.json in it."),
        ({"config.json": files["config.json"]}, f"the file {WEIGHTS} is missing on the hub"),
        (
            files | {"config.json": unknown},
            'model_type "mamba" is not supported',
            '"modeling_mamba.M"',
            "never runs any",
        ),
    ):
        hub.publish(NAME, changed)
        hub.requests.clear()
        refused(NAME, *parts)
        assert hub.downloads(WEIGHTS) == hub.downloads("pytorch_model.bin") == 0


def test_an_adapter_and_its_base(hub: Hub, folder: Path, tmp_path: Path) -> None:
    """Both on the hub; the adapter names its base by id and revision."""
    done = mt.tune(rows(), model=NAME, out=tmp_path / "run", train={"precision": "float32"}, **FAST)
    files = files_of(done.path / "model" / "adapter")
    config = json.loads(files["adapter_config.json"])
    assert config["base_model_name_or_path"] == NAME
    old = hub.repositories[NAME]["main"]
    files["adapter_config.json"] = json.dumps(config | {"revision": old}).encode()
    commit = hub.publish("owner/adapter", files | {"adapter_model.bin": b"\x80"})
    hub.publish(NAME, other_weights(folder))
    found = load("owner/adapter")
    assert found.place is not None
    assert (found.place.kind, found.place.revision) == ("adapter", commit)
    with pytest.raises(InputError, match=r"^\[same-base\] .* made on other weights than those of its base"):
        load(done.path / "model" / "adapter")  # without a revision it takes the newest
    state = found.network.state_dict()
    assert torch.equal(state["decoder.norm.weight"], load(f"{NAME}@{old}").network.state_dict()["decoder.norm.weight"])
    assert hub.downloads("adapter_model.bin") == 0


# ------------------------------------------------------------------------------------------------- runs


def test_a_run_keeps_the_commit_it_began_with(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = hub.repositories[NAME]["main"]
    options = FAST | {"train": {"precision": "float32", "checkpoint_steps": 1, "batch_size": 4}}

    def stop(event: object) -> None:
        if isinstance(event, Step) and event.step == 2:
            raise KeyboardInterrupt

    whole = mt.tune(rows(), model=NAME, out=tmp_path / "whole", **options)
    with pytest.raises(KeyboardInterrupt):
        mt.tune(rows(), model=NAME, out=tmp_path / "run", on_event=stop, **options)
    hub.publish(NAME, other_weights(folder))
    load(NAME)  # the newer one is in the cache now, and is what "main" means there
    offline(monkeypatch)
    hub.requests.clear()
    done = mt.tune(rows(), model=NAME, out=tmp_path / "run", **options)
    assert hub.requests == []
    assert json.loads((done.path / "environment.json").read_text())["revisions"] == {NAME: begun}
    assert f"source: {NAME}\n" in (done.path / "recipe.yaml").read_text()
    base = json.loads((done.path / "model" / "model.json").read_text())["base"]
    assert (base["source"], base["revision"]) == (f"{NAME}@{begun}", begun)
    trained = [(run.path / "model" / "trained.safetensors").read_bytes() for run in (whole, done)]
    assert trained[0] == trained[1]
    assert [p.row for p in done.predict(["my card", "transfer"])] == [0, 1]
    with pytest.raises(mt.RunError, match="this run is finished"):
        mt.tune(rows(), model=NAME, out=tmp_path / "run", **options)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    again = mt.tune(rows(), model=NAME, out=tmp_path / "run", overwrite=True, **options)
    stored = json.loads((again.path / "environment.json").read_text())["revisions"]
    assert stored == {NAME: hub.repositories[NAME]["main"]} != {NAME: begun}


def command(
    hub: Hub, home: Path, *arguments: str | Path, start: str = PACKAGE, **variables: str
) -> subprocess.CompletedProcess[str]:
    """`python -m microtune ...` with the variables of the client; with start="" in a Python of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "200", **variables}
    if start:
        return fresh_process.run(start, *arguments, environment=environment, check=False)
    line = [sys.executable, "-m", "microtune", *(str(a) for a in arguments)]
    return subprocess.run(line, capture_output=True, encoding="utf-8", env=environment, timeout=300, check=False)


def test_on_the_command_line(hub: Hub, tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE as the client reads them; a wrong id leaves nothing behind."""
    home, out = tmp_path / "elsewhere", tmp_path / "run"
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    tune = ["tune", tmp_path / "rows.jsonl", "--task", "classification", "--method", "head", "--epochs", "1", "--quiet"]
    tune += ["--out", out, "train.precision=float32"]
    done = command(hub, home, *tune, "--model", "owner/none", start="")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith('error: There is no folder "owner/none" here and no model of this name on http://127')
    assert done.stderr.count("\n") == 1
    assert not out.exists()
    hub.cut = {"config.json": 100}
    done = command(hub, home, *tune, "--model", NAME, start=RESTLESS, HF_HUB_DOWNLOAD_TIMEOUT="1")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "config.json could not be downloaded" in done.stderr
    assert not out.exists()
    hub.cut = {}
    done = command(hub, home, *tune, "--model", NAME)
    assert done.returncode == 0, done.stderr
    assert (home / "hub" / "models--owner--tiny").is_dir()
    hub.requests.clear()
    done = command(hub, home, "predict", out, "my card", HF_HUB_OFFLINE="1")
    assert done.returncode == 0, done.stderr
    assert hub.requests == []


# ------------------------------------------------------------------------------------------------- ModelScope


def stand_in(folder: Path, calls: list[Any], lie: Callable[[str], str] = str) -> dict[str, types.ModuleType]:
    """The two modules of the package that are used, serving a folder."""
    files = files_of(folder)

    class HubApi:
        def get_model_files(self, name: str, *, revision: str, recursive: bool) -> list[dict[str, Any]]:
            if name != NAME or revision not in ("master", "v1"):
                raise ValueError("no such model\nin two lines")
            listed = [
                {"Path": file, "Type": "blob", "Size": len(data), "Sha256": lie(hashlib.sha256(data).hexdigest())}
                for file, data in files.items()
            ]
            return [*listed, {"Path": "onnx", "Type": "tree"}] if recursive else []

    def snapshot_download(name: str, *, revision: str, allow_patterns: list[str]) -> str:
        calls.append((name, revision, allow_patterns))
        return str(folder)

    package, api = types.ModuleType("modelscope"), types.ModuleType("modelscope.hub.api")
    package.snapshot_download = snapshot_download  # type: ignore[attr-defined]
    api.HubApi = HubApi  # type: ignore[attr-defined]
    return {"modelscope": package, "modelscope.hub": types.ModuleType("modelscope.hub"), "modelscope.hub.api": api}


def test_modelscope(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("modelscope", "modelscope.hub", "modelscope.hub.api"):
        monkeypatch.setitem(sys.modules, module, None)
    refused(f"modelscope:{NAME}", 'needs the package modelscope; pip install "microtune[modelscope]" brings it.')
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (copy / "pytorch_model.bin").write_bytes(b"\x80")
    calls: list[Any] = []
    for name, module in stand_in(copy, calls).items():
        monkeypatch.setitem(sys.modules, name, module)
    model = load(f"modelscope:{NAME}@v1")
    assert torch.equal(logits(model), logits(load(folder)))
    assert model.place is not None
    assert (model.place.kind, model.place.source) == ("hub", f"modelscope:{NAME}@v1")
    assert [(name, revision) for name, revision, _ in calls] == [(NAME, "v1")] * 2
    assert sorted(calls[0][2] + calls[1][2]) == WANTED
    assert calls[1][2] == [WEIGHTS]
    refused("modelscope:owner/none", 'revision "master" could not be had from ModelScope (no such model)')
    refused("modelscope:none", "There is no model or folder")
    for name, module in stand_in(copy, calls, lambda digest: digest[::-1]).items():
        monkeypatch.setitem(sys.modules, name, module)
    refused(f"modelscope:{NAME}", "that the hub publishes (SHA-256", "so it is not used")
