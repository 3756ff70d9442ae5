"""What is said about pretraining, new networks, models before the Transformer, and word vectors."""

from __future__ import annotations

PRETRAINING: dict[str, str] = {
    # the recipe
    "data.steps: {name} chooses among rows, and pretraining reads a corpus text by text; steps that change texts are "
    "{texts}.": "data.steps：{name} 要在各行之间挑选，而预训练逐篇读取语料；改变文本的步骤有 {texts}。",
    "{option} does nothing in {kind}: {reason}. Leave it out.": "{option} 在{kind}中不起作用：{reason}。请去掉。",
    "data.sources is missing: the files that the model shall learn from.": "缺少 data.sources：供模型学习的文件。",
    "model.spec is missing: the shape of the new model.": "缺少 model.spec：新模型的结构。",
    "model.spec is missing: the shape of the model to pretrain; or name a model to go on from as model.source.": (
        "缺少 model.spec：要预训练的模型的结构；也可以用 model.source 指定要继续训练的模型。"
    ),
    'model.source is missing; name a base, for instance "sprout", or describe a new network as model.spec.': (
        "缺少 model.source；请指定基座，例如“sprout”，或用 model.spec 描述新网络。"
    ),
    "model.spec describes a new network, but model.source names one to load ({source}); write source: null, or leave "
    "the spec out.": (
        "model.spec 描述新网络，而 model.source 又指定了要加载的模型（{source}）；请写 source: null，或去掉 spec。"
    ),
    "a new network (model.spec) has nothing yet that could stay as it is; take method: full, not {method}.": (
        "新网络（model.spec）还没有可以冻结的部分；请用 method: full，而不是 {method}。"
    ),
    "model.classic belongs to `microtune pretrain`; name a base with model.source.": (
        "model.classic 用于 `microtune pretrain`；请用 model.source 指定基座。"
    ),
    "model.spec and model.classic exclude each other; leave one of them out.": (
        "model.spec 与 model.classic 不能同时使用；请去掉其中一个。"
    ),
    "task is {task}, but a model is pretrained by language-modelling.": (
        "task 为 {task}，而预训练只用 language-modelling。"
    ),
    "data.block_size {size} needs {needed} positions, but the network has {known}; lower the one or raise "
    "max_positions.": (
        "data.block_size {size} 需要 {needed} 个位置，而网络只有 {known} 个；请减小前者，或提高 max_positions。"
    ),
    "task.objective is {objective}, which needs {needs}; the network is another one.": (
        "task.objective 为 {objective}，需要{needs}；这里的网络不符。"
    ),
    "task.objective: {objective} is for microtune pretrain; tuning knows causal alone.": (
        "task.objective：{objective} 只用于 microtune pretrain；微调只支持 causal。"
    ),
    "task.objective: masked needs a tokenizer with a mask token, and this one has none.": (
        "task.objective：masked 需要有掩码词元的分词器，而这个没有。"
    ),
    "task.objective: infilling needs a tokenizer with bos, eos and mask tokens.": (
        "task.objective：infilling 需要有 bos、eos 和掩码词元的分词器。"
    ),
    "task.objective: span-denoising needs a tokenizer with eos and pad tokens.": (
        "task.objective：span-denoising 需要有 eos 和 pad 词元的分词器。"
    ),
    "model.{name} belongs to tuning; leave it out.": "model.{name} 只用于微调；请去掉。",
    "model.added_tokens belongs to tuning a base; a new model gets its tokens from text.": (
        "model.added_tokens 只用于微调基座；新模型的词元来自文本。"
    ),
    "train.average needs held-out text, by which the mean is judged: data.sources.held_out.": (
        "train.average 需要用留出的文本来评判平均结果：data.sources.held_out。"
    ),
    "train.average is for methods that train the model's own weights, such as full.": (
        "train.average 只用于训练模型自身权重的方法，例如 full。"
    ),
    # what to go on from
    "a tuned run; go on from a base model, or from what export makes of it.": (
        "这是微调过的运行；请从基座模型或其导出结果继续训练。"
    ),
    "an adapter; go on from its base, or from what export makes of it.": (
        "这是适配器；请从它的基座或其导出结果继续训练。"
    ),
    "it has no vocabulary head, by which language modelling could go on.": "没有词表输出层，无法继续做语言建模。",
    "it has no tokenizer, so no text can be read for it.": "没有分词器，无法读取文本。",
    "an adapter; tuning it further is not supported yet. Name its base.": (
        "这是适配器；暂不支持在其上继续微调。请指定它的基座。"
    ),
    "already tuned; tuning a run further is not supported yet. Name its base, or what `microtune merge RUN --out "
    "FOLDER` makes of the run.": (
        "已经微调过；暂不支持在运行上继续微调。请指定它的基座，"
        "或先用 `microtune merge RUN --out FOLDER` 合并，再指定合并后的文件夹。"
    ),
    "model.{name} is for a new model; {source} keeps what it has.": "model.{name} 只用于新模型；{source} 保持原有的。",
    # tokenizers and networks
    "model.tokenizer: the training rows hold no text from which a vocabulary could be learnt.": (
        "model.tokenizer：训练数据中没有可以学习词表的文本。"
    ),
    "model.spec.vocab_size {size} is less than the {tokens} tokens.": (
        "model.spec.vocab_size {size} 小于词元数 {tokens}。"
    ),
    "model.tokenizer.vocab_size is {size}, but bytes and marks alone take {least} ids; take more.": (
        "model.tokenizer.vocab_size 为 {size}，而仅字节和标记就要 {least} 个编号；请取大一些。"
    ),
    "model.spec.decoder needs causal: true, or it would read the text that it is to write.": (
        "model.spec.decoder 需要 causal: true，否则会读到要写的文本。"
    ),
    "model.spec.decoder needs cross_attention: true, or it would not read the source.": (
        "model.spec.decoder 需要 cross_attention: true，否则读不到源文本。"
    ),
    "hidden_size {size} is not a multiple of num_heads {heads}.": (
        "hidden_size {size} 不是 num_heads {heads} 的整数倍。"
    ),
    "num_heads {heads} is not a multiple of num_kv_heads {shared}.": (
        "num_heads {heads} 不是 num_kv_heads {shared} 的整数倍。"
    ),
    'pattern is "{pattern}", but must be made of the letters G and L.': "pattern 为“{pattern}”，应由字母 G 和 L 组成。",
    'A pattern with "L" layers needs a `window`.': "含“L”层的 pattern 需要设置 `window`。",
    "A model needs an encoder, a decoder or both.": "模型需要编码器、解码器或两者。",
    "The encoder and the decoder need the same hidden_size.": "编码器和解码器的 hidden_size 必须相同。",
    "{where}.{missing} is missing; a network cannot be built without it.": (
        "缺少 {where}.{missing}；没有它无法建立网络。"
    ),
    # counted models and word vectors
    "{name} takes no number; write model.classic={again}.": "{name} 后面不能带数字；请写 model.classic={again}。",
    "The corpus is empty: there is no text to count in.": "语料是空的：没有可以统计的文本。",
    "model.classic.order is {order}, but the longest text has {longest} tokens, its beginning and end included; "
    "take an "
    "order of at most {most}, or more text.": (
        "model.classic.order 为 {order}，而最长的文本连首尾在内只有 {longest} 个词元；请取至多 {most}，或增加文本。"
    ),
    "No word stands {count} times in the corpus; add text or lower model.classic.min_count.": (
        "语料中没有出现 {count} 次的词；请增加文本，或减小 model.classic.min_count。"
    ),
    'word2vec is trained by gensim, which is not installed; pip install "microtune[classic]" brings it.': (
        'word2vec 用 gensim 训练，但没有安装；请执行 pip install "microtune[classic]"。'
    ),
    'There is no vector for "{word}". {hint}': "没有“{word}”的词向量。{hint}",
    "{count} words; give one for its neighbours, or three for an analogy: A B C.": (
        "给出了 {count} 个词；查近义词请给一个，做类比请给三个：A B C。"
    ),
    "no such file of word vectors.": "没有这个词向量文件。",
    "no file of word vectors, and no run of word2vec.": "既不是词向量文件，也不是 word2vec 的运行。",
    "there is no vector in it.": "里面没有词向量。",
    "none of its words is a token; the vectors are of another language or form.": (
        "其中没有一个词是词元；词向量的语言或形式不符。"
    ),
    "the first line promises {count} vectors, but there are {found}.": (
        "第一行声明有 {count} 个词向量，实际有 {found} 个。"
    ),
    "the vectors have {width} numbers, but the embedding of the model {wanted}; train vectors of this size, or set "
    "hidden_size.": ("词向量有 {width} 维，与模型的嵌入（{wanted}）不符；请训练同样大小的词向量，或设置 hidden_size。"),
    "train.epochs is {epochs}, but word2vec makes whole passes, at least 1.": (
        "train.epochs 为 {epochs}，而 word2vec 只做完整的轮次，至少 1 轮。"
    ),
    "The corpus has {count} tokens; at most {most} can be counted.": ("语料有 {count} 个词元；最多能统计 {most} 个。"),
    "model.classic {name} has no network whose memory and time could be planned.": (
        "model.classic {name} 没有网络，无从规划内存和时间。"
    ),
    "There is no byte of text to score.": "没有可以评分的文本，一个字节也没有。",
    "{option}: an n-gram model, alone or as a draft, knows {known}.": (
        "{option}：n-gram 模型无论单独使用还是用于预先猜测，都只支持 {known}。"
    ),
}
