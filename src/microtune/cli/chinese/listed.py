"""What `microtune list` says about each thing: the first line of its English docstring -> Chinese."""

from __future__ import annotations

from collections.abc import Mapping

from microtune.run.report.words.checks_zh import CHECKS

KINDS = {
    "models": "模型",
    "families": "模型系列",
    "methods": "方法",
    "tasks": "任务",
    "steps": "文本预处理步骤",
    "checks": "检查",
}
HEADS = {"name": "名称", "about": "说明"}
LISTED: dict[str, str] = {
    # models
    "all-MiniLM-L6-v2, English sentence encoder, 22.7 M parameters": ("all-MiniLM-L6-v2，英文句子编码器，2270 万参数"),
    "embedded bilingual (English, Chinese) decoder, 9.8 M parameters": "内置的中英双语解码器，980 万参数",
    # methods
    "Train all biases, and a label head.": "训练所有偏置和分类头。",
    "Small networks behind attention and MLP.": "在注意力和 MLP 之后加小网络。",
    "Train every weight of the model.": "训练模型的全部权重。",
    "Train the head alone.": "只训练输出头。",
    "Factors of keys, values and inner activations, and a label head.": (
        "给键、值和 MLP 内部的激活各乘上系数，并训练分类头。"
    ),
    "Low-rank updates on linear roles.": "给线性层加低秩更新。",
    "Train all norms, and a label head.": "训练所有归一化层和分类头。",
    "Train p keys and values of every block.": "给每一层训练 p 个键和值。",
    "Train p vectors that stand before every text.": "训练放在每段文本之前的 p 个向量。",
    "Re-initialise the last k blocks by the model's own scheme, then train.": (
        "按模型自己的方式重新初始化最后 k 层，再训练。"
    ),
    "Several methods together, each on its own part: a list in the recipe, or head+bitfit.": (
        "几种方法一起用，各管一部分：在配方里写成列表，或写 head+bitfit。"
    ),
    "Train the last k blocks, the final norm and the task's head.": "训练最后 k 层、最后的归一化和任务的输出头。",
    "Try a few methods for a short time, then train the best one in full.": (
        "先用短时间试几种方法，再把最好的一种训练完。"
    ),
    # tasks
    "Labels for a text or a pair of texts: one, one of a scale, or several.": (
        "给文本或句对打标签：单标签、有序等级或多标签。"
    ),
    "Prompt -> completion, or messages.": "提示 -> 回答，或多轮消息。",
    "Language modelling on a text field: causal, or by an objective that hides tokens.": (
        "在文本字段上做语言建模：因果式，或遮住一部分词元。"
    ),
    "Which of several options answers a question.": "从几个选项中选出问题的答案。",
    "Prompt with a chosen and a rejected answer, or with one that was good or bad.": (
        "提示加被选中和被拒绝的回答，或加一个好或坏的回答。"
    ),
    "The answer to a question as a piece of its passage (extractive).": "从段落中截取问题的答案（抽取式）。",
    "A number for a text or a pair of texts.": "给文本或句对打一个分数。",
    "A source text -> a target text: translation, summary, headline, simplification, question generation.": (
        "原文 -> 目标文本：翻译、摘要、标题、简化、生成问题。"
    ),
    "Texts that belong together: scored pairs, triplets, or queries and their passages.": (
        "相关的文本：打分的句对、三元组，或查询与段落。"
    ),
    "Spans of a text with labels: names, slots, clauses.": "给文本中的片段打标签：名称、槽位、条款。",
    # steps
    "Further copies of rows with some neighbouring words swapped, or some words dropped.": (
        "增加数据行的副本，对调其中一些相邻的词，或丢掉一些词。"
    ),
    "As many rows of each label: of frequent ones fewer, or rare ones again.": (
        "让各标签的行数相同：减少常见的，或重复少见的。"
    ),
    "Simplified or traditional Chinese characters, by OpenCC.": "简体与繁体互换（OpenCC）。",
    "Copies of a row, label included, after Unicode, case and blanks are made the same.": (
        "去掉重复的行（含标签）；比较前先统一 Unicode、大小写和空白。"
    ),
    "Tags, comments, scripts and entities of HTML.": "去掉 HTML 的标签、注释和脚本，还原实体。",
    "Rows in other languages, as far as script and small words show.": "按文字和常用小词辨认，去掉其他语言的行。",
    "Rows whose texts are too short or too long.": "去掉文本太短或太长的行。",
    "Lower case.": "改为小写。",
    "Emphasis, links, headings, lists and code marks of Markdown; the words of links and code stay.": (
        "去掉 Markdown 的强调、链接、标题、列表和代码记号；链接和代码里的文字保留。"
    ),
    "Personal data become marks such as [EMAIL].": "把个人信息换成 [EMAIL] 之类的记号。",
    "Rows of several sources, each with a rate: 0.5 keeps half of them, 2 repeats each.": (
        "按比例混合几个来源的行：0.5 留一半，2 把每行重复一次。"
    ),
    "Rows whose text nearly repeats that of an earlier one with the same label.": (
        "去掉与前面同标签的行几乎相同的行。"
    ),
    "A row becomes several: one for each sentence, or for a few that stay together.": (
        "把一行拆成几行：一句一行，或几句一行。"
    ),
    "Every sentence on a line of its own.": "让每个句子独占一行。",
    "Words that say little by themselves are taken out.": "去掉本身没有多少意思的词（停用词）。",
    "Further copies of rows with some words replaced by what a masked model guesses in their place.": (
        "增加数据行的副本，其中一些词换成掩码模型猜出的词。"
    ),
    "Unicode normalisation.": "Unicode 规范化。",
    "Runs of blanks become one, and what is not visible goes.": "把连续空白合成一个，去掉不可见的字符。",
}
WHEN = {
    "on load": "加载时",
    "before training": "训练之前",
    "every step": "每一步",
    "after two steps": "两步之后",
    "after the first epoch": "第一轮之后",
    "in evaluation": "评估时",
    "at the end": "结束时",
    "on export": "导出时",
}
DOES = {"stop": "中止", "warn": "提醒", "warn or stop": "提醒或中止"}
ABSENT = " (not installed)"


def listed(about: str) -> str:
    """The same in Chinese; what is not known stays, such as class names of a family."""
    there = about.removesuffix(ABSENT)
    return LISTED.get(there, there) + ("（未安装）" if there != about else "")


def check(name: str, when: tuple[str, ...], about: str, does: str) -> str:
    """A check: when it looks, what for, what it does then."""
    return f"{'、'.join(WHEN.get(one, one) for one in when)}：{CHECKS.get(name, about)}（{DOES.get(does, does)}）"


def headings(kind: str) -> tuple[str, Mapping[str, str]]:
    """The title of a list, with the word that asks for it, and its columns."""
    return f"{KINDS[kind]}（{kind}）", {HEADS[name]: "left" for name in ("name", "about")}
