"""The digest of a base's weights: by it a run or an adapter notices that it stands on another base than its own.

An adapter folder that we write carries it in the header of its safetensors file, where other tools do not look and from
where it cannot get lost; a folder of another tool has none, and is not checked.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import safe_open

from microtune.errors import InputError, RunError
from microtune.nn.spec import ModelSpec
from microtune.run.sources import Place, locate

KEY = "microtune_base_sha256"
DESCRIBING = ("*config.json", "*tokens*.json", "tokenizer.json", "vocab.*", "merges.txt", "*.model", "*.spm", "*.jinja")
INSIDE = (".", "1_Pooling", "target_tokenizer", "additional_chat_templates")


def weights_digest(place: Place) -> str:
    """SHA-256 over the safetensors files of a model."""
    digest = hashlib.sha256()
    named = [place.path / name for name in place.weights]
    for path in named or sorted(place.path.glob("*.safetensors")):
        with open(path, "rb") as source:
            while block := source.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def files_digest(place: Place) -> str:
    """SHA-256 over what says how the weights of a model are read: its fields, its tokenizer, its templates."""
    digest = hashlib.sha256()
    for folder in (place.path / name for name in INSIDE):
        found = {path for pattern in DESCRIBING for path in folder.glob(pattern) if path.is_file()}
        for path in sorted(found):
            digest.update(f"{path.relative_to(place.path)}\0".encode("utf-8", "surrogateescape"))
            digest.update(hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def base_hash(source: str | None, *, weights: bool) -> dict[str, str]:
    """By which a run notices that the files of its base have changed; weights: whether it begins with the base's."""
    if source is None:
        return {}
    place = locate(source)
    found = f"{weights_digest(place) if weights else ''} {files_digest(place)}"
    return {"base model": hashlib.sha256(found.encode()).hexdigest()}


def check_fields(folder: Path, name: str, then: Mapping[str, Any], spec: ModelSpec) -> None:
    """RunError where the files of the base say another network than the one a run was made with, its weights equal.

    A field that the run does not know, because an older version wrote it, is not compared; nor is `tied`, which
    training a head undoes.
    """
    found = first_difference({k: v for k, v in then.items() if k != "tied"}, json.loads(json.dumps(spec.to_dict())))
    if found is not None:
        field, before, now = found
        raise RunError(
            f"{folder}: config.json of the base model {name} has changed since this run ({field} was {before} and is "
            f"{now}); put the old file back or tune again.",
            check="same-base",
        )


def first_difference(then: Mapping[str, Any], now: Mapping[str, Any], place: str = "") -> tuple[str, Any, Any] | None:
    """(field, value then, value now) of the first field of `then` that `now` says otherwise."""
    for key, value in then.items():
        other = now.get(key)
        if isinstance(value, Mapping) and isinstance(other, Mapping):
            found = first_difference(value, other, f"{place}{key}.")
            if found is not None:
                return found
        elif value != other:
            return f"{place}{key}", str(value)[:40], str(other)[:40]
    return None


def header(digest: str) -> dict[str, str]:
    """The header of an adapter's file, with the digest of its base where it is known."""
    return {"format": "pt", **({KEY: digest} if digest else {})}


def check_base(adapter: Path, base: Place) -> None:
    """InputError where the adapter file says which weights it was made on, and those of `base` are others."""
    with safe_open(str(adapter), framework="pt") as file:
        wanted = (file.metadata() or {}).get(KEY)
    if wanted and wanted != weights_digest(base):
        raise InputError(
            f"{adapter.parent}: made on other weights than those of its base, {base.path}; put the old files of the "
            "base back, or train the adapter again.",
            check="same-base",
        )
