"""The digest of a base's weights: by it a run or an adapter notices that it stands on another base than its own.

An adapter folder that we write carries it in the header of its safetensors file, where other tools do not look and from
where it cannot get lost; a folder of another tool has none, and is not checked.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from safetensors import safe_open

from microtune.errors import InputError
from microtune.run.sources import Place

KEY = "microtune_base_sha256"


def weights_digest(place: Place) -> str:
    """SHA-256 over the safetensors files of a model."""
    digest = hashlib.sha256()
    named = [place.path / name for name in place.weights]
    for path in named or sorted(place.path.glob("*.safetensors")):
        with open(path, "rb") as source:
            while block := source.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


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
