"""What a comparison says in Chinese: why a method is recommended, how runs ended, what to know."""

from __future__ import annotations

COMPARE_NOTES: dict[str, str] = {
    # the recommendation
    "{name}: the only one that trained to the end.": "{name}：只有它训练到了最后。",
    "{name}: best on validation ({metric} {score}), and more than chance ahead of the next, {next} (by {gap}; 95 % "
    "interval of the difference {low} to {high}).": (
        "{name}：验证集上最好（{metric} {score}），比第二名 {next} 领先 {gap}，不是偶然"
        "（差值的 95 % 区间 {low} 到 {high}）。"
    ),
    "{name}: best on validation ({metric} {score}); {names} is within the noise of these rows, but not much cheaper to "
    "train.": "{name}：验证集上最好（{metric} {score}）；{names} 与它的差距在这些行的误差之内，但训练并不明显更省。",
    "{name}: best on validation ({metric} {score}); {names} are within the noise of these rows, but not much cheaper "
    "to train.": (
        "{name}：验证集上最好（{metric} {score}）；{names} 与它的差距都在这些行的误差之内，但训练并不明显更省。"
    ),
    "{name}: within the noise of {best}, the best on validation ({metric} {score}, {gap} higher on these rows), and "
    "{factor} times cheaper to train; take {again} only if the last point matters.": (
        "{name}：与验证集上最好的 {best}（{metric} {score}，在这些行上高 {gap}）的差距在误差之内，训练耗时只有它的 "
        "1/{factor}；只有最后一点得分也要紧时，才选 {again}。"
    ),
    "{name}: within the noise of {best}, the best on validation ({metric} {score}, {gap} lower on these rows), and "
    "{factor} times cheaper to train; take {again} only if the last point matters.": (
        "{name}：与验证集上最好的 {best}（{metric} {score}，在这些行上低 {gap}）的差距在误差之内，训练耗时只有它的 "
        "1/{factor}；只有最后一点得分也要紧时，才选 {again}。"
    ),
    "{name}: equal to {best} on validation ({metric} {score}) and {factor} times cheaper to train; take {again} only "
    "if the last point matters.": (
        "{name}：在验证集上与 {best} 相同（{metric} {score}），训练耗时只有它的 1/{factor}；只有最后一点得分也要紧时，"
        "才选 {again}。"
    ),
    # notes
    "The budget shortened every training to {steps} steps ({share} of the {whole} that were asked for); a larger "
    "--budget may change the order.": (
        "因时间限制，每次训练缩短为 {steps} 步（{share}；要求 {whole} 步）；放宽 --budget 可能改变次序。"
    ),
    "Some trainings were cut short by the budget; their scores are of what they had learnt by then.": (
        "有些训练因时间限制提前结束；它们的得分只反映到那时为止学到的。"
    ),
    "Shared states of frozen trunks saved {seconds} seconds.": "共用冻结主干的状态，节省了 {seconds} 秒。",
    "The disk has no room for the states of frozen trunks; they were computed anew for every batch.": (
        "磁盘上没有地方存放冻结主干的状态；每批都重新计算。"
    ),
    "Forgetting of {runs} was not measured: the budget left no time for it.": (
        "没有测量 {runs} 的遗忘：时间限制内来不及。"
    ),
    "{size} examples of each label: left out, the training split has {middle} of a typical label.": (
        "每个标签 {size} 个样本：略去，训练集中一个标签通常只有 {middle} 个。"
    ),
    "{size} examples in all: left out, the training split has {middle} rows.": (
        "总共 {size} 个样本：略去，训练集只有 {middle} 行。"
    ),
    "{size} examples of each label: some labels have fewer, the rarest {least}.": (
        "每个标签 {size} 个样本：有些标签不足，最少的只有 {least} 个。"
    ),
    'The plot of the curve needs matplotlib: pip install "microtune[plot]"; the table says the same.': (
        '画出曲线需要 matplotlib：pip install "microtune[plot]"；表中的内容相同。'
    ),
    # how runs ended
    "finished": "完成",
    "stopped": "停止",
    "cut short": "提前结束",
    "unfinished": "未完成",
    "failed": "失败",
    "skipped": "不参加",
    "the budget left no time for its first step": "时间限制内没有走出第一步",
    "the budget ended at step {step} of {steps}": "到第 {step} 步（共 {steps} 步）时间用完",
    "the worse half at step {step} of {steps}": "到第 {step} 步（共 {steps} 步）时在较差的一半",
    "step {step} of {steps}": "第 {step} 步，共 {steps} 步",
}
