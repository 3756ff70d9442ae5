"""What holds by construction: no network, a test split that decides nothing, caches that know their tokenizer."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from planted import labelled, tune, write

from microtune.data.corpus import source_key
from microtune.data.text import Tokenizer
from microtune.recipe import Source
from microtune.run.load import Model
from microtune.run.predict import conversation_ids
from microtune.tasks.language_modelling import document_ids
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def test_a_run_needs_no_network(model: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **options: Any) -> None:
        raise AssertionError(f"network: {args}")

    for name in ("connect", "connect_ex", "sendto", "bind"):
        monkeypatch.setattr(socket.socket, name, refuse, raising=False)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    assert tune(capsys, model, labelled(tmp_path)).code == 0


def test_the_test_split_decides_nothing(model: Path, tmp_path: Path, capsys: Capture) -> None:
    """Two runs whose test labels are swapped: other scores, the very same weights."""
    values, found = rows(56), []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        data = write(tmp_path / name / "data.jsonl", values[:40])
        held = write(tmp_path / name / "held.jsonl", values[40:48])
        other = {"card": "transfer", "transfer": "card"}
        judged = [{**v, "label": other[v["label"]] if name == "two" else v["label"]} for v in values[48:]]
        options = ["--validation", held, "--test", write(tmp_path / name / "test.jsonl", judged)]
        assert tune(capsys, model, data, *options, "train.patience=1").code == 0
        run = tmp_path / name / "run"
        found.append([(run / file).read_bytes() for file in ("model/trained.safetensors", "scores.json")])
    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]


def test_another_tokenizer_or_template_has_another_cache(model: Path) -> None:
    source = Source(path="corpus.txt")

    def key(edit: Any) -> str:
        tokenizer = Tokenizer.load(model)
        assert tokenizer is not None
        edit(tokenizer)
        return source_key(source, tokenizer, "hash of the file")

    edits = [
        lambda t: None,
        lambda t: setattr(t, "chat_template", "{{ messages }}"),
        lambda t: t.backend.add_tokens(["declined"]),
        lambda t: t.special.update(bos="<|eos|>"),
    ]
    assert len({key(edit) for edit in edits}) == len(edits)
    assert key(edits[0]) == key(edits[0])
    assert source_key(source, Tokenizer.load(model), "another file") != key(edits[0])  # type: ignore[arg-type]


@pytest.mark.parametrize("bos", ["<|bos|>", "<|eos|>"])
def test_a_conversation_begins_as_a_document_of_training(bos: str, model: Path) -> None:
    """Without a chat template; a bos that is the end mark too (GPT-2) opens neither."""
    tokenizer = Tokenizer.load(model)
    assert tokenizer is not None
    tokenizer.chat_template = None
    tokenizer.special["bos"] = bos
    asked = conversation_ids(Model(None, tokenizer), [{"role": "user", "content": "my card"}])  # type: ignore[arg-type]
    assert document_ids(tokenizer, "my card") == [*asked, tokenizer.id("eos")]
