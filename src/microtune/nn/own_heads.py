"""Label heads that are read in another way than one pooled text, one set of scores.

`PlaceHead` scores every position that is read by itself (tags of tokens, beginning and end of an answer), `OptionHead`
gives one score to each of several texts that stand together. All are LabelHeads to the methods that train them; no
class of transformers is written for them.
"""

from __future__ import annotations

from dataclasses import replace

from microtune.nn.heads import LabelHead
from microtune.nn.spec import LabelHeadKind, ModelSpec


class OwnHead(LabelHead):
    """A label head that is saved in our own form only."""


class PlaceHead(OwnHead):
    """Scores of each position: `forward` gives [R, labels]. As `ForTokenClassification`, nothing lies below them."""

    def __init__(self, spec: ModelSpec, num_labels: int) -> None:
        kind: LabelHeadKind = "normalized" if spec.label_head == "normalized" else "linear"
        super().__init__(replace(spec, pooling="first", label_head=kind, label_bias=True), num_labels)


class OptionHead(OwnHead):
    """One score for each option of a question, pooled as the architecture does it (`ForMultipleChoice`)."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__(spec, 1)
