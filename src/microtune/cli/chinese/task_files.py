"""What is said about a task.json that does not say enough, and about two options that a task does not have."""

from __future__ import annotations

TASK_FILES: dict[str, str] = {
    "train.label_smoothing spreads the targets of tokens, but this task compares whole answers; leave it out (for "
    "pairs of a preference that may be swapped there is task.label_smoothing).": (
        "train.label_smoothing 用于平滑词元的目标，而这个任务比较完整的回答；请去掉"
        "（如果偏好对可能颠倒，可以用 task.label_smoothing）。"
    ),
    "task.objective: blocks of {length} tokens have {needed} spans, but the tokenizer has {count} sentinel tokens; "
    "lower data.block_size or raise task.mean_span.": (
        "task.objective：{length} 个词元的块有 {needed} 个片段，而分词器只有 {count} 个哨兵词元；"
        "请减小 data.block_size，或提高 task.mean_span。"
    ),
    # a task.json of a run
    "the classification names no text field, or no labels that differ.": "分类任务没有写明文本字段，或没有不同的标签。",
    "{count} class weights for {labels} labels.": "有 {count} 个类别权重，却有 {labels} 个标签。",
    "a scale of one step.": "等级只有一级。",
    "the instruction task does not name its fields.": "指令任务没有写明所用的字段。",
    "the preference task does not name its fields.": "偏好任务没有写明所用的字段。",
    "the regression names no text field.": "回归任务没有写明文本字段。",
    "the task names no text field.": "任务没有写明文本字段。",
    "the task does not name its fields, or not how options are scored.": "任务没有写明字段，或没有写明怎样给选项打分。",
    "the task does not name its fields, or not how its model reads.": "任务没有写明字段，或没有写明模型怎样读。",
    "the task does not name its fields, or not the form of its model.": "任务没有写明字段，或没有写明模型的形式。",
    "the task does not say with which id the decoder begins.": "任务没有写明解码器的起始编号。",
    "the task does not name its fields, or not what it compares.": "任务没有写明字段，或没有写明比较什么。",
    "the task names no text, no labels, or not which token of a word is read.": (
        "任务没有写明文本或标签，或没有写明读取词的哪个词元。"
    ),
}
