"""Chat templates: Jinja in a sandbox with a budget.

The sandbox of Jinja keeps a template away from Python's internals but not from the machine's time and memory: forty
characters can allocate a gigabyte or loop for hours. So every loop turn, macro and block is a step; every value that
an operator, a call, a filter or a literal makes is measured as the text it would become; what multiplies (join,
replace) is computed before it is done; and a clock counts the processor time. The idea of a budget is minijinja's
`fuel`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, ItemsView, Iterable, Iterator, KeysView, Sequence, ValuesView
from contextvars import ContextVar
from datetime import datetime
from functools import lru_cache, wraps
from itertools import chain
from typing import Any

from jinja2 import TemplateError, Undefined, nodes, pass_context
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from microtune.errors import InputError, LimitError
from microtune.recipe import Limits

LONGEST_TEMPLATE = 100_000  # characters; the longest published one has about 20,000
LONGEST_RANGE = 100_000
LARGEST_NUMBER = 2**63
SLOW_ARGUMENT = 200  # characters: these methods compare each place with the whole argument
WORK = 16  # characters that a template may make on the way, per character that it may produce
SECONDS = 2.0  # of processor time for one rendering

_REMOVED_FILTERS = "center indent pprint wordwrap xmlattr urlize random format batch slice striptags sum"
_STRING_METHODS = (
    "capitalize casefold count endswith find index isalnum isalpha isascii isdecimal isdigit islower isnumeric isspace "
    "istitle isupper join lower lstrip partition removeprefix removesuffix replace rfind rindex rpartition rsplit "
    "rstrip split splitlines startswith strip swapcase title upper"
)
_SLOW_METHODS = frozenset(["strip", "lstrip", "rstrip", "rfind", "rindex", "rsplit", "rpartition"])
_VIEWS = (KeysView, ValuesView, ItemsView)
_FAILURES = (TemplateError, TypeError, ValueError, LookupError, ArithmeticError, RecursionError, AttributeError)


class _Budget:
    """What one rendering may still use."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.steps = 0
        self.characters = 0
        self.end = time.thread_time() + SECONDS

    def step(self) -> None:
        """One turn of a loop, one call of a macro or a block."""
        self.steps += 1
        if self.steps > self.limits.template_steps:
            most = self.limits.template_steps
            raise LimitError(f"The chat template takes more than {most} steps; mend it or raise limits.template_steps.")
        self.look()

    def look(self) -> None:
        """At the clock."""
        if time.thread_time() > self.end:
            raise LimitError(f"The chat template takes more than {SECONDS:g} seconds of processor time; mend it.")

    def weigh(self, value: Any) -> int:
        """Characters that `value` has as text; more than the template may produce is an error."""
        size = len(value) if isinstance(value, str) else _weight(value, self.limits.template_characters, {})
        if size > self.limits.template_characters:
            raise _too_long(self.limits.template_characters)
        return size

    def made(self, value: Any) -> Any:
        """`value`, which the template has just made; iterators come back as lists."""
        if isinstance(value, Iterator):
            value = self._gathered(value)
        if isinstance(value, (int, float)):
            if abs(value) > LARGEST_NUMBER and value not in (float("inf"), -float("inf")):
                raise SecurityError("a number beyond 64 bits")
        elif _has_weight(value):
            self.characters += self.weigh(value)
            if self.characters > WORK * self.limits.template_characters:
                raise _too_long(self.limits.template_characters)
        self.look()
        return value

    def _gathered(self, parts: Iterable[Any]) -> list[Any]:
        """A list of what an iterator yields, weighed as it grows."""
        result, size = [], 0
        for part in parts:
            size += (self.weigh(part) if _has_weight(part) else 0) + 8
            if size > self.limits.template_characters:
                raise _too_long(self.limits.template_characters)
            result.append(part)
        return result


_budget: ContextVar[_Budget] = ContextVar("budget")


class _Environment(ImmutableSandboxedEnvironment):
    """The sandbox, in which everything that a template makes goes through the budget."""

    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})

    def step(self) -> None:
        """What the compiled template calls in every loop, macro and block."""
        _budget.get().step()

    def literal(self, value: Any) -> Any:
        """A list, tuple or dict as it is written in a template: [x, x] of [x, x] of ... doubles at every level."""
        return _budget.get().made(value)

    def joined(self, *parts: Any) -> str:
        """The operator ~."""
        return _join("", parts)

    @staticmethod
    def concat(parts: Iterable[str]) -> str:
        """What a macro or a block assignment has written, as one string."""
        return _join("", parts)

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Numbers up to 64 bits; of all others only sums. `text % values` and `text * 9` grow without bound."""
        numbers = isinstance(left, (int, float)) and isinstance(right, (int, float))
        if (not numbers and operator not in "+-") or operator == "**":
            raise SecurityError(f"operator {operator} on these values")
        if numbers and max(abs(left), abs(right)) > LARGEST_NUMBER:
            raise SecurityError("a number beyond 64 bits")
        return _budget.get().made(super().call_binop(context, operator, left, right))

    def call(self, context: Any, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call: its arguments and its result are measured, and what multiplies is computed beforehand."""
        budget = _budget.get()
        for value in chain(args, kwargs.values()):
            if _has_weight(value):
                budget.weigh(value)
        text = getattr(obj, "__self__", None)
        if isinstance(text, str):
            name = obj.__name__
            if name == "join" and len(args) == 1:
                return _join(text, args[0])
            if name == "replace" and len(args) > 1:
                return _replace(text, *args)
            if name in _SLOW_METHODS and any(isinstance(a, str) and len(a) > SLOW_ARGUMENT for a in args):
                raise SecurityError(f"an argument of {name} with more than {SLOW_ARGUMENT} characters")
        return budget.made(super().call(context, obj, *args, **kwargs))

    def wrap_str_format(self, value: Any) -> None:
        """No `format`, not even the sandbox's own: widths such as {:>999999999} allocate."""

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """Nothing of numbers and bytes (`to_bytes` allocates), and of strings what cannot pad or expand."""
        if isinstance(obj, (int, float, bytes, bytearray)) or (isinstance(obj, type) or attr == "fromkeys"):
            return False
        return (not isinstance(obj, str) or attr in _STRING_METHODS.split()) and super().is_safe_attribute(
            obj, attr, value
        )

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        tree: nodes.Template = _Metered().visit(super()._parse(source, name, filename))
        return tree.set_environment(self)  # type: ignore[return-value]


class _Metered(NodeTransformer):
    """Puts a step into every loop, macro and block, and literals and ~ through the environment.

    The calls go to attributes of the environment, which no name in a template can hide.
    """

    def _step(self, node: Any) -> Any:
        self.generic_visit(node)
        node.body.insert(0, nodes.ExprStmt(_call("step", [], node.lineno)).set_lineno(node.lineno))
        return node

    visit_For = visit_Macro = visit_Block = visit_CallBlock = _step  # noqa: N815 - names that NodeTransformer asks for

    def _literal(self, node: Any) -> Any:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") != "load" else _call("literal", [node], node.lineno)

    visit_List = visit_Tuple = visit_Dict = _literal  # noqa: N815

    def visit_Concat(self, node: nodes.Concat) -> Any:  # noqa: N802
        """a ~ b ~ c."""
        self.generic_visit(node)
        return _call("joined", list(node.nodes), node.lineno)


def render(
    template: str,
    messages: Sequence[dict[str, Any]],
    *,
    prompt: bool,
    names: dict[str, str],
    limits: Limits,
    tools: Sequence[dict[str, Any]] | None = None,
) -> str:
    """`template` filled with `messages`; a template that fails, loops or grows without end is an InputError."""
    compiled = _compile(template)
    tools = None if tools is None else list(tools)
    given: dict[str, Any] = {"messages": list(messages), "tools": tools, "documents": None}
    given |= {"add_generation_prompt": prompt, **names}
    token = _budget.set(_Budget(limits))
    parts, size = [], 0
    try:
        for part in compiled.generate(given):
            size += len(part)
            if size > limits.template_characters:
                raise _too_long(limits.template_characters)
            parts.append(part)
        text = "".join(parts)
        text.encode("utf-8")  # no halves of surrogate pairs: tokenizers cannot read them
    except (*_FAILURES, MemoryError) as error:
        raise InputError(f"The chat template cannot be rendered: {_reason(error)}.") from error
    finally:
        _budget.reset(token)
    return text


class _Generation(Extension):
    """`{% generation %}` marks the assistant's words for transformers; here it marks nothing, and they stay."""

    tags = {"generation"}  # noqa: RUF012 - declared by Jinja as a field of each extension

    def parse(self, parser: Any) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True)).set_lineno(line)


@lru_cache(maxsize=8)
def _compile(template: str) -> Any:
    if len(template) > LONGEST_TEMPLATE:
        raise LimitError(f"The chat template has {len(template)} characters; at most {LONGEST_TEMPLATE} are read.")
    environment = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=["jinja2.ext.loopcontrols", _Generation],
        optimized=False,  # nothing is computed while compiling
        finalize=_finalize,
    )
    own = {"tojson": _to_json, "join": _join_filter, "replace": _replace, "round": _round, "trim": _trim}
    filters = {name: f for name, f in environment.filters.items() if name not in _REMOVED_FILTERS.split()}
    environment.filters = {name: _measured(f) for name, f in (filters | own).items()}
    environment.tests = {name: _stepping(test) for name, test in environment.tests.items()}  # type: ignore[arg-type]
    for name in ("lipsum", "cycler"):
        del environment.globals[name]
    environment.globals |= {"range": _range, "raise_exception": _raise, "strftime_now": _now}
    try:
        return environment.from_string(template)
    except (*_FAILURES, SyntaxError, MemoryError) as error:
        raise InputError(f"The chat template is not valid Jinja: {_reason(error)}.") from error


def _call(name: str, values: list[Any], line: int) -> nodes.Call:
    call = nodes.Call(nodes.EnvironmentAttribute(name), values, [], None, None)
    return call.set_lineno(line)  # type: ignore[return-value]


def _measured(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)  # keeps the marks by which Jinja passes its environment
    def measured(*args: Any, **kwargs: Any) -> Any:
        return _budget.get().made(function(*args, **kwargs))

    return measured


def _stepping(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def stepping(*args: Any, **kwargs: Any) -> Any:
        _budget.get().look()
        return function(*args, **kwargs)

    return stepping


@pass_context
def _finalize(_: Any, value: Any) -> Any:
    """Before a value is written out; what is no text, number, list or dict has no form there."""
    if isinstance(value, _VIEWS) or not _has_weight(value):
        if value is not None and not isinstance(value, (int, float, Undefined)):
            raise SecurityError(f"a {type(value).__name__} has no form as text")
        return value
    _budget.get().weigh(value)
    return value


def _has_weight(value: Any) -> bool:
    return isinstance(value, (str, list, tuple, dict, set, frozenset, range, *_VIEWS))


def _weight(value: Any, most: int, seen: dict[int, tuple[int, Any]]) -> int:
    """Characters of `value` as text, at least; shared parts count each time, as they would be written each time."""
    if isinstance(value, str):
        return len(value)
    if value is None or isinstance(value, (int, float, Undefined)):
        return 8
    if isinstance(value, range):
        return 8 * len(value)
    if id(value) in seen:
        return seen[id(value)][0]
    if not _has_weight(value):
        raise SecurityError(f"a {type(value).__name__} in a list has no form as text")
    size = 2
    for part in chain(value.keys(), value.values()) if isinstance(value, dict) else value:
        size += 2 + _weight(part, most, seen)
        if size > most:
            raise _too_long(most)
    seen[id(value)] = (size, value)  # the value too: its id must not be given to another
    return size


def _join(between: str, parts: Iterable[Any]) -> str:
    """str.join of anything, which stops before it is too long."""
    budget, texts, size = _budget.get(), [], 0
    for part in parts:
        if isinstance(part, _VIEWS) or not (
            _has_weight(part) or part is None or isinstance(part, (int, float, Undefined))
        ):
            raise SecurityError(f"a {type(part).__name__} has no form as text")
        size += budget.weigh(part) + len(between)
        if size > budget.limits.template_characters + len(between):
            raise _too_long(budget.limits.template_characters)
        texts.append(str(part))
    return str(budget.made(between.join(texts)))


@pass_context
def _join_filter(context: Any, value: Iterable[Any], d: Any = "", attribute: str | int | None = None) -> str:
    if attribute is not None:
        value = (context.environment.getitem(item, attribute) for item in value)
    return _join(_join("", [d]), value)


def _replace(text: Any, old: Any, new: Any, count: Any = -1) -> str:
    """str.replace, whose length is computed before."""
    text, old, new = _join("", [text]), _join("", [old]), _join("", [new])
    count = -1 if count is None else int(count)
    turns = text.count(old) if count < 0 else min(count, text.count(old))
    bound = _budget.get().limits.template_characters
    if len(text) + turns * (len(new) - len(old)) > bound:
        raise _too_long(bound)
    return str(_budget.get().made(text.replace(old, new, count)))


def _round(value: Any, precision: int = 0, method: str = "common") -> Any:
    if method != "common" or not isinstance(precision, int) or not -20 <= precision <= 20:
        raise SecurityError("round with these arguments")
    return round(float(value), precision)


def _trim(value: Any, chars: str | None = None) -> str:
    if chars is not None and len(chars) > SLOW_ARGUMENT:
        raise SecurityError(f"an argument of trim with more than {SLOW_ARGUMENT} characters")
    return _join("", [value]).strip(chars)


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON with the arguments, in the order, that transformers gives this filter; no character is escaped for HTML."""
    if _has_weight(value):
        _budget.get().weigh(value)
    if separators is not None and any(len(str(part)) > 8 for part in separators):
        raise SecurityError("separators of more than 8 characters")
    indent = None if indent is None else min(max(int(indent), 0), 8)
    return json.dumps(value, ensure_ascii=bool(ensure_ascii), indent=indent, separators=separators, sort_keys=sort_keys)


def _range(*arguments: int) -> range:
    result = range(*arguments)
    if len(result) > LONGEST_RANGE:
        raise LimitError(f"The chat template counts beyond {LONGEST_RANGE} in one range.")
    return result


def _raise(message: Any) -> None:
    raise InputError(f"The chat template refuses these messages: {str(message)[:200]}")


def _now(form: Any) -> str:
    return datetime.now().strftime(str(form)[:100])


def _too_long(bound: int) -> LimitError:
    return LimitError(
        f"The chat template produces more than {bound} characters; mend it or raise limits.template_characters."
    )


def _reason(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200].rstrip(".")
