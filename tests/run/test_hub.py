"""Models of a hub: the real client against a stand-in on localhost, with all that can go wrong on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from hub_server import Hub, blob_hash
from huggingface_hub import constants, file_download
from safetensors.torch import load_file, save_file
from torch import Tensor

import microtune as mt
from microtune.errors import InputError
from microtune.run.load import Model, load
from microtune.run.train import Step
from tiny_model import make_model, rows

NAME = "owner/tiny"
IDS = [[1, 2, 3]]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
WANTED = ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"]
FAST: dict[str, Any] = {"task": "classification", "method": "lora:2", "epochs": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("tiny") / "model")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "home" / "hub"


@pytest.fixture
def hub(cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one model, among files that no model needs; the client in this process speaks to it alone."""
    with Hub() as server:
        point_at(server, cache, monkeypatch)
        useless = {
            "pytorch_model.bin": b"\x80\x04.",
            "modeling_tiny.py": b"raise SystemExit",
            "model.fp16.safetensors": b"x",
            "onnx/model.onnx": b"x",
            "README.md": b"# tiny",
        }
        server.publish(NAME, files_of(folder) | useless)
        yield server


def point_at(server: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What HF_ENDPOINT, HF_HOME and a missing HF_TOKEN do before the client is imported."""
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_IMPLICIT_TOKEN", True)
    monkeypatch.setattr(file_download.time, "sleep", lambda _: None)  # between its retries


def files_of(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def logits(model: Model) -> Tensor:
    return model.logits(IDS)[0]


def refused(source: str, *parts: str) -> str:
    """The one sentence with which loading ends."""
    with pytest.raises(InputError) as caught:
        load(source)
    message = str(caught.value)
    assert message.isprintable()
    assert message.endswith((".", "?"))
    for part in parts:
        assert part in message, message
    return message


def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)


def other_weights(folder: Path) -> dict[str, bytes]:
    """The same model with one value changed."""
    files = files_of(folder)
    data = bytearray(files[WEIGHTS])
    data[-2] ^= 1
    return files | {WEIGHTS: bytes(data)}


# ------------------------------------------------------------------------------------------------- first and second use


def test_first_use(hub: Hub, cache: Path, folder: Path) -> None:
    model = load(NAME)
    assert torch.equal(logits(model), logits(load(folder)))
    assert model.text.encode("my card") == load(folder).text.encode("my card")
    commit = hub.repositories[NAME]["main"]
    assert model.place is not None
    assert (model.place.kind, model.place.name, model.place.revision) == ("hub", NAME, commit)
    snapshot = cache / "models--owner--tiny" / "snapshots" / commit
    assert model.place.path == snapshot
    assert sorted(p.name for p in snapshot.iterdir()) == WANTED  # no pickle, no code, no variant
    assert [hub.downloads(file) for file in WANTED] == [1, 1, 1, 1]


def test_the_weights_come_last(hub: Hub) -> None:
    load(NAME)
    asked = [line.rpartition("/")[2] for line in hub.requests if "resolve" in line]
    assert set(asked[asked.index(WEIGHTS) :]) == {WEIGHTS}


def test_second_use_asks_for_the_commit_alone(hub: Hub) -> None:
    first = logits(load(NAME))
    hub.requests.clear()
    assert torch.equal(logits(load(NAME)), first)
    assert hub.requests == [f"GET /api/models/{NAME}/revision/main"]
    hub.requests.clear()
    assert torch.equal(logits(load(f"{NAME}@{hub.repositories[NAME]['main']}")), first)
    assert hub.requests == []


def test_revisions(hub: Hub, folder: Path) -> None:
    old = hub.repositories[NAME]["main"]
    before = logits(load(NAME))
    new = hub.publish(NAME, other_weights(folder))
    hub.publish(NAME, files_of(folder), revision="refs/pr/1")
    moved = load(NAME)
    assert moved.place is not None
    assert moved.place.revision == new != old
    assert not torch.equal(logits(moved), before)
    assert torch.equal(logits(load(f"{NAME}@{old}")), before)
    assert torch.equal(logits(load(f"{NAME}@refs/pr/1")), before)
    refused(f"{NAME}@v9", 'has no revision "v9" of this model')
    for strange in ("a b", "../main", "", "x" * 300):
        refused(f"{NAME}@{strange}", "There is no model or folder")


def test_a_folder_of_that_name_comes_first(
    hub: Hub, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(folder, tmp_path / "owner" / "tiny")
    place = load(NAME).place
    assert place is not None
    assert place.kind == "folder"
    assert hub.requests == []


def test_a_hub_that_lists_no_hashes_is_asked_for_each(hub: Hub, cache: Path) -> None:
    hub.bare = True
    load(NAME)
    record = json.loads(next((cache / "models--owner--tiny" / ".microtune").glob("*[0-9a-f].json")).read_text())[
        "files"
    ]
    data = hub.commits[hub.repositories[NAME]["main"]]
    assert record[WEIGHTS]["sha256"] == hashlib.sha256(data[WEIGHTS]).hexdigest()
    assert record["config.json"]["blob"] == blob_hash(data["config.json"])


# ------------------------------------------------------------------------------------------------- without the hub


def test_offline_with_and_without_a_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch, cache: Path) -> None:
    offline(monkeypatch)
    refused(NAME, "HF_HUB_OFFLINE is set", f"the cache ({cache}) holds no copy of it", "load it once with the network.")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    online = logits(load(NAME))
    offline(monkeypatch)
    hub.requests.clear()
    assert torch.equal(logits(load(NAME)), online)
    assert hub.requests == []
    refused(f"{NAME}@v2", "holds no copy")


def test_a_hub_that_cannot_be_reached(hub: Hub) -> None:
    hub.status = 503
    refused(NAME, f"{hub.url} cannot be reached", "holds no copy of it")
    hub.status = None
    online = logits(load(NAME))
    hub.status = 503
    assert torch.equal(logits(load(NAME)), online)
    hub.stop()
    assert torch.equal(logits(load(NAME)), online)
    refused("owner/other", f"{hub.url} cannot be reached", "holds no copy of it")


def test_offline_the_last_known_commit_counts(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load(NAME)
    hub.publish(NAME, other_weights(folder))
    newest = logits(load(NAME))
    offline(monkeypatch)
    assert torch.equal(logits(load(NAME)), newest)


def test_what_another_program_cached(hub: Hub, cache: Path, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Offline, a snapshot that we did not fetch is used where it is whole; its links say what it should hold."""
    huggingface_hub.snapshot_download(NAME)
    offline(monkeypatch)
    model = load(NAME)
    assert torch.equal(logits(model), logits(load(folder)))
    assert model.place is not None
    assert torch.equal(logits(load(model.place.path)), logits(model))  # as a plain folder too, links and all
    weights = (model.place.path / WEIGHTS).resolve()
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-3] + b"???")
    refused(NAME, f"is not the {WEIGHTS} that the hub publishes", "so it is not used")
    weights.write_bytes(whole)
    load(NAME)
    (model.place.path / WEIGHTS).unlink()
    refused(NAME, "HF_HUB_OFFLINE is set, and the copy in the cache cannot be used", "pytorch_model.bin")


# ------------------------------------------------------------------------------------------------- refusals of the hub


def test_what_the_hub_refuses(hub: Hub, tmp_path: Path) -> None:
    refused("owner/none", f'There is no folder "owner/none" here and no model of this name on {hub.url}')
    for status, part in ((401, "log in with `hf auth login`"), (403, f"accept its conditions at {hub.url}/{NAME}")):
        hub.status = status
        refused(NAME, "does not give it to you", part)
    for strange in ("a/b/c", "owner/", "/tiny", "owner/ti ny", "owner/../tiny", "https://hub/x"):
        refused(strange, "There is no model or folder")
    assert not (tmp_path / "home").exists() or not list((tmp_path / "home").rglob("*.safetensors"))


def test_what_is_no_hub(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign-in page of a hotel answers everything with 200."""
    monkeypatch.setattr(Hub, "_list", lambda self, handler, path: self._send(handler, "x", b"<html>", {}))
    refused(NAME, "did not answer as a hub does", "check HF_ENDPOINT.")


# ------------------------------------------------------------------------------------------------- broken downloads


def test_a_connection_that_breaks_once(hub: Hub, folder: Path) -> None:
    hub.cut = {WEIGHTS: 1, "tokenizer.json": 1}
    assert torch.equal(logits(load(NAME)), logits(load(folder)))


def test_a_connection_that_keeps_breaking(hub: Hub, cache: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No half file is taken for a whole one, online or offline, and the next try needs only what is missing."""
    hub.cut = {WEIGHTS: 100}
    refused(NAME, f"{WEIGHTS} could not be downloaded", "run the same command again")
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    assert not list(cache.rglob(f"*{digest}")) or all(p.name.endswith(".lock") for p in cache.rglob(f"*{digest}*"))
    assert not list(cache.rglob(WEIGHTS))
    with monkeypatch.context() as patch:
        offline(patch)
        refused(NAME, "HF_HUB_OFFLINE is set")
    hub.cut = {}
    hub.requests.clear()
    assert torch.equal(logits(load(NAME)), logits(load(folder)))
    assert hub.downloads("config.json") == 0


@pytest.mark.parametrize("file", [WEIGHTS, "config.json", "tokenizer.json"])
def test_content_that_is_not_what_is_published(hub: Hub, cache: Path, folder: Path, file: str) -> None:
    data = (folder / file).read_bytes()
    hub.lies = {file: data[:-3] + b"???"}
    message = refused(NAME, f"is not the {file} that the hub publishes", "so it is not used", "delete the file")
    kept = Path(message.partition(": ")[0])
    assert kept.read_bytes() == hub.lies[file]  # nothing is deleted
    hub.lies = {}
    refused(NAME, f"is not the {file} that the hub publishes")  # and it is not used later either
    kept.unlink()
    assert torch.equal(logits(load(NAME)), logits(load(folder)))


def test_a_file_that_changes_in_the_cache(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    place = load(NAME).place
    assert place is not None
    real = (place.path / WEIGHTS).resolve()
    real.write_bytes(real.read_bytes()[:-3] + b"???")
    refused(NAME, f"is not the {WEIGHTS} that the hub publishes")
    refused(f"{NAME}@{place.revision}", f"is not the {WEIGHTS} that the hub publishes")
    offline(monkeypatch)
    refused(NAME, f"is not the {WEIGHTS} that the hub publishes")
    real.write_bytes(real.read_bytes()[:-3])
    refused(NAME, f"but {WEIGHTS} has")


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
    found, wanted = load("owner/adapter"), load(done.path / "model" / "adapter")
    assert found.place is not None
    assert (found.place.kind, found.place.revision) == ("adapter", commit)
    texts = ["my card was declined"]
    assert not torch.equal(found.embed(texts), wanted.embed(texts))  # the folder without a revision takes the newest
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


def command(hub: Hub, home: Path, *arguments: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """`python -m microtune ...` as a user starts it, with the variables of the client."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(home), "OMP_NUM_THREADS": "1", "COLUMNS": "200", **variables}
    line = [sys.executable, "-m", "microtune", *(str(a) for a in arguments)]
    return subprocess.run(line, capture_output=True, encoding="utf-8", env=environment, timeout=300, check=False)


def test_on_the_command_line(hub: Hub, tmp_path: Path) -> None:
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE as the client reads them; a wrong id leaves nothing behind."""
    home, out = tmp_path / "elsewhere", tmp_path / "run"
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    tune = ["tune", tmp_path / "rows.jsonl", "--task", "classification", "--method", "head", "--epochs", "1", "--quiet"]
    tune += ["--out", out, "train.precision=float32"]
    done = command(hub, home, *tune, "--model", "owner/none")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith('error: There is no folder "owner/none" here and no model of this name on http://127')
    assert done.stderr.count("\n") == 1
    assert not out.exists()
    hub.cut = {"config.json": 100}
    done = command(hub, home, *tune, "--model", NAME, HF_HUB_DOWNLOAD_TIMEOUT="1")
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
