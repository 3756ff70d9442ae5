"""Plain values out of YAML and back: what a recipe may be made of, and a loader that makes nothing else.

PyYAML's own reader and writer take milliseconds for a recipe, libyaml's a sixth of that. Where the two are known to
differ (below), or where there is something to refuse, PyYAML's own has the word: every text and every message is its.
"""

from __future__ import annotations

import re
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from microtune.errors import InputError

try:
    from yaml._yaml import CParser
    from yaml.cyaml import CSafeDumper
except ImportError:  # PyYAML can be built without libyaml
    CParser = None  # type: ignore[assignment,misc]

MAX_DEPTH = 32
TAKEN_OTHERWISE = re.compile("[\t?\ufeff]")  # libyaml is milder with these
EVEN_KEY, EVEN_TEXT = re.compile("[ -~]{1,100}"), re.compile("[ -~]*")  # of others libyaml breaks lines elsewhere


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


class _Strict(Composer, SafeConstructor):
    """Safe values without aliases (no "billion laughs"), without repeated keys, and with 3e-4 as a number."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):  # type: ignore[attr-defined]
            raise yaml.YAMLError("aliases (*name) are not allowed in a recipe")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        twice = next((key for key in keys if keys.count(key) > 1), None)
        if twice is not None:
            raise yaml.YAMLError(f'key "{twice}" stands twice (line {node.start_mark.line + 1})')
        return super().construct_mapping(node, deep)


class _Resolver(Resolver):
    """Which plain words are numbers, switches or nothing."""


_Resolver.yaml_implicit_resolvers = {  # 2024-01-02 is a name, not a date
    first: [(tag, pattern) for tag, pattern in found if not tag.endswith(":timestamp")]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Resolver.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?\d+(\.\d*)?[eE][-+]?\d+$"), list("-+0123456789")
)


class _Loader(_Strict, _Resolver, yaml.SafeLoader):
    """With PyYAML's own reader."""


if CParser is not None:

    class _FastLoader(_Strict, _Resolver, CParser):
        """With that of libyaml; nodes are still made here, because its own would nest without a limit."""

        def __init__(self, stream: str) -> None:
            CParser.__init__(self, stream)
            Composer.__init__(self)
            SafeConstructor.__init__(self)
            Resolver.__init__(self)


def parsed(text: str) -> Any:
    """The value that a text in YAML is; yaml.YAMLError, RecursionError or ValueError where it is none."""
    if CParser is not None and not TAKEN_OTHERWISE.search(text):
        try:
            return yaml.load(text, Loader=_FastLoader)  # type: ignore[arg-type]  # the stubs list PyYAML's own
        except (yaml.YAMLError, RecursionError, ValueError):
            pass  # said below
    return yaml.load(text, Loader=_Loader)


def dumped(values: Any, *, width: int) -> str:
    """Plain values as YAML, in the order that they have."""
    dumper = CSafeDumper if CParser is not None and _even(values) else yaml.SafeDumper
    return str(yaml.dump(values, Dumper=dumper, allow_unicode=True, sort_keys=False, width=width))


def _even(value: Any) -> bool:
    """Whether libyaml writes this as PyYAML does."""
    if isinstance(value, dict):
        return all(
            isinstance(key, str) and EVEN_KEY.fullmatch(key) is not None and _even(inner)
            for key, inner in value.items()
        )
    if isinstance(value, list):
        return all(map(_even, value))
    return EVEN_TEXT.fullmatch(value) is not None if isinstance(value, str) else True


def yaml_reason(error: Exception) -> str:
    """What is wrong, and in which line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error) or type(error).__name__
    line = f" (line {mark.line + 1})" if mark is not None else ""
    return f"{str(problem).splitlines()[0][:200]}{line}."
