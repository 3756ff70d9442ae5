"""The notes of a run in Chinese, second part: scores beside trivial answers, methods, models, the run itself."""

from __future__ import annotations

RUN_NOTES: dict[str, str] = {
    "{count} of {rows} rows of the {split} split stand in the train split too, and there is no test split: the scores "
    "are better than those of new rows. First: {places}.": (
        "{split}的 {rows} 行中有 {count} 行也在训练集中，又没有测试集：得分会比新数据上的好。首先是：{places}。"
    ),
    # what an exported model does not hold
    "The exported model gives a standardised number: an answer is its output x {deviation} + {mean}.": (
        "导出的模型给出标准化的数：答案 = 输出 x {deviation} + {mean}。"
    ),
    "A label is given where the sigmoid of its score reaches {threshold}.": (
        "得分的 sigmoid 达到 {threshold} 时给出该标签。"
    ),
    "Confidences are calibrated by scores divided by {temperature} before the softmax.": (
        "置信度经过校准：softmax 之前得分先除以 {temperature}。"
    ),
    "An answer is given where it is surer than none by more than {threshold}.": (
        "比“没有答案”高出 {threshold} 以上时才给出答案。"
    ),
    "Texts are prepared by the steps {names} first; whoever reads the exported model has to do so.": (
        "文本先经过步骤 {names} 处理；使用导出模型时也须照做。"
    ),
    "Texts are put together by the templates {names} first (see recipe.yaml).": (
        "文本先由模板 {names} 拼成（见 recipe.yaml）。"
    ),
    "There is no validation split, so {names} has nothing to go by: the weights are those of the last step.": (
        "没有验证集，{names} 无从依据：权重是最后一步的。"
    ),
    "There is no validation split, so {names} have nothing to go by: the weights are those of the last step.": (
        "没有验证集，{names} 无从依据：权重是最后一步的。"
    ),
    "The held-out text of {name} is a file that the model learns from ({file}), so its scores say nothing about new "
    "text.": "{name} 的留出文本就是模型学习的文件（{file}），其得分不能说明新文本上的表现。",
    # rows that a model is scored on
    "These rows are the file that the model was trained with: what it has learnt is among them, so the figures say "
    "nothing about new rows.": (
        "这些行就是训练该模型所用的文件：其中有它学过的内容，因此这些数字不能说明新数据上的表现。"
    ),
    "These rows are the file by which the weights were chosen, so the figures are a little too good for new rows.": (
        "这些行就是用来挑选权重的文件，因此这些数字比新数据上的略好。"
    ),
    # scores beside answers that need no model
    "After step {step} the accuracy on validation is {accuracy} (95 % interval {low} to {high}, {rows} rows), no "
    'better than always answering "{label}" ({share}): look whether the labels belong to the texts, or train longer.': (
        "第 {step} 步之后，验证集准确率为 {accuracy}（95 % 区间 {low} 到 {high}，{rows} 行），并不比总是回答“{label}”"
        "（{share}）好：请检查标签与文本是否对应，或延长训练。"
    ),
    "After step {step} the RMSE on validation is {found} ({rows} rows), no better than always answering the mean of "
    "the training rows, {mean} ({trivial}): look whether the numbers belong to the texts, or train longer.": (
        "第 {step} 步之后，验证集 RMSE 为 {found}（{rows} 行），并不比总是回答训练行的平均值 {mean}（{trivial}）好："
        "请检查数字与文本是否对应，或延长训练。"
    ),
    "Always answering the mean of the training rows, {mean}, gives on {split} RMSE {rmse} (the model {own}), MAE {mae} "
    "(the model {ours}).": (
        "总是回答训练行的平均值 {mean}，在{split}上 RMSE 为 {rmse}（模型为 {own}），MAE 为 {mae}（模型为 {ours}）。"
    ),
    "Always answering the mean of the training rows, {mean}, gives on {split} RMSE {rmse} (the model {own}), MAE {mae} "
    "(the model {ours}); the model's interval reaches {high}, so it is not clearly better.": (
        "总是回答训练行的平均值 {mean}，在{split}上 RMSE 为 {rmse}（模型为 {own}），MAE 为 {mae}（模型为 {ours}）；"
        "模型的区间可到 {high}，因此不能说明显更好。"
    ),
    "Always answering the whole passage gives on {split} F1 {whole}, always its sentence {number} {best} (the model "
    "{own}).": ("总是回答整个段落，在{split}上 F1 为 {whole}；总是回答第 {number} 句，F1 为 {best}（模型为 {own}）。"),
    "Always answering the whole passage gives on {split} F1 {whole}, always its sentence {number} {best} (the model "
    "{own}); the model's interval begins at {low}, so it is not clearly better.": (
        "总是回答整个段落，在{split}上 F1 为 {whole}；总是回答第 {number} 句，F1 为 {best}（模型为 {own}）；"
        "模型的区间从 {low} 开始，因此不能说明显更好。"
    ),
    "Confidences are calibrated: the scores are divided by {temperature}, the temperature with the lowest validation "
    "loss. So loss and calibration_error at the end are not those after the last epoch; answers are the same.": (
        "置信度经过校准：得分都除以 {temperature}，即验证损失最低的温度。因此最后的 loss 和 calibration_error "
        "与最后一轮之后的不同；回答不变。"
    ),
    "The model never answers {unused}: its scores say nothing about them. More such rows, more epochs, "
    "task.balance=weights or task.choose=macro_f1 may help.": (
        "模型从不回答 {unused}：得分不能说明它们。可以增加这样的数据行、增加轮数，或用 task.balance=weights、"
        "task.choose=macro_f1。"
    ),
    'On {split} ({rows} rows), always answering "{label}" is right in {one}, and the answer of the moment before (by '
    '"{field}") in {last}; the model in {own} (95 % interval {low} to {high}), clearly better than both.': (
        "在{split}上（{rows} 行），总是回答“{label}”的正确率为 {one}，沿用前一时刻的答案（按“{field}”）为 {last}；"
        "模型为 {own}（95 % 区间 {low} 到 {high}），明显好于两者。"
    ),
    'On {split} ({rows} rows), always answering "{label}" is right in {one}, and the answer of the moment before (by '
    '"{field}") in {last}; the model in {own} (95 % interval {low} to {high}), not clearly better than the better of '
    "the two.": (
        "在{split}上（{rows} 行），总是回答“{label}”的正确率为 {one}，沿用前一时刻的答案（按“{field}”）为 {last}；"
        "模型为 {own}（95 % 区间 {low} 到 {high}），并不明显好于两者中较好的一个。"
    ),
    'On {split}, answering what stood at the moment before (by "{field}") gives RMSE {rmse}; the model {own} (clearly '
    "better).": ("在{split}上，沿用前一时刻的数字（按“{field}”）RMSE 为 {rmse}；模型为 {own}（明显更好）。"),
    'On {split}, answering what stood at the moment before (by "{field}") gives RMSE {rmse}; the model {own} (not '
    "clearly better).": (
        "在{split}上，沿用前一时刻的数字（按“{field}”）RMSE 为 {rmse}；模型为 {own}（并不明显更好）。"
    ),
    # steps
    "The training text makes {blocks} blocks of at most {size} tokens, which is {steps} steps in all: few to learn "
    "from. Raise --epochs, or lower data.block_size or train.batch_size.": (
        "训练文本切成 {blocks} 块，每块最多 {size} 个词元，总共只有 {steps} 步，学不到多少。请提高 --epochs，"
        "或减小 data.block_size、train.batch_size。"
    ),
    # methods
    "method.unfreeze: after step {step}, in epoch {epoch} of the {epochs} that gradual unfreezing takes, {first} to "
    "{last} had not begun to train and are as in the base. Raise train.epochs to {wanted} or more.": (
        "method.unfreeze：第 {step} 步之后（逐层解冻共需 {epochs} 轮，这时在第 {epoch} 轮），{first} 到 {last} "
        "还没有开始训练，与基座相同。请把 train.epochs 提高到 {wanted} 或更多。"
    ),
    "method.unfreeze: after step {step}, in epoch {epoch} of the {epochs} that gradual unfreezing takes, {first} had "
    "not begun to train and are as in the base. Raise train.epochs to {wanted} or more.": (
        "method.unfreeze：第 {step} 步之后（逐层解冻共需 {epochs} 轮，这时在第 {epoch} 轮），{first} 还没有开始训练，"
        "与基座相同。请把 train.epochs 提高到 {wanted} 或更多。"
    ),
    "method.unfreeze: after step {step}, in epoch {epoch} of the {epochs} that gradual unfreezing takes, {first} to "
    "{last} had not begun to train and are as in the base.": (
        "method.unfreeze：第 {step} 步之后（逐层解冻共需 {epochs} 轮，这时在第 {epoch} 轮），{first} 到 {last} "
        "还没有开始训练，与基座相同。"
    ),
    "method.unfreeze: after step {step}, in epoch {epoch} of the {epochs} that gradual unfreezing takes, {first} had "
    "not begun to train and are as in the base.": (
        "method.unfreeze：第 {step} 步之后（逐层解冻共需 {epochs} 轮，这时在第 {epoch} 轮），{first} 还没有开始训练，"
        "与基座相同。"
    ),
    "method.text: has {count} tokens, of which {taken} virtual ones could begin as the first.": (
        "method.text：有 {count} 个词元，而 {taken} 个虚拟词元只能以最前面的词元作为初值。"
    ),
    "{taken} virtual tokens take that many of the {room} positions of this model: {left} are left.": (
        "该模型有 {room} 个位置，{taken} 个虚拟词元占去同样多的位置，剩下 {left} 个。"
    ),
    "model.added_tokens: this method trains the head alone; the {count} new rows of the embedding stay the mean of the "
    "others. Take lora or full to let them learn.": (
        "model.added_tokens：这个方法只训练输出层；嵌入中新增的 {count} 行保持为其余各行的平均。要让它们学习，"
        "请用 lora 或 full。"
    ),
    "model.added_tokens: {count} of {new} stand in no training row and learn nothing from one: {names}.": (
        "model.added_tokens：{new} 个中有 {count} 个没有在训练行中出现，学不到东西：{names}。"
    ),
    "method auto: {name}, the only candidate that fits this model.": (
        "method auto：{name}，是唯一适合该模型的候选方法。"
    ),
    "int8: validation loss {rounded} with the frozen weights in int8, {exact} with those of the files.": (
        "int8：冻结的权重用 int8 时验证损失为 {rounded}，用原来的权重时为 {exact}。"
    ),
    # models and tokenizers
    "{file}: {key} is {number}, but the embedding ends at {last}.": "{file}：{key} 为 {number}，而嵌入只到 {last}。",
    "model.tokenizer: the text supports a vocabulary of {found}, fewer than the {asked} asked for; the model has "
    "{kept}.": ("model.tokenizer：文本只够得到 {found} 个词元的词表，少于要求的 {asked} 个；模型的词表为 {kept} 个。"),
    "{count} of {rows} token embeddings begin with {path}; the others at random.": (
        "{rows} 个词元嵌入中有 {count} 个以 {path} 为初值，其余随机。"
    ),
    "jieba is not installed, so Chinese is hidden character by character, not in whole words; pip install "
    '"microtune[text]" adds it.': (
        '没有安装 jieba，因此中文按单字而不是整词遮住；请执行 pip install "microtune[text]"。'
    ),
    "The corpus has {blocks} blocks, fewer than train.batch_size {size}: every step sees all of it.": (
        "语料只有 {blocks} 块，少于 train.batch_size {size}：每一步都会看到全部语料。"
    ),
    "train.compile is left out under train.memory: compiled blocks keep more than was measured to fit.": (
        "设置了 train.memory，因此不使用 train.compile：编译后的块占用的内存超过实测放得下的量。"
    ),
    "train.compile: torch compiles nothing here, blocks ran as they are ({reason}).": (
        "train.compile：torch 在这里无法编译，各块按原样运行（{reason}）。"
    ),
    "train.compile: time and memory are those of blocks as they are; compiled ones take less time, more memory.": (
        "train.compile：时间和内存按未编译的块估算；编译后时间更少，内存更多。"
    ),
    "The number of tokens is estimated from the beginning of every source.": "词元数按各来源的开头部分估算。",
    "The number of tokens is estimated from the beginning of every source. Time is that of whole blocks, although "
    "documents are separate; short ones take a little longer.": (
        "词元数按各来源的开头部分估算。时间按完整的块估算，而文档是分开的；短文档会稍慢一些。"
    ),
    "method.unfreeze: time and memory are those of an epoch in which everything trains; earlier ones take less.": (
        "method.unfreeze：时间和内存按全部参数都训练的一轮估算；之前各轮更少。"
    ),
    "The counts of order {orders} give no discounts (too little text or too few tokens); 0.5, 1 and 1.5 stand for "
    "them.": ("{orders} 阶的计数得不出折扣（文本或词元太少），以 0.5、1 和 1.5 代替。"),
    "{model} does not use {names}.": "{model} 不使用 {names}。",
    "The mean of the last {count} checkpoints has a loss of {mean} on held-out text, the last weights {last}: the mean "
    "is saved.": ("最后 {count} 个检查点的平均在留出文本上的损失为 {mean}，最后的权重为 {last}：保存的是平均。"),
    "The mean of the last {count} checkpoints has a loss of {mean} on held-out text, the last weights {last}: the last "
    "ones are saved.": (
        "最后 {count} 个检查点的平均在留出文本上的损失为 {mean}，最后的权重为 {last}：保存的是最后的权重。"
    ),
    # the run itself
    "Resumed at step {step} of {total}.": "从第 {step} 步继续，共 {total} 步。",
    "The run that stood in this folder was replaced.": "已替换这个文件夹中原来的运行。",
    "Checkpoint {name} is damaged ({damage}); using the one before it.": (
        "检查点 {name} 已损坏（{damage}）；改用它之前的一个。"
    ),
    "Checkpoint {name} is damaged ({damage}); no other is left, so the run starts anew.": (
        "检查点 {name} 已损坏（{damage}）；没有其他检查点，运行从头开始。"
    ),
    "The tracker {name} failed at step {step} and was left out ({error}).": (
        "跟踪工具 {name} 在第 {step} 步失败，已停用（{error}）。"
    ),
    # decisions during training, and what they are made of
    "step {step}, {rule}: {reason} Changed: {changes}.": "第 {step} 步，{rule}：{reason}已改为：{changes}。",
    "step {step}, {rule}: {reason} train.adjust=act would change: {changes}.": (
        "第 {step} 步，{rule}：{reason}若设 train.adjust=act，会改为：{changes}。"
    ),
    "the training loss is no number.": "训练损失不是数字。",
    "the validation loss is no number.": "验证损失不是数字。",
    "the training loss is {loss}, more than {times} times its running median {usual}, for {count} steps in a row.": (
        "训练损失为 {loss}，连续 {count} 步超过其滑动中位数 {usual} 的 {times} 倍。"
    ),
    "validation loss {loss}, training loss {train}: not below the first step's {first}.": (
        "验证损失 {loss}，训练损失 {train}：并不低于第一步的 {first}。"
    ),
    "the validation loss is {loss} after {lowest} while the training loss fell.": (
        "训练损失下降，而验证损失从 {lowest} 升到 {loss}。"
    ),
    "neither loss falls (training loss {before}, then {train}) while blocks are held still.": (
        "冻结一部分层期间，两种损失都不再下降（训练损失先为 {before}，后为 {train}）。"
    ),
    "back to the weights before the first step": "回到第一步之前的权重",
    "back to the best weights so far": "回到目前最好的权重",
    "learning rate x {factor} (peak {before} -> {after})": "学习率乘以 {factor}（峰值 {before} -> {after}）",
    "weight decay {before} -> {after}": "权重衰减 {before} -> {after}",
    "dropout before the head {before} -> {after}": "输出层之前的 dropout {before} -> {after}",
    "the lowest {held} of {count} trained blocks held still": "在训练的 {count} 层中，冻结最低的 {held} 层",
    "{count} blocks train again": "{count} 层恢复训练",
}
