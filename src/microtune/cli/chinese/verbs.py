"""What each verb does: its English docstring -> Chinese. The first sentence stands in `microtune --help`."""

from __future__ import annotations

VERBS: dict[str, str] = {
    "A language model through its whole working life on an ordinary computer.": (
        "在普通电脑上，走完一个语言模型的一生。"
    ),
    "Show the data, tune the embedded model lightly, compare, predict, generate.": (
        "演示：看数据、轻量微调内置模型、比较、预测、续写。"
    ),
    "Adapt a model to a task on your data, evaluate it, save it. The same command resumes an unfinished run.": (
        "用你的数据为一项任务微调模型，评估并保存。训练被打断后，再输入同一条命令就会接着训练。"
    ),
    "Train a base model from text. The same command resumes an unfinished run.": (
        "从文本训练基座模型。训练被打断后，再输入同一条命令就会接着训练。"
    ),
    "Train several methods on the same split within a time budget and say which one pays; resumes when unfinished.": (
        "在限定时间内用同一份划分比较几种方法，看哪种划算。没有做完时，再输入同一条命令就会接着做。"
    ),
    "Predict memory and time of `tune` (or, for a recipe with sources, `pretrain`); nothing is trained or written.": (
        "预估 `tune` 要用的内存和时间。配方里有 sources 时预估的是 `pretrain`；不训练，也不写文件。"
    ),
    "Guess the task of a file, measure what is wrong with it, and print a recipe; nothing is trained.": (
        "看文件猜任务，指出数据的毛病，给出可用的配方。不训练。"
    ),
    "Answer texts, or every row of a file in its order.": "回答给出的文本，或按顺序回答文件里的每一行。",
    "Score a model on a file, or show the scores its run ended with.": (
        "在一份数据上给模型打分，或显示训练结束时的得分。"
    ),
    "Talk to a model; an empty line or Ctrl-D ends it.": "与模型对话；空行或 Ctrl-D 结束。",
    "Write report.html and the model card of a run again, from its own files, in English or Chinese; no network.": (
        "用运行自己的文件重新写出它的 report.html 和模型卡，英文或中文；不用网络。"
    ),
    "Draw the attention matrix of a seq2seq-rnn: what it looked at for each token that it wrote.": (
        "画出 seq2seq-rnn 的注意力矩阵：写每个词元时看了哪里。"
    ),
    "Write a model for other tools, and have one of them read it back.": (
        "把模型写成其他工具的格式，并由其中一种工具读回核对。"
    ),
    "Fold an adapter into its base, and write the whole model in Hugging Face form.": (
        "把适配器并入基座，按 Hugging Face 格式写出整个模型。"
    ),
    "Add the updates of LoRA runs, each with its weight; the result answers and is exported as a run is.": (
        "把几次 LoRA 运行的更新按权重相加。结果可以像一次运行那样回答和导出。"
    ),
    "Neighbours of a word, or the word that completes an analogy.": "查一个词的近邻，或补全一个类比。",
    "List models, families, methods, tasks, steps that prepare texts, or the checks that every run makes.": (
        "列出模型、模型系列、方法、任务、预处理步骤或检查。"
    ),
}
