"""Families: how the files of an architecture become a ModelSpec and tensors by our names, and back.

The table is written out here, so that nothing is registered as a side effect of somebody's import.
"""

from microtune.families.bart import BART, MARIAN, MBART, PEGASUS
from microtune.families.base import (
    Family,
    Head,
    Loaded,
    expected_shapes,
    families,
    load_folder,
    module_name,
    roles,
    save_folder,
)
from microtune.families.bert import BERT
from microtune.families.gpt2 import GPT2
from microtune.families.llama import LLAMA
from microtune.families.t5 import MT5, T5

for _family in (BART, BERT, GPT2, LLAMA, MARIAN, MBART, MT5, PEGASUS, T5):
    families.add(_family.model_type, _family)

__all__ = [
    "Family",
    "Head",
    "Loaded",
    "expected_shapes",
    "families",
    "load_folder",
    "module_name",
    "roles",
    "save_folder",
]
