"""Plain values out of YAML: what a recipe may be made of, and a loader that makes nothing else."""

from __future__ import annotations

import re
from typing import Any

import yaml

from microtune.errors import InputError

MAX_DEPTH = 32


def check_plain(value: Any, where: str, depth: int = 0) -> None:
    """Only what JSON could hold too: YAML also makes bytes, sets, dates and keys of every kind."""
    if depth > MAX_DEPTH:
        raise InputError(f"{where}: nested deeper than {MAX_DEPTH} levels.")
    if isinstance(value, dict):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise InputError(f"{where}: a key is a {type(key).__name__}, not a text; write it in quotes.")
            check_plain(key, where, depth)
            check_plain(inner, where, depth + 1)
    elif isinstance(value, list):
        for inner in value:
            check_plain(inner, where, depth + 1)
    else:
        _check_scalar(value, where)


def _check_scalar(value: Any, where: str) -> None:
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= c <= "\udfff" for c in value):
            raise InputError(f"{where}: a text holds a NUL, or half of a surrogate pair; neither is a character.")
    elif isinstance(value, int):
        if abs(value) > 2**63:  # it may be too long to be written out
            raise InputError(f"{where}: a whole number beyond 64 bits.")
    elif value is not None and not isinstance(value, float):
        raise InputError(f"{where}: {str(value)[:60]} is a {type(value).__name__}, which a recipe cannot hold.")


class _Loader(yaml.SafeLoader):
    """Safe YAML without aliases (no "billion laughs"), without repeated keys, and with 3e-4 as a number."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed in a recipe")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f'key "{twice}" stands twice (line {node.start_mark.line + 1})')
        return super().construct_mapping(node, deep)


_Loader.yaml_implicit_resolvers = {  # 2024-01-02 is a name, not a date
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


def parsed(text: str) -> Any:
    """The value that a text in YAML is; yaml.YAMLError, RecursionError or ValueError where it is none."""
    return yaml.load(text, Loader=_Loader)


def yaml_reason(error: Exception) -> str:
    """What is wrong, and in which line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error) or type(error).__name__
    line = f" (line {mark.line + 1})" if mark is not None else ""
    return f"{str(problem).splitlines()[0][:200]}{line}."
