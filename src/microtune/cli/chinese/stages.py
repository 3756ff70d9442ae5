"""Names of what is being done, before a bar of progress: English -> Chinese, with `{places}`."""

from __future__ import annotations

from microtune.cli.chinese.terminal import TERMINAL
from microtune.forms import SPLITS, Forms

STAGES: dict[str, str] = {
    "frozen trunk, {split}": "冻结的主干，{split}",
    "writing answers, {split}": "写出回答，{split}",
    "measuring {method}": "测量 {method}",
    "forgetting, {run}": "遗忘，{run}",
    "choosing a method": "选择方法",
    "choosing a method: {method}, rung {rung} of {rungs}": "选择方法：{method}，第 {rung} 级，共 {rungs} 级",
    "train {size} M parameters on {count} blocks": "在 {count} 个文本块上训练 {size} M 个参数",
    "word vectors": "词向量",
    "held-out text": "留出的文本",
    "count": "计数",
    "tokenise": "切分词元",
}


def stage(name: str) -> str:
    """The name in Chinese; what is not known stays."""
    return TERMINAL.get(name) or _BOOK.said(name) or name


def _value(name: str, value: str) -> str:
    return SPLITS.get(value, value) if name == "split" else value


_BOOK = Forms(STAGES, _value)
