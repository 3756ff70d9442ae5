"""How a model writes its answers: the one set of options for greedy search, beams, draws and what they must keep to.

It stands in the recipe as `task.decoding`, on the command line as flags of `predict` and `chat`, and in Python as
keywords of `generate`. Nothing here knows a model.
"""

from __future__ import annotations

import json
from typing import Any, Self

from pydantic import Field, field_validator, model_validator

from microtune.recipe import Section

LONGEST_PATTERN = 100_000  # characters of a regular expression or a schema


class Writing(Section):
    """Greedy by default; `beams` searches, `temperature` draws; never both."""

    beams: int = Field(default=1, ge=1, le=256, description="beam search with so many beams; 1: none")
    length_penalty: float = Field(
        default=1.0, description="of beams: an answer's score is its log-probability / length ** length_penalty"
    )
    temperature: float = Field(default=0.0, ge=0, description="0: always the likeliest token; else draw")
    top_k: int = Field(default=0, ge=0, description="draw from the so many likeliest tokens; 0: from all")
    top_p: float = Field(default=1.0, gt=0, le=1, description="draw from the likeliest tokens with this share")
    min_p: float = Field(
        default=0.0, ge=0, le=1, description="draw from tokens with this share of the likeliest one's probability"
    )
    repetition_penalty: float = Field(
        default=1.0, gt=0, description="above 1: tokens that were there already become less likely"
    )
    answers: int = Field(default=1, ge=1, le=256, description="how many answers to each question, the best first")
    seed: int = Field(default=0, ge=0, lt=2**63, description="of the draws")
    stops: tuple[str, ...] = Field(default=(), description="texts at which an answer ends; they are not given")
    labels: tuple[str, ...] = Field(default=(), description="the answer is one of these texts")
    regex: str | None = Field(
        default=None, min_length=1, max_length=LONGEST_PATTERN, description="the answer matches this expression"
    )
    json_schema: str | None = Field(
        default=None, max_length=LONGEST_PATTERN, description="the answer is JSON that fits this JSON schema"
    )

    @field_validator("stops", "labels")
    @classmethod
    def _no_empty_text(cls, texts: tuple[str, ...]) -> tuple[str, ...]:
        if "" in texts:
            raise ValueError("an empty text can be neither a stop nor a label")
        return texts

    @field_validator("json_schema", mode="before")
    @classmethod
    def _as_text(cls, schema: Any) -> Any:
        if isinstance(schema, (dict, bool)):
            return json.dumps(schema, ensure_ascii=False)
        if isinstance(schema, str):
            try:
                found = json.loads(schema)
            except (ValueError, RecursionError) as error:
                raise ValueError(f"a schema is JSON; this is not ({str(error)[:90]})") from error
            if not isinstance(found, (dict, bool)):
                raise ValueError("a schema is a JSON object")
        return schema

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if self.beams > 1 and self.temperature > 0:
            raise ValueError("beams search and a temperature draws: leave out one of the two")
        if sum(x is not None and x != () for x in (self.labels, self.regex, self.json_schema)) > 1:
            raise ValueError("labels, regex and json_schema each say what an answer is: give one of them")
        if self.temperature == 0 and self.answers > self.beams:
            raise ValueError(f"{self.answers} answers need as many beams, or a temperature")
        return self

    @property
    def is_bound(self) -> bool:
        """Whether a tokenizer is needed to say what an answer may be, or where it ends."""
        return bool(self.stops or self.labels) or self.regex is not None or self.json_schema is not None

    @property
    def is_plain(self) -> bool:
        """Whether every token is simply the likeliest one."""
        return self.beams == 1 and not self.temperature and self.repetition_penalty == 1.0 and not self.is_bound


GREEDY = Writing()
