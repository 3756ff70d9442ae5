"""Chat templates: Jinja in a sandbox with a budget.

The sandbox of Jinja keeps a template away from Python's internals but not from the machine's time and memory: forty
characters can allocate a gigabyte or loop for hours. So every loop turn and macro call is counted, multiplications and
padding are bounded, and the output is measured as it grows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import lru_cache, wraps
from typing import Any

from jinja2 import TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from microtune.errors import InputError, LimitError
from microtune.recipe import Limits

_REMOVED_FILTERS = ("center", "indent", "pprint", "wordwrap", "xmlattr", "urlize", "random", "format", "batch", "slice")
_REMOVED_METHODS = ("center", "ljust", "rjust", "zfill", "expandtabs", "format", "format_map", "translate")


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, with bounded operators and a tick in every loop and macro."""

    intercepted_binops = frozenset({"*", "**", "%", "+"})
    bound = 0

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Refuse what would grow without bound: repeated or padded strings, large powers."""
        if operator == "%" and isinstance(left, str):
            raise SecurityError("string formatting")
        if operator == "**" or (operator == "*" and not (_number(left) and _number(right))):
            raise SecurityError(f"operator {operator} on these values")
        result = self.measured(super().call_binop(context, operator, left, right))
        if isinstance(result, int) and abs(result) > 2**63:
            raise SecurityError("an integer beyond 64 bits")
        return result

    def call(self, context: Any, obj: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Measure what a method returns: chained `replace` calls double a string at every step."""
        return self.measured(super().call(context, obj, *args, **kwargs))

    def measured(self, result: Any) -> Any:
        """`result`, unless it is a string or list beyond the bound."""
        if isinstance(result, (str, list, tuple)) and len(result) > self.bound:
            raise LimitError(_too_long(self.bound))
        return result

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Refuse the string methods that pad or expand."""
        growing = isinstance(obj, str) and attr in _REMOVED_METHODS
        return not growing and super().is_safe_attribute(obj, attr, value)

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree = super()._parse(source, name, filename)
        for node in tree.find_all((nodes.For, nodes.Macro)):
            tick = nodes.Output([nodes.Call(nodes.Name("__tick__", "load"), [], [], None, None)])
            node.body.insert(0, tick.set_lineno(node.lineno))
        return tree


def render(
    template: str, messages: Sequence[dict[str, Any]], *, prompt: bool, names: dict[str, str], limits: Limits
) -> str:
    """`template` filled with `messages`; a template that fails, loops or grows without end is an InputError."""
    compiled = _compile(template, limits.template_characters)
    ticks = 0

    def tick() -> str:
        nonlocal ticks
        ticks += 1
        if ticks > limits.template_steps:
            raise LimitError(
                f"The chat template takes more than {limits.template_steps} steps; "
                "mend it or raise limits.template_steps."
            )
        return ""

    values = {"messages": list(messages), "add_generation_prompt": prompt, "__tick__": tick, **names}
    parts, size = [], 0
    try:
        for part in compiled.generate(values):
            size += len(part)
            if size > limits.template_characters:
                raise LimitError(_too_long(limits.template_characters))
            parts.append(part)
    except (TemplateError, TypeError, ValueError, KeyError, ArithmeticError, RecursionError, AttributeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"The chat template cannot be rendered: {reason}.") from error
    return "".join(parts)


@lru_cache(maxsize=8)
def _compile(template: str, bound: int) -> Any:
    environment = _Environment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    environment.bound = bound
    for name in _REMOVED_FILTERS:
        environment.filters.pop(name, None)
    for name, function in list(environment.filters.items()):
        environment.filters[name] = _measured_filter(environment, function)
    environment.globals.pop("lipsum", None)
    environment.globals.pop("cycler", None)
    environment.globals["range"] = _bounded_range
    environment.globals["raise_exception"] = _raise
    environment.globals["strftime_now"] = lambda form: datetime.now().strftime(str(form)[:100])
    environment.filters["tojson"] = _to_json
    try:
        return environment.from_string(template)
    except (TemplateError, RecursionError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"The chat template is not valid Jinja: {reason}.") from error


def _measured_filter(environment: _Environment, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)  # keeps the marks by which Jinja passes its environment
    def measured(*args: Any, **kwargs: Any) -> Any:
        return environment.measured(function(*args, **kwargs))

    return measured


def _number(value: Any) -> bool:
    return isinstance(value, (int, float))


def _too_long(bound: int) -> str:
    return f"The chat template produces more than {bound} characters; mend it or raise limits.template_characters."


def _bounded_range(*arguments: int) -> range:
    result = range(*arguments)
    if len(result) > 100_000:
        raise LimitError("The chat template counts beyond 100000 in one range.")
    return result


def _raise(message: str) -> Callable[[], str]:
    raise InputError(f"The chat template refuses these messages: {str(message)[:200]}")


def _to_json(value: Any, indent: int | None = None, **_: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=None if indent is None else min(int(indent), 8))
