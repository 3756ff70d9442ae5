"""What is not loaded before it is needed: the import and every `--help` stay quick because little is imported."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HEAVY = {
    "huggingface_hub",
    "jinja2",
    "numpy",
    "pyarrow",
    "pydantic",
    "pydantic_core",
    "rich",
    "safetensors",
    "tokenizers",
    "torch",
    "yaml",
}
# typer turns the options of a verb's parent into values with pydantic, which `microtune --help` does not need yet
OF_TYPER = {"pydantic", "pydantic_core"}
SHOW = "import json, sys; print(json.dumps(sorted(sys.modules)), file=sys.stderr)"
HELP = f"""
import atexit
def show():
    {SHOW}
atexit.register(show)
from microtune.cli.app import main
main({{arguments!r}})
"""


def loaded(script: str) -> set[str]:
    """Names of the modules in `sys.modules` at the end of a script in a process of its own."""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    return set(json.loads(done.stderr))


def test_the_import_loads_the_errors_and_nothing_heavy() -> None:
    modules = loaded("import microtune\n" + SHOW)
    assert not modules & (HEAVY | {"typer", "difflib", "inspect"})
    assert {m for m in modules if m.startswith("microtune.")} == {"microtune.errors", "microtune.version"}


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_and_version_load_typer_and_nothing_else(arguments: list[str]) -> None:
    modules = loaded(HELP.format(arguments=arguments))
    assert not modules & HEAVY
    assert "microtune.recipe" not in modules
    assert not any(m.startswith(("microtune.run", "microtune.nn", "microtune.data")) for m in modules)


@pytest.mark.parametrize("verb", ["list", "tune"])
def test_help_of_a_verb_loads_nothing_of_ours(verb: str) -> None:
    modules = loaded(HELP.format(arguments=[verb, "--help"]))
    assert not modules & (HEAVY - OF_TYPER)
    assert "microtune.recipe" not in modules
