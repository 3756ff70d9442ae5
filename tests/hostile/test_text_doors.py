"""Hostile tokenizers and chat templates.

A template may loop, grow, recurse or reach for Python; each of those below ended in minutes or gigabytes in plain Jinja,
or was built to. Generated ones are put together from the same pieces.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest
from door_checks import Judge, attack, hostile_json
from hypothesis import strategies as st
from test_data_doors import one_line
from test_model_doors import AMOUNTS, folder, good  # noqa: F401 - fixtures

import microtune as mt
from microtune.data.text import CHAT_TEMPLATE, Tokenizer
from microtune.data.templates import render
from microtune.recipe import Limits

MESSAGES = [{"role": "user", "content": "hello there"}, {"role": "assistant", "content": "好的 🙂"}]
NAMES = {"bos_token": "<s>", "eos_token": "</s>"}
TEXTS = ["my card was declined", "", " ", "退款 🙂 é", "a" * 300, "<|end|>\x00\n"]


# ------------------------------------------------------------------------------------------------- tokenizers


def speak(folder: Path) -> None:
    """Load the tokenizer with its model and use it in every way."""
    model = mt.load(folder)
    tokenizer = model.text
    for text in TEXTS:
        ids = tokenizer.encode(text)
        assert all(0 <= i < model.spec.vocab_size for i in ids)
        tokenizer.decode(ids)
        tokenizer.encode_cut(text, 8)
        tokenizer.encode_pair(text, "b")
    tokenizer.encode_many(TEXTS)
    tokenizer.chat(MESSAGES, prompt=True)
    assert isinstance(tokenizer.stop_ids, list)


def more_parts(values: dict[str, Any]) -> dict[str, Any]:
    """A tokenizer with one of each kind of step, so that there is something to mutate."""
    replace = {"type": "Replace", "pattern": {"String": "``"}, "content": '"'}
    sequence = {"Sequence": {"id": "A", "type_id": 0}}
    special = {"SpecialToken": {"id": "<|bos|>", "type_id": 0}}
    template = {
        "type": "TemplateProcessing",
        "single": [special, sequence],
        "pair": [special, sequence, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [0], "tokens": ["<|bos|>"]}},
    }
    strip = {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    return values | {
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, replace, {"type": "Lowercase"}]},
        "post_processor": template,
        "decoder": {"type": "Sequence", "decoders": [{"type": "ByteLevel"}, {"type": "Fuse"}, strip]},
        "truncation": None,
        "padding": None,
    }


@AMOUNTS
def test_tokenizer(folder: Path, examples: int, capfd: pytest.CaptureFixture[str]) -> None:  # noqa: F811
    file = folder / "tokenizer.json"
    valid = more_parts(json.loads(file.read_text(encoding="utf-8")))
    file.write_text(json.dumps(valid))
    speak(folder)

    def action(data: bytes) -> None:
        file.write_bytes(data)
        speak(folder)

    attack(Judge(folder.parent, folder), hostile_json(valid, raw_share=8), action, examples)


TEMPLATE = more_parts({})["post_processor"]
NAMED_TOKENIZERS: dict[str, tuple[dict[str, Any], str]] = {
    "an id beyond the embedding": (
        {"post_processor": TEMPLATE | {"special_tokens": {"<|bos|>": {"id": "<|bos|>", "ids": [999], "tokens": ["x"]}}}},
        "ids up to 999, but the model's embedding ends at 339",
    ),
    "a token without an id": ({"post_processor": TEMPLATE | {"special_tokens": {}}}, 'names the token "<|bos|>"'),
    "doubling normalizers": (
        {
            "normalizer": {
                "type": "Sequence",
                "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}] * 40,
            }
        },
        "more than 64 characters of one",
    ),
    "a decoder beyond the text": ({"decoder": {"type": "Strip", "content": "", "start": 9999, "stop": 0}}, "strips more"),
    "sequences in sequences": (
        {"normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 1000}},
        "more than 64 steps",
    ),
    "added id": (
        {"added_tokens": [{"id": 5000, "content": "<x>", "special": True, "normalized": False} | dict.fromkeys(["single_word", "lstrip", "rstrip"], False)]},
        "ids up to",
    ),
}


@pytest.mark.parametrize("name", NAMED_TOKENIZERS)
def test_named_tokenizers(folder: Path, name: str) -> None:  # noqa: F811
    change, message = NAMED_TOKENIZERS[name]
    file = folder / "tokenizer.json"
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | change))
    with pytest.raises(mt.InputError, match=message.replace("|", r"\|")):
        mt.load(folder)


def test_a_regular_expression_that_runs_for_hours(folder: Path) -> None:  # noqa: F811
    """The engine gives up by itself; its panic is a sentence here."""
    file = folder / "tokenizer.json"
    split = {"type": "Split", "pattern": {"Regex": "(a+)+b"}, "behavior": "Isolated", "invert": False}
    file.write_text(json.dumps(json.loads(file.read_text(encoding="utf-8")) | {"pre_tokenizer": split}))
    tokenizer = Tokenizer.load(folder)
    assert tokenizer is not None
    with pytest.raises(mt.InputError, match="The tokenizer cannot read a text"):
        tokenizer.encode("a" * 60)


@AMOUNTS
def test_tokenizer_config(folder: Path, examples: int) -> None:  # noqa: F811
    file = folder / "tokenizer_config.json"
    valid = json.loads(file.read_text(encoding="utf-8")) | {"added_tokens_decoder": {"0": {"content": "<x>"}}}
    shutil.copyfile(file, folder / "special_tokens_map.json")

    def action(data: bytes) -> None:
        file.write_bytes(data)
        speak(folder)

    attack(Judge(folder.parent, folder), hostile_json(valid), action, examples)


# ------------------------------------------------------------------------------------------------- chat templates

BIG = "{% set s = range(99999)|join('aaaaaaaaaa') %}"
HOSTILE = [
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for step in range(99999) %}{% for environment in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for i in range(999999999) %}{% endfor %}",
    "{% set n=namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s ~ n.s %}{% endfor %}",
    "{% set n=namespace(s='a') %}{% for i in range(60) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "{% set n=namespace(l=[1]) %}{% for i in range(99) %}{% set n.l=[n.l,n.l] %}{% endfor %}{{ n.l }}",
    "{% set n=namespace(l=[1]) %}{% for i in range(99) %}{% set n.l=n.l+n.l %}{% endfor %}",
    "{% set n=namespace(l={'a': 1}) %}{% for i in range(99) %}{% set n.l={'a': n.l, 'b': n.l} %}{% endfor %}{{ n.l|tojson }}",
    *("{{ 'a'*999999999 }}", "{{ 999999999*'a' }}", "{{ [1]*999999999 }}", "{{ '%0999999999d' % 1 }}", "{{ 9**9**9 }}"),
    *("{{ '{:>999999999}'.format(1) }}", "{{ '{a}'.format_map({'a': 1}) }}", "{{ 'a'.ljust(999999999) }}"),
    *("{{ 'a'.encode().ljust(999999999) }}", "{{ 5 .to_bytes(999999999, 'big') }}", "{{ 'a'|center(999999999) }}"),
    *("{{ lipsum(n=200000) }}", "{{ 'a\\nb'|indent(999999999) }}", "{{ 5|round(-999999999) }}", "{{ 'a'|format(1) }}"),
    "{{ 'a'|replace('a', 'b'*9) }}" + BIG + "{{ s|replace('a', s) }}",
    *(BIG + "{{ s.replace('a', s) }}", BIG + "{{ s.join(s) }}", BIG + "{{ s|join(s) }}", BIG + "{{ s.strip(s) }}"),
    *(BIG + "{{ s.rfind('b' ~ s) }}", BIG + "{{ range(99999)|map('replace', '0', s)|list|length }}"),
    BIG + "{% for i in range(99999) %}{% if s|upper == s|lower %}{% endif %}{% endfor %}",
    BIG + "{% set x %}{% for i in range(99999) %}{{ s }}{% endfor %}{% endset %}",
    BIG + "{% for i in range(99999) %}{{ s }}{% endfor %}",
    BIG + "{% macro m() %}{% for i in range(9999) %}{{ s }}{% endfor %}{% endmacro %}{{ m() }}",
    "{% set x %}{% for i in range(99999) %}{{ range(9999)|list }}{% endfor %}{% endset %}",
    "{% macro m(n) %}{{ m(n + 1) }}{{ m(n + 1) }}{% endmacro %}{{ m(1) }}",
    "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
    "{% macro m() %}{% if varargs|length < 200 %}{{ m(varargs, varargs) }}{% endif %}{% endmacro %}{{ m(1) }}",
    "{% set n = namespace(d=40) %}{% block a %}{% if n.d %}{{ self.a() }}{{ self.a() }}{% endif %}{% endblock %}",
    "{% for x in [1] recursive %}{{ loop([1, 1]) }}{% endfor %}",
    *("{{ ''.__class__.__mro__[1].__subclasses__() }}", "{{ self.__init__.__globals__ }}", "{{ range.__globals__ }}"),
    *("{{ ''|attr('__class__')|attr('__mro__') }}{{ (''|attr('__class__')).x.y }}", "{{ cycler.__init__ }}"),
    *("{{ messages.append(1) }}", "{{ messages.__class__('a') }}", "{{ {}.fromkeys(range(99999), 'a') }}"),
    *("{{ joiner.__init__.__globals__.os.popen('id').read() }}", "{% include '/etc/passwd' %}", "{% import 'os' as os %}"),
    *("{{ raise_exception('\\x1b[31m\\nno') }}", "{{ '\\ud800' }}", "{{ 1/0 }}", "{{ [][9].x.y }}", "{{ undefined.x }}"),
    *("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "{% for i in x %}" * 60 + "{% endfor %}" * 60, "{{ 1" + "0" * 9000),
    *("{{ x" + ".y" * 20000 + " }}", "{{ -" + "-" * 5000 + "1 }}", "{{ " + "1+" * 9000 + "1 }}", "{% if", "{{", "\ud800"),
    *("x" * 100_001, "{# " * 9000, "{% raw %}" * 900, "{{ namespace }}", "{% set n = namespace() %}{% set n.x = n %}{{ n }}"),
]


def spoken(template: str) -> str:
    return render(template, MESSAGES, prompt=True, names=NAMES, limits=Limits())


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_named_templates(number: int, tmp_path: Path) -> None:
    """Each is refused, fast and small; printing only a part of the name keeps the report readable."""
    judge = Judge(tmp_path)
    before = psutil.Process().memory_info().rss
    judge(lambda: spoken(HOSTILE[number]))
    assert judge.outcomes["refused"] == 1
    assert psutil.Process().memory_info().rss - before < 300 << 20


def test_memory_at_its_peak() -> None:
    """The high-water mark of a process that has rendered all of them (in a child, where nothing else is in it)."""


PIECES = [
    *("{{ ", " }}", "{% ", " %}", "{%- ", " -%}", "{# ", " #}", "\n", "'", '"', "(", ")", "[", "]", "{", "}", "|", "~", "."),
    *(" + ", " * ", " % ", " ** ", " // ", " == ", " in ", " is ", " not ", " if ", " else ", " and ", ", ", ": ", "="),
    *("for m in messages", "for i in range(999)", "endfor", "if x", "elif y", "else", "endif", "set x", "set x = ", "endset"),
    *("macro m(a)", "m(m)", "endmacro", "call m(1)", "endcall", "block b", "self.b()", "endblock", "filter upper", "endfilter"),
    *("messages", "message.content", "m.role", "m['content']", "loop.index0", "loop(m)", "namespace(a=1)", "x", "ns.x"),
    *("range(99999)", "dict(a=x)", "'a'", "1", "0", "none", "true", "999999999999", "1e308", "add_generation_prompt"),
    *("|join('a')", "|replace('a', x)", "|list", "|tojson", "|map('upper')", "|length", "|trim", "|string", "|sort", "|first"),
    *(".split('a')", ".join(x)", ".format(1)", ".__class__", "|attr('x')", ".items()", "raise_exception('x')", "break", "continue"),
    "{% set x = x ~ x ~ 'a' %}",
    "{% for i in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}",
    "{% for m in messages %}{{ m.role }}: {{ m.content }}{% endfor %}",
]


@AMOUNTS
def test_generated_templates(tmp_path: Path, examples: int) -> None:
    pieces = st.lists(st.sampled_from([*PIECES, CHAT_TEMPLATE]), min_size=1, max_size=14).map("".join)
    attack(Judge(tmp_path), pieces, spoken, examples)


def test_ordinary_templates_are_rendered_as_ever() -> None:
    """What published templates use gives what plain Jinja gives."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    plain = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    for template in (
        CHAT_TEMPLATE,
        "{%- for m in messages[::-1] %}{{ loop.index0 ~ ': ' ~ m['content'] | trim }}{% if loop.last %}.{% endif %}{% endfor %}",
        "{% set ns = namespace(found=false, n=0) %}{% for m in messages %}{% if m.role == 'user' and not ns.found %}"
        "{% set ns.found = true %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}{{ ns.found }} {{ ns.n }}",
        "{% macro turn(m, end='\n') %}<{{ m.role }}>{{ m.content }}{{ end }}{% endmacro %}{% for m in messages %}{{ turn(m) }}{% endfor %}",
        "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') }}{{ messages | length }}",
        "{{ messages[0]['content'].split(' ')[-1] | upper }}{{ 'ab'.replace('a', 'c').startswith('c') }}{{ 7 % 3 }}{{ 2 * 3 }}",
        "{% set x %}a{{ 1.5 }}{{ none }}{% endset %}{{ x }}{{ {'a': [1, 'b']} }}{{ (1, 2)[0] }}{{ 'x' if x is defined else 'y' }}",
        "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}{{ {'b': 2, 'a': 1} | dictsort }}{{ [3, 1] | sort }}",
        "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        "{{ bos_token + messages[0].content }}{{ messages[9] is defined }}{{ missing }}{{ 'a b' | title }}{{ [1, 2] | first }}",
    ):
        wanted = plain.from_string(template).render(messages=MESSAGES, add_generation_prompt=True, **NAMES)
        assert spoken(template) == wanted
    assert spoken("{{ messages | tojson }}") == json.dumps(MESSAGES, ensure_ascii=False)
    assert spoken("{{ strftime_now('%Y') | length }}") == "4"


def test_limits_of_templates_are_fields_of_the_recipe() -> None:
    for limits, template in (
        (Limits(template_steps=10), "{% for i in range(11) %}{% endfor %}"),
        (Limits(template_characters=10), "{{ 'a' * 1 if false else 'aaaaaaaaaaa' }}"),
    ):
        with pytest.raises(mt.LimitError) as caught:
            render(template, MESSAGES, prompt=True, names={}, limits=limits)
        one_line(caught.value)
        assert "limits.template_" in str(caught.value)
