"""Models of ModelScope (`modelscope:owner/name`), through its own client, which an extra brings.

ModelScope lists a SHA-256 for every file; each is compared before the file is used. Its client keeps one folder for a
model and updates it in place, so a revision is a branch or a tag here, and a run notices a changed base by its weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from microtune.data.objects import first_line
from microtune.errors import InputError
from microtune.run.hub import assemble
from microtune.run.hub.cache import Published, Snapshot, check, weights_of

SCHEME = "modelscope:"


def fetch(name: str, revision: str = "") -> Snapshot:
    """The files of a model at a branch or tag (default: master)."""
    try:
        from modelscope import snapshot_download
        from modelscope.hub.api import HubApi
    except ImportError as error:
        raise InputError(
            f'"{SCHEME}{name}" needs the package modelscope; pip install "microtune[modelscope]" brings it.'
        ) from error
    asked = revision or "master"
    try:
        listed = HubApi().get_model_files(name, revision=asked, recursive=True)
    except Exception as error:  # the client raises requests' errors, its own, and bare ones
        raise _refusal(name, asked, error) from error
    published = {
        str(one["Path"]): Published(one.get("Size"), str(one.get("Sha256") or "").lower())
        for one in listed
        if one.get("Type") != "tree"
    }

    def get(files: Sequence[str]) -> Path:
        try:
            folder = Path(snapshot_download(name, revision=asked, allow_patterns=list(files)))
        except Exception as error:
            raise _refusal(name, asked, error) from error
        for file in files:
            if not (folder / file).is_file():
                raise InputError(f'"{SCHEME}{name}": {file} did not arrive; run the same command again.')
            check(folder / file, file, published[file])
        return folder

    folder, files = assemble(f"{SCHEME}{name}", published, get)
    return Snapshot(folder, asked, weights_of(files))


def _refusal(name: str, asked: str, error: Exception) -> InputError:
    return InputError(
        f'"{SCHEME}{name}": revision "{asked}" could not be had from ModelScope ({first_line(error)}); check the name, '
        "the network and whether the model asks for a login."
    )
