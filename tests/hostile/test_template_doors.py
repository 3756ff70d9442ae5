"""Hostile chat templates: they loop, grow, recurse or reach for Python.

Each of the named ones ends in minutes or gigabytes in plain Jinja, or was built to. Generated ones are put together
from the same pieces.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from door_checks import Judge, attack, peak
from hypothesis import strategies as st
from test_data_doors import one_line
from test_model_doors import AMOUNTS

import microtune as mt
from microtune.data import templates
from microtune.data.templates import render
from microtune.data.text import CHAT_TEMPLATE, train_bpe
from microtune.recipe import Limits

MESSAGES = [{"role": "user", "content": "hello there"}, {"role": "assistant", "content": "好的 🙂"}]
NAMES = {"bos_token": "<s>", "eos_token": "</s>"}

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
    "{% set n=namespace(l={'a': 1}) %}{% for i in range(99) %}{% set n.l={'a': n.l, 'b': n.l} %}{% endfor %}{{ n.l }}",
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
    *(
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ self.__init__.__globals__ }}",
        "{{ range.__globals__.x.y }}",
    ),
    *("{{ ''|attr('__class__')|attr('__mro__') }}{{ (''|attr('__class__')).x.y }}", "{{ cycler.__init__.x }}"),
    *("{{ messages.append(1) }}", "{{ messages.__class__('a') }}", "{{ {}.fromkeys(range(99999), 'a') }}"),
    *(
        "{{ joiner.__init__.__globals__.os.popen('id').read() }}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
    ),
    *(
        "{{ raise_exception('\\x1b[31m\\nno') }}",
        "{{ '\\ud800' }}",
        "{{ 1/0 }}",
        "{{ [][9].x.y }}",
        "{{ undefined.x }}",
    ),
    *(
        "{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}",
        "{% for i in x %}" * 60 + "{% endfor %}" * 60,
        "{{ 1" + "0" * 9000,
    ),
    *(
        "{{ x" + ".y" * 20000 + " }}",
        "{{ -" + "-" * 5000 + "1 }}",
        "{{ " + "1+" * 9000 + "1 }}",
        "{% if",
        "{{",
        "\ud800",
    ),
    *(
        "x" * 100_001,
        "{# " * 9000,
        "{% raw %}" * 900,
        "{{ namespace }}",
        "{% set n = namespace() %}{% set n.x = n %}{{ n }}",
    ),
]


def spoken(template: str) -> str:
    return render(template, MESSAGES, prompt=True, names=NAMES, limits=Limits())


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_named_templates(number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is refused, fast and small."""
    monkeypatch.setattr(templates, "SECONDS", 2.0 if number == 0 else 0.3)  # the clock is tested once, in full
    judge, before = Judge(tmp_path), peak()
    judge(lambda: spoken(HOSTILE[number]))
    assert judge.outcomes["refused"] == 1
    assert peak() - before < 300 << 20


PIECES = [
    *(
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "{%- ",
        " -%}",
        "{# ",
        " #}",
        "\n",
        "'",
        '"',
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        "|",
        "~",
        ".",
    ),
    *(" + ", " * ", " % ", " ** ", " // ", " == ", " in ", " is ", " not ", " if ", " else ", " and ", ", ", ": ", "="),
    *(
        "for m in messages",
        "for i in range(999)",
        "endfor",
        "if x",
        "elif y",
        "else",
        "endif",
        "set x",
        "set x = ",
        "endset",
    ),
    *(
        "macro m(a)",
        "m(m)",
        "endmacro",
        "call m(1)",
        "endcall",
        "block b",
        "self.b()",
        "endblock",
        "filter upper",
        "endfilter",
    ),
    *("messages", "message.content", "m.role", "m['content']", "loop.index0", "loop(m)", "namespace(a=1)", "x", "ns.x"),
    *("range(99999)", "dict(a=x)", "'a'", "1", "0", "none", "true", "999999999999", "1e308", "add_generation_prompt"),
    *(
        "|join('a')",
        "|replace('a', x)",
        "|list",
        "|tojson",
        "|map('upper')",
        "|length",
        "|trim",
        "|string",
        "|sort",
        "|first",
    ),
    *(
        ".split('a')",
        ".join(x)",
        ".format(1)",
        ".__class__",
        "|attr('x')",
        ".items()",
        "raise_exception('x')",
        "break",
        "continue",
    ),
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
        "{%- for m in messages[::-1] %}{{ loop.index0 ~ ': ' ~ m['content'] | trim }}"
        "{% if loop.last %}.{% endif %}{% endfor %}",
        "{% set ns = namespace(found=false, n=0) %}{% for m in messages %}{% if m.role == 'user' and not ns.found %}"
        "{% set ns.found = true %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}{{ ns.found }} {{ ns.n }}",
        "{% macro turn(m, end='\n') %}<{{ m.role }}>{{ m.content }}{{ end }}{% endmacro %}"
        "{% for m in messages %}{{ turn(m) }}{% endfor %}",
        "{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') }}"
        "{{ messages | length }}",
        "{{ messages[0]['content'].split(' ')[-1] | upper }}{{ 'ab'.replace('a', 'c').startswith('c') }}"
        "{{ 7 % 3 }}{{ 2 * 3 }}",
        "{% set x %}a{{ 1.5 }}{{ none }}{% endset %}{{ x }}{{ {'a': [1, 'b']} }}{{ (1, 2)[0] }}"
        "{{ 'x' if x is defined else 'y' }}",
        "{% for k, v in {'a': 1}.items() %}{{ k }}{{ v }}{% endfor %}{{ {'b': 2, 'a': 1} | dictsort }}"
        "{{ [3, 1] | sort }}",
        "{% for i in range(5) %}{% if i == 1 %}{% continue %}{% endif %}"
        "{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
        "{{ bos_token + messages[0].content }}{{ messages[9] is defined }}{{ missing }}"
        "{{ 'a b' | title }}{{ [1, 2] | first }}",
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
    tokenizer = train_bpe(["hello there"], 320)
    tokenizer.chat(MESSAGES, prompt=True)
    tokenizer.limits = Limits(template_characters=10)
    with pytest.raises(mt.LimitError, match=r"limits\.template_characters"):
        tokenizer.chat(MESSAGES, prompt=True)
