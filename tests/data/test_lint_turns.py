"""Who speaks and what is said in a turn, whatever is longer."""

from __future__ import annotations

from microtune.data.lint.reading import spoken, turns_of


def test_an_answer_shorter_than_the_name_of_its_speaker() -> None:
    turns = [{"role": "user", "content": "Two and four?"}, {"role": "assistant", "content": "6"}]
    assert [spoken(turn) for turn in turns] == [("user", "Two and four?"), ("assistant", "6")]
    assert turns_of(turns) == ("Two and four?", "6")


def test_turns_without_known_keys() -> None:
    assert spoken({"who": "gpt", "words": "a longer answer"}) == ("gpt", "a longer answer")
    assert turns_of([{"who": "gpt", "words": "a longer answer"}]) == ("", "a longer answer")
    assert spoken({"value": "yes", "from": "gpt"}) == ("gpt", "yes")
    assert spoken({"role": "assistant", "content": None}) == ("assistant", "")
    assert turns_of(["Where?", "Here."]) == ("Where?", "Here.")
