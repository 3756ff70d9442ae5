"""What is said about the shape of a network: `model.spec`, and the config.json of a model of another library."""

from __future__ import annotations

NETWORKS: dict[str, str] = {
    # model.spec
    "model.{side} is {value}, but must hold the fields of a stack.": (
        "model.{side} 为 {value}，应为一个堆栈的各个字段。"
    ),
    '{name}: unknown value "{value}". {hint}': "{name}：没有“{value}”这个值。{hint}",
    "rope_scaling: {kind} needs `original_max_positions`.": "rope_scaling：{kind} 需要设置 `original_max_positions`。",
    "rope_scaling: low_freq_factor must be below high_freq_factor.": (
        "rope_scaling：low_freq_factor 必须小于 high_freq_factor。"
    ),
    "rope_scaling: yarn needs a rope_theta above 1.": "rope_scaling：yarn 需要大于 1 的 rope_theta。",
    "rope_scaling: dynamic needs a rotary_dim of 4 or more.": "rope_scaling：dynamic 需要 rotary_dim 不小于 4。",
    "rope_scaling: {name} has {count} numbers, but {angles} angles need one each.": (
        "rope_scaling：{name} 有 {count} 个数字，而 {angles} 个角度各需要一个。"
    ),
    "positions: {positions} needs `max_positions`.": "positions：{positions} 需要设置 `max_positions`。",
    "relative_buckets {buckets} and relative_max_distance {distance} leave no bucket for near or for far tokens.": (
        "relative_buckets {buckets} 与 relative_max_distance {distance} 没有给近处或远处的词元留下分桶。"
    ),
    "residuals: parallel goes with norms before the branches and without cross-attention.": (
        "residuals：parallel 要求归一化在各分支之前，且没有交叉注意力。"
    ),
    "first_norm: false needs placement: pre, not {placement}.": (
        "first_norm: false 需要 placement: pre，而不是 {placement}。"
    ),
    "{name} is {size}, but rotary positions need an even number.": "{name} 为 {size}，而旋转位置编码需要偶数。",
    "rotary_dim is {size}, but a head has {width} numbers.": "rotary_dim 为 {size}，而每个注意力头只有 {width} 维。",
    "target_tokens: own needs an encoder, a decoder and a head of its own (tied: false).": (
        "target_tokens: own 需要编码器、解码器和独立的输出层（tied: false）。"
    ),
    "encoder and decoder share the embedding, but are {widths} wide.": (
        "编码器和解码器共用嵌入，宽度却不同：{widths}。"
    ),
    "An embedding_size other than hidden_size needs head_transform, which leads back to it.": (
        "embedding_size 与 hidden_size 不同时，需要用 head_transform 变换回去。"
    ),
    # recurrent networks
    "bidirectional: two directions share hidden_size {size}, which is odd.": (
        "bidirectional：两个方向平分 hidden_size，而 {size} 是奇数。"
    ),
    "{family}: encoder and decoder are recurrent stacks, not those of a Transformer.": (
        "{family}：编码器和解码器应为循环堆栈，而不是 Transformer 的堆栈。"
    ),
    "model.decoder: bidirectional is for encoders; a decoder writes from left to right.": (
        "model.decoder：bidirectional 只用于编码器；解码器从左到右写。"
    ),
    "model.encoder: attention is the decoder's, which looks at the states of the encoder.": (
        "model.encoder：attention 属于解码器，由它查看编码器的状态。"
    ),
    "model.decoder: attention: {kind} needs an encoder to look at.": (
        "model.decoder：attention: {kind} 需要有编码器可看。"
    ),
    "model: each layer of the decoder starts from the last state of the encoder's, so {name} must be the same: "
    "{one} is not {other}.": (
        "model：解码器各层从编码器对应层的最后状态开始，因此两者的 {name} 必须相同，而这里是 {one} 与 {other}。"
    ),
    "{where} is {value}, but must hold the fields of a {family}.": "{where} 为 {value}，应为 {family} 的各个字段。",
    '{where}: unknown key "{key}" of a {family}. {hint}': "{where}：{family} 没有“{key}”这一项。{hint}",
    "The attention matrix is of a seq2seq-rnn with attention: additive or dot; this model has no such layer.": (
        "注意力矩阵只存在于带 attention: additive 或 dot 的 seq2seq-rnn；这个模型没有这种层。"
    ),
    # config.json of other libraries
    "decoder_vocab_size is not vocab_size {vocab}: two vocabularies are not supported.": (
        "decoder_vocab_size 与 vocab_size {vocab} 不同：不支持两个词表。"
    ),
    "{value} has no name in this family; known: {known}.": "{value} 在这一系列中没有对应的写法；可用的有：{known}。",
    "layer_types is {value}, but must list one word for each of {count} layers.": (
        "layer_types 为 {value}，应给 {count} 层各写一个词。"
    ),
    "layer_types must name the attention of each of the {count} layers.": (
        "layer_types 应写明 {count} 层中每一层的注意力。"
    ),
    "layer_types and global_attn_every_n_layers disagree; keep one.": (
        "layer_types 与 global_attn_every_n_layers 互相矛盾；请只留一个。"
    ),
    "{one} and {other} say different things; keep one of them.": "{one} 与 {other} 互相矛盾；请只留一个。",
    "qkv_bias and bias (attention_bias and mlp_bias) must be alike in this family.": (
        "在这一系列中，qkv_bias 与 bias（attention_bias 与 mlp_bias）必须一致。"
    ),
    "{where} is {value}, but must hold {one} and {other}.": "{where} 为 {value}，应含有 {one} 和 {other}。",
    "{where}: a rope_type other than default is not supported for {kind}.": (
        "{where}：{kind} 只支持 rope_type 为 default。"
    ),
    "rope_parameters must hold an object for each of {both}, and nothing else.": (
        "rope_parameters 应为 {both} 各含一个对象，不含其他内容。"
    ),
    'rope_parameters.{kind}: the field "{name}" is not supported.': "rope_parameters.{kind}：不支持字段“{name}”。",
    "{older} and rope_parameters.{kind} disagree; keep one.": (
        "{older} 与 rope_parameters.{kind} 互相矛盾；请只留一个。"
    ),
    "{older} is null, which versions of transformers understand differently; write the number.": (
        "{older} 为 null，而各版本的 transformers 对此理解不同；请写出数字。"
    ),
    "{key} is {value}, but must be an object.": "{key} 为 {value}，应为对象。",
    "{key} is {value}, but must be a list of numbers.": "{key} 为 {value}，应为数字的列表。",
    "{key}: rope_type is given as {both}; keep one.": "{key}：rope_type 有几种写法（{both}）；请只留一个。",
    '{key}: rope_type "{kind}" is not supported. {hint}': "{key}：不支持 rope_type“{kind}”。{hint}",
    '{key}: the field "{name}" is not supported with the {kind} rope_type.': (
        "{key}：rope_type 为 {kind} 时不支持字段“{name}”。"
    ),
    "{key} is given as {both}; keep one.": "{key} 有几个值（{both}）；请只留一个。",
    "architectures names {name}, an encoder alone; only T5 with its decoder is read.": (
        "architectures 写的是 {name}，只有编码器；T5 须连同解码器一起读取。"
    ),
    'dense_act_fn is "{value}", which contradicts feed_forward_proj.': (
        "dense_act_fn 为“{value}”，与 feed_forward_proj 矛盾。"
    ),
    # ids of generation
    "{key} is {number}, but the embedding of this model ends at {last}.": (
        "{key} 为 {number}，而该模型的嵌入只到 {last}。"
    ),
    "{key} is {value}, but must be an id or a list of ids.": "{key} 为 {value}，应为一个编号或编号的列表。",
    "bad_words_ids is {value}, but must be a list of lists of ids.": ("bad_words_ids 为 {value}，应为编号列表的列表。"),
    "max_seq_length is {value}, but must be a whole number from 2.": "max_seq_length 为 {value}，应为不小于 2 的整数。",
    "pooling {names} is not supported; only the mean over tokens is.": (
        "不支持汇聚方式 {names}；只支持对各词元取平均。"
    ),
    # what a form of another tool can hold
    "transformers has no {family} with this head ({head}): save in our own form.": (
        "transformers 的 {family} 没有这种输出层（{head}）；请以 microtune 自己的格式保存。"
    ),
    "A {family} file cannot express {differences}: save in our own form.": (
        "{family} 文件无法表达 {differences}；请以 microtune 自己的格式保存。"
    ),
}
