"""The model card of an export: what the folder holds, how it is loaded, and what the run knows about the model.

It is the card of the run (run/report/card.py) without what stays behind: no file of the run, no place on this machine.
In the language of the run's own card unless another is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PureWindowsPath
from typing import Any

from microtune.recipe import Recipe
from microtune.run.card import plain
from microtune.run.card_header import based_on, between_lines, header
from microtune.run.disk import write_text
from microtune.run.export.beside import beside
from microtune.run.export.loading import loading
from microtune.run.export.parity import Parity, kind_of
from microtune.run.load import Model
from microtune.run.mixture import data_of, data_title
from microtune.run.report import card as parts
from microtune.run.report.facts import license_of
from microtune.run.report.pages import diagnosis_in_both, in_language, language_of
from microtune.run.report.read import RunFiles, read_run, read_there
from microtune.version import __version__

LIBRARIES = {"hf": "transformers", "peft": "peft", "gguf": "gguf", "onnx": "onnx", "own": "microtune"}
HOLDS = {
    "hf": "This folder holds the whole model for {library}, its weights in {number}.",
    "gguf": "The file model.gguf holds the whole model for llama.cpp, its weights in {number}.",
    "onnx": "The file model.onnx holds the whole model for onnxruntime; rows and their length are open.",
    "own": "This folder holds the whole network in the form of microtune, which no other tool reads.",
    "peft": "This folder holds an adapter for peft.",
}


@dataclass(frozen=True)
class Made:
    """What is exported: form, place, number format of the weights, what is known of merging, language of the card.

    base: by which an adapter's base is loaded; inside: whether that is a part of the folder.
    """

    format: str
    target: Path
    number: str
    facts: dict[str, Any]
    lang: str | None = None
    base: str = ""
    inside: bool = False

    @property
    def name(self) -> str:
        """Of the folder."""
        return self.target.resolve().name


def write_card(work: Path, model: Model, made: Made, parity: Parity) -> None:
    """Write README.md into the folder `work`, in which the export stands."""
    run = _run_of(model)
    recipe = parts.recipe_of(run) if run is not None else None
    whole = run is not None and recipe is not None
    lines = _of_run(run, recipe, model, made, parity) if whole else _of_model(model, made, parity)  # type: ignore[arg-type]
    both = diagnosis_in_both(run) if run is not None else None
    text = in_language(made.lang or _spoken(model), None, "\n".join([*lines, ""]), both)
    write_text(work / parts.NAME, text)


def _run_of(model: Model) -> RunFiles | None:
    place = model.place
    if place is None or place.kind != "run" or not (place.path / "scores.json").is_file():
        return None
    return read_run(place.path)


def _spoken(model: Model) -> str:
    """The language of the card in the run's folder."""
    card = model.place.path / parts.NAME if model.place is not None and model.place.kind == "run" else None
    if card is None or not card.is_file():
        return "en"
    return language_of(card.read_text(encoding="utf-8", errors="replace"))


def _of_run(run: RunFiles, recipe: Recipe, model: Model, made: Made, parity: Parity) -> list[str]:
    relation, tags = "adapter" if made.format == "peft" else "finetune", [made.format]
    top = header(made.name, run, recipe, library=_library(model, made), relation=relation, tags=tags)
    lines = [*top.splitlines(), "", f"# {plain(made.name)}", ""]
    base = _bare(run.facts.model.base) if run.facts.model.base_kind != "hub" else run.facts.model.base
    lines += [parts.made_of(run, recipe, plain(_bare(data_title(recipe))), plain(base)), "", parts.trained(run)]
    lines += _opened(model, made, parity, base)
    lines += ["", "## Scores", "", _whose(made), "", *parts.figures(run), *parts.data(run), *parts.course(run)]
    lines += ["", "## Training", "", parts.training(recipe)]
    files = [value for value in data_of(recipe).values() if isinstance(value, str)]
    lines += [_without(line, files) for line in parts.known(run)]
    lines += ["", "## Limits", "", f"{parts.any_text(recipe)} {parts.SOURCE_OF_SCORES}.", *_room(model)]
    notes = [f"- {note}" for note in beside(model)]
    lines += ["", *notes, ""] if notes else [""]
    return [*lines, parts.licence(run)]


def _of_model(model: Model, made: Made, parity: Parity) -> list[str]:
    """The card of a model that no run of ours was asked about: what can be said without one."""
    place = model.place
    about = _of_base(model)
    source = "" if place is None else place.name if place.kind in ("hub", "embedded") else _bare(place.name)
    if about and place is not None:
        source = place.path.resolve().parent.name
    license_name = _license(model)
    values: dict[str, Any] = {
        "license": license_name,
        "library_name": _library(model, made),
        **based_on(source if place is not None and place.kind == "hub" else "", _relation(made.format)),
        "pipeline_tag": _pipeline(model),
        "tags": ["microtune", made.format],
    }
    lines = [*between_lines(values).splitlines(), "", f"# {plain(made.name)}", ""]
    lines.append(f"{plain(source or model.family)}, written in another form by microtune {__version__}.")
    lines += [*_opened(model, made, parity, source), *_room(model), ""]
    lines += ["## Training", "", *about, ""] if about else []
    return [*lines, f"Licence: {plain(license_name)} (that of the model)."]


def _license(model: Model) -> str:
    """The licence of the model's card; of a run without facts, as a combination is one, that of an embedded base."""
    place = model.place
    if place is not None and place.kind == "run":
        base = (read_there(place.path / "model" / "model.json") or {}).get("base")
        return "apache-2.0" if isinstance(base, dict) and base.get("kind") == "embedded" else "unknown"
    return license_of(model)


def _of_base(model: Model) -> list[str]:
    """What the card of a base says that a run of ours has pretrained: data, tokens, scores."""
    place = model.place
    if place is None or place.kind != "folder" or not (place.path.resolve().parent / "scores.json").is_file():
        return []
    card = place.path / parts.NAME
    return card.read_text(encoding="utf-8", errors="replace").strip().splitlines() if card.is_file() else []


def _relation(format: str) -> str:
    return {"gguf": "quantized", "peft": "adapter"}.get(format, "")


def _library(model: Model, made: Made) -> str:
    sentences = made.format == "hf" and kind_of(model) == "sentence" and model.tokenizer is not None
    return "sentence-transformers" if sentences else LIBRARIES[made.format]


def _pipeline(model: Model) -> str:
    kind = kind_of(model)
    if kind != "vocabulary":
        names = {"label": "text-classification", "sentence": "sentence-similarity", "hidden": "feature-extraction"}
        return names[kind]
    if model.is_encoder_decoder:
        return "text2text-generation"
    return "fill-mask" if model.spec.decoder is None else "text-generation"


def _opened(model: Model, made: Made, read: Parity, base: str) -> list[str]:
    """What the folder holds, the code that opens it, and who has read it."""
    lines = ["", "## Use", "", HOLDS[made.format].format(library=_library(model, made), number=made.number)]
    if made.format == "peft":
        where = "Its base, {base}, is in the folder base." if made.inside else "Its base, {base}, is loaded beside it."
        lines.append(where.format(base=plain(base)))
    if count := made.facts.get("merged_updates"):
        lines.append(f"The {count} updates of the adapter are merged into the weights.")
    lines += ["", *loading(model, made.format, made.name, _base_path(made)), ""]
    lines.append(
        f"{read.reader} has read it: {read.compared} of {read.rows} rows differ from those of microtune by at most "
        f"{read.gap:.2g} (allowed: {read.bound:.2g}, {read.reason})."
    )
    return lines


def _base_path(made: Made) -> str:
    """What the code loads as the base of an adapter; never a place on this machine."""
    if made.inside:
        return f"{made.name}/{made.base}"
    return made.base if not Path(made.base).is_absolute() else f"path/to/{_bare(made.base)}"


def _whose(made: Made) -> str:
    if made.number == "float32":
        return "Of the run, before the export."
    return f"Of the run in float32, before the export; in {made.number} they can differ."


def _room(model: Model) -> list[str]:
    limit = min((size for size in (model.max_length, model.room) if size), default=None)
    return ["", f"It reads {limit:,} tokens at most."] if limit else []


def _bare(name: str) -> str:
    """The last part of a path, of the model of a run that of the run; in a card data are named, places are not."""
    path = PureWindowsPath(name)
    return (path.parent.name if path.name == "model" else "") or path.name or name


def _without(line: str, files: list[str]) -> str:
    """A line in which data files have lost their folders."""
    for file in sorted(files, key=len, reverse=True):
        line = line.replace(plain(file), plain(_bare(file)))
    return line
