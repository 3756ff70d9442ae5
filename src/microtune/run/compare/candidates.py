"""What is compared: methods by name, each with a recipe for every seed and number of examples."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from microtune import recipe as recipes
from microtune.errors import InputError
from microtune.recipe import Recipe

MethodSaid = str | Mapping[str, Any] | Sequence[Any]


@dataclass(frozen=True)
class Entry:
    """One line of the table: a method, with so many examples per label (None: with all), and its runs by seed."""

    name: str
    method: str  # as it was written: `lora:8`
    examples: int | None
    seeds: tuple[int, ...]

    @property
    def runs(self) -> list[str]:
        """Names of the folders of its runs."""
        return [self.run(seed) for seed in self.seeds]

    def run(self, seed: int) -> str:
        """The folder of one run."""
        size = "" if self.examples is None else f"-n{self.examples}"
        number = f"-seed{seed}" if len(self.seeds) > 1 else ""
        return f"{self.name}{size}{number}"

    @property
    def label(self) -> str:
        """For people."""
        return self.method if self.examples is None else f"{self.method}, {self.examples} examples"


def said_as(method: MethodSaid) -> str:
    """`lora:8`, `lora(rank=4, variant=dora)`, `head+bitfit`: a method in one word or two."""
    if isinstance(method, str):
        return method.strip()
    if isinstance(method, Mapping):
        fields = ", ".join(f"{key}={value}" for key, value in method.items() if key != "name")
        return f"{method.get('name', '')}({fields})" if fields else str(method.get("name", ""))
    return "+".join(said_as(part) for part in method)


def make_entries(methods: Sequence[MethodSaid], sizes: Sequence[int | None], seeds: Sequence[int]) -> list[Entry]:
    """One entry for each method and size, in this order; fewer than two methods, or one twice, are refused."""
    names = [said_as(method) for method in methods]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise InputError(f'methods: "{twice}" stands twice; a comparison needs every method once.')
    if len(names) < 2:
        raise InputError(f"methods: {names[0] if names else 'none'} alone; a comparison needs two methods at least.")
    folders = _folders(names)
    return [Entry(folders[name], name, size, tuple(seeds)) for size in sizes for name in names]


def _folders(names: Sequence[str]) -> dict[str, str]:
    """Names that can be folders, all different, on every system."""
    found: dict[str, str] = {}
    for name in names:
        plain = re.sub(r"[^0-9a-z.]+", "-", name.lower()).strip("-.")[:60] or "method"
        number = sum(other == plain or other.startswith(f"{plain}.") for other in found.values())
        found[name] = plain if not number else f"{plain}.{number + 1}"
    return found


def recipe_of(base: Recipe, method: MethodSaid, *, seed: int, examples: int | None, epochs: float) -> Recipe:
    """The recipe of one run; the split is the same for all."""
    values = base.model_dump(mode="json", exclude={"method"})
    values["method"] = dict(method) if isinstance(method, Mapping) else method
    values |= {"seed": seed, "out": None}
    split = base.seed if base.data.split_seed is None else base.data.split_seed
    values["data"] |= {"split_seed": split, "examples": examples or base.data.examples}
    values["train"] |= {"epochs": epochs}
    return recipes.build(values, where=f"method {said_as(method)}")
