"""Families: how the files of an architecture become a ModelSpec and tensors by our names, and back.

The table is written out here, so that nothing is registered as a side effect of somebody's import.
"""

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
from microtune.families.distilbert import DISTILBERT
from microtune.families.electra import ELECTRA
from microtune.families.gpt2 import GPT2
from microtune.families.llama import LLAMA
from microtune.families.modernbert import MODERNBERT
from microtune.families.roberta import ROBERTA, XLM_ROBERTA

for _family in (BERT, DISTILBERT, ELECTRA, GPT2, LLAMA, MODERNBERT, ROBERTA, XLM_ROBERTA):
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
