"""What the Transformer of 2017 trained with: smoothed labels and a rate that falls with the root of the step."""

from __future__ import annotations

import pytest
import torch
from tiny_trainings import STILL, make, text_items

from microtune.data.batches import collate
from microtune.errors import InputError
from microtune.nn.heads import VocabularyHead
from microtune.recipe import Train, build
from microtune.run.evaluate import evaluate_items
from microtune.run.optimizers import schedule
from microtune.tasks.base import Encoded, EncodingReport
from microtune.tasks.language_modelling import LanguageModelling

TEXT = LanguageModelling(text_field="text")


def test_the_rate_of_the_paper() -> None:
    """Vaswani et al., 2017, section 5.3: d^-0.5 min(s^-0.5, s w^-1.5), as a share of its highest value."""

    def paper(s: int, w: int) -> float:
        return 512**-0.5 * min(s**-0.5, s * w**-1.5)

    settings = Train(schedule="inverse-sqrt", warmup=0.04)
    found = [schedule(settings, step, 1000) for step in range(1000)]
    assert found == pytest.approx([paper(s, 40) / paper(40, 40) for s in range(1, 1001)], rel=1e-12)
    assert max(found) == found[39] == 1.0
    bare = Train(schedule="inverse-sqrt", warmup=0)
    assert [schedule(bare, step, 9) for step in (0, 3, 8)] == pytest.approx([1, 1 / 2, 1 / 3])


def test_training_smooths_and_evaluation_does_not() -> None:
    plain, smooth = (make(spec=STILL, task=TEXT, label_smoothing=x) for x in (0.0, 0.2))
    encoded = Encoded(text_items(), EncodingReport())
    scores = [evaluate_items(t.model, TEXT, encoded, precision="float32").values["loss"] for t in (plain, smooth)]
    assert scores[0] == scores[1]
    piece = list(range(len(plain.items)))
    batch = collate([plain.items[i] for i in piece])
    head = smooth.model.head
    assert isinstance(head, VocabularyHead)
    logits = head(smooth.model(batch.inputs, readout=batch.readout))
    wanted = torch.nn.functional.cross_entropy(logits, batch.targets, reduction="sum", label_smoothing=0.2)
    found = smooth.loss(batch, piece)
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=0)  # float32 sums of a hundred terms
    assert abs(found - plain.loss(batch, piece)) > 0.1


def test_labels_of_a_classifier_are_not_smoothed() -> None:
    with pytest.raises(InputError, match=r"train\.label_smoothing is for tasks that learn tokens, not for classific"):
        make(label_smoothing=0.1)


@pytest.mark.parametrize("value", [1.0, -0.1, "much"])
def test_a_share_is_below_one(value: object) -> None:
    with pytest.raises(InputError, match=r"train\.label_smoothing: .* not "):
        build({"task": "language-modelling", "train": {"label_smoothing": value}})
