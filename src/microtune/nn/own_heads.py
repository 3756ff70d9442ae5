"""Label heads that are read in another way than one pooled text, one set of scores.

`PlaceHead` scores every position that is read by itself (tags of tokens, beginning and end of an answer), `OptionHead`
gives one score to each of several texts that stand together, `VectorHead` a vector to each text. All are LabelHeads to
the methods that train them; no class of transformers is written for them.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn

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


class VectorHead(OwnHead):
    """A vector for each text: the mean of its positions, and a linear map that begins as the identity.

    y = x + W x / sqrt(D) with W = 0 at the start: what the model says of texts is there before any training, and the
    rates at which new heads learn do not tear it apart.
    """

    def __init__(self, spec: ModelSpec) -> None:
        plain = replace(spec, pooling="mean", label_head="linear", label_bias=False, label_dropout=0.0)
        super().__init__(plain, spec.hidden_size)
        nn.init.zeros_(self.out.weight)

    def scores(self, x: Tensor) -> Tensor:
        """Pooled states [B, D] -> vectors [B, D]."""
        return x + self.out(x) * x.shape[-1] ** -0.5
