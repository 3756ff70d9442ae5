"""Masking: the shares of BERT, whole words, special tokens left alone, and the same masks for the same place."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from microtune.data.corpus import Blocks
from microtune.data.sources import Row
from microtune.data.store import RaggedStore
from microtune.data.text import Tokenizer, train_bpe
from microtune.errors import InputError
from microtune.tasks.language_modelling import LanguageModelling
from microtune.tasks.masked import Masking
from microtune.tasks.objectives import hidden_items, hidden_metrics

TOKENIZER = train_bpe(["the cat sat on the mat and the dog ran"], 330)
SPECIAL = 56


def _masking(**changes: object) -> Masking:
    options = {"share": 0.15, "replaced": (0.8, 0.1, 0.1)} | changes
    return Masking.of(TOKENIZER, **options)  # type: ignore[arg-type]


def test_shares_of_masked_random_and_kept_tokens() -> None:
    generator = np.random.default_rng(0)
    masking, counts, masked = _masking(), np.zeros(3), 0
    for _ in range(200):
        ids = generator.integers(SPECIAL, 330, size=400)
        item = masking.item(ids, np.ones(400, dtype=bool), generator)
        at = np.asarray(item.readout)
        assert len(at) == 60  # exactly 15 %, where every token is a word
        assert (np.asarray(item.targets) == ids[at]).all()
        new = np.asarray(item.ids)
        rest = np.delete(np.arange(400), at)
        assert (new[rest] == ids[rest]).all()
        counts += [(new[at] == masking.mask).sum(), 0, (new[at] == ids[at]).sum()]
        masked += len(at)
    counts[1] = masked - counts[0] - counts[2]
    share = counts / masked  # 12,000 tokens: a standard error of 0.004; one in 274 random tokens is the old one
    assert share == pytest.approx([0.8, 0.1, 0.1], abs=0.012)


def test_random_tokens_and_chosen_ones_are_never_special() -> None:
    generator = np.random.default_rng(1)
    ids = np.concatenate([np.arange(SPECIAL), np.arange(100, 300)])
    masking = _masking(replaced=(0.0, 1.0, 0.0), share=0.5)
    for _ in range(50):
        item = masking.item(ids, np.ones(len(ids), dtype=bool), generator)
        assert min(item.readout) >= SPECIAL
        assert np.asarray(item.ids)[np.asarray(item.readout)].min() >= SPECIAL
        assert len(item.readout) == 100


def test_whole_words_are_hidden_as_wholes_and_the_share_holds_on_average() -> None:
    generator = np.random.default_rng(2)
    lengths = np.array([1, 2, 3, 5, 1, 4, 2, 2, 3, 1, 6, 2] * 8)
    word = np.repeat(np.arange(len(lengths)), lengths)
    starts = np.concatenate([[True], np.diff(word) > 0])
    ids = np.full(len(word), 100)
    found = []
    for _ in range(400):
        chosen = np.zeros(len(ids), dtype=bool)
        chosen[np.asarray(_masking().item(ids, starts, generator).readout)] = True
        hidden = np.bincount(word, chosen)
        assert set(hidden / lengths) <= {0.0, 1.0}
        found.append(chosen.mean())
    assert np.mean(found) == pytest.approx(0.15, abs=0.002)


def test_a_block_of_special_tokens_still_has_a_target() -> None:
    item = _masking().item(np.zeros(8, dtype=np.int64), np.ones(8, dtype=bool), np.random.default_rng(0))
    assert len(item.readout) == 1


def test_masks_follow_from_seed_epoch_and_block_alone(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(SPECIAL, 330, size=641)
    blocks = Blocks([RaggedStore.write(tmp_path / "s", [values], dtype="uint16")], [2.0], 64, seed=0)
    task = LanguageModelling(objective="masked")
    first, again, other = (hidden_items(task, "masked", blocks, TOKENIZER, seed) for seed in (3, 3, 4))
    for items in (first, again):
        items.begin(2)
    read = [tuple(first[i].readout) for i in range(len(blocks))]
    assert [tuple(again[i].readout) for i in reversed(range(len(blocks)))] == read[::-1]
    assert len(set(read)) == 20  # the second copy of a block is hidden otherwise
    assert [tuple(other[i].readout) for i in range(20)] != read
    assert list(first[3].ids) == list(again[3].ids)
    again.begin(3)
    assert [tuple(again[i].readout) for i in range(20)] != read
    assert first.sizes == [64] * 20


def test_held_out_text_is_hidden_in_one_way_and_has_no_bits_per_byte() -> None:
    task = LanguageModelling(objective="masked", text_field="text")
    rows = [Row({"text": "the cat sat on the mat " * 8}, "f", 1), Row({"text": "the dog"}, "f", 2)]
    one, two = (task.encode_all(rows, TOKENIZER, 32, training=False) for _ in range(2))
    assert [list(item.ids) for item in one.items] == [list(item.ids) for item in two.items]
    assert {item.row for item in one.items} == {0, 1}
    assert max(item.size for item in one.items) == 32
    assert sum(len(item.targets) for item in one.items) == one.report.supervised
    numbers = {"loss": 2 * math.log(2), "perplexity": 4.0, "token_accuracy": 0.5}
    assert hidden_metrics("masked", numbers) == {
        "loss": 2 * math.log(2),
        "pseudo_perplexity": 4.0,
        "masked_accuracy": 0.5,
    }


def test_what_cannot_be_is_refused() -> None:
    bare = Tokenizer(TOKENIZER.backend, {})
    with pytest.raises(InputError, match="needs a tokenizer with a mask token"):
        Masking.of(bare, 0.15, (0.8, 0.1, 0.1))
    with pytest.raises(ValueError, match="add up to 1"):
        LanguageModelling(objective="masked", replaced=(0.8, 0.1, 0.2))
    with pytest.raises(ValueError, match="share belongs to the objective masked"):
        LanguageModelling(share=0.2)
    with pytest.raises(InputError, match="is for microtune pretrain"):
        LanguageModelling(objective="masked").prepare({"train": []}, text_field=None, label_field=None)
