"""What people call the tasks elsewhere, in English and Chinese: who writes one of these hears which task is meant.

Recipes hold one name for one thing, so these are suggestions and never names. Imports nothing.
"""

from __future__ import annotations

_CALLED = {
    "classification": "classify classifier sentiment sentiment-analysis intent text-classification "
    "sequence-classification nli grading 分类 文本分类 情感分析 情感 意图识别 评分分级",
    "regression": "score scoring rating 回归 打分 评分",
    "token-labelling": "ner pos tagging token-classification sequence-labelling sequence-labeling "
    "命名实体识别 实体识别 序列标注 词性标注",
    "question-answering": "qa squad extractive-qa reading-comprehension 问答 抽取式问答 阅读理解",
    "multiple-choice": "mcq choice quiz 选择题 单选题",
    "similarity": "embedding embeddings retrieval sts sentence-similarity 相似度 检索 语义相似度",
    "instruction": "chat conversation dialogue sft instruct instruction-tuning finetune 指令 指令微调 对话 聊天",
    "preference": "dpo kto rlhf orpo alignment 偏好 偏好对齐 对齐",
    "sequence-to-sequence": "summary summarization summarisation summarize translation translate headline seq2seq "
    "text2text text2text-generation 摘要 翻译 标题生成 改写",
    "language-modelling": "lm clm mlm causal-lm text-generation generation language-modeling pretraining "
    "语言建模 语言模型 续写",
}
OTHER_NAMES = {other: task for task, others in _CALLED.items() for other in others.split()}
