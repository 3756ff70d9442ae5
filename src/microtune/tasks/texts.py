"""Tasks that read one text, or two that belong together, and answer with a head of their own.

An encoder reads a pair as its tokenizer joins two texts ([CLS] a [SEP] b [SEP], with token types where it has them, as
in BERT); a decoder, or a tokenizer that knows no pairs, reads them with a separator between. A pair that is too long
loses tokens of its longer text first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, field_validator
from torch import nn

from microtune.data.batches import Batch
from microtune.data.fields import find_field, find_pair, text_of
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, at
from microtune.nn.heads import LabelHead
from microtune.nn.spec import ModelSpec
from microtune.tasks.base import EncodingReport, Task, paired_rows
from microtune.tasks.wording import is_template


def texts_read(batch: Batch) -> list[Sequence[int]]:
    """The ids of the text of each item: of an encoder-decoder what its encoder reads."""
    return [item.sources if len(item.sources) else item.ids for item in batch.items]


class TextTask(Task):
    """A text or a pair of texts, and the head that reads it."""

    text_field: str | None = None
    label_field: str | None = None
    pair_field: str | None = Field(
        default=None, description='field with the second text of a pair; "": one text alone; default: found by its name'
    )
    text: str | None = Field(default=None, description='template of the text, such as "{subject}\\n{body}"')
    pair: str | None = Field(default=None, description="template of the second text of a pair")
    joined: Literal["auto", "types", "template", "separator"] = Field(
        default="auto",
        description="how two texts become one: as the tokenizer joins them (types: with token types), or a separator",
    )
    separator: str = Field(default="\n", min_length=1, max_length=100, description="between two texts")
    pooling: Literal["auto", "first", "last", "mean"] = Field(default="auto", description="which positions are read")

    reads: ClassVar[Literal["hidden"]] = "hidden"
    templates: ClassVar[Mapping[str, str]] = {"text": "text_field", "pair": "pair_field"}
    with_templates: ClassVar[Mapping[str, Any]] = {"pair_field": ""}

    _templates = field_validator("text", "pair")(is_template)

    def text_rows(self, texts: Sequence[Any]) -> list[Row] | None:
        """Texts two by two, for a model of pairs."""
        if not self.pair_field:
            return None
        wanted = "This model reads pairs of texts: give them two by two, the first and the second of each."
        return paired_rows(texts, (self.text_field or "text", self.pair_field), wanted)

    def find_texts(self, rows: Sequence[Row], text_field: str | None, taken: Sequence[str]) -> dict[str, str | None]:
        """The names of the text field and, where rows are pairs, of the field of the second text."""
        pair = find_field(rows, "pair", self.pair_field, exclude=taken) if self.pair_field else None
        wanted = text_field or self.text_field
        if pair is not None and pair == wanted:
            raise InputError(f'task.pair_field: "{pair}" is the first text already; name the field of the second one.')
        text = find_field(rows, "text", wanted, exclude=[*taken, *([pair] if pair else [])])
        if self.pair_field is None:
            pair = find_pair(rows, exclude=[*taken, text])
        return {"text_field": text, "pair_field": pair}

    def read_text(
        self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport
    ) -> tuple[list[int], list[int]]:
        """Ids of the row's text or pair, cut to `max_length`, and their token types ([] where all are 0)."""
        assert self.text_field is not None
        first = text_of(row, self.text_field)
        types: list[int] = []
        if self.pair_field:
            template = self.joined in ("types", "template")
            separator = None if template else self.separator
            ids, types, cut = tokenizer.encode_two(first, text_of(row, self.pair_field), max_length, separator)
        else:
            ids, cut = tokenizer.encode_cut(first, max_length)
        if cut:
            report.truncate(index)
        if not ids:
            raise InputError(f"{at(row.path, row.line)}: the text has no token for this tokenizer.")
        return ids, types if self.joined == "types" and any(types) else []

    def positions(self, length: int) -> Sequence[int]:
        """Which positions of a text of this length the head reads."""
        if self.pooling == "mean":
            return range(length)
        return (0,) if self.pooling == "first" else (length - 1,)

    def fitted(self, spec: ModelSpec) -> Self:
        """With the pooling of this architecture, and the way it reads pairs, in place of `auto`."""
        found: dict[str, str] = {"pooling": spec.pooling} if self.pooling == "auto" else {}
        if self.joined == "auto" and self.pair_field:
            causal = spec.decoder is not None
            found["joined"] = "separator" if causal else "types" if (spec.token_types or 0) > 1 else "template"
        return self.model_copy(update=found)

    def head_spec(self, spec: ModelSpec) -> ModelSpec:
        """The spec with the pooling of this task."""
        return replace(spec, pooling=spec.pooling if self.pooling == "auto" else self.pooling)

    def make_head(self, spec: ModelSpec) -> nn.Module:
        """A LabelHead over the chosen pooling."""
        return LabelHead(self.head_spec(spec), self.outputs)

    @property
    def outputs(self) -> int:
        """How many numbers the head gives."""
        raise NotImplementedError

    def text_remarks(self) -> list[str]:
        """That rows are read as pairs, where they are."""
        if not self.pair_field:
            return []
        return [
            f'Each row is a pair: "{self.text_field}" and "{self.pair_field}" are read together '
            '(task.pair_field="" reads the first alone).'
        ]
