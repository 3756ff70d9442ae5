"""Steps about words and sentences: stop words (English, Chinese by jieba's words), one sentence a line.

Removing stop words comes from retrieval (Luhn, 1958; van Rijsbergen, 1979) and serves models that count words. A
Transformer reads whole sentences: without "not" and "of" they mean something else, and the program says so.
"""

from __future__ import annotations

import importlib.util
import re
from functools import lru_cache
from typing import Any, ClassVar, Literal

from pydantic import Field

from microtune.data.sentences import sentences_of
from microtune.data.steps.base import TextStep, steps
from microtune.errors import InputError

_EN = """
a an the and or but if then than so as of at by for from in into on onto to with without about over under up down out
off again further once here there all any both each few more most other some such only own same too very is am are was
were be been being have has had having do does did doing will would shall should can could may might must i me my mine
we us our ours you your yours he him his she her hers it its they them their theirs this that these those who whom
which what when where why how not no nor
"""
_ZH = """
的 了 和 是 在 也 都 就 而 及 与 或 着 把 被 让 给 对 从 到 向 为 因为 所以 但 但是 如果 虽然 然后 还 还是 又 再 很
太 更 最 我 你 他 她 它 我们 你们 他们 她们 它们 这 那 这个 那个 这些 那些 哪 什么 怎么 为什么 谁 吗 呢 吧 啊 呀 哦
嗯 之 其 不 没 没有 有 会 能 可以 要 一个 一些
"""
ENGLISH, CHINESE = frozenset(_EN.split()), frozenset(_ZH.split())
_ENGLISH_WORD = re.compile(r"[A-Za-z']+")


class StopWords(TextStep):
    """Words that say little by themselves are taken out."""

    name: Literal["stopwords"] = "stopwords"
    language: Literal["en", "zh"] = Field(default="en", description="of the texts; zh needs jieba")

    hurts: ClassVar[str] = (
        "a Transformer reads whole sentences, and without words such as not, of or 不 they mean something else; the "
        "step is for models that count words"
    )

    def check(self) -> None:
        if self.language == "zh" and importlib.util.find_spec("jieba") is None:
            raise InputError('The step stopwords needs jieba for Chinese: pip install "microtune[text]".')

    def change(self, text: str) -> str:
        if self.language == "zh":
            self.check()
            return "".join(word for word in _cutter()(text) if word not in CHINESE)
        kept = _ENGLISH_WORD.sub(lambda found: "" if found[0].lower() in ENGLISH else found[0], text)
        return re.sub(r"[^\S\n]{2,}", " ", kept).strip() if kept != text else text


class Sentences(TextStep):
    """Every sentence on a line of its own."""

    name: Literal["sentences"] = "sentences"

    def change(self, text: str) -> str:
        return "\n".join(sentences_of(text)) or text


@lru_cache(maxsize=1)
def _cutter() -> Any:
    import jieba

    jieba.setLogLevel("ERROR")
    return jieba.lcut


steps.add("stopwords", StopWords)
steps.add("sentences", Sentences)
