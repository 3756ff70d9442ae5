"""Sequence to sequence: a text is read and another is written: translation, summary, headline, simplification.

An encoder-decoder reads the source in its encoder, and its decoder writes the target after the id with which its files
say that it begins (Sutskever et al., 2014; T5: Raffel et al., 2020, whose habit `prefix` is). A decoder alone reads
source and mark and writes on; only the target is learnt. The target ends with a stop token, without which the model
would never learn to stop. A source that is too long is cut, a target never: its row is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Self

import numpy as np
from pydantic import Field, field_validator

from microtune.data.batches import Item
from microtune.data.fields import find_field, instruction_field, named, text_of, text_of_parts
from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError, at
from microtune.nn.spec import ModelSpec
from microtune.tasks import text_scores
from microtune.tasks.base import EncodingReport, tasks
from microtune.tasks.mixture import Mixture, named_task
from microtune.tasks.text_scores import words_of
from microtune.tasks.wording import is_template, parts_remark
from microtune.tasks.writing import GREEDY, Writing
from microtune.tasks.written_answers import SAMPLE, WrittenTask


class SequenceToSequence(Mixture, WrittenTask):
    """A source text -> a target text: translation, summary, headline, simplification, question generation."""

    name: Literal["sequence-to-sequence"] = "sequence-to-sequence"
    source_field: str | None = Field(default=None, description="field with the text to read; default: detected")
    input_field: str | None = Field(
        default=None, description='a second part of the source, such as Alpaca\'s `input`; "": none; default: detected'
    )
    target_field: str | None = Field(default=None, description="field with the text to write; default: detected")
    source: str | None = Field(default=None, description='template of the text to read, such as "{title}: {text}"')
    target: str | None = Field(default=None, description="template of the text to write")
    prefix: str = Field(default="", description='put before every source, such as "summarize: " for T5')
    separator: str = Field(default="\n", description="what stands between the two parts of a source")
    mark: str = Field(default="\n=>\n", description="what stands between source and target for a model of one stack")
    max_new_tokens: int = Field(default=128, ge=1, description="tokens that a written answer may have")
    decoding: Writing = Field(default=GREEDY, description="how answers are written: beams, draws, what they keep to")
    form: Literal["auto", "encoder-decoder", "decoder"] = Field(default="auto", description="found from the model")
    start: int | None = Field(default=None, ge=0, description="id with which the decoder begins; found from the model")
    first: int | None = Field(default=None, ge=0, description="id that every target begins with; found from the model")

    reads: ClassVar[Literal["hidden", "likelihood", "generation"]] = "generation"
    opens: ClassVar[bool] = True
    templates: ClassVar[Mapping[str, str]] = {"source": "source_field", "target": "target_field"}

    _templates = field_validator("source", "target")(is_template)

    def prepare(self, splits: Mapping[str, Sequence[Row]], *, text_field: str | None, label_field: str | None) -> Self:
        """Find the fields, and the script of the targets."""
        rows = list(splits["train"])
        wanted, other = text_field or self.source_field, label_field or self.target_field
        if wanted is not None and wanted == other:
            raise InputError(f'{at(rows[0].path)}: "{wanted}" cannot be both source and target; name two fields.')
        source, second = self._parts(rows, wanted, [other] if other else [])
        target = find_field(rows, "target", other, exclude=[source, second or source], flag="--label-field")
        words = self.words
        if words == "auto":
            sample = rows[:: max(1, len(rows) // SAMPLE)]
            parts: dict[str, list[str]] = {}
            for row in sample:
                parts.setdefault(named_task(row), []).append(str(row.data.get(target) or ""))
            found = {words_of(texts) for texts in parts.values()}
            words = "zh" if found == {"13a", "zh"} else words_of([text for texts in parts.values() for text in texts])
        fields = {"source_field": source, "input_field": second, "target_field": target}
        return self.model_copy(update={**fields, "words": words})

    def _parts(self, rows: Sequence[Row], wanted: str | None, taken: Sequence[str]) -> tuple[str, str | None]:
        """The field of the source, and that of its second part: an instruction, and the text that it is about."""
        asked = None if wanted is not None or self.mixture else instruction_field(rows, exclude=taken)
        source = asked or find_field(rows, "source", wanted, exclude=taken, flag="--text-field")
        if self.input_field:
            return source, find_field(rows, "input", self.input_field)
        if asked is None or self.input_field is not None:
            return source, None
        return source, next(iter(named(rows, "source", exclude=[asked, *taken])), None)

    def check_ready(self, where: str) -> None:
        """Fields, and how the model reads and writes."""
        if not self.source_field or not self.target_field or self.form == "auto":
            raise InputError(f"{where}: the task does not name its fields, or not the form of its model.")
        if self.form == "encoder-decoder" and self.start is None:
            raise InputError(f"{where}: the task does not say with which id the decoder begins.")

    def fitted(self, spec: ModelSpec) -> Self:
        """Whether an encoder reads the source, or the decoder alone reads and writes."""
        both = spec.encoder is not None and spec.decoder is not None
        return self.model_copy(update={"form": "encoder-decoder" if both else "decoder"})

    def notes(self) -> list[str]:
        """Scores that will be left out because a package is missing."""
        return text_scores.missing()

    def remarks(self, splits: Mapping[str, Sequence[Row]]) -> list[str]:
        """Of which fields the source is made."""
        return parts_remark("source", self.source_field, self.input_field)

    def encode(
        self, row: Row, index: int, tokenizer: Tokenizer, max_length: int, report: EncodingReport
    ) -> Item | None:
        """Ids and targets; a source that is too long is cut and counted, a target that is drops its row."""
        text = self.reference(row)
        target = self.target_ids(text, tokenizer)
        sources, opening, cut = self.question(row, tokenizer, max_length)
        if len(opening) + len(target) - 1 > max_length:
            report.drop(index, len(target))
            return None
        if cut:
            report.truncate(index)
        targets = np.asarray(target, dtype=np.int64)
        ids = np.concatenate([np.asarray(opening, dtype=np.int64), targets[:-1]])
        readout = np.arange(len(opening) - 1, len(ids))
        size = float(len(text.encode("utf-8", "replace")))
        return Item(ids, readout, targets, sources=np.asarray(sources, dtype=np.int64), extra=size, row=index)  # type: ignore[arg-type]

    def question(self, row: Row, tokenizer: Tokenizer, max_length: int) -> tuple[list[int], list[int], bool]:
        """What the encoder reads, what stands before the answer, and whether the source was cut."""
        text = self.read_text(row)
        if self.form == "encoder-decoder":
            assert self.start is not None
            ids, cut = tokenizer.encode_cut(text, max_length)
            return ids, [self.start], cut
        bos = tokenizer.id("bos")
        first = [bos] if bos is not None and bos != tokenizer.id("eos") else []
        mark = tokenizer.encode(self.mark, special=False, behind=True)
        ids = tokenizer.encode(text, special=False)
        room = max_length - min(self.max_new_tokens, max_length // 2) - len(first) - len(mark)
        if room < 1:
            raise InputError(f"model.max_length: {max_length} tokens leave no room for a source beside task.mark.")
        return [], [*first, *ids[:room], *mark], len(ids) > room

    def target_ids(self, text: str, tokenizer: Tokenizer) -> list[int]:
        """A target with its stop token, and what a target begins with where the model has such an id."""
        writer = tokenizer.target
        first = [] if self.first is None else [self.first]
        return [*first, *writer.encode(text, special=False), *writer.stop_ids[:1]]

    def texts(self, row: Row) -> list[str]:
        """Source and target: one vocabulary for both."""
        return [self.read_text(row), self.reference(row)]

    def read_text(self, row: Row) -> str:
        """The source of a row as text."""
        return self.prefix + text_of_parts(row, self.source_field or "source", self.input_field, self.separator)

    def reference(self, row: Row) -> str:
        """The target of a row as text."""
        return text_of(row, self.target_field or "target")


tasks.add("sequence-to-sequence", SequenceToSequence)
