"""The public surface, held literally: a change here is a change for every user."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from typing import Any

import pytest

import microtune as mt

NAMES = [
    "Adapters",
    "CheckError",
    "Comparison",
    "InputError",
    "LimitError",
    "LintReport",
    "MicrotuneError",
    "Model",
    "ModelSpec",
    "Recipe",
    "Run",
    "RunError",
    "StackSpec",
    "__version__",
    "compare",
    "export",
    "lint",
    "load",
    "load_adapters",
    "merge",
    "pretrain",
    "tune",
]
SIGNATURES = {
    "load": (
        "(source: 'str | Path', *, dtype: 'str | None' = None, "
        "weights: \"Literal['pretrained', 'random']\" = 'pretrained', seed: 'int' = 0) -> 'Model'"
    ),
    "tune": (
        "(data: 'Any', *, task: 'str | dict[str, Any]', model: 'str | dict[str, Any]' = 'sprout', "
        "method: 'str | dict[str, Any] | list[str | dict[str, Any]]' = 'lora', epochs: 'float | None' = None, "
        "train: 'dict[str, Any] | None' = None, "
        "validation: 'Any' = None, test: 'Any' = None, split: 'dict[str, float] | str | None' = None, "
        "text_field: 'str | None' = None, label_field: 'str | None' = None, seed: 'int' = 0, "
        "out: 'str | Path | None' = None, overwrite: 'bool' = False, "
        "on_event: 'Callable[[Any], None] | None' = None) -> 'Run'"
    ),
    "compare": (
        "(data: 'Any', *, task: 'str | dict[str, Any]', methods: 'Sequence[str | dict[str, Any] | list[Any]]', "
        "model: 'str | dict[str, Any]' = 'sprout', budget: 'str' = '10m', memory: 'str | None' = None, "
        "seeds: 'int' = 1, curve: 'Sequence[int]' = (), general: 'str | Path | None' = None, "
        "epochs: 'float | None' = None, train: 'dict[str, Any] | None' = None, "
        "validation: 'Any' = None, test: 'Any' = None, split: 'dict[str, float] | str | None' = None, "
        "text_field: 'str | None' = None, label_field: 'str | None' = None, seed: 'int' = 0, "
        "out: 'str | Path | None' = None, overwrite: 'bool' = False, "
        "on_event: 'Callable[[Any], None] | None' = None) -> 'Comparison'"
    ),
    "lint": (
        "(data: 'Any', *, test: 'Any' = None, task: 'str | dict[str, Any] | None' = None, "
        "model: 'str | None' = 'sprout', text_field: 'str | None' = None, label_field: 'str | None' = None, "
        "encoding: 'str | None' = None, header: 'bool | None' = None, full: 'bool' = False, lang: 'Language' = 'en', "
        "on_event: 'Callable[[Any], None] | None' = None) -> 'LintReport'"
    ),
    "pretrain": (
        "(recipe: 'str | Path | dict[str, Any]', *overrides: 'str', out: 'str | Path | None' = None, "
        "overwrite: 'bool' = False, on_event: 'Callable[[Any], None] | None' = None) -> 'Run'"
    ),
    "export": (
        "(source: 'str | Path', *, format: 'str', out: 'str | Path', dtype: 'str | None' = None, "
        "overwrite: 'bool' = False, lang: 'str | None' = None) -> 'Exported'"
    ),
    "merge": (
        "(source: 'str | Path', *, out: 'str | Path', dtype: 'str | None' = None, overwrite: 'bool' = False, "
        "lang: 'str | None' = None) -> 'Exported'"
    ),
    "load_adapters": (
        "(base: 'str | Path', adapters: 'Mapping[str, str | Path] | None' = None, *, dtype: 'str | None' = None) "
        "-> 'Adapters'"
    ),
    "Adapters.combine": (
        "(self, name: 'str', weights: 'Mapping[str, float]', *, how: 'How' = 'linear', rank: 'int | None' = None) "
        "-> 'float'"
    ),
    "Adapters.predict": (
        "(self, texts: 'str | Sequence[str]', adapters: 'AdapterNames' = None, *, min_confidence: 'float' = 0.0, "
        "max_new_tokens: 'int' = 128) -> 'list[Prediction]'"
    ),
    "Model.generate": "(self, prompt: 'str', *, stream: 'bool' = False, **options: 'Any') -> 'str | Iterator[str]'",
    "Model.logits": (
        "(self, ids: 'Sequence[Sequence[int]]', targets: 'Sequence[Sequence[int]] | None' = None) -> 'list[Tensor]'"
    ),
    "Model.embed": "(self, texts: 'Sequence[str]') -> 'Tensor'",
    "Run": "(path: 'str | Path') -> 'None'",
    "Run.predict": (
        "(self, texts: 'str | Sequence[str | tuple[str, str]]', *, min_confidence: 'float' = 0.0, "
        "max_new_tokens: 'int | None' = None, decoding: 'dict[str, Any] | None' = None) -> 'list[Prediction]'"
    ),
    "Run.evaluate": "(self, data: 'Any') -> 'Score'",
    "Run.report": "(self, lang: 'str' = 'en') -> 'Path'",
}


def test_names() -> None:
    assert mt.__all__ == NAMES == sorted(NAMES)
    assert dir(mt) == NAMES
    for name in NAMES:
        assert getattr(mt, name) is not None
    with pytest.raises(AttributeError, match="module 'microtune' has no attribute 'tuna'"):
        _ = mt.tuna


@pytest.mark.parametrize("name", SIGNATURES)
def test_signatures(name: str) -> None:
    found: Any = mt
    for part in name.split("."):
        found = getattr(found, part)
    assert str(inspect.signature(found)) == SIGNATURES[name]
    assert found.__doc__


def test_errors_and_their_exit_codes() -> None:
    """One family; the command line exits with the code of the error."""
    codes = {name: getattr(mt, name).exit_code for name in NAMES if name.endswith("Error")}
    assert codes == {"CheckError": 2, "InputError": 2, "LimitError": 2, "MicrotuneError": 1, "RunError": 2}
    assert all(issubclass(getattr(mt, name), mt.MicrotuneError) for name in codes)
    assert issubclass(mt.LimitError, mt.InputError)


def test_the_import_is_light() -> None:
    """`import microtune` loads neither torch nor what torch brings; the recipe needs pydantic only."""
    script = (
        "import sys, microtune; heavy = {'torch', 'numpy', 'tokenizers', 'safetensors', 'pyarrow', 'rich', 'pydantic'};"
        "print(sorted(heavy & set(sys.modules)));"
        "microtune.Recipe, microtune.ModelSpec; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=120)
    assert done.stdout.split("\n") == ["[]", "False", ""]


@pytest.mark.parametrize(("given", "found"), [(None, "128"), ("7", "7")])
def test_the_store_of_prepared_products_is_bounded_but_for_a_value_of_the_users(given: str | None, found: str) -> None:
    name = "ONEDNN_PRIMITIVE_CACHE_CAPACITY"
    environment = {k: v for k, v in os.environ.items() if k != name} | ({name: given} if given else {})
    code = f"import os, microtune; print(os.environ['{name}'])"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == found
