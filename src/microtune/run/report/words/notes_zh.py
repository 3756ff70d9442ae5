"""The notes of a run in Chinese: what it found in its data, its tokens, its scores; English form -> the same names.

A run writes its notes in English into scores.json; the page and the terminal say them again where Chinese is asked
for. A note that no form fits stays English.
"""

from __future__ import annotations

DATA_NOTES: dict[str, str] = {
    # what the task reads
    'Each row is a pair: "{text}" and "{pair}" are read together (task.pair_field="" reads the first alone).': (
        '每一行是一对：“{text}”和“{pair}”一起读（task.pair_field="" 只读第一段）。'
    ),
    '"{field}" holds several labels a row, in a list: {count} labels, {each} a row (task.form=single takes each value '
    "as one label).": (
        "“{field}”每行有多个标签，写成列表：共 {count} 种，平均每行 {each} 个"
        "（task.form=single 把每个值当作一个标签）。"
    ),
    '"{field}" holds several labels a row, joined by "{sign}": {count} labels, {each} a row (task.form=single takes '
    "each value as one label).": (
        "“{field}”每行有多个标签，以“{sign}”连接：共 {count} 种，平均每行 {each} 个"
        "（task.form=single 把每个值当作一个标签）。"
    ),
    'No training row has the declared label "{label}"; it cannot be learnt.': (
        "训练集中没有一行的标签是声明过的“{label}”；学不到它。"
    ),
    'No training row has the declared label "{label}" and {more} more; it cannot be learnt.': (
        "训练集中没有一行的标签是声明过的“{label}”，另有 {more} 个标签也是如此；学不到它们。"
    ),
    'Only {share} of the training rows have the label "{label}": accuracy can be high without it; task.choose=macro_f1 '
    "chooses the weights by all labels alike, task.balance=weights makes it count.": (
        "训练行中只有 {share} 的标签是“{label}”：不认识它，准确率也可能很高；task.choose=macro_f1 "
        "按所有标签平等地选择权重，task.balance=weights 提高它的权重。"
    ),
    "Options stand in {where}, {least} to {most} of each; guessing is right in {share}.": (
        "选项写在 {where}，每题 {least} 到 {most} 个；随便猜有 {share} 是对的。"
    ),
    '"{question}" is asked of "{context}"; right is what "{answer}" says.': (
        "用“{question}”向“{context}”提问；以“{answer}”为正确答案。"
    ),
    "{none} of {rows} training questions have no answer.": "{rows} 个训练问题中有 {none} 个没有答案。",
    'The number in "{field}" is predicted: {least} to {most}, mean {mean}, standard deviation {deviation} over {rows} '
    "training rows.": (
        "预测“{field}”中的数字：{rows} 个训练行中从 {least} 到 {most}，平均 {mean}，标准差 {deviation}。"
    ),
    '"{text}" and "{pair}" are as similar as "{field}" says, {least} to {most}.': (
        "“{text}”与“{pair}”的相似程度以“{field}”为准，从 {least} 到 {most}。"
    ),
    '"{text}" and "{pair}" belong together; the other rows of a batch are wrong for each other.': (
        "“{text}”与“{pair}”相配；同一批中的其他行互为反例。"
    ),
    '"{text}" and "{pair}" belong together, "{negative}" is wrong; the other rows of a batch are wrong for each '
    "other.": ("“{text}”与“{pair}”相配，“{negative}”是反例；同一批中的其他行互为反例。"),
    '"{field}" holds spans: {count} labels, {each} spans a training row.': (
        "“{field}”含有片段：共 {count} 种标签，平均每个训练行 {each} 个片段。"
    ),
    '"{field}" holds tags in {scheme}: {count} labels, {each} spans a training row.': (
        "“{field}”含有 {scheme} 标记：共 {count} 种标签，平均每个训练行 {each} 个片段。"
    ),
    'The label "{label}" occurs only outside the training rows; it cannot be learnt.': (
        "标签“{label}”没有在训练行中出现；学不到它。"
    ),
    'The label "{label}" and {more} more occurs only outside the training rows; it cannot be learnt.': (
        "标签“{label}”没有在训练行中出现，另有 {more} 个标签也是如此；学不到它们。"
    ),
    '{scores} will not be computed: {name} is not installed; pip install "microtune[metrics]" brings it.': (
        '不计算 {scores}：没有安装 {name}；请执行 pip install "microtune[metrics]"。'
    ),
    '"{input}" is read behind "{prompt}", where a row has it.': "“{input}”接在“{prompt}”之后读取（有该字段的行）。",
    'Rows have a field "{field}", which is not read; name it in a template, such as task.prompt="{template}".': (
        '数据行有字段“{field}”，但没有读取；请写进模板，例如 task.prompt="{template}"。'
    ),
    # what happened to the rows
    "{count} of {rows} rows have a chosen answer that equals the rejected one; they teach nothing and were left out. "
    "First: {places}.": (
        "{rows} 行中有 {count} 行被选中的回答与被拒绝的相同；没有可以学习的，已略去。首先是：{places}。"
    ),
    "{count} of {rows} passages are longer than {limit} tokens and are read in windows.": (
        "{rows} 个段落中有 {count} 个超过 {limit} 个词元，分窗口读取。"
    ),
    "{count} of {rows} answers do not stand in their passage and were left out. First: {asked}.": (
        "{rows} 个答案中有 {count} 个不在段落里，已略去。首先是：{asked}。"
    ),
    "{count} of {rows} answers do not stand in their passage, so they can hardly be met. First: {asked}.": (
        "{rows} 个答案中有 {count} 个不在段落里，几乎不可能答对。首先是：{asked}。"
    ),
    "{count} of {total} spans begin or end inside a token of this tokenizer, or were cut off: they are learnt as far "
    "as they stand and can never be found exactly.": (
        "{total} 个片段中有 {count} 个的起止落在词元内部，或被截断：只学到所能学的部分，永远不能完全找准。"
    ),
    "{count} of {rows} texts of the {split} split are longer than {limit} tokens and were cut. First: {places}.": (
        "{split}的 {rows} 段文本中有 {count} 段超过 {limit} 个词元，已截断。首先是：{places}。"
    ),
    "{count} of {rows} rows of the {split} split are longer than {limit} tokens and were left out with {lost} answer "
    "tokens. First: {places}.": (
        "{split}的 {rows} 行中有 {count} 行超过 {limit} 个词元，连同 {lost} 个答案词元一起略去。首先是：{places}。"
    ),
    "{count} of {rows} conversations of the {split} split were parted where a turn begins or ends, as generation will "
    "part them; read as one text, a token would reach over it. First: {places}.": (
        "{split}的 {rows} 段对话中有 {count} 段在发言的起止处切开，与生成时一致；若作为整段文本读取，"
        "会有词元跨过这个位置。首先是：{places}。"
    ),
    'The class "{label}" never occurs in the {split} split, whose scores say nothing about it (in training: '
    "{places}).": ("类别“{label}”没有在{split}中出现，那里的得分不能说明它（训练集中：{places}）。"),
    'The class "{label}" and {more} more never occurs in the {split} split, whose scores say nothing about it (in '
    "training: {places}).": (
        "类别“{label}”没有在{split}中出现，另有 {more} 个类别也是如此，那里的得分不能说明它们（训练集中：{places}）。"
    ),
    "{count} rows of the test split were removed from the {split} split. First: {places}.": (
        "已从{split}中删去 {count} 行测试集的数据。首先是：{places}。"
    ),
    "{count} rows of the test split are in the {split} split. First: {places}.": (
        "测试集有 {count} 行也在{split}中。首先是：{places}。"
    ),
    "{count} rows of the test split nearly repeat a training row. First: {place}, which is like {twin} ({share} "
    "alike).": ("测试集有 {count} 行与训练行几乎相同。首先是：{place}，与 {twin} 相似（{share} 相同）。"),
    "Of {rows} training rows: {faults}. `microtune lint` shows them and says what to do.": (
        "{rows} 个训练行中：{faults}。`microtune lint` 会列出它们，并说明怎么办。"
    ),
    'Rows are parted in the order of "{field}": {reach}.': "按“{field}”的次序划分：{reach}。",
    "Tasks of one epoch: {shares}.": "每一轮的任务：{shares}。",
    # steps that prepare texts
    "Step {step}: {done}.": "步骤 {step}：{done}。",
    'Step {step}: {done}. First ({place}): "{before}" became "{after}".': (
        "步骤 {step}：{done}。首先（{place}）：“{before}”变成“{after}”。"
    ),
    'Step {step}: {done}. First ({place}): "{before}" became "{after}". {words} words replaced; {cost}.': (
        "步骤 {step}：{done}。首先（{place}）：“{before}”变成“{after}”。替换了 {words} 个词；{cost}。"
    ),
    "The step {step} is likely to hurt: {why}.": "步骤 {step} 可能有害：{why}。",
}
