"""What is said about the files of a model that do not fit together: tensors, shards, copies in a cache, saved runs."""

from __future__ import annotations

FOLDERS: dict[str, str] = {
    # tensors
    'tensor "{name}" is not listed for this file in {index}.': "张量“{name}”在 {index} 中没有列在这个文件之下。",
    'tensor "{name}", which {index} promises, is missing.': "缺少 {index} 声明的张量“{name}”。",
    'tensor "{name}": {there} in the files, but model.json asks for {wanted}.': (
        "张量“{name}”：文件中为 {there}，而 model.json 要求 {wanted}。"
    ),
    "head.out.weight and tokens.weight are two tensors (largest difference {gap}), but the model's fields promise one: "
    "what is trained in one would be lost in the other.": (
        "head.out.weight 与 tokens.weight 是两个张量（最大相差 {gap}），而模型的字段声明它们是同一个："
        "一个学到的内容会在另一个中丢失。"
    ),
    "{one} differs from {other}, but spec.tied promises one tensor: set tied=False.": (
        "{one} 与 {other} 不同，而 spec.tied 声明两者是同一张量；请设 tied=False。"
    ),
    # files
    '"{file}" is not the name of a safetensors file in this folder.': (
        "“{file}”不是这个文件夹中 safetensors 文件的名称。"
    ),
    "not a readable safetensors file ({reason}); download or export it again.": (
        "不是可读的 safetensors 文件（{reason}）；请重新下载或导出。"
    ),
    "could not be written ({reason}).": "无法写入（{reason}）。",
    # copies of the hub
    # runs
    "added.first is {first}, but the embedding of the base ends at {last}.": (
        "added.first 为 {first}，而基座的嵌入只到 {last}。"
    ),
    "the arrays of order {order} are missing or of different lengths.": "缺少 {order} 阶的数组，或它们长度不一。",
    "not the vectors that were trained.": "与训练所得的词向量不同。",
    "this run hides the words of {chosen}, but here is {found}; install {again}.": (
        "这次运行按 {chosen} 的词来遮盖，而这里是 {found}；请安装 {again}。"
    ),
    "{where} cannot guess words. {reason}": "{where} 不能猜词。{reason}",
}
