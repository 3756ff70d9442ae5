"""Masking of personal data, as data/personal.py finds it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from microtune.data.personal import KINDS, Kind, personal_in
from microtune.data.steps.base import TextStep, steps


class Mask(TextStep):
    """Personal data become marks such as [EMAIL]."""

    name: Literal["mask"] = "mask"
    kinds: list[Kind] = Field(default_factory=lambda: list(KINDS), description="what is masked")

    def change(self, text: str) -> str:
        pieces, last = [], 0
        for kind, start, end in personal_in(text, self.kinds):
            pieces += [text[last:start], f"[{kind.upper()}]"]
            last = end
        return "".join([*pieces, text[last:]])


steps.add("mask", Mask)
