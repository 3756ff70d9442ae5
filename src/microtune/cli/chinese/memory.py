"""What takes memory, and values joined by `and`, as they stand in refusals: said again part by part."""

from __future__ import annotations

import re
from collections.abc import Callable

MEMORY: dict[str, str] = {  # the parts of run/plan.py
    "weights": "权重",
    "weights as they were, for undoing": "用于还原的原权重",
    "weights at the start, then the best": "起始权重，之后为最佳权重",
    "gradients": "梯度",
    "optimizer state": "优化器状态",
    "frozen trunk's states, mapped": "冻结主干的状态（内存映射）",
    "prepared products": "预备的乘积",
    "libraries and data": "程序库与数据",
    "evaluation": "评估",
    "better weights beside the best": "最佳权重之外的新权重",
    "the base, read again at the end": "结束时重新读取的基座",
}
SIZED = re.compile(r"(.+?) ([0-9.e+]+ (?:[kMG]B|bytes))(?:, |$)")
ACTIVATIONS = re.compile("activations of ([0-9]+) rows with ([0-9]+) tokens")


def taken(value: str) -> str:
    """`gradients 3 MB, evaluation 2.1 kB`."""
    return "，".join(f"{part(what)} {size.replace('bytes', '字节')}" for what, size in SIZED.findall(value))


def part(what: str) -> str:
    """One of the things that take memory."""
    return MEMORY.get(what) or ACTIVATIONS.sub(r"\1 行共 \2 个词元的激活值", what)


def both(value: str) -> str:
    """`linear and as yarn`; `IA3, LORA and PREFIX_TUNING`."""
    return re.sub(", | and (?:as )?", "、", value)


def either(value: str) -> str:
    """`last_block, first_block or roles`."""
    return re.sub(" or (?=[^ ]+$)", " 或 ", value).replace(", ", "、")


JOINED: dict[str, Callable[[str], str]] = {
    "taken": taken,
    "both": both,
    "read": both,
    "ways": either,
    "options": either,
}
