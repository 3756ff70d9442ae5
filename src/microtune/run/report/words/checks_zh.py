"""What each check looks for, in Chinese; in English the registry of checks says it. A new check falls back to that."""

from __future__ import annotations

CHECKS: dict[str, str] = {
    "all-target": "所有词元都被学习，包括提示部分（损失掩码全为一）",
    "answer-cut": "答案会因最大长度被截断的行：舍弃、计数并列出；超过 5 % 则中止",
    "chance": "验证准确率与总是回答最常见类别（或平均值）无异",
    "class-unseen": "训练集中的某个类别从未出现在验证集或测试集中",
    "data-faults": "训练行中互相矛盾的标签、重复的行、写法不一的类别、乱码、个人信息",
    "double-bos": "以两个文本起始词元开头的行",
    "export": "导出的文件被其他程序读取后，输出、编号或张量与模型不同",
    "finite": "损失、梯度或权重不是有限数，以及造成它的行；最后一个检查点保持完好",
    "fits": "缺失、未知或形状与模型不符的张量",
    "frozen": "冻结的张量发生了变化，哪怕一个比特",
    "gradient": "没有梯度到达的可训练张量",
    "merge": "合并后的模型与“适配器加基座”的输出或测试得分不同",
    "moved": "训练后仍未改变的可训练张量",
    "never-answered": "测试集中存在、但模型从不给出的标签",
    "no-effect": "微调后的模型与微调前输出相同",
    "no-target": "某行或所有行没有任何要学习的词元（损失掩码全为零）",
    "nothing-to-score": "没有任何目标的数据部分",
    "prompt-ids": "训练时提示的编号与生成时不同的行",
    "rate-zero": "学习率在整个过程中从未高于零",
    "reload": "保存的运行重新加载后输出与训练时的模型不同",
    "same-base": "基座模型的权重与运行时所用的不同",
    "stop-token": "答案的最后一个目标不是结束词元",
    "test-in-train": "测试集的行同时出现在训练集或验证集中：移除、计数并列出；超过测试集一半则中止",
    "test-near-train": "与训练行几乎相同的测试行",
    "text-cut": "超过模型可读长度的文本：截断、计数并列出",
    "tied": "应为同一张量的词嵌入与输出矩阵成了两个",
}
