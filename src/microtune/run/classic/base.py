"""What runs of classic models share: their record on disk, their card, and a `Model` without a network.

`model/` of such a run holds `classic.json` (the options, what was learnt beside the arrays, the task), the arrays, and
the tokenizer. `ClassicModel` answers what a `Model` answers, where it can; a verb that needs a network is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from microtune.classic import make_classic
from microtune.classic.base import Classic
from microtune.data.objects import read_object
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, RunError
from microtune.nn.heads import VocabularyHead
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.recipe import Choice, Recipe, Section, Train, validated
from microtune.run.card import held_out_table, plain
from microtune.run.checks import Ledger
from microtune.run.disk import verify_folder, write_text
from microtune.run.evaluate import Score
from microtune.run.folder import RunFolder
from microtune.run.load import Model
from microtune.run.objective import pretraining_task
from microtune.run.report import write_report
from microtune.run.sources import CLASSIC, Place
from microtune.tasks.base import Task
from microtune.version import __version__

RECORD = CLASSIC


class ClassicRecord(Section):
    """`classic.json` of a run."""

    classic: Choice
    facts: dict[str, Any]


class ClassicModel(Model):
    """A model that is no network. kind: its name for messages."""

    kind = "classic model"

    def __init__(self, place: Place, tokenizer: Tokenizer | None, task: Task | None) -> None:
        self.place, self.tokenizer, self.task = place, tokenizer, task
        self.family, self.config, self.generation, self.spare = "", {}, {}, {}
        self.missing_head, self.normalize, self.max_length, self.added = (), False, None, None

    @property
    def network(self) -> Transformer:  # type: ignore[override]
        """There is none: an InputError."""
        self._refuse("no network, so it cannot be tuned, merged or exported")

    @property
    def spec(self) -> ModelSpec:
        """There is none: an InputError."""
        self._refuse("no network, hence no spec")

    @property
    def room(self) -> int | None:
        """None: a text may be of any length."""
        return None

    @property
    def is_encoder_decoder(self) -> bool:
        """False."""
        return False

    @property
    def notes(self) -> list[str]:
        """None."""
        return []

    def vocabulary_head(self) -> VocabularyHead:
        """There is none: an InputError."""
        self._refuse("no conversation to offer; use `predict`, or `generate` in Python")

    def evaluate(self, rows: Sequence[Row]) -> Score:
        """Score the model on rows, where it is one of texts."""
        self._refuse("nothing to score on rows")

    def _refuse(self, why: str) -> NoReturn:
        raise InputError(f"{self.place.name if self.place else 'This'}: {self.kind} has {why}.")


def read_classic(place: Place) -> tuple[Classic, dict[str, Any]]:
    """Options and facts of a finished run; RunError where it is damaged."""
    folder = place.path / "model"
    damage = verify_folder(folder)
    if damage is not None:
        raise RunError(f"{folder}: the saved model is damaged ({damage}); run its command again with --overwrite.")
    file = folder / RECORD
    record = validated(ClassicRecord, read_object(file, error=RunError), str(file))
    return make_classic(record.classic), record.facts


def check_recipe(recipe: Recipe) -> None:
    """Refuse what contradicts a classic model."""
    assert recipe.model.classic is not None
    name = recipe.model.classic.name
    if recipe.model.spec is not None:
        raise InputError("recipe: model.spec and model.classic exclude each other; leave one of them out.")
    if not recipe.data.sources:
        raise InputError("recipe: data.sources is missing: the files that the model shall learn from.")
    if pretraining_task(recipe).objective != "causal":
        raise InputError(f"recipe: task.objective does not belong to {name}; leave it out.")
    for key in ("vectors", "max_length", "added_tokens"):
        if getattr(recipe.model, key):
            raise InputError(f"recipe: model.{key} does not belong to {name}; leave it out.")


def unused(recipe: Recipe, used: Sequence[str]) -> list[str]:
    """A note about fields of `train` that differ from their defaults and that the model does not use."""
    default = Train()
    names = [
        n for n in Train.model_fields if getattr(recipe.train, n) != getattr(default, n) and n not in (*used, "track")
    ]
    assert recipe.model.classic is not None
    said = ", ".join(f"train.{name}" for name in names)
    return [f"{recipe.model.classic.name} does not use {said}."] if names else []


def finish(folder: RunFolder, scores: Mapping[str, Any], facts: Mapping[str, Any], made: Ledger) -> None:
    """Card and report of the run and scores.json, which makes it a finished one; facts: `about`, `sources` and more."""
    record = {"scores": scores, "facts": facts, "checks": made.record(), "notes": folder.notes}
    about = f"{facts['about']}; made by microtune {__version__}."
    card = classic_card(folder.path.name, folder.path.as_posix(), about, facts["sources"], scores, folder.notes)
    write_text(folder.path / "README.md", card)
    write_report(folder.path, record=record)
    folder.finish(record)


def classic_card(
    name: str,
    path: str,
    about: str,
    sources: Sequence[Mapping[str, Any]],
    scores: Mapping[str, Any],
    notes: Sequence[str],
) -> str:
    """README.md of a run: what was learnt, from what, and bits per byte on held-out text."""
    lines = [f"# {plain(name)}", "", plain(about), ""]
    lines += ["| source | language | tokens | share read |", "|---|---|---|---|"]
    lines += [f"| {plain(s['name'])} | {plain(s['language'])} | {s['tokens']:,} | {s['share']:g} |" for s in sources]
    if scores:
        lines += ["", *held_out_table(scores)]
    if notes:
        lines += ["", "What to know:", "", *(f"- {plain(note)}" for note in notes)]
    lines += [
        "",
        "```python",
        "import microtune as mt",
        f'model = mt.load("{plain(path)}")',
        "```",
        "",
    ]
    return "\n".join(lines)
