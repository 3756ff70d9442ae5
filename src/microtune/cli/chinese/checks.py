"""What is said by the checks of every run: lost answers, leaked rows, weights that do not move, divergence."""

from __future__ import annotations

CHECKS: dict[str, str] = {
    "{dropped} of {rows} rows are longer than the model can read and would lose their answer; shorten them or raise "
    "model.max_length.": (
        "{rows} 行中有 {dropped} 行超过模型能读的长度，会丢失答案；请缩短，或提高 model.max_length。"
    ),
    "No token is supervised: nothing could be learnt. Look at the fields that the task reads.": (
        "没有一个词元参与学习，什么也学不到；请检查任务所读的字段。"
    ),
    "An answer does not end with a stop token: the model would never learn to stop. Let the chat template write one "
    "after the assistant's turn.": (
        "有一个回答不以停止词元结尾，模型学不会停止；请让对话模板在 assistant 发言之后写上停止词元。"
    ),
    'The text begins with "{token}" twice: tokenizer, chat template and text must not write it more than once '
    "together.": ("文本开头有两个“{token}”：分词器、对话模板和文本合起来只能写一个。"),
    "The learning rate is never above zero in {steps} steps (train.lr {lr}, schedule {schedule}): nothing would be "
    "learnt.": ("{steps} 步之内学习率始终为零（train.lr {lr}，schedule {schedule}），什么也学不到。"),
    "{count} rows of the {split} split stand in the test split too (first: {places}); the scores would mean nothing. "
    "Split the data anew.": (
        "{split}有 {count} 行也出现在测试集中（首先是 {places}），得分会失去意义；请重新划分数据。"
    ),
    "There is no token to score in this split.": "这一部分没有可以评分的词元。",
    "There is no pair to score in this split.": "这一部分没有可以评分的对。",
    "With and without what was learnt the model gives the same outputs for {rows} training rows: the tuning has no "
    "effect. Choose other roles, or raise train.lr.": (
        "对 {rows} 行训练数据，微调前后模型的输出相同：微调没有效果。请另选部位，或提高 train.lr。"
    ),
    "the saved weights are not those that were scored.": "保存的权重与评分时的权重不同。",
    "the saved counts are not those that were scored.": "保存的计数与评分时的计数不同。",
    "After {step} steps {count} trainable tensors have not moved (first: {name}), although a gradient reaches them. "
    "Raise train.lr.": (
        "{step} 步之后有 {count} 个可训练的张量没有变化（首先是 {name}），尽管有梯度；请提高 train.lr。"
    ),
    "After {step} steps {count} frozen tensors have changed (first: {name}); please report this.": (
        "{step} 步之后有 {count} 个冻结的张量发生了变化（首先是 {name}）；请报告这个问题。"
    ),
    "After step {step} the tensor {name} holds values that are no finite numbers: lower train.lr.": (
        "第 {step} 步之后，张量 {name} 含有非有限的数值；请降低 train.lr。"
    ),
}
