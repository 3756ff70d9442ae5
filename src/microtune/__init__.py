"""microtune: a language model through its whole working life on an ordinary computer.

>>> import microtune as mt
>>> run = mt.tune("tickets", task="classification", model="sprout", method="lora:8")
>>> run.scores["test"]["accuracy"]; run.predict("my card was charged twice")

Everything public stands in `__all__` and is imported when it is first used, so that `import microtune` is instant.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from microtune.errors import CheckError, InputError, LimitError, MicrotuneError, RunError
from microtune.version import __version__

# oneDNN keeps code for the last 1,024 shapes of products, 0.7 MB each, and ragged batches bring new shapes all the
# time: up to 850 MB. Fewer cost nothing that could be measured. It is read when torch computes first; a value of
# yours stays.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

if TYPE_CHECKING:
    from microtune.nn.spec import ModelSpec, StackSpec
    from microtune.recipe import Recipe
    from microtune.run.adapters import Adapters, load_adapters
    from microtune.run.compare import Comparison
    from microtune.run.export import export, merge
    from microtune.run.lint import LintReport, lint
    from microtune.run.load import Model, load
    from microtune.run.verbs import Run, compare, pretrain, tune

__all__ = [
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

_LAZY = {
    "Adapters": "microtune.run.adapters",
    "Comparison": "microtune.run.compare",
    "LintReport": "microtune.run.lint",
    "Model": "microtune.run.load",
    "ModelSpec": "microtune.nn.spec",
    "Recipe": "microtune.recipe",
    "Run": "microtune.run.verbs",
    "StackSpec": "microtune.nn.spec",
    "compare": "microtune.run.verbs",
    "export": "microtune.run.export",
    "lint": "microtune.run.lint",
    "load": "microtune.run.load",
    "load_adapters": "microtune.run.adapters",
    "merge": "microtune.run.export",
    "pretrain": "microtune.run.verbs",
    "tune": "microtune.run.verbs",
}


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'microtune' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
