"""Span denoising and text infilling: the numbers of the papers, and both sides together are the block again."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from microtune.data.batches import Item
from microtune.data.text import Tokenizer, train_bpe
from microtune.errors import InputError
from microtune.nn.spec import ModelSpec
from microtune.tasks.infilling import Infilling, _fewer
from microtune.tasks.language_modelling import LanguageModelling
from microtune.tasks.objectives import check_shape, corruption_of, positions_for
from microtune.tasks.spans import SpanDenoising, sentinels

TOKENIZER = train_bpe(["the cat sat on the mat. and the dog ran. so it goes."], 330)
BOS, EOS, PAD, MASK = (TOKENIZER.id(name) for name in ("bos", "eos", "pad", "mask"))
SENTINELS = sentinels(TOKENIZER).tolist()


def _ids(length: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 330, size=length)


def _spans(share: float = 0.15, mean: float = 3.0, length: int = 512) -> SpanDenoising:
    return SpanDenoising.of(TOKENIZER, share, mean, length)


def _put_back(item: Item) -> list[int]:
    """The block: each sentinel of the source stands for what follows it in the target."""
    parts: dict[int, list[int]] = {}
    for token in list(item.targets)[:-1]:
        if token in SENTINELS:
            last = parts[int(token)] = []
        else:
            last.append(int(token))
    source = [int(token) for token in item.sources[:-1]]
    return [t for token in source for t in (parts[token] if token in SENTINELS else [token])]


@pytest.mark.parametrize("length", [2, 3, 7, 20, 100, 512])
def test_source_and_target_spans_give_back_the_block(length: int) -> None:
    spans, ids = _spans(), _ids(length)
    noise = min(max(round(0.15 * length), 1), length - 1)
    count = min(max(round(noise / 3), 1), noise, length - noise)
    for seed in range(20):
        item = spans.item(ids, np.ones(length, dtype=bool), np.random.default_rng(seed))
        assert _put_back(item) == ids.tolist()
        assert [t for t in item.sources if t in SENTINELS] == SENTINELS[:count]
        assert [t for t in item.targets if t in SENTINELS] == SENTINELS[:count]
        assert (item.sources[-1], item.targets[-1], item.ids[0]) == (EOS, EOS, PAD)
        assert list(item.ids[1:]) == list(item.targets[:-1])
        assert len(item.targets) == noise + count + 1
        assert len(item.sources) == length - noise + count + 1
        assert item.size <= spans.size(length)


def test_segments_are_drawn_as_the_paper_draws_them() -> None:
    """10 tokens, 4 of them in 2 spans: 5 x 3 ways to part 6 kept and 4 cut tokens in two, each equally likely."""
    spans, ids = _spans(share=0.4, mean=2.0, length=10), _ids(10)
    draws: dict[tuple[int, ...], int] = {}
    generator = np.random.default_rng(0)
    for _ in range(6000):
        noise = spans._noise(10, generator)
        assert noise.sum() == 4
        assert not noise[0]
        draws[tuple(np.flatnonzero(noise))] = draws.get(tuple(np.flatnonzero(noise)), 0) + 1
    literal = {
        (*range(first, first + cut), *range(6 + cut, 10))  # kept `first`, cut `cut`, kept 6 - first, cut 4 - cut
        for first in range(1, 6)
        for cut in range(1, 4)
    }
    assert set(draws) == literal
    assert len(literal) == 15
    assert all(abs(n / 6000 - 1 / 15) < 0.013 for n in draws.values())  # four standard errors
    assert _put_back(spans.item(ids, np.ones(10, dtype=bool), generator)) == ids.tolist()


def test_marks_of_documents_are_left_out() -> None:
    ids = np.array([BOS, 100, 101, 102, EOS, BOS, 103, 104, EOS])
    item = _spans().item(ids, np.ones(9, dtype=bool), np.random.default_rng(0))
    assert _put_back(item) == [100, 101, 102, 103, 104]
    assert list(item.targets).count(EOS) == 1
    filled = Infilling.of(TOKENIZER, 0.3, 3.0, permute=False).item(ids, np.ones(9, bool), np.random.default_rng(0))
    assert list(filled.targets) == [BOS, 100, 101, 102, 103, 104, EOS]


def test_infilling_hides_the_share_and_keeps_the_rest_in_order() -> None:
    infilling, ids = Infilling.of(TOKENIZER, 0.3, 3.0, permute=False), np.arange(60, 260)
    spans, zeros, generator = [], 0, np.random.default_rng(0)
    for _ in range(200):
        item = infilling.item(ids, np.ones(200, dtype=bool), generator)
        assert list(item.targets) == [BOS, *ids, EOS]
        assert list(item.ids) == [EOS, BOS, *ids]
        source = list(item.sources)
        assert (source[0], source[-1]) == (BOS, EOS)
        inner = source[1:-1]
        kept = [t for t in inner if t != MASK]
        assert kept == sorted(set(kept))
        assert len(kept) == 140  # exactly 30 % are hidden
        assert all((a, b) != (MASK, MASK) for a, b in itertools.pairwise(inner))
        bounds = [59, *(t for t in inner if t != MASK), 260]
        hidden = [b - a - 1 for a, b in itertools.pairwise(bounds)]
        assert sum(hidden) == 60
        spans.append(inner.count(MASK))
        zeros += inner.count(MASK) - sum(n > 0 for n in hidden)
    # Renewal theory: the last span crosses the budget, and spans have 3 tokens on average.
    assert np.mean(spans) == pytest.approx(60 / 3 + 0.5 * (1 + 1 / 3), abs=0.6)
    assert zeros / sum(spans) == pytest.approx(math.exp(-3), abs=0.01)


def test_span_lengths_are_poisson_and_add_up() -> None:
    infilling, generator = Infilling.of(TOKENIZER, 0.3, 3.0, permute=False), np.random.default_rng(1)
    drawn = []
    for _ in range(300):
        lengths = infilling.span_lengths(1000, generator)
        assert lengths.sum() == 300
        drawn += lengths[:-1].tolist()
    literal = [math.exp(-3) * 3**k / math.factorial(k) for k in range(8)]
    found = np.bincount(drawn, minlength=8)[:8] / len(drawn)
    assert found == pytest.approx(literal, abs=0.01)
    for count in (1, 2, 3, 5):
        lengths = infilling.span_lengths(count, generator)
        assert len(lengths) <= count - lengths.sum() + 1
    assert _fewer(np.array([0, 3, 1, 2]), 2).tolist() == [3, 3]


def test_infilling_by_words_and_with_sentences_in_another_order() -> None:
    text = "the cat sat on the mat. and the dog ran. so it goes."
    ids = np.array(TOKENIZER.encode(text, special=False))
    task = LanguageModelling(objective="infilling", unit="word", permute_sentences=True)
    corruption, words = corruption_of(task, "infilling", TOKENIZER, 64)
    assert words is not None
    assert isinstance(corruption, Infilling)
    seen = set()
    for seed in range(30):
        order = corruption._permuted(ids, np.random.default_rng(seed))
        seen.add(TOKENIZER.decode(ids[order]).strip())
        source = list(corruption.item(ids, words.starts(ids), np.random.default_rng(seed)).sources)
        kept = "".join(" # " if t == MASK else TOKENIZER.decode([t]) for t in source[1:-1])
        assert set(re.findall(r"[a-z]+", kept)) <= set(re.findall("[a-z]+", text))  # no piece of a word is left
    assert len(seen) == 6  # three sentences
    assert all(sorted(re.findall("[a-z]+", s)) == sorted(re.findall("[a-z]+", text)) for s in seen)
    target = corruption.item(ids, words.starts(ids), np.random.default_rng(0)).targets
    assert TOKENIZER.decode(target) == text


def test_what_a_tokenizer_or_a_network_lacks_is_said() -> None:
    with pytest.raises(InputError, match="blocks of 1024 tokens have 51 spans, but the tokenizer has 32 sentinel"):
        _spans(length=1024)
    bare = Tokenizer(TOKENIZER.backend, {})
    with pytest.raises(InputError, match="eos and pad"):
        SpanDenoising.of(bare, 0.15, 3.0, 64)
    with pytest.raises(InputError, match="bos, eos and mask"):
        Infilling.of(bare, 0.15, 3.0, permute=False)
    stack = {"num_layers": 1, "hidden_size": 8, "num_heads": 1, "intermediate_size": 8}
    both = ModelSpec.from_dict(
        {"vocab_size": 9, "encoder": stack, "decoder": stack | {"causal": True, "cross_attention": True}}
    )
    for objective in ("span-denoising", "infilling"):
        check_shape(both, objective)
    with pytest.raises(InputError, match="infilling, which needs an encoder and a decoder"):
        check_shape(ModelSpec.from_dict({"vocab_size": 9, "encoder": stack}), "infilling")
    with pytest.raises(InputError, match="causal, which needs a decoder alone"):
        check_shape(both, "causal")
    assert positions_for("infilling", 32) == 34
