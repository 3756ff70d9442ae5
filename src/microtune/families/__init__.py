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
from microtune.families.distilbert import DISTILBERT
from microtune.families.electra import ELECTRA
from microtune.families.gemma import GEMMA, GEMMA2, GEMMA3
from microtune.families.glm import GLM, GLM4
from microtune.families.gpt2 import GPT2
from microtune.families.gpt_neox import GPT_NEOX
from microtune.families.llama import INTERNLM3, LLAMA, MISTRAL
from microtune.families.modernbert import MODERNBERT
from microtune.families.olmo2 import OLMO2
from microtune.families.phi3 import PHI3
from microtune.families.qwen import QWEN2, QWEN3
from microtune.families.roberta import ROBERTA, XLM_ROBERTA
from microtune.families.t5 import MT5, T5

_ALL = (
    *(GPT2, GPT_NEOX, LLAMA, MISTRAL, INTERNLM3, QWEN2, QWEN3, GEMMA, GEMMA2, GEMMA3, PHI3, OLMO2, GLM, GLM4),
    *(BERT, ROBERTA, XLM_ROBERTA, DISTILBERT, ELECTRA, MODERNBERT),
    *(BART, MARIAN, MBART, PEGASUS, T5, MT5),
)
for _family in sorted(_ALL, key=lambda family: family.model_type):
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
