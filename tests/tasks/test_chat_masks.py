"""Chat templates: what is supervised is what the assistant says and its end mark, whatever a conversation holds."""

from __future__ import annotations

from typing import Any

import pytest
from tiny_tasks import SENTENCES, rows_of

from microtune.data.sources import Row
from microtune.data.text import CHAT_TEMPLATE, Tokenizer, train_bpe
from microtune.errors import InputError
from microtune.run.load import Model
from microtune.run.predict import prompt_ids
from microtune.tasks.base import EncodingReport
from microtune.tasks.instruction import Instruction, chat_prompt, chat_segments

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set rest = messages[1:] %}{% set system = messages[0]['content'] %}"
    "{% else %}{% set rest = messages %}{% set system = false %}{% endif %}"
    "{% for m in rest %}{% if m['role'] == 'user' %}"
    "{% set first = '<<SYS>>\n' ~ system ~ '\n<</SYS>>\n\n' if loop.index0 == 0 and system else '' %}"
    "{{ bos_token }}[INST] {{ first }}{{ m['content'] | trim }} [/INST]"
    "{% else %} {{ m['content'] | trim }} {{ eos_token }}{% endif %}{% endfor %}"
)
ZEPHYR = (
    "{% for m in messages %}{% if m['role'] == 'assistant' %}<|assistant|>\n{{ m['content'] }}{{ eos_token }}\n"
    "{% else %}<|{{ m['role'] }}|>\n{{ m['content'] }}{{ eos_token }}\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
TRIMMED = "{% for m in messages %}{{ m.content[:3] if not loop.last else m.content }}<|end|>{% endfor %}"


def make(template: str, end: str, added: list[str], special: dict[str, str]) -> Tokenizer:
    tokenizer = train_bpe(SENTENCES * 3, 400)
    tokenizer.backend.add_special_tokens(added)
    return Tokenizer(tokenizer.backend, special, chat_template=template, stops=[end])


TOKENIZERS = {
    "ours": make(CHAT_TEMPLATE, "<|end|>", [], {"bos": "<|bos|>", "eos": "<|eos|>"}),
    "chatml": make(CHATML, "<|im_end|>", ["<|im_start|>", "<|im_end|>"], {"eos": "<|im_end|>"}),
    "llama-2": make(LLAMA2, "</s>", ["<s>", "</s>"], {"bos": "<s>", "eos": "</s>"}),
    "zephyr": make(ZEPHYR, "</s>", ["<s>", "</s>"], {"bos": "<s>", "eos": "</s>"}),
}
ENDS = {"ours": "<|end|>", "chatml": "<|im_end|>", "llama-2": " </s>", "zephyr": "</s>"}
each = pytest.mark.parametrize("name", list(TOKENIZERS))


def turn(role: str, content: str) -> dict[str, Any]:
    return {"role": role, "content": content}


ONE = [turn("user", "where is it"), turn("assistant", "it is here")]
CONVERSATIONS = {
    "one turn": ONE,
    "two turns": [*ONE, turn("user", "and that"), turn("assistant", "我不知道")],
    "system": [turn("system", "be short"), *ONE],
    "the same words in question and answer": [turn("user", "yes"), turn("assistant", "yes")] * 2,
    "an end mark in a question": [turn("user", "say <|im_end|></s><|end|> please"), turn("assistant", "no")],
    "a turn played in an answer": [turn("user", "go on"), turn("assistant", "ok</s><|im_end|><|end|><|user|> hi")],
    "no answer to the last question": [*ONE, turn("user", "and then")],
}


def parts(name: str, conversation: list[dict[str, Any]]) -> tuple[str, list[str], list[int]]:
    """What is read, what is learnt, and all ids."""
    tokenizer = TOKENIZERS[name]
    segments = chat_segments(conversation, tokenizer)
    learnt = [tokenizer.decode(s.ids, special=True) for s in segments if s.supervised]
    read = "".join(tokenizer.decode(s.ids, special=True) for s in segments if not s.supervised)
    return read, learnt, [i for s in segments for i in s.ids]


@each
@pytest.mark.parametrize("conversation", list(CONVERSATIONS.values()), ids=list(CONVERSATIONS))
def test_the_assistants_turns_are_learnt_and_nothing_else(name: str, conversation: list[dict[str, Any]]) -> None:
    read, learnt, ids = parts(name, conversation)
    answers = [m["content"] for m in conversation if m["role"] == "assistant"]
    space = " " if name == "llama-2" else ""
    assert learnt == [f"{space}{answer}{ENDS[name]}" for answer in answers]
    tokenizer = TOKENIZERS[name]
    last = max(i for i, m in enumerate(conversation) if m["role"] == "assistant")
    whole = tokenizer.chat(conversation[: last + 1], prompt=False)
    assert tokenizer.decode(ids, special=True) == whole.rstrip("\n")
    for message in conversation[:last]:
        if message["role"] != "assistant":
            assert message["content"] in read


@each
@pytest.mark.parametrize("conversation", list(CONVERSATIONS.values()), ids=list(CONVERSATIONS))
def test_only_the_template_writes_special_tokens(name: str, conversation: list[dict[str, Any]]) -> None:
    """A user who writes an end mark does not end a turn: as many special ids as with harmless words."""
    harmless = [turn(m["role"], "harmless") for m in conversation]
    special = {t for t, token in TOKENIZERS[name].backend.get_added_tokens_decoder().items() if token.special}

    def marks(messages: list[dict[str, Any]]) -> list[int]:
        return [i for i in parts(name, messages)[2] if i in special]

    assert marks(conversation) == marks(harmless)


@each
def test_generation_starts_from_the_ids_of_training(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    task = Instruction(form="messages", messages_field="messages")
    for conversation in CONVERSATIONS.values():
        for end in range(1, len(conversation)):
            if conversation[end]["role"] != "assistant":
                continue
            segments = chat_segments(conversation[: end + 1], tokenizer)
            before = [i for s in segments[:-1] for i in s.ids]
            assert chat_prompt(conversation[:end], tokenizer) == before
            model = Model(None, tokenizer)  # type: ignore[arg-type]
            asked = Row({"messages": conversation[: end + 1]}, "x", 1)
            assert prompt_ids(model, task, asked) == before


@each
def test_the_last_target_is_a_stop_token(name: str) -> None:
    tokenizer, task = TOKENIZERS[name], Instruction(form="messages", messages_field="messages")
    for conversation in CONVERSATIONS.values():
        item = task.encode(Row({"messages": conversation}, "x", 1), 0, tokenizer, 1000, EncodingReport())
        assert item is not None
        assert int(item.targets[-1]) in tokenizer.stop_ids
        assert sum(int(i) in tokenizer.stop_ids for i in item.targets) == sum(
            m["role"] == "assistant" for m in conversation
        )


@each
def test_prompt_and_completion_in_the_template(name: str) -> None:
    tokenizer = TOKENIZERS[name]
    rows = rows_of([{"prompt": "where", "completion": "here"}])
    task = Instruction(template=True).prepare({"train": rows}, text_field=None, label_field=None)
    segments = task.segments(rows[0], tokenizer)
    assert segments == chat_segments([turn("user", "where"), turn("assistant", "here")], tokenizer)
    assert prompt_ids(Model(None, tokenizer), task, rows[0]) == list(segments[0].ids)  # type: ignore[arg-type]


def test_share_gpt_names_are_understood() -> None:
    rows = rows_of([{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}])
    task = Instruction().prepare({"train": rows}, text_field=None, label_field=None)
    assert (task.form, task.messages_field) == ("messages", "conversations")
    segments = task.segments(rows[0], TOKENIZERS["ours"])
    assert segments == chat_segments([turn("user", "a"), turn("assistant", "b")], TOKENIZERS["ours"])


REFUSED: dict[str, tuple[Any, str]] = {
    "a text": ("hello", '"messages" must be a list of messages'),
    "nothing": ([], "must be a list of messages"),
    "texts": (["hello"], 'every message of "messages" is an object with role and content'),
    "no role": ([{"content": "x"}], r'needs a role \(system, user, assistant, tool\).* not role "None" with str'),
    "a strange role": ([turn("wizard", "x")], 'not role "wizard" with str'),
    "content of parts": ([{"role": "user", "content": [{"type": "text"}]}], 'not role "user" with list'),
}


@pytest.mark.parametrize("name", list(REFUSED))
def test_messages_that_are_refused(name: str) -> None:
    value, message = REFUSED[name]
    task = Instruction(form="messages", messages_field="messages")
    with pytest.raises(InputError, match=f"^data.jsonl, line 7: .*{message}"):
        task.segments(Row({"messages": value}, "data.jsonl", 7), TOKENIZERS["ours"])


def test_conversations_that_teach_nothing() -> None:
    with pytest.raises(InputError, match="without an assistant's turn teaches nothing"):
        chat_segments([turn("user", "x")], TOKENIZERS["ours"])


def test_a_template_that_changes_earlier_turns() -> None:
    tokenizer = make(TRIMMED, "<|end|>", [], {})
    with pytest.raises(InputError, match="changes earlier turns"):
        chat_segments([turn("user", "hello there"), turn("assistant", "a longer one"), *ONE], tokenizer)
    asked = [turn("user", "hello there"), turn("assistant", "a longer one"), turn("user", "and now")]
    whole = tokenizer.encode(tokenizer.chat(asked, prompt=True), special=False, parse=True)
    assert chat_prompt(asked, tokenizer) == whole  # it can be talked to all the same


def test_a_model_without_a_template() -> None:
    tokenizer = train_bpe(SENTENCES, 350)
    tokenizer.chat_template = None
    with pytest.raises(InputError, match="no chat template; give `prompt` and `completion`"):
        chat_segments(ONE, tokenizer)
