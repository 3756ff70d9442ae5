"""The texts of a report, one table per language; both have the same keys."""

from __future__ import annotations

from typing import Any, Literal, get_args

from microtune.errors import InputError, suggest
from microtune.run.report.words.en import EN
from microtune.run.report.words.zh import ZH

Lang = Literal["en", "zh"]
TABLES: dict[str, dict[str, str]] = {"en": EN, "zh": ZH}


class Words:
    """The texts of one language."""

    def __init__(self, lang: str) -> None:
        if lang not in get_args(Lang):
            raise InputError(f'There is no report in the language "{lang}". {suggest(lang, get_args(Lang))}')
        self.lang = lang
        self._table = TABLES[lang]

    def __call__(self, key: str, **values: Any) -> str:
        """The text of a key, with values in its places."""
        text = self._table[key]
        return text.format(**values) if values else text

    def maybe(self, key: str, otherwise: str) -> str:
        """The text of a key that not every thing has, such as the explanation of a metric."""
        return self._table.get(key, otherwise)
