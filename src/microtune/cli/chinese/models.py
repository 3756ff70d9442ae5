"""What is said about models, their folders and files, tokenizers and the hub."""

from __future__ import annotations

MODELS: dict[str, str] = {
    # names and folders
    '"{name}" cannot be looked up ({reason}).': "无法查找“{name}”（{reason}）。",
    "a file; give the folder that holds config.json and the weights.": (
        "这是文件；请给出含有 config.json 和权重的文件夹。"
    ),
    "there is no {config} beside this file, which says what its tensors are; put it there.": (
        "这个文件旁边没有 {config}，无从得知各张量的含义；请放到同一处。"
    ),
    "holds no model: there is no {config}, which says what its weights are; copy it there.": (
        "里面没有模型：没有 {config}，无从得知权重的含义；请复制过来。"
    ),
    "one of several shards of a model; give the folder that holds them all.": (
        "这是模型的一个分片；请给出存放全部分片的文件夹。"
    ),
    "a link that leads out of the folder of the model; put a copy of the file in its place.": (
        "这个链接指向模型文件夹之外；请换成文件的副本。"
    ),
    "cannot be looked into ({reason}).": "无法查看（{reason}）。",
    "this version of microtune embeds {name}@{version}.": "这个版本的 microtune 内置的是 {name}@{version}。",
    "The embedded model {name} is missing from this installation; reinstall microtune.": (
        "安装中缺少内置模型 {name}；请重新安装 microtune。"
    ),
    "there is no such file; name a folder with a model in Hugging Face form.": (
        "没有这个文件；请给出 Hugging Face 格式的模型文件夹。"
    ),
    "there is neither {weights} nor {index} in this folder.": "这个文件夹里既没有 {weights}，也没有 {index}。",
    "{whose}, which is not read; only safetensors are. Convert it by {then}.": (
        "不读取{whose}，只读取 safetensors；{then}。"
    ),
    "pickled weights can run code and are not read; convert them once, where you trust them, with transformers: "
    "`AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)`.": (
        "pickle 格式的权重可以执行代码，因此不读取；如果信任来源，请用 transformers 转换一次："
        "`AutoModelForCausalLM.from_pretrained(folder).save_pretrained(new_folder)`。"
    ),
    'the shard "{file}" is missing; download the folder again.': "缺少分片“{file}”；请重新下载文件夹。",
    "not a readable safetensors file ({reason}).": "不是可读的 safetensors 文件（{reason}）。",
    # what a file says
    "promises {layers} layers, but the weights are {count} tensors.": "声明有 {layers} 层，而权重只有 {count} 个张量。",
    "{tensor} has shape {found}, but {config} asks for {asked}.": (
        "{tensor} 的形状是 {found}，而 {config} 要求 {asked}。"
    ),
    "{tensor} has no place in the model that {config} describes.": "{tensor} 不属于 {config} 所描述的模型。",
    "{tensor} has type {kind}, but only {known} are read; export the model in 16 or 32 bits.": (
        "{tensor} 的类型是 {kind}，而只读取 {known}；请以 16 位或 32 位导出模型。"
    ),
    "id2label must name the labels 0 to {last}, one per row of the label head.": (
        "id2label 应给出标签 0 到 {last}，与分类头逐行对应。"
    ),
    "{key} is {value}, but must be a whole number from {least} to {most}.": (
        "{key} 为 {value}，应为 {least} 到 {most} 的整数。"
    ),
    "{key} is {value}, but must be a number from {least} to {most}.": (
        "{key} 为 {value}，应为 {least} 到 {most} 的数字。"
    ),
    "{key} is {value}, but must be true or false.": "{key} 为 {value}，应为 true 或 false。",
    "{key} {value} is not supported. {hint}": "不支持 {key} {value}。{hint}",
    "{key} is {value}, which is not supported: {reason}.": "不支持 {key} 取值 {value}：{reason}。",
    'the field "{key}" is missing.': "缺少字段“{key}”。",
    # tokenizers
    "This model has no tokenizer (no tokenizer.json and no vocabulary in its folder); it can only be given ids.": (
        "这个模型没有分词器（文件夹里没有 tokenizer.json，也没有词表）；只能输入词元编号。"
    ),
    "the tokenizer can give ids up to {last}, but the model's embedding ends at {end}; the two do not belong "
    "together.": ("分词器的编号可到 {last}，而模型的嵌入只到 {end}；两者不匹配。"),
    "the tokenizer has {count} ids, but the model's embedding has {rows} rows; the two do not belong together. Put the "
    "tokenizer of this model into the folder.": (
        "分词器有 {count} 个编号，而模型的嵌入有 {rows} 行；两者不匹配。请把该模型的分词器放入文件夹。"
    ),
    "there is no merges.txt beside it, without which no text can be cut.": "旁边没有 merges.txt，无法切分文本。",
    'there is no "{token}" in this vocabulary, which BERT\'s tokenizer needs.': (
        "词表中没有“{token}”，而 BERT 的分词器需要它。"
    ),
    "not readable as UTF-8 text ({reason}).": "无法作为 UTF-8 文本读取（{reason}）。",
    "not a readable SentencePiece model ({reason}); copy or download the file again.": (
        "不是可读的 SentencePiece 模型（{reason}）；请重新复制或下载文件。"
    ),
    "its table of characters is damaged; copy or download the file again.": "字符表已损坏；请重新复制或下载文件。",
    "there is no tokenizer.json in this folder, and no vocabulary.": "这个文件夹里没有 tokenizer.json，也没有词表。",
    # added tokens
    # the hub
    '"{name}" holds no model that microtune reads: there is no {config} and no {adapter} in it.': (
        "“{name}”里没有 microtune 能读的模型：没有 {config}，也没有 {adapter}。"
    ),
    '"{name}" holds its weights only as {pickled}: pickled weights can run code and are not fetched; look for a '
    "revision with safetensors (name@revision), or convert them once, where you trust them, with transformers: "
    "`AutoModelForCausalLM.from_pretrained(name).save_pretrained(new_folder)`.": (
        "“{name}”只有 {pickled} 权重：pickle 格式可以执行代码，因此不下载；请找含 safetensors 的版本（name@revision），"
        "或在信任来源时用 transformers 转换一次："
        "`AutoModelForCausalLM.from_pretrained(name).save_pretrained(new_folder)`。"
    ),
    '"{name}": the file {file} is missing on the hub; name another revision with name@revision.': (
        "“{name}”：hub 上缺少文件 {file}；请用 name@revision 指定另一个版本。"
    ),
    '"{name}": {hub} has no revision "{revision}" of this model; leave it away for the newest.': (
        "“{name}”：{hub} 上没有这个模型的版本“{revision}”；不写版本即取最新版。"
    ),
    'There is no folder "{name}" here and no model of this name on {hub}; check the spelling.': (
        "本地没有文件夹“{name}”，{hub} 上也没有这个名称的模型；请检查拼写。"
    ),
    '"{name}": {hub} does not give it to you (401): there is no such public model, or it asks for a login; check the '
    "name, or log in with `hf auth login` or the variable HF_TOKEN.": (
        "“{name}”：{hub} 拒绝提供（401）：没有这个公开模型，或者需要登录；请检查名称，"
        "或用 `hf auth login` 或环境变量 HF_TOKEN 登录。"
    ),
    '"{name}": {hub} does not give it to you (403); accept its conditions at {address}.': (
        "“{name}”：{hub} 拒绝提供（403）；请先在 {address} 接受使用条件。"
    ),
    '"{name}": {hub} did not answer as a hub does ({reason}); check HF_ENDPOINT.': (
        "“{name}”：{hub} 的回应不像 hub（{reason}）；请检查 HF_ENDPOINT。"
    ),
    '"{name}": {what} could not be downloaded from {hub} ({reason}); run the same command again, files that came whole '
    "are kept.": ("“{name}”：无法从 {hub} 下载{what}（{reason}）；请再执行同一条命令，已下载完整的文件会保留。"),
}
