"""What is said about adapter folders that peft or another tool wrote, and about adapters that cannot stand together."""

from __future__ import annotations

FOREIGN: dict[str, str] = {
    # of other tools
    'peft_type "{kind}" is not supported ({means}); only {read} adapters are read: {then}.': (
        "不支持 peft_type“{kind}”（{means}）；只读取 {read} 适配器：{then}。"
    ),
    'an adapter of {owner}, which only shares the file name with PEFT ("{key}" is its field); {then}.': (
        "这是 {owner} 的适配器，只是文件名与 PEFT 相同（“{key}”是它的字段）；{then}。"
    ),
    'tensor "{name}" is one of {means}, not of LoRA as peft writes it; merge the adapter with the tool that made '
    "it and load the result.": (
        "张量“{name}”属于 {means}，不是 peft 写出的 LoRA；请用原来的工具合并适配器，再加载结果。"
    ),
    # of peft
    'base_model_name_or_path "{name}" is not a usable name ({reason}).': (
        "base_model_name_or_path“{name}”不是可用的名称（{reason}）。"
    ),
    'tensor "{name}" is not one that peft writes for virtual tokens.': "张量“{name}”不是 peft 为虚拟词元写出的。",
    'the pattern "{text}" is too complicated; list the names of the modules instead.': (
        "模式“{text}”太复杂；请改为列出各模块的名称。"
    ),
    '"{text}" is not a regular expression ({reason}).': "“{text}”不是正则表达式（{reason}）。",
    '"{name}" of the label head is neither in the adapter nor in its base; what it was in training is lost: train '
    "again with that layer in modules_to_save.": (
        "分类头的“{name}”既不在适配器中，也不在基座中，训练时的内容已经丢失；请把这一层写入 modules_to_save 重新训练。"
    ),
    '"{name}" of the label head has shape {found}, not {wanted}.': ("分类头的“{name}”形状是 {found}，应为 {wanted}。"),
    "the label head has more tensors than a {family} classifier.": "分类头的张量比 {family} 分类器的多。",
    '{config} does not select a linear layer "{name}" of this label head.': (
        "{config} 没有选中该分类头的线性层“{name}”。"
    ),
    '{config} does not select a linear layer "{name}" inside the blocks of this base.': (
        "{config} 没有选中该基座各层中的线性层“{name}”。"
    ),
    # beside one another
    '"{name}" is weight-decomposed (dora): it rescales whole rows of the weight, which has no low-rank form; combine '
    "plain or rslora adapters.": (
        "“{name}”采用权重分解（dora）：它缩放权重的整行，没有低秩形式；请合并 plain 或 rslora 适配器。"
    ),
    # several methods in one
}
