"""What is said about adapters that the library peft wrote."""

from __future__ import annotations

PEFT: dict[str, str] = {
    'the field "base_model_name_or_path" is missing; name the base of this adapter there.': (
        "缺少字段“base_model_name_or_path”；请在其中写明该适配器的基座。"
    ),
    "the base of this adapter cannot be found: {reason}": "找不到该适配器的基座：{reason}",
    'the base "{name}" is a folder with an adapter or a run; name a plain model.': (
        "基座“{name}”是适配器或运行的文件夹；请给出普通模型。"
    ),
    'tensor "{name}" does not begin with "{prefix}"; only adapters written by peft are read.': (
        "张量“{name}”不以“{prefix}”开头；只读取 peft 写出的适配器。"
    ),
    "target_modules is empty, so it is not known what is adapted; save the adapter again.": (
        "target_modules 是空的，无法得知适配了哪些部分；请重新保存适配器。"
    ),
    'the option "{key}" is not supported; merge the adapter with peft and load the result.': (
        "不支持选项“{key}”；请用 peft 合并适配器，再加载结果。"
    ),
    'the option "{key}" is not supported; use the adapter with peft.': "不支持选项“{key}”；请用 peft 使用该适配器。",
    'bias "{bias}" is not supported; only "none" is. Merge the adapter with peft.': (
        "不支持 bias“{bias}”，只支持“none”；请用 peft 合并适配器。"
    ),
    'task_type "{type}" is not supported; known are {known}.': "不支持 task_type“{type}”；可用的有 {known}。",
    'peft_type "{kind}" is not supported; only {read} adapters are read.': (
        "不支持 peft_type“{kind}”；只读取 {read} 适配器。"
    ),
    "pickled weights can run code and are not read; save it as safetensors.": (
        "pickle 格式的权重可以执行代码，因此不读取；请另存为 safetensors。"
    ),
    "there is no such file; the adapter is incomplete, copy its folder again.": (
        "没有这个文件；适配器不完整，请重新复制文件夹。"
    ),
    'tensor "{name}" holds values that are no finite numbers; save the adapter again.': (
        "张量“{name}”含有非有限的数值；请重新保存适配器。"
    ),
    'tensor "{name}" is missing; save the adapter again.': "缺少张量“{name}”；请重新保存适配器。",
    'tensor "{name}" has shape {found}, but the base and {config} ask for {asked}.': (
        "张量“{name}”的形状是 {found}，而基座与 {config} 要求 {asked}。"
    ),
    "target_modules selects no linear layer inside the blocks of this base.": (
        "target_modules 没有选中该基座各层中的任何线性层。"
    ),
    "This model holds no LoRA update, so there is no adapter to write.": "该模型没有 LoRA 更新，没有可写的适配器。",
    "This model holds no IA3 factor, so there is no adapter to write.": "该模型没有 IA3 系数，没有可写的适配器。",
    "This model holds no virtual tokens, so there is no adapter to write.": "该模型没有虚拟词元，没有可写的适配器。",
    "task_type {type} does not fit a model of this kind.": "task_type {type} 不适用于这类模型。",
    "holds no label head, which task_type SEQ_CLS promises; save the adapter again.": (
        "没有分类头，而 task_type 为 SEQ_CLS；请重新保存适配器。"
    ),
}
