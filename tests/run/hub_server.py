"""A stand-in for the hub on localhost: the API that the real client speaks, a CDN beside it, and ways to go wrong.

Files in large-file storage are answered as the hub does: the first answer has the hash and the commit, and sends the
client on to another host for the bytes.
"""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import pytest
from huggingface_hub import constants, file_download
from torch import Tensor

from microtune.errors import InputError
from microtune.run.load import Model, load

Files = dict[str, bytes]
NAME = "owner/tiny"
IDS = [[1, 2, 3]]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
WANTED = ["config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"]


class Hub:
    """A context manager; `url` is what HF_ENDPOINT should say.

    requests: `METHOD path` of all that came. cut: file -> how many of its next downloads break off half-way. lies: file
    -> bytes that are sent instead of its own. status: an answer to everything. bare: list names without hashes.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, dict[str, str]] = {}  # name -> revision -> commit
        self.commits: dict[str, Files] = {}
        self.requests: list[str] = []
        self.cut: dict[str, int] = {}
        self.lies: Files = {}
        self.status: int | None = None
        self.bare = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                hub.answer(self)

            def do_HEAD(self) -> None:
                hub.answer(self)

            def log_message(self, *_: Any) -> None:
                """Silence."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Nobody listens any more."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
            self._server.server_close()

    def publish(self, name: str, files: Files | Path, revision: str = "main") -> str:
        """A commit of these files, to which `revision` points from now on."""
        if isinstance(files, Path):
            files = {p.relative_to(files).as_posix(): p.read_bytes() for p in files.rglob("*") if p.is_file()}
        digest = hashlib.sha1(name.encode())
        for file in sorted(files):
            digest.update(file.encode() + files[file])
        commit = digest.hexdigest()
        self.commits[commit] = dict(files)
        self.repositories.setdefault(name, {})[revision] = commit
        return commit

    def downloads(self, file: str) -> int:
        """How many times the bytes of a file were asked for."""
        return sum(line.startswith("GET ") and line.endswith(f"/{file}") for line in self.requests)

    # ------------------------------------------------------------------------------------------- answers

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        """One request."""
        path = unquote(urlsplit(handler.path).path)
        self.requests.append(f"{handler.command} {path}")
        if self.status is not None:
            self._fail(handler, self.status)
        elif path.startswith("/api/models/"):
            self._list(handler, path.removeprefix("/api/models/"))
        elif path.startswith("/cdn/"):
            commit, file = path.removeprefix("/cdn/").split("/", 1)
            self._send(handler, file, self.commits[commit][file], {})
        else:
            self._resolve(handler, path.lstrip("/"))

    def _fail(self, handler: BaseHTTPRequestHandler, status: int, code: str = "") -> None:
        handler.send_response(status)
        if code:
            handler.send_header("X-Error-Code", code)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    def _commit(self, handler: BaseHTTPRequestHandler, name: str, revision: str) -> str | None:
        if name not in self.repositories:
            self._fail(handler, 404, "RepoNotFound")
            return None
        known = self.repositories[name]
        commit = known.get(revision, revision if revision in self.commits else None)
        if commit is None:
            self._fail(handler, 404, "RevisionNotFound")
        return commit

    def _list(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        """What `model_info` asks for, and `list_repo_tree`."""
        name, _, revision = path.partition("/revision/")
        name, tree, at = name.partition("/tree/")
        commit = self._commit(handler, name, revision or at or "main")
        if commit is None:
            return
        siblings: list[dict[str, Any]] = []
        for file, data in self.commits[commit].items():
            one: dict[str, Any] = {"rfilename": file}
            if tree:
                one |= {"type": "file", "path": file, "size": len(data), "oid": blob_hash(data)}
            elif not self.bare:
                one |= {"size": len(data), "blobId": blob_hash(data)}
            if in_storage(file) and not self.bare:
                digest = hashlib.sha256(data).hexdigest()
                one["lfs"] = {"size": len(data), "sha256": digest, "oid": digest, "pointerSize": 134}
            siblings.append(one)
        answer = siblings if tree else {"id": name, "modelId": name, "sha": commit, "siblings": siblings}
        body = json.dumps(answer).encode()
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    def _resolve(self, handler: BaseHTTPRequestHandler, path: str) -> None:
        name, _, rest = path.partition("/resolve/")
        revision, _, file = rest.partition("/")
        commit = self._commit(handler, name, revision)
        if commit is None:
            return
        if file not in self.commits[commit]:
            self._fail(handler, 404, "EntryNotFound")
            return
        data = self.commits[commit][file]
        headers = {"X-Repo-Commit": commit}
        if not in_storage(file):
            self._send(handler, file, data, headers | {"ETag": f'"{blob_hash(data)}"'})
            return
        handler.send_response(302)
        linked = {"X-Linked-Etag": f'"{hashlib.sha256(data).hexdigest()}"', "X-Linked-Size": str(len(data))}
        away = {"Location": f"http://localhost:{self.port}/cdn/{commit}/{file}", "Content-Length": "0"}
        for key, value in (headers | linked | away).items():
            handler.send_header(key, value)
        handler.end_headers()

    def _send(self, handler: BaseHTTPRequestHandler, file: str, data: bytes, headers: dict[str, str]) -> None:
        start = 0
        data = self.lies.get(file, data)
        asked = handler.headers.get("Range")
        if asked:
            start = int(asked.removeprefix("bytes=").rstrip("-"))
            headers = headers | {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
        handler.send_response(206 if asked else 200)
        for key, value in (headers | {"Content-Length": str(len(data) - start)}).items():
            handler.send_header(key, value)
        handler.end_headers()
        if handler.command == "HEAD":
            return
        if self.cut.get(file, 0) > 0:
            self.cut[file] -= 1
            handler.wfile.write(data[start : max(start, len(data) // 2)])
            handler.close_connection = True
        else:
            handler.wfile.write(data[start:])


def in_storage(file: str) -> bool:
    """Whether a hub keeps a file in large-file storage."""
    return file.endswith((".safetensors", ".bin", ".model"))


def blob_hash(data: bytes) -> str:
    """How git names a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


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
