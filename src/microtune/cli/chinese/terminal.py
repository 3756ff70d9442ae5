"""What tune, pretrain, evaluate, plan and report show in the terminal: English -> Chinese, figures in `{places}`."""

from __future__ import annotations

TERMINAL: dict[str, str] = {
    # headings of tables
    "part": "部分",
    "kind": "类别",
    "parameters": "参数",
    "trains": "训练",
    "metric": "指标",
    "value": "数值",
    "95 % interval": "95 % 置信区间",
    "answered": "作答比例",
    "accuracy": "准确率",
    "label": "标签",
    "precision": "精确率",
    "recall": "召回率",
    "rows": "行数",
    "taken for": "被判为",
    "confusion": "混淆矩阵",
    "time": "时间",
    "size": "大小",
    # titles
    "{file}, {rows} rows": "{file}，{rows} 行",
    "{split} split, {rows} rows": "{split}，{rows} 行",
    "when unsure": "不确定时：只在置信度足够时回答",
    "per class": "各标签",
    "largest confusions": "最常见的混淆",
    "confusion (rows: label, columns: prediction)": "混淆矩阵（行：标签，列：回答）",
    "memory at the peak": "内存峰值",
    "time on this machine": "在这台机器上的时间",
    # splits and kinds
    "train": "训练集",
    "validation": "验证集",
    "test": "测试集",
    "embedding": "嵌入",
    "block": "层",
    "norm": "归一化",
    "head": "输出头",
    "tokens": "虚拟词元",
    # words in tables
    "together": "合计",
    "frozen": "冻结",
    "frozen trunk, once": "冻结的主干，只算一次",
    "one epoch, {steps} steps": "一轮，{steps} 步",
    "scoring validation, after each epoch": "每轮之后给验证集打分",
    "together, {epochs} epochs": "合计，{epochs} 轮",
    # lines
    "rows: {rows}": "数据：{rows}",
    "fields: {fields}": "字段：{fields}",
    "{count} {split}": "{split} {count} 行",
    "; {count} labels": "；{count} 个标签",
    ", ": "，",
    "diagnosis: {sentence}": "诊断：{sentence}",
    "{low} to {high}": "{low} 至 {high}",
    "  step {step}: {split} {facts}": "  第 {step} 步：{split} {facts}",
    "  (best so far)": "  （目前最好）",
    "Answers were written to {written} of {rows} rows (task.generate_rows).": (
        "对 {rows} 行中的 {written} 行写出了回答（task.generate_rows）。"
    ),
    "saved: {path} (report: {report})": "已保存：{path}（报告：{report}）",
    "  next: {command}": "  接下来：{command}",
    "WORD": "词语",
    "DATA": "数据文件",
    "FILE": "文件",
    "Once upon a time": "从前有座山",
    "your text": "你的文本",
    "a question": "问题",
    "its passage": "所在的段落",
    "a passage": "段落",
    "an option": "选项",
    "another option": "另一个选项",
    "a question with its options": "带选项的问题",
    "the first text": "第一段文本",
    "the second text": "第二段文本",
    "a text": "一段文本",
    "another text": "另一段文本",
    "written: {path}": "已写入：{path}",
    "on disk while it runs: {size}": "运行期间占用磁盘：{size}",
    "limit: {size}; {tokens} tokens are computed at once": "上限：{size}；一次计算 {tokens} 个词元",
    "{fast} of {blocks} blocks on the fast path": "{blocks} 层中有 {fast} 层走快速路径",
    "{rows} rows, {tokens} tokens an epoch; {precision}; {fast}": (
        "{rows} 行，每轮 {tokens} 个词元；{precision}；{fast}"
    ),
    # compare
    "method": "方法",
    "score": "得分",
    "on": "划分",
    "valid.": "验证集",
    "stored": "占用",
    "forgetting": "遗忘",
    "{metric} by training examples per label, with 95 % intervals": (
        "每个标签的训练样本数与 {metric}，附 95 % 置信区间"
    ),
    "{method}: left out. {reason}": "{method}：不参加。{reason}",
    "  {run}: to step {steps} (rung {rung} of {rungs})": "  {run}：到第 {steps} 步（第 {rung} 级，共 {rungs} 级）",
    "{count} candidates, up to {steps} steps each": "{count} 个候选，每个最多 {steps} 步",
    "; shortened to {share} by the budget": "；因时间限制缩短为 {share}",
    "; about {time} in all": "；总共约 {time}",
    "{count} examples, ": "{count} 个样本，",
    "rung {rung} of {rungs}, validation: {scores}": "第 {rung} 级，共 {rungs} 级，验证集：{scores}",
    "; stopped: {methods}": "；停止：{methods}",
    "recommended: {reason}": "推荐：{reason}",
    # export, merge, combine, attention, predict
    "{compared} of {rows} rows, read by {reader}: largest difference {gap} (allowed: {bound}, {reason})": (
        "由 {reader} 读取，比较 {rows} 行的{compared}：最大差异 {gap}（允许：{bound}，{reason}）"
    ),
    "  test split {reason}": "  测试集{reason}",
    "  {name}: {value}": "  {name}：{value}",
    "{count} adapters combined, rank {rank} ({how}, exact)": "已合成 {count} 个适配器，秩 {rank}（{how}，没有损失）",
    "{count} adapters combined, rank {rank} ({how}, {lost} of the updates lost)": (
        "已合成 {count} 个适配器，秩 {rank}（{how}，更新损失 {lost}）"
    ),
    "saved: {path}": "已保存：{path}",
    "rows left out: {count}": "略去的行数：{count}",
    "{count} answers written to {path}": "{count} 个回答已写入 {path}",
    "{count} updates merged; outputs moved by at most {gap} (allowed: {bound})": (
        "并入 {count} 个更新；输出最多改变 {gap}（允许：{bound}）"
    ),
    "  test {metric}: {old} before, {new} after": "  测试集 {metric}：合并前 {old}，合并后 {new}",
    # demo
    "tickets: customer messages in English and Chinese, {count} intents; {sizes}\n": (
        "tickets：中英文客服留言，{count} 种意图；{sizes}\n"
    ),
    "intent": "意图",
    "message": "留言",
    "a message": "一条留言",
    "confidence": "置信度",
    "English": "英文",
    "Chinese": "中文",
    "seconds": "秒",
    "accuracy on the test split [95 % interval]": "测试集准确率 [95 % 置信区间]",
    "random weights: the better of two learning rates on validation, seconds of both": (
        "随机权重：取验证集上较好的学习率（共试两个），用时为两次之和"
    ),
    "the tuned model answers": "微调后的模型回答",
    "\nthe base model continues: {text}": "\n基座模型续写：{text}",
    "{name}: done in {seconds} s": "{name}：用时 {seconds} 秒",
    "\nThe tour took {seconds} s; everything is saved in {path}.": "\n演示用时 {seconds} 秒；全部保存在 {path}。",
    "Three things to try next:": "接下来可以试：",
    "majority class": "最常见的类别",
    "TF-IDF + logistic reg.": "TF-IDF + 逻辑回归",
    "head only": "只训练输出头",
    "random weights, full": "随机权重，全量",
    "LoRA, rank 8": "LoRA，秩 8",
    # progress
    "tokenizer": "分词器",
    "evaluating": "评估",
    "reading data": "读取数据",
    "loading the model": "加载模型",
    "training": "训练",
    "reading rows": "读取数据行",
    "near-copies": "查找近似重复",
    "languages": "辨认语言",
    "labels": "检查标签",
    "counting tokens": "数词元",
    "loss {loss}  {rate} tokens/s": "损失 {loss}  每秒 {rate} 个词元",
}
