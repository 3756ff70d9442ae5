"""The recipe: what a run is made of, as frozen pydantic models.

One model is the Python API, the flags, the YAML file and the help text. Unknown keys fail and name the nearest known
one. Nothing here imports torch.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from microtune.errors import InputError, LimitError, suggest
from microtune.plain import MAX_DEPTH, check_plain, dumped, parsed, yaml_reason

SectionType = TypeVar("SectionType", bound=BaseModel)
MAX_RECIPE_BYTES = 1_000_000


class Section(BaseModel):
    """Base of all recipe sections: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Limits(Section):
    """How much of the outside world is let in; every number can be raised in the recipe."""

    file_bytes: int = Field(4_000_000_000, ge=1, description="largest single file read, in bytes, before decompression")
    decoded_characters: int = Field(4_000_000_000, ge=1, description="characters of one source after decoding")
    rows: int = Field(50_000_000, ge=1, description="rows of one source")
    fields: int = Field(1_000, ge=1, description="fields (columns, keys) of one row")
    field_characters: int = Field(10_000_000, ge=1, description="characters of one field")
    depth: int = Field(32, ge=1, description="nesting of one JSON row or recipe")
    expansion: int = Field(200, ge=1, description="decoded bytes per compressed byte above the first 100 MB")
    template_steps: int = Field(1_000_000, ge=1, description="loop steps of one chat template")
    template_characters: int = Field(8_000_000, ge=1, description="characters that one chat template may produce")


class Choice(BaseModel):
    """A named thing with options of its own: a task, a method. The registry of its kind checks the options."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(description="short name; `microtune list` shows what there is")

    @model_validator(mode="before")
    @classmethod
    def _short_forms(cls, value: Any) -> Any:
        """A name alone; `kind` in place of `name`."""
        if isinstance(value, dict) and "kind" in value and "name" not in value:
            return {"name": value["kind"], **{key: inner for key, inner in value.items() if key != "kind"}}
        return {"name": value} if isinstance(value, str) else value

    @property
    def options(self) -> dict[str, Any]:
        """The options without the name."""
        return dict(self.model_extra or {})

    @property
    def title(self) -> str:
        """The name, or those of the parts: `head+bitfit`."""
        parts = self.options.get("parts")
        names = [part.get("name") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        return "+".join(str(name) for name in names) or self.name


class Source(Section):
    """One part of a pretraining corpus."""

    path: str = Field(description="file, glob or folder; relative to `data.folder`")
    fields: list[str] = Field(default=["text"], description="fields that make up the text, in order")
    join: str = Field(default="\n", description="what stands between the fields, and between the parts of a list field")
    where: dict[str, list[str]] = Field(default_factory=dict, description="field -> values of rows that are kept")
    epochs: float = Field(default=1.0, gt=0, description="how often its blocks are seen per pass over the corpus")
    language: str = Field(default="", description="for the report: scores are given per language")
    name: str = Field(default="", description="for the report; default: the folder of the path")
    held_out: str = Field(default="", description="file whose text is scored at the end, never trained on")


class SplitBy(Section):
    """An order in which rows are parted: the earliest are learnt from, the latest are the test."""

    field: str = Field(min_length=1, description="field with a date or a number")


class Data(Section):
    """Where the rows come from and how they are read and split."""

    train: Any = Field(default=None, description="file, glob, folder, list of dicts or DataFrame")
    validation: Any = Field(default=None, description="rows for choosing; default: cut from train")
    test: Any = Field(default=None, description="rows read once, at the end; default: cut from train")
    split: dict[str, float] | Literal["none"] | str = Field(
        default={"validation": 0.1, "test": 0.1}, description="fractions cut from train, `none`, or the name of a field"
    )
    split_by: Annotated[SplitBy | None, BeforeValidator(lambda v: {"field": v} if isinstance(v, str) else v)] = Field(
        default=None, description="{field: date}: the latest rows are the test, not rows drawn at random"
    )
    text_field: str | None = Field(default=None, description="field with the text; default: detected")
    label_field: str | None = Field(default=None, description="field with the label; default: detected")
    encoding: str | None = Field(default=None, description="text encoding; default: recognised")
    header: bool | None = Field(default=None, description="whether tables have a header; default: recognised")
    overlap: Literal["drop", "warn", "error"] = Field(
        default="drop", description="training rows that stand in the test split"
    )
    examples: int | None = Field(
        default=None, ge=1, description="at most so many training rows of each label (or in all); default: all"
    )
    split_seed: int | None = Field(default=None, ge=0, description="of the split alone; default: `seed`")
    steps: list[Choice] = Field(default_factory=list, description="preparation of texts: unicode, {name: html} ...")
    tasks: list[Choice] = Field(
        default_factory=list, description="several tasks for one model: name, train, prompt and answer, rate ..."
    )
    temperature: float = Field(default=1.0, ge=1, description="of `tasks`: above 1, small ones are seen more often")
    folder: str | None = Field(default=None, description="folder that relative paths of `sources` start from")
    sources: list[Source] = Field(default_factory=list, description="a pretraining corpus")
    block_size: int = Field(default=256, ge=8, description="tokens of one row in language modelling")
    documents: Literal["join", "separate"] = Field(
        default="join", description="of a corpus: end to end in blocks, or each for itself, so that none sees another"
    )
    cache: str | None = Field(
        default=None, description="folder for the tokens of a corpus, which several runs share; default: in the run"
    )


class Train(Section):
    """How the weights are moved."""

    epochs: float = Field(default=3, gt=0, description="passes over the training rows")
    batch_size: int = Field(default=16, ge=1, description="rows per optimizer step")
    micro_tokens: int = Field(
        default=0, ge=0, description="tokens computed at once; changes memory, not results; 0: by the model's size"
    )
    memory: str | None = Field(
        default=None, description="such as 4GB: micro_tokens is lowered until the predicted peak fits"
    )
    lr: float | None = Field(default=None, gt=0, description="learning rate; default: the method's")
    optimizer: Literal["adamw", "muon"] = Field(
        default="adamw", description="muon: for matrices inside blocks, adamw for the rest"
    )
    schedule: Literal["cosine", "linear", "constant", "wsd", "inverse-sqrt"] = Field(
        default="linear", description="after the warm-up"
    )
    warmup: float = Field(default=0.06, ge=0, lt=1, description="share of the steps in which the rate rises")
    weight_decay: float = Field(default=0.01, ge=0, description="on matrices, not on biases and norms")
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="share of each target's probability that training spreads over all tokens"
    )
    betas: tuple[float, float] = Field(default=(0.9, 0.999), description="AdamW's moments")
    clip: float = Field(default=1.0, ge=0, description="largest gradient norm; 0: no clipping")
    precision: Literal["auto", "float32", "bfloat16", "int8"] = Field(
        default="auto", description="of frozen weights and products; int8: frozen weights only, never chosen by auto"
    )
    keep: Literal["best", "last"] = Field(
        default="best", description="which weights a run ends with: best on validation, or last"
    )
    patience: int = Field(
        default=5,
        ge=0,
        description="stop after so many epochs in which neither the metric nor the loss of validation gained; 0: never",
    )
    adjust: Literal["off", "advise", "act"] = Field(
        default="advise",
        description="divergence, overfitting: say, or do: lower the rate, go back to the best weights, regularise",
    )
    track: list[Literal["tensorboard", "mlflow", "wandb"]] = Field(
        default_factory=list, description="trackers that are told of every step and score; one that fails is left out"
    )
    checkpoint_steps: int = Field(
        default=0, ge=0, description="checkpoint every so many steps; 0: after epochs, in at most a tenth of the time"
    )
    cache: bool = Field(
        default=True, description="keep the outputs of a frozen trunk from the first epoch for the others"
    )
    evaluate_tokens: int = Field(
        default=0, ge=0, description="in pretraining: score held-out text every so many tokens; 0: at the end alone"
    )
    average: int = Field(
        default=0, ge=0, description="in pretraining: mean of the last so many checkpoints, if better on held-out text"
    )
    compile: bool = Field(
        default=False,
        description="in pretraining: compile the blocks, which takes half a minute; a CPU needs g++ or the like",
    )
    minutes: float | None = Field(
        default=None, gt=0, description="end after so many minutes of steps; the schedule then follows the clock"
    )
    max_steps: int = Field(default=0, ge=0, description="stop early, for trying things out; 0: no")
    threads: int = Field(default=0, ge=0, description="CPU threads; 0: torch's number, within a container's share")

    @field_validator("memory")
    @classmethod
    def _is_a_size(cls, text: str | None) -> str | None:
        if text is not None:
            parse_size(text)
        return text


class ModelChoice(Section):
    """The base: something to load, or a shape to fill with random weights."""

    source: str | None = Field(
        default="sprout",
        description="base, folder, safetensors file, hub id[@revision] or modelscope:id; `microtune list models`",
    )
    weights: Literal["pretrained", "random"] = Field(
        default="pretrained", description="random: the same network from scratch"
    )
    max_length: int | None = Field(
        default=None, ge=2, description="tokens a text is cut to; default: what the model can read"
    )
    added_tokens: list[str] = Field(
        default_factory=list, description="texts that become one token each; the embedding grows by a row for each"
    )
    spec: dict[str, Any] | None = Field(default=None, description="a ModelSpec, for a new network; with source: null")
    family: str = Field(default="llama", description="how a pretrained model is written: its Hugging Face model_type")
    tokenizer: dict[str, Any] | str | None = Field(
        default=None, description="folder or base, or {kind: bpe | wordpiece | unigram, vocab_size: n} to train one"
    )
    classic: Annotated[Choice | None, BeforeValidator(lambda v: parse_short(v) if isinstance(v, str) else v)] = Field(
        default=None, description="a model before the Transformer in place of `spec`, such as ngram:5"
    )
    vectors: str | None = Field(
        default=None, description="word vectors that a new embedding begins with: a file as of word2vec, or such a run"
    )


class Recipe(Section):
    """Everything that decides a run."""

    task: Choice
    model: ModelChoice = ModelChoice(source="sprout")
    data: Data = Data()
    method: Choice = Choice(name="lora")
    train: Train = Train()
    limits: Limits = Limits()
    seed: int = Field(default=0, ge=0, description="of everything random")
    out: str | None = Field(default=None, description="run folder; default: runs/<data>-<task>-<method>-<hash>")


def build(values: Mapping[str, Any], *, where: str = "recipe") -> Recipe:
    """Plain values -> Recipe; a mistake is one sentence that names the key and the nearest known one."""
    return validated(Recipe, _widened(dict(values)), where)


def validated(kind: type[SectionType], values: Mapping[str, Any], where: str) -> SectionType:
    """Check `values` against a section and turn pydantic's report into one sentence."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise InputError(f"{where}: {_sentence(kind, first)}") from error


def load(path: str | Path) -> dict[str, Any]:
    """The values of a YAML recipe file."""
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such recipe file.")
    if path.stat().st_size > MAX_RECIPE_BYTES:
        raise LimitError(f"{path}: larger than {MAX_RECIPE_BYTES} bytes; a recipe is a short file.")
    try:
        values = parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}).") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}).") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InputError(f"{path}: not valid YAML: {yaml_reason(error)}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path}: a recipe is a mapping of keys to values.")
    check_plain(values, str(path))
    return values


def override(values: dict[str, Any], assignments: Iterable[str]) -> dict[str, Any]:
    """Apply `train.lr=3e-4` and the like to plain recipe values; values are read as YAML."""
    result: dict[str, Any] = copy.deepcopy(_widened(values))
    for assignment in assignments:
        path, sign, text = assignment.partition("=")
        if not sign or not path:
            raise InputError(f'"{assignment}" is not an override; write key=value, for instance train.lr=3e-4.')
        keys = path.split(".")
        if len(keys) > MAX_DEPTH:
            raise InputError(f'"{assignment}" is not an override: a recipe has at most {MAX_DEPTH} levels.')
        if keys[:2] == ["data", "split"] and len(keys) == 3:  # one share changes, the other stays
            data = result.setdefault("data", {})
            data["split"] = data.get("split") or dict(Data.model_fields["split"].default)
        place = result
        for key in keys[:-1]:
            inner = place.setdefault(key, {})
            if not isinstance(inner, dict):
                raise InputError(f'"{assignment}": {key} holds a value, not keys.')
            place = inner
        place[keys[-1]] = _scalar(text)
        check_plain(place[keys[-1]], f'"{assignment}"')
    return result


def to_yaml(recipe: Recipe) -> str:
    """The whole recipe as YAML, every default written out."""
    return dumped(recipe.model_dump(mode="json"), width=120)


def parse_short(text: str) -> dict[str, Any]:
    """`lora:8` -> {"name": "lora", "size": 8}; the method turns `size` into its own field."""
    name, sign, size = text.replace("：", ":").partition(":")  # the colon of a Chinese keyboard
    if not sign:
        return {"name": name}
    if not size.isascii() or not size.isdigit() or len(size) > 9:
        raise InputError(f'"{text}" is not a short form; write a name and a whole number, as in top:2.')
    return {"name": name, "size": int(size)}


def parse_size(text: str) -> int:
    """`4GB`, `1.5 GiB`, `800MB` -> bytes; anything else is a ValueError."""
    found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?) ?([kKMGT]i?)?B?", text.strip())
    size = 0.0
    if found is not None:
        unit = (found[2] or "").upper()
        size = float(found[1]) * (1024 if unit.endswith("I") else 1000) ** " KMGT".index(unit[:1] or " ")
    if not 1 <= size < 2**60:
        raise ValueError("a size of memory is a number and a unit, such as 4GB, 800MB or 1.5GiB")
    return int(size)


def _scalar(text: str) -> Any:
    try:
        return parsed(text) if text else None
    except (yaml.YAMLError, RecursionError, ValueError):
        return text


def _widened(values: dict[str, Any]) -> dict[str, Any]:
    """Short forms: `task: classification`, `method: lora:8`, `model: sprout`, `epochs: 3`, `test: file`."""
    result = dict(values)
    if isinstance(result.get("task"), str):
        result["task"] = parse_short(result["task"])
    if isinstance(result.get("method"), (str, list)):
        result["method"] = _methods(result["method"])
    if isinstance(result.get("model"), str):
        result["model"] = {"source": result["model"]}
    if "epochs" in result:
        train = result.get("train") or {}
        result["train"] = {**train, "epochs": result.pop("epochs")} if isinstance(train, dict) else train
    data = result.get("data")
    data = {"train": data} if data is not None and not isinstance(data, dict) else dict(data or {})
    for key in ("test", "validation", "split"):
        if key in result:
            data[key] = result.pop(key)
    if data:
        result["data"] = data
    return result


def _methods(value: str | list[Any]) -> dict[str, Any]:
    """`lora:8`, `head+bitfit` or a list of names and mappings -> one method, made of parts where there are several."""
    parts = value.split("+") if isinstance(value, str) else value
    found = [parse_short(part.strip()) if isinstance(part, str) else part for part in parts]
    wrong = next((part for part in found if not isinstance(part, dict)), None)
    if wrong is not None or not found:
        said = "nothing" if not found else repr(wrong)[:40]
        raise InputError(f"method: a list holds methods, such as lora:8 or {{name: lora, rank: 8}}; this holds {said}.")
    return found[0] if len(found) == 1 else {"name": "several", "parts": found}


def _sentence(kind: type[BaseModel], error: Any) -> str:
    place = ".".join(str(part) for part in error["loc"] if "[" not in str(part))  # dict[...] is no field of ours
    if error["type"] == "extra_forbidden":
        known = _known_keys(kind, [str(part) for part in error["loc"][:-1]])
        inside = next((f"{key}.{place}" for key in known if place in _known_keys(kind, [key])), None)
        if inside and place not in known and kind is Recipe and len(error["loc"]) == 1:  # `lr=3e-4` for train.lr
            return f'unknown key "{place}". Did you mean "{inside}"? Known: {", ".join(sorted(known))}.'
        return f'unknown key "{place}". {suggest(str(error["loc"][-1]), known)}'
    if error["type"] == "missing":
        return f'"{place}" is missing.'
    reason = re.sub("^(Input|String|List|Tuple|Dictionary) should", "the value should", error["msg"])
    reason = re.sub(" after validation, not [0-9]+$", "", reason).removeprefix("Value error, ")
    if not place:  # a mistake of the whole section, whose values would fill the line
        return f"{reason}."
    if error["type"] in ("list_type", "tuple_type") and isinstance(error["input"], str) and len(error["input"]) < 40:
        return f"{place}: the value should be a valid list; write [{error['input']}]."
    if error["type"] == "value_error" and error.get("input") is None:  # what was left out has nothing to show
        return f"{place}: {reason}."
    return f"{place}: {reason}, not {str(error.get('input'))[:80]!r}."


def _known_keys(kind: type[BaseModel], path: list[str]) -> list[str]:
    for part in path:
        annotation = kind.model_fields[part].annotation if part in kind.model_fields else None
        candidates = [annotation, *get_args(annotation)]
        inner = next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)
        if inner is not None:
            kind = inner
    return list(kind.model_fields)
