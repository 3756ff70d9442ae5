"""Bad data as its refusals are read in Chinese: every kind of file and task, each provoked on the command line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from command import call
from read_in_chinese import sentence

N = 30
LABELLED = [{"text": f"text number {i}", "label": "ab"[i % 2]} for i in range(N)]
TABLE = "text,label\n" + "".join(f"text number {i},{'ab'[i % 2]}\n" for i in range(N))
ASKED = [{"instruction": f"say {i}", "input": "", "output": f"it is {i}"} for i in range(N)]
ANSWERED = [
    {"question": f"where {i}?", "context": "The cat sat.", "answers": {"text": ["cat"], "answer_start": [4]}}
    for i in range(N)
]
OPTIONS = [{"question": f"q{i}", "options": ["a", "b", "c"], "answer": "ABC"[i % 3]} for i in range(N)]
PAIRS = [{"prompt": f"q{i}", "chosen": f"good {i}", "rejected": f"bad {i}"} for i in range(N)]
TAGGED = "".join(f"w{i} B-X\nv{i} I-X\nu O\n\n" for i in range(N))
SPANS = [{"text": "the cat sat here", "spans": [{"start": 4, "end": 7, "label": "X"}]} for _ in range(N)]
MEASURED = [{"sentence1": f"a {i}", "sentence2": f"b {i}", "score": i / 7} for i in range(N)]


def said(*turns: tuple[str, str], field: str = "messages") -> dict[str, Any]:
    keys = ("from", "value") if field == "conversations" else ("role", "content")
    return {field: [dict(zip(keys, turn, strict=True)) for turn in turns]}


TALKS = [said(("user", f"q{i}"), ("assistant", f"a{i}")) for i in range(N)]
SHARED = [said(("human", f"q{i}"), ("gpt", f"a{i}"), field="conversations") for i in range(N)]


def beside(rows: Sequence[Any], row: Any) -> list[Any]:
    """A bad row as the tenth of good ones."""
    return [*rows[:9], row, *rows[9:]]


def squad(context: Any, answers: Any) -> dict[str, Any]:
    return {"data": [{"paragraphs": [{"context": context, "qas": [{"question": "who?", "answers": answers}]}]}]}


# file, what stands in it, task and further arguments, what is said
FILES: list[tuple[str, Any, str, str]] = [
    # tables
    ("a.csv", "", "classification", "a.csv：文件是空的。"),
    ("a.csv", "text,label\n", "classification", "a.csv：文件只有表头，下面没有数据行。"),
    (
        "a.csv",
        TABLE + "one,two,three\n",
        "classification",
        "a.csv，第 32 行：这一行有 3 个字段，而第 1 行的表头有 2 个；含分隔符的字段请加引号，缺少的字段请留空。",
    ),
    (
        "a.csv",
        TABLE + '"open,a\n',
        "classification",
        "a.csv，第 32 行：这里有一个字段以引号开始，直到文件结束也没有闭合；请补上引号，或把它写成两个。",
    ),
    (
        "a.csv",
        TABLE.encode() + b"caf\xe9,a\n",
        "classification",
        "a.csv，第 32 行：第 514 字节（0xe9）不是有效的 UTF-8；请把文件另存为 UTF-8，或指明编码，"
        "例如 --encoding gb18030 或 --encoding cp1252。",
    ),
    (
        "a.csv",
        gzip.compress(TABLE.encode()),
        "classification",
        "a.csv：文件是 gzip 压缩文件，不是文本；请改成与内容相符的扩展名。",
    ),
    (
        "a.csv.gz",
        gzip.compress(TABLE.encode())[:-20],
        "classification",
        "a.csv.gz：无法作为 gzip 读取（文件不完整）。",
    ),
    (
        "a.parquet",
        b"PAR1aaaa",
        "classification",
        "a.parquet：无法作为 Parquet 文件读取（ArrowInvalid：文件末尾没有 Parquet 标记：文件已损坏，"
        "或不是 Parquet 文件）；请重新生成文件。",
    ),
    (
        "a.xlsx",
        b"PK\x03\x04aaaa",
        "classification",
        "a.xlsx：无法作为 XLSX 工作簿读取（BadZipFile：不是 ZIP 文件）；请重新生成文件。",
    ),
    (
        "a.xyz",
        "abc",
        "classification",
        "a.xyz：不认识扩展名“.xyz”；可以读取的有 .jsonl, .ndjson, .json, .csv, .tsv, .xlsx, .xlsm, .parquet, .txt, "
        ".md, .conll, .bio, .iob, .bioes，都可以再加 .gz 或 .xz；也可以用 format= 指定格式。",
    ),
    (
        "a.tsv",
        "text\tlabel\na b\tx\ty\n",
        "classification",
        "a.tsv，第 2 行：这一行有 3 个字段，而第 1 行的表头有 2 个；含分隔符的字段请加引号，缺少的字段请留空。",
    ),
    (
        "a.csv",
        TABLE,
        "classification --encoding utf9",
        "没有编码“utf9”；常用的有 utf-8、utf-16、gb18030 和 latin-1。",
    ),
    (
        "a.csv",
        TABLE,
        "classification --text-field txt",
        'a.csv：没有可作文本的字段“txt”；是不是“text”？字段有 "text", "label"。',
    ),
    (
        "a.csv",
        "text\n" + "abc\n" * 20,
        "classification",
        'a.csv：没有字段像是标签；字段有 "text"；请用 --label-field 指定。',
    ),
    (
        "a.csv",
        "text,label\na,x\nb,y\n",
        "classification",
        "只有 2 行，不够分成训练集、验证集、测试集：测试集会是空的。",
    ),
    (
        "a.csv",
        TABLE,
        "classification limits.rows=5",
        "a.csv，第 7 行：数据超过 5 行，而 limits.rows 为 5；如果数据无误，请提高 limits.rows。",
    ),
    # JSON
    (
        "a.jsonl",
        '{"text": "a"}\n{"text": "a" "label"}\n',
        "classification",
        "a.jsonl，第 2 行：第 14 列：JSON 格式有误（此处应有逗号）。",
    ),
    (
        "a.jsonl",
        '{"text": "a"}\n{"text": "a\n',
        "classification",
        "a.jsonl，第 2 行：第 10 列：JSON 格式有误（字符串没有结束）。",
    ),
    (
        "a.jsonl",
        '{"text": "a"}\n{"text": "\\x"}\n',
        "classification",
        "a.jsonl，第 2 行：第 11 列：JSON 格式有误（无效的转义）。",
    ),
    (
        "a.jsonl",
        "null\n",
        "classification",
        'a.jsonl，第 1 行：有一行是 null，应为对象，例如 {"text": "...", "label": "..."}。',
    ),
    (
        "a.jsonl",
        beside(LABELLED, {"text": "abc", "label": 3}),
        "classification",
        "标签的类型不一致：字符串（a.jsonl，第 2 行），整数（a.jsonl，第 10 行）；请全部写成字符串，或全部写成整数。",
    ),
    (
        "a.jsonl",
        beside(LABELLED, {"text": ["abc"], "label": "a"}),
        "classification",
        "a.jsonl，第 10 行：字段“text”是列表，不是文本。",
    ),
    (
        "a.jsonl",
        LABELLED,
        "classification task.labels=[a]",
        "a.jsonl，第 2 行：标签“b”不在声明的标签之中。可用的有：a。",
    ),
    (
        "a.json",
        '[{"text": "a"',
        "classification",
        "a.json，第 1 行：第 2 列：JSON 格式有误（从这里开始的列表或对象直到文件结束也没有完）。",
    ),
    (
        "a.json",
        '[{"text": "a',
        "classification",
        "a.json，第 1 行：第 2 列：JSON 格式有误（从这里开始的字符串直到文件结束也没有完）。",
    ),
    (
        "a.json",
        '[{"text": "a"} {"text": "b"}]',
        "classification",
        "a.json，第 1 行：第 16 列：JSON 格式有误（此处应有 , 或 ]）。",
    ),
    # templates
    (
        "a.jsonl",
        LABELLED,
        "classification task.text=hello",
        "task：text：模板至少要用花括号写出一个字段，例如 {title}；这里各行都一样（'hello'）。",
    ),
    (
        "a.jsonl",
        LABELLED,
        "classification task.text=<{txt}>",
        "a.jsonl，第 1 行：task.text 要用字段“txt”，而这一行没有。是不是“text”？可用的有：label, text。",
    ),
    (
        "a.jsonl",
        beside(LABELLED, {"text": "", "label": "a"}),
        "classification task.text=<{text}>",
        "a.jsonl，第 10 行：task.text 得到空文本：所用字段全是空的；请补上内容，或删去这一行。",
    ),
    (
        "a.jsonl",
        LABELLED,
        "classification task.ordinal=maybe",
        "task：ordinal 应为 true 或 false，true 与 form: ordinal 相同。",
    ),
    # instructions and conversations
    (
        "a.jsonl",
        beside(ASKED, {"instruction": "say", "input": "", "output": ""}),
        "instruction",
        'a.jsonl，第 10 行：字段 "output" 是空的；请补上内容，或删去这一行。',
    ),
    (
        "a.jsonl",
        beside(TALKS, said(("assistant", "a"), ("user", "b"))),
        "instruction",
        "a.jsonl，第 10 行：“messages”的角色顺序不对：第 1 条消息的角色是“assistant”，不能放在开头；"
        "请合并或移动消息，或删除这一行。",
    ),
    (
        "a.jsonl",
        beside(TALKS, said(("user", "a"), ("user", "b"), ("assistant", "c"))),
        "instruction",
        "a.jsonl，第 10 行：“messages”的角色顺序不对：第 2 条消息的角色是“user”，前一条是“user”；"
        "请合并或移动消息，或删除这一行。",
    ),
    (
        "a.jsonl",
        beside(SHARED, said(("human", "a"), ("gpt", ""), field="conversations")),
        "instruction",
        "a.jsonl，第 10 行：“conversations”中有空的回答：第 2 条消息（assistant）没有内容；请填写，或删除这一行。",
    ),
    (
        "a.jsonl",
        beside(TALKS, said(("usr", "a"), ("assistant", "b"))),
        "instruction",
        "a.jsonl，第 10 行：消息需要 role（system, user, assistant, tool）和文本形式的 content，而这里 role 是“usr”，"
        "content 是字符串。",
    ),
    (
        "a.jsonl",
        beside(TALKS, said(("user", "a"))),
        "instruction",
        "[no-target] a.jsonl，第 10 行：没有 assistant 发言的对话，没有可以学习的内容。",
    ),
    # preferences
    (
        "a.jsonl",
        beside(PAIRS, {"prompt": "q", "chosen": "good"}),
        "preference",
        'a.jsonl，第 10 行：缺少字段 "rejected"；这一行有 "prompt", "chosen"。',
    ),
    # questions, options
    (
        "a.json",
        squad("A dog.", [{"text": "dog", "answer_start": "two"}]),
        "question-answering",
        "a.json，第 1 行：问题“who?”的答案起点是“two”，应为整数。",
    ),
    (
        "a.json",
        squad(7, [{"text": "dog", "answer_start": 2}]),
        "question-answering",
        "a.json，第 1 行：有一个段落在“context”中没有文本，或在“qas”中没有列表。",
    ),
    (
        "a.jsonl",
        beside(ANSWERED, {**ANSWERED[0], "answers": {"text": ["cat", "sat"], "answer_start": [4]}}),
        "question-answering",
        "a.jsonl，第 10 行：问题“where 0?”有 2 个答案，却有 1 个位置。",
    ),
    (
        "a.jsonl",
        beside(OPTIONS, {"question": "q", "options": ["a", "b"], "answer": "z"}),
        "multiple-choice",
        'a.jsonl，第 10 行：问题“q”的答案“z”不在选项之中（"a", "b"）。',
    ),
    # words and spans
    (
        "a.conll",
        TAGGED + "one\n",
        "token-labelling",
        'a.conll，第 121 行：只有一列（"one"）；第一列应为词元，最后一列应为它的标记。',
    ),
    (
        "a.conll",
        TAGGED + "a I-X\n\n",
        "token-labelling",
        "a.conll，第 121 行：按 B-X, I-X 标注法，标记“I-X”不能在句首。",
    ),
    (
        "a.conll",
        TAGGED + "a X\n\n",
        "token-labelling",
        "a.conll，第 121 行：标记“X”前面没有 B- 或 I-，而其他标记有；请补上，或写成 O。",
    ),
    (
        "a.jsonl",
        beside(
            SPANS,
            {
                "text": "the cat sat here",
                "spans": [{"start": 0, "end": 7, "label": "X"}, {"start": 4, "end": 11, "label": "Y"}],
            },
        ),
        "token-labelling",
        "a.jsonl，第 10 行：“the cat”（X，0 到 7）与“cat sat”（Y，4 到 11）重叠；一个词元只能有一个标签，请只留一个。",
    ),
    (
        "a.jsonl",
        beside(SPANS, {"text": "the cat", "spans": [{"start": 0, "end": 70, "label": "X"}]}),
        "token-labelling",
        "a.jsonl，第 10 行：“X”的片段 0 到 70 超出了文本，文本只有 7 个字符。",
    ),
    (
        "a.jsonl",
        beside(SPANS, {"text": "the cat", "spans": [{"start": 0, "end": 3, "label": "X", "text": "cat"}]}),
        "token-labelling",
        "a.jsonl，第 10 行：“X”的片段 0 到 3 写着“cat”，而原文此处是“the”。",
    ),
    # numbers, pairs, texts
    (
        "a.jsonl",
        [{"text": f"t{i}", "score": 2} for i in range(N)],
        "regression",
        'a.jsonl：所有行的 "score" 都是 2，没有可以预测的东西。',
    ),
    (
        "a.jsonl",
        beside(MEASURED, {"sentence1": "a", "sentence2": "", "score": 1}),
        "similarity",
        'a.jsonl，第 10 行：字段 "sentence2" 是空的；请补上内容，或删去这一行。',
    ),
    ("a.txt", "\n\n \n", "language-modelling", "a.txt：文件里没有数据行。"),
]


pytestmark = pytest.mark.usefixtures("quick", "chinese")


@pytest.mark.parametrize(("name", "content", "asked", "expected"), FILES)
def test_bad_data(capsys: pytest.CaptureFixture[str], name: str, content: Any, asked: str, expected: str) -> None:
    if isinstance(content, list):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in content)
    elif isinstance(content, dict):
        content = json.dumps(content)
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())
    assert sentence(call(capsys, "tune", name, "--task", *asked.split())) == expected


def test_bad_pairs_of_files(capsys: pytest.CaptureFixture[str]) -> None:
    Path("t.en").write_text("hello\n" * 20, encoding="utf-8")
    Path("t.de").write_text("hallo\n" * 19, encoding="utf-8")
    Path("pairs").mkdir()
    for arguments, expected in {
        ("--source", "t.en", "--target", "t.de"): (
            "t.en 有 20 行，而 t.de 有 19 行；两个文件必须逐行对应，行数要相同。"
        ),
        ("--source", "t.en"): "--source 只给出了两个文件中的一个；请同时给出 --target。",
        ("pairs", "--source", "en", "--target", "de"): (
            "pairs：这个文件夹里没有成对的文件 train.en 和 train.de（也可以带 .gz 或 .xz）。"
        ),
    }.items():
        assert sentence(call(capsys, "tune", *arguments, "--task", "sequence-to-sequence")) == expected
