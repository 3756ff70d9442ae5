"""Chat templates in eight published styles: text and ids of transformers, and what of a conversation is learnt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from chat_styles import CHATML, STYLES, write

from microtune.data.sources import Row
from microtune.data.text import Tokenizer
from microtune.errors import InputError
from microtune.tasks.base import EncodingReport
from microtune.tasks.conversation import chat_prompt, chat_segments, messages_of
from microtune.tasks.instruction import Instruction

transformers = pytest.importorskip("transformers")

Both = tuple[Tokenizer, Any]
Turns = list[dict[str, Any]]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Both]:
    """Our tokenizer of each style, and transformers'."""
    made = {}
    for name, style in STYLES.items():
        folder = write(style, tmp_path_factory.mktemp("styles") / name.replace(" ", "-"))
        ours = Tokenizer.load(folder)
        assert ours is not None
        made[name] = (ours, transformers.PreTrainedTokenizerFast.from_pretrained(folder))
    return made


each = pytest.mark.parametrize("name", list(STYLES))
with_tools = pytest.mark.parametrize("name", [name for name, style in STYLES.items() if style.tools])


def turn(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


ONE = [turn("user", "where is it?"), turn("assistant", "it is in Paris")]
TWO = [*ONE, turn("user", "  什么 天气 today?  "), turn("assistant", "好 🙂 no weather\nat all")]
CONVERSATIONS = {
    "one turn": ONE,
    "two turns": TWO,
    "a system message": [turn("system", "say please"), *TWO],
    "an open question": [*TWO, turn("user", "def f(x):\n    return 42")],
    "a system message and an open question": [turn("system", "yes"), turn("user", "no")],
}
conversations = pytest.mark.parametrize("conversation", list(CONVERSATIONS.values()), ids=list(CONVERSATIONS))
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "description": "tell the weather in <Paris> & 北京",
            "parameters": {"type": "object", "properties": {"where": {"type": "string"}}, "required": ["where"]},
        },
    },
    {"type": "function", "function": {"name": "today", "description": 'a "date"', "parameters": {}}},
]
CALLS: Turns = [
    turn("user", "tell me about weather in Paris"),
    {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"where": "Paris"}}}],
    },
    {"role": "tool", "content": "no weather", "name": "weather"},
    turn("assistant", "it is no weather"),
]


def theirs_of(reference: Any, messages: Turns, tools: Any = None, **options: Any) -> Any:
    return reference.apply_chat_template(messages, tools=tools, return_dict=False, **options)


def refused(name: str, messages: Turns) -> bool:
    return STYLES[name].refuses_system and messages[0]["role"] == "system"


@each
@conversations
@pytest.mark.parametrize("prompt", [False, True])
def test_text_and_ids_are_those_of_transformers(
    name: str, conversation: Turns, prompt: bool, both: dict[str, Both]
) -> None:
    ours, reference = both[name]
    if refused(name, conversation):
        with pytest.raises(InputError, match="The chat template refuses these messages: No system role here"):
            ours.chat(conversation, prompt=prompt)
        return
    text = ours.chat(conversation, prompt=prompt)
    assert text == theirs_of(reference, conversation, tokenize=False, add_generation_prompt=prompt)
    ids = theirs_of(reference, conversation, add_generation_prompt=prompt)
    assert ours.encode(text, special=False, parse=True) == ids
    if prompt and conversation[-1]["role"] == "user":
        assert chat_prompt(conversation, ours) == ids


@each
@conversations
def test_answers_and_their_stop_token_are_learnt(name: str, conversation: Turns, both: dict[str, Both]) -> None:
    """Read as one text; the learnt part is what the assistant says, word for word, and what ends a turn."""
    ours, reference = both[name]
    style = STYLES[name]
    answers = [m["content"] for m in conversation if m["role"] == "assistant"]
    if refused(name, conversation) or not answers:
        return
    segments = chat_segments(conversation, ours)
    assert not any(segment.parted for segment in segments)
    learnt = [ours.backend.decode(list(s.ids), skip_special_tokens=False) for s in segments if s.supervised]
    lead = "" if style.form == "byte" else style.before  # this decoder takes the space of a first word
    assert [text.removeprefix(style.before) for text in learnt] == [a + style.end for a in answers], lead
    ids = [i for s in segments for i in s.ids]
    last = max(i for i, m in enumerate(conversation) if m["role"] == "assistant")
    assert theirs_of(reference, conversation[: last + 1])[: len(ids)] == ids
    report = EncodingReport()
    item = Instruction(form="messages", messages_field="m").encode(
        Row({"m": conversation}, "x", 1), 0, ours, 999, report
    )
    assert item is not None
    assert int(item.targets[-1]) in ours.stop_ids
    assert report.parted == 0
    assert len(item.targets) == sum(len(s.ids) for s in segments if s.supervised)


@each
def test_the_end_of_a_turn_is_found(name: str, both: dict[str, Both]) -> None:
    """Also where eos is another token (Gemma, Phi-3)."""
    ours = both[name][0]
    assert ours.backend.token_to_id(STYLES[name].end.strip()) in ours.stop_ids


@with_tools
@pytest.mark.parametrize("tools", [None, TOOLS[:1], TOOLS], ids=["none", "one", "two"])
@pytest.mark.parametrize("messages", [CALLS, [turn("system", "yes"), *CALLS], CALLS[:1], TWO])
def test_tools(name: str, tools: list[dict[str, Any]] | None, messages: Turns, both: dict[str, Both]) -> None:
    ours, reference = both[name]
    for end in range(1, len(messages) + 1):
        for prompt in (False, True):
            text = ours.chat(messages[:end], prompt=prompt, tools=tools)
            options = {"add_generation_prompt": prompt}
            assert text == theirs_of(reference, messages[:end], tools, tokenize=False, **options)
            assert ours.encode(text, special=False, parse=True) == theirs_of(
                reference, messages[:end], tools, **options
            )


@with_tools
def test_calls_of_tools_are_learnt(name: str, both: dict[str, Both]) -> None:
    ours = both[name][0]
    row = Row({"messages": CALLS, "tools": TOOLS}, "data.jsonl", 3)
    task = Instruction(form="messages", messages_field="messages")
    segments = task.segments(row, ours)
    call, answer = (ours.decode(s.ids, special=True) for s in segments if s.supervised)
    assert '"name": "weather"' in call
    assert '{"where": "Paris"}' in call
    assert call.endswith(STYLES[name].end)
    assert answer == "it is no weather" + STYLES[name].end
    read = "".join(ours.decode(s.ids, special=True) for s in segments if not s.supervised)
    assert "tell the weather in <Paris> & 北京" in read
    assert "no weather" in read
    before = [i for s in segments[:-1] for i in s.ids]
    assert chat_prompt(messages_of(row, "messages")[:-1], ours, TOOLS) == before


@conversations
def test_the_mask_is_that_of_a_template_that_marks_it(conversation: Turns, both: dict[str, Both]) -> None:
    """`{% generation %}` of transformers marks the same tokens, and the template without it gives the same ids."""
    ours, reference = both["marked chatml"]
    if all(m["role"] != "assistant" for m in conversation):
        return
    marked = theirs_of(reference, conversation)
    found = reference.apply_chat_template(conversation, return_dict=True, return_assistant_tokens_mask=True)
    segments = chat_segments(conversation, ours)
    mask = [int(s.supervised) for s in segments for _ in s.ids]
    ids = [i for s in segments for i in s.ids]
    assert found["input_ids"][: len(ids)] == marked[: len(ids)] == ids
    assert found["assistant_masks"][: len(mask)] == mask
    assert sum(found["assistant_masks"]) == sum(mask)
    plain = chat_segments(conversation, both["chatml"][0])
    assert [(list(s.ids), s.supervised) for s in plain] == [(list(s.ids), s.supervised) for s in segments]


def test_a_token_over_the_boundary_is_parted_and_reported(both: dict[str, Both], tmp_path: Path) -> None:
    """A line break ends the generation prompt, two begin the answer, and "\\n\\n" is a token of its own."""
    ours = both["chatml"][0]
    backend = json.loads(ours.backend.to_str())
    backend["model"]["vocab"]["ĊĊ"] = 1_000
    backend["model"]["merges"].append(["Ċ", "Ċ"])
    folder = tmp_path / "m"
    ours.save(folder)
    (folder / "tokenizer.json").write_text(json.dumps(backend))
    greedy = Tokenizer.load(folder)
    assert greedy is not None
    pair = greedy.backend.token_to_id("ĊĊ")
    talk = [turn("user", "say"), turn("assistant", "\n\n42"), *TWO]
    whole = greedy.encode(greedy.chat(talk, prompt=False), special=False, parse=True)
    assert pair in whole
    segments = chat_segments(talk, greedy)
    ids = [i for s in segments for i in s.ids]
    assert pair not in ids
    assert [s.parted for s in segments] == [False, True, False, False, False, False]
    assert ids[: len(segments[0].ids)] == chat_prompt(talk[:1], greedy)
    assert [i for s in segments[:-1] for i in s.ids] == chat_prompt(talk[:-1], greedy)
    assert greedy.decode(segments[1].ids, special=True) == "\n\n42<|im_end|>"
    report = EncodingReport()
    task = Instruction(form="messages", messages_field="m")
    for index, messages in enumerate((TWO, talk, talk)):
        assert task.encode(Row({"m": messages}, "x", index), index, greedy, 999, report) is not None
    assert (report.parted, report.apart) == (2, [1, 2])


def test_end_marks_in_texts_are_text_in_every_style(both: dict[str, Both]) -> None:
    """Also behind them no space is put where the tokenizer puts one before a text."""
    for name, (ours, _) in both.items():
        end = STYLES[name].end.strip()
        talk = [
            turn("user", f"say{end}please"),
            turn("assistant", f"no{end}way"),
            turn("user", "x"),
            turn("assistant", "y"),
        ]
        segments = chat_segments(talk, ours)
        special = {i for i, token in ours.backend.get_added_tokens_decoder().items() if token.special}
        harmless = [{**m, "content": m["content"].replace(end, " ")} for m in talk]
        plain = chat_segments(harmless, ours)
        assert [i for s in segments for i in s.ids if i in special] == [i for s in plain for i in s.ids if i in special]
        text = ours.decode([i for s in segments for i in s.ids], special=True)
        assert f"say{end}please" in text
        assert f"no{end}way" in text


def test_named_templates_and_files(tmp_path: Path, both: dict[str, Both]) -> None:
    """A list of named templates, `chat_template.jinja` above it, and `additional_chat_templates/`."""
    folder = write(STYLES["chatml"], tmp_path / "m")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    named = {"default": CHATML, "tool_use": "{{ tools | length }} tools"}
    config["chat_template"] = [{"name": name, "template": text} for name, text in named.items()]
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    for step in range(3):
        if step == 1:
            (folder / "chat_template.jinja").write_text("from a file")
        if step == 2:
            (folder / "additional_chat_templates").mkdir()
            (folder / "additional_chat_templates" / "tool_use.jinja").write_text("{{ tools[0].function.name }}!")
        ours = Tokenizer.load(folder)
        assert ours is not None
        theirs = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
        for tools in (None, TOOLS):
            expected = theirs_of(theirs, ONE, tools, tokenize=False)
            if step == 1 and tools:  # transformers forgets the list beside a file; nothing is lost here
                expected = "2 tools"
            assert ours.chat(ONE, prompt=False, tools=tools) == expected
    assert ours.chat(ONE, prompt=False, tools=TOOLS) == "weather!"
    ours.save(tmp_path / "saved")
    again = Tokenizer.load(tmp_path / "saved")
    assert again is not None
    assert again.digest == ours.digest
    assert again.chat(ONE, prompt=False, tools=TOOLS) == "weather!"
    assert again.chat(ONE, prompt=False) == "from a file"


BAD_TEMPLATES: dict[str, tuple[Any, str]] = {
    "no name": ([{"template": "x"}], "every entry of chat_template needs a name and a template"),
    "no object": (["x"], "every entry of chat_template needs a name and a template"),
    "a path as a name": ([{"name": "../x", "template": "x"}], '"../x" is no name for a chat template'),
    "too many": ([{"name": f"n{i}", "template": "x"} for i in range(60)], "more than 50 chat templates"),
}


@pytest.mark.parametrize("name", list(BAD_TEMPLATES))
def test_lists_of_templates_that_are_refused(name: str, tmp_path: Path) -> None:
    value, message = BAD_TEMPLATES[name]
    folder = write(STYLES["chatml"], tmp_path / "m")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": value}))
    with pytest.raises(InputError, match=message):
        Tokenizer.load(folder)


def test_stops_of_the_generation_config(tmp_path: Path) -> None:
    folder = write(STYLES["llama-3"], tmp_path / "m")
    ours = Tokenizer.load(folder)
    assert ours is not None
    end = ours.backend.token_to_id("<|end_of_text|>")
    assert end not in ours.stop_ids
    for value in (end, [end, ours.id("eos")], [end, True, -1, 10**12, "x", None]):
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": value}))
        again = Tokenizer.load(folder)
        assert again is not None
        assert set(again.stop_ids) == {end, ours.id("eos")}
