"""Models of a hub: the real client against a stand-in on localhost, with all that can go wrong on the way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path

import huggingface_hub
import pytest
import torch
from hub_server import NAME, WANTED, WEIGHTS, Hub, blob_hash, files_of, logits, offline, other_weights, refused
from huggingface_hub import constants

from microtune.run.hub import cache as hub_cache
from microtune.run.load import load

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


def test_a_copy_of_the_cache_is_hashed_once(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other times of files, same content: looked at again, and then known."""
    place = load(NAME).place
    assert place is not None
    os.utime((place.path / WEIGHTS).resolve(), (1, 1))
    seen: list[str] = []
    checked = hub_cache.check
    monkeypatch.setattr(
        hub_cache, "check", lambda path, file, published: seen.append(file) or checked(path, file, published)
    )
    offline(monkeypatch)
    for _ in range(2):
        load(NAME)
        assert seen == [WEIGHTS]
