"""The embedded general texts: what their README says is true, and nothing in them repeats."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from importlib import resources

import pytest

from microtune.errors import InputError
from microtune.run.general import general_texts
from microtune.run.tour import tickets

COUNT = {"en": 250, "zh": 250}
TRADITIONAL = 20


def words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+(?:['’-][a-z0-9]+)*", text.lower())


def characters(text: str) -> list[str]:
    return [character for character in text if character.isalnum()]


UNITS: dict[str, Callable[[str], list[str]]] = {"en": words, "zh": characters}
RUN = 6  # units: a phrase may be common property, six words or characters in a row are a repetition


def grams(text: str, language: str) -> set[tuple[str, ...]]:
    """The runs of RUN units that two texts may not share."""
    found = UNITS[language](text)
    return {tuple(found[i : i + RUN]) for i in range(len(found) - RUN + 1)}


@pytest.fixture(scope="module")
def raw() -> bytes:
    return (resources.files("microtune") / "assets" / "general" / "texts.jsonl").read_bytes()


def test_every_line_is_a_text_with_language_and_topic(raw: bytes) -> None:
    lines = raw.decode("utf-8").split("\n")
    assert lines.pop() == ""
    rows = [json.loads(line) for line in lines]
    assert all(set(row) == {"text", "language", "topic"} for row in rows)
    assert Counter(row["language"] for row in rows) == COUNT
    for language, count in COUNT.items():
        topics = Counter(row["topic"] for row in rows if row["language"] == language)
        assert len(topics) == 22
        assert min(topics.values()) >= count // 25  # no topic is a token one
        assert max(topics.values()) <= count // 20


def test_the_loader_gives_the_texts_of_the_file(raw: bytes) -> None:
    rows = [json.loads(line) for line in raw.splitlines()]
    assert general_texts() == [row["text"] for row in rows]
    assert general_texts("en") == [row["text"] for row in rows if row["language"] == "en"]
    assert Counter(row["language"] for row in rows[:100]) == {"en": 50, "zh": 50}  # the first texts are a sample too


def test_a_changed_list_changes_no_later_one() -> None:
    general_texts("zh").clear()
    assert len(general_texts("zh")) == COUNT["zh"]


def test_a_language_without_texts_is_refused() -> None:
    with pytest.raises(InputError, match="no general texts in the language 'de'; there are some in 'en' and 'zh'"):
        general_texts("de")


def test_lengths() -> None:
    english = sorted(len(words(text)) for text in general_texts("en"))
    chinese = sorted(len(text) for text in general_texts("zh"))
    assert (english[0], english[62], english[125], english[187], english[-1]) == (15, 27, 31, 34, 51)
    assert (chinese[0], chinese[62], chinese[125], chinese[187], chinese[-1]) == (29, 49, 54, 60, 77)
    assert min(len(characters(text)) for text in general_texts("zh")) >= 25


def test_bytes() -> None:
    assert {of: sum(len(text.encode()) for text in general_texts(of)) for of in COUNT} == {"en": 41_392, "zh": 40_309}


def test_no_control_characters_and_no_loose_space() -> None:
    for text in general_texts():
        assert not [c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Co", "Cs", "Cn", "Zl", "Zp")], text
        assert text == text.strip()
        assert "  " not in text
        assert unicodedata.is_normalized("NFC", text)
        assert "�" not in text


def test_english_is_ascii_and_chinese_is_chinese() -> None:
    assert all(text.isascii() for text in general_texts("en"))
    for text in general_texts("zh"):
        letters = [c for c in text if c.isalpha()]
        assert sum("一" <= c <= "鿿" for c in letters) >= 0.95 * len(letters), text  # room for "A4"


def test_some_chinese_is_traditional() -> None:
    """A text in simplified characters fits GB 2312, one in traditional characters fits Big5 and not GB 2312."""
    traditional = []
    for text in general_texts("zh"):
        try:
            text.encode("gb2312")
        except UnicodeEncodeError:
            text.encode("big5")
            traditional.append(text)
    assert len(traditional) == TRADITIONAL


@pytest.mark.parametrize("language", COUNT)
def test_no_two_texts_share_a_run_of_words(language: str) -> None:
    texts = general_texts(language)
    assert len({text.lower() for text in texts}) == len(texts)
    seen: dict[tuple[str, ...], str] = {}
    for text in texts:
        for gram in grams(text, language):
            assert gram not in seen, f"{' '.join(gram)}: in {text!r} and in {seen[gram]!r}"
        seen.update(dict.fromkeys(grams(text, language), text))


@pytest.mark.parametrize("language", COUNT)
def test_openings_vary(language: str) -> None:
    """No opening word (English) or opening two characters (Chinese) begins more than a given share of the texts."""
    first = Counter("".join(UNITS[language](text)[: 1 if language == "en" else 2]) for text in general_texts(language))
    (_, most), share = first.most_common(1)[0], {"en": 0.08, "zh": 0.02}[language]
    assert most <= share * COUNT[language]
    assert len(first) >= {"en": 0.6, "zh": 0.85}[language] * COUNT[language]


@pytest.mark.parametrize("language", COUNT)
def test_nothing_of_it_stands_in_the_tickets(language: str) -> None:
    others = [r.data["text"] for rows in tickets().values() for r in rows if r.data["language"] == language]
    assert len(others) == 720
    theirs = set().union(*(grams(text, language) for text in others))
    joined = "\n".join(others)
    for text in general_texts(language):
        assert text not in joined
        assert not grams(text, language) & theirs, text
