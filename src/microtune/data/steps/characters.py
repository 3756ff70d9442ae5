"""Steps about characters: Unicode normalisation, blanks, lower case, simplified and traditional Chinese.

Normal forms are those of Unicode Standard Annex 15; NFKC also makes full-width letters and digits half-width, which
Chinese texts often mix. Simplified and traditional characters by OpenCC (extra `text`).
"""

from __future__ import annotations

import importlib.util
import re
import unicodedata
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Literal

from pydantic import Field

from microtune.data.invisible import WIDTHLESS
from microtune.data.steps.base import TextStep, steps
from microtune.errors import InputError

_BLANKS = re.compile(r"[^\S\n]+")
_LINES = re.compile(r"\n{3,}")
_INVISIBLE = re.compile(f"[{WIDTHLESS}]")


class Unicode(TextStep):
    """Unicode normalisation."""

    name: Literal["unicode"] = "unicode"
    form: Literal["NFC", "NFKC", "NFD", "NFKD"] = Field(default="NFKC", description="normal form")

    def change(self, text: str) -> str:
        return unicodedata.normalize(self.form, text)


class Whitespace(TextStep):
    """Runs of blanks become one, and what is not visible goes."""

    name: Literal["whitespace"] = "whitespace"
    lines: bool = Field(default=True, description="keep line breaks, at most two in a row")

    def change(self, text: str) -> str:
        text = _INVISIBLE.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
        if not self.lines:
            return " ".join(text.split())
        return _LINES.sub("\n\n", "\n".join(_BLANKS.sub(" ", line).strip() for line in text.split("\n"))).strip()


class Lowercase(TextStep):
    """Lower case."""

    name: Literal["lowercase"] = "lowercase"

    hurts: ClassVar[str] = (
        "a model whose tokenizer tells cases apart has learnt from texts in both; lower case makes them unlike those"
    )

    def change(self, text: str) -> str:
        return text.lower()


class Chinese(TextStep):
    """Simplified or traditional Chinese characters, by OpenCC."""

    name: Literal["chinese"] = "chinese"
    to: Literal["simplified", "traditional"] = Field(default="simplified", description="which characters")

    def check(self) -> None:
        if importlib.util.find_spec("opencc") is None:
            raise InputError('The step chinese needs OpenCC, which is not installed: pip install "microtune[text]".')

    def change(self, text: str) -> str:
        return str(self._converter.convert(text))

    @cached_property
    def _converter(self) -> Any:
        self.check()
        return _converter("t2s" if self.to == "simplified" else "s2t")


@lru_cache(maxsize=2)
def _converter(way: str) -> Any:
    import opencc

    return opencc.OpenCC(way)


steps.add("unicode", Unicode)
steps.add("whitespace", Whitespace)
steps.add("lowercase", Lowercase)
steps.add("chinese", Chinese)
