"""What an export says in Chinese: who read the files back, which differences are allowed and why."""

from __future__ import annotations

EXPORT_NOTES: dict[str, str] = {
    # readers
    "microtune itself": "microtune 自己",
    "onnx {version}, reference evaluator": "onnx {version} 的参考实现",
    "not checked by onnxruntime: install onnxruntime": "没有用 onnxruntime 核对：请安装 onnxruntime",
    "not checked by an independent reader: install {name}": "没有由独立的程序核对：请安装 {name}",
    # what is compared
    "label scores": "标签得分",
    "logits": "输出（logits）",
    "embeddings": "向量",
    "hidden states": "隐藏状态",
    # why a difference is allowed
    "the same weights": "权重相同",
    "the weights are the same to the last bit": "权重逐位相同",
    "{part} of the largest value, for float32 rounding": "最大值的 {part}，float32 舍入",
    "{part} of the largest value, for float32 rounding in another order": "最大值的 {part}，float32 计算次序不同的舍入",
    "weights keep 11 bits: each is off by up to 0.05 %, which adds up over the layers": (
        "权重保留 11 位：每个最多偏差 0.05 %，逐层累积"
    ),
    "weights are whole 127ths of the largest of 32: each is off by up to 0.4 % of it": (
        "每 32 个权重取其中最大者的 1/127 的整数倍：每个最多偏差其 0.4 %"
    ),
    # facts
    "dtype": "数值格式",
    "tensors": "张量",
    "rounding used": "用去的舍入余量",
    "same best token": "最可能的词元相同的比例",
    "opset": "算子集版本",
    "inputs": "输入",
    "outputs": "输出",
    "ids": "词元编号",
    "equal for {count} texts": "{count} 段文本都相同",
    "not checked: install sentence-transformers": "没有核对：请安装 sentence-transformers",
    "{version}: embeddings of {count} texts within {gap}": "{version}：{count} 段文本的向量相差不超过 {gap}",
    "not scored: {cause}": "没有评分：{cause}",
    "the model is no run": "这个模型不是一次运行",
    "its rows were given in memory": "数据行是在内存中给出的",
    "its data has changed": "它的数据已改变",
    "it has no test split": "它没有测试集",
}
