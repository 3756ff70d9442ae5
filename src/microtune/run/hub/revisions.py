"""Which commit of a hub a run uses: the one that it began with, whatever the branch points to today.

A recipe says `owner/name`; environment.json says at which commit. A resumed run takes the commit from there, so that
its trajectory stays that of an uninterrupted one, and needs no network where the cache holds that commit.
"""

from __future__ import annotations

from pathlib import Path

from microtune.data.objects import read_object
from microtune.errors import RunError
from microtune.recipe import Recipe
from microtune.run import hub
from microtune.run.hub import modelscope
from microtune.run.sources import locate


def pin(recipe: Recipe, folder: Path, *, fresh: bool) -> tuple[Recipe, dict[str, str]]:
    """The recipe with the source of its model at a commit, and that commit by source; ({} for what is on no hub).

    folder: of the run. fresh: do not look at what an earlier run in it used.
    """
    source = recipe.model.source
    if source is None or not hub.is_id(source.removeprefix(modelscope.SCHEME)) or Path(source).exists():
        return recipe, {}
    known = "" if fresh else _stored(folder).get(source, "")
    name = source.partition("@")[0]
    place = locate(f"{name}@{known}" if hub.REVISION.fullmatch(known) else source)
    if place.kind != "hub":
        return recipe, {}
    model = recipe.model.model_copy(update={"source": place.source})
    return recipe.model_copy(update={"model": model}), {source: place.revision}


def _stored(folder: Path) -> dict[str, str]:
    try:
        found = read_object(folder / "environment.json", error=RunError).get("revisions")
    except RunError:
        return {}
    return {key: value for key, value in found.items() if isinstance(value, str)} if isinstance(found, dict) else {}
