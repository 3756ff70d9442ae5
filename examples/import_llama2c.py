"""A checkpoint of llama2.c (Karpathy, 2023) as a folder in Hugging Face form, which microtune and transformers open.

    python examples/import_llama2c.py stories260K.bin tok512.bin stories260k
    microtune tune lines.txt --task language-modelling --model stories260k

The checkpoint is the first version of that project's layout: seven int32 (dim, hidden_dim, n_layers, n_heads,
n_kv_heads, vocab_size, seq_len; a negative vocab_size says that the output has weights of its own), then float32
tensors without names. The rows of wq and wk are those of interleaved rotary positions (pairs 2i and 2i + 1); Llama in
Hugging Face form turns pairs i and i + head / 2, so the rows are put into that order. The tokenizer file is an int32
(the longest piece), then for each id a float32 score, an int32 length and that many bytes: a SentencePiece BPE with
byte fallback.
"""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers
from numpy.typing import NDArray
from safetensors.numpy import save_file
from tokenizers import decoders, models, normalizers, processors

from microtune.errors import InputError

Array = NDArray[np.float32]
FIELDS = ("dim", "hidden_dim", "n_layers", "n_heads", "n_kv_heads", "vocab_size", "seq_len")
NEWER = 0x616B3432  # "ak42", with which later versions of the layout begin
UNKNOWN, BEGIN, END = "<unk>", "<s>", "</s>"  # ids 0, 1, 2
BLANK = "\u2581"  # how SentencePiece writes a space
EPSILON, THETA = 1e-5, 10000.0  # constants of run.c


def read_header(path: Path, data: bytes) -> dict[str, int]:
    """The seven numbers, `tied` and the size of a head; a file that cannot be such a checkpoint is an InputError."""
    if len(data) < 28:
        raise InputError(f"{path}: too short for a llama2.c checkpoint.")
    values = struct.unpack("<7i", data[:28])
    if values[0] == NEWER:
        raise InputError(f"{path}: a later version of the llama2.c layout; export the model with --version 0.")
    header = dict(zip(FIELDS, values, strict=True))
    header |= {"tied": int(header["vocab_size"] > 0), "vocab_size": abs(header["vocab_size"])}
    if min(header[name] for name in FIELDS) < 1 or header["dim"] % (2 * header["n_heads"]):
        raise InputError(f"{path}: not a llama2.c checkpoint; its header says {header}.")
    return header | {"head": header["dim"] // header["n_heads"]}


def read_tensors(path: Path) -> tuple[dict[str, int], dict[str, Array]]:
    """Header and tensors by Hugging Face's names; a file of another size than its header asks for is an InputError."""
    data = path.read_bytes()
    h = read_header(path, data)
    keys = h["n_kv_heads"] * h["head"]
    layout: list[tuple[str, tuple[int, ...]]] = [("model.embed_tokens", (h["vocab_size"], h["dim"]))]
    for name, shape in (
        ("input_layernorm", (h["dim"],)),
        ("self_attn.q_proj", (h["dim"], h["dim"])),
        ("self_attn.k_proj", (keys, h["dim"])),
        ("self_attn.v_proj", (keys, h["dim"])),
        ("self_attn.o_proj", (h["dim"], h["dim"])),
        ("post_attention_layernorm", (h["dim"],)),
        ("mlp.gate_proj", (h["hidden_dim"], h["dim"])),
        ("mlp.down_proj", (h["dim"], h["hidden_dim"])),
        ("mlp.up_proj", (h["hidden_dim"], h["dim"])),
    ):
        layout += [(f"model.layers.{layer}.{name}", shape) for layer in range(h["n_layers"])]
    layout += [("model.norm", (h["dim"],)), ("", (h["seq_len"], h["head"]))]  # the last: sines and cosines, not needed
    layout += [] if h["tied"] else [("lm_head", (h["vocab_size"], h["dim"]))]
    wanted = 28 + 4 * sum(int(np.prod(shape)) for _, shape in layout)
    if len(data) != wanted:
        raise InputError(
            f"{path}: has {len(data)} bytes, but its header asks for {wanted}; it is damaged or no such file."
        )
    found: dict[str, Array] = {}
    place = 28
    for name, shape in layout:
        count = int(np.prod(shape))
        if name:
            found[f"{name}.weight"] = np.frombuffer(data, "<f4", count, place).reshape(shape).copy()
        place += 4 * count
    return h, found


def half_split(weight: Array, heads: int) -> Array:
    """Rows of one projection from interleaved rotary pairs to halves of each head."""
    rows, width = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, width).swapaxes(1, 2).reshape(rows, width).copy()


def read_tokenizer(path: Path, count: int) -> tokenizers.Tokenizer:
    """The first `count` pieces as a BPE whose merges are ordered by score."""
    data, place = path.read_bytes(), 4
    pieces: list[tuple[str, float]] = []
    try:
        for i in range(count):
            score, length = struct.unpack_from("<fi", data, place)
            raw = data[place + 8 : place + 8 + length]
            if length < 0 or len(raw) != length:
                raise ValueError("it ends too early")
            place += 8 + length
            text = (UNKNOWN, BEGIN, END)[i] if i < 3 else raw.decode("utf-8").replace(" ", BLANK)
            pieces.append((text, score))
    except (struct.error, ValueError) as error:
        raise InputError(f"{path}: not a tokenizer of llama2.c with {count} pieces ({error}).") from error
    vocabulary = {text: i for i, (text, _) in enumerate(pieces)}
    if len(vocabulary) != count:
        raise InputError(f"{path}: holds the same piece twice.")
    merges = [
        (-score, vocabulary[text[:cut]], vocabulary[text[cut:]], text[:cut], text[cut:])
        for text, score in pieces[3:]
        for cut in range(1, len(text))
        if text[:cut] in vocabulary and text[cut:] in vocabulary
    ]
    bpe = models.BPE(
        vocabulary, [merge[3:] for merge in sorted(merges)], unk_token=UNKNOWN, fuse_unk=True, byte_fallback=True
    )
    made = tokenizers.Tokenizer(bpe)
    made.normalizer = normalizers.Sequence([normalizers.Prepend(BLANK), normalizers.Replace(" ", BLANK)])
    made.decoder = decoders.Sequence(
        [decoders.Replace(BLANK, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    made.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", pair=f"{BEGIN} $A {BEGIN}:1 $B:1", special_tokens=[(BEGIN, 1)]
    )
    made.add_special_tokens([UNKNOWN, BEGIN, END])
    return made


def convert(checkpoint: Path, tokenizer: Path, out: Path) -> None:
    """Write config.json, model.safetensors and the tokenizer's two files into a new folder."""
    h, tensors = read_tensors(checkpoint)
    made = read_tokenizer(tokenizer, h["vocab_size"])
    for name, weight in tensors.items():
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            tensors[name] = half_split(weight, h["n_heads"] if "q_proj" in name else h["n_kv_heads"])
    config: dict[str, Any] = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": h["dim"],
        "intermediate_size": h["hidden_dim"],
        "num_hidden_layers": h["n_layers"],
        "num_attention_heads": h["n_heads"],
        "num_key_value_heads": h["n_kv_heads"],
        "vocab_size": h["vocab_size"],
        "max_position_embeddings": h["seq_len"],
        "hidden_act": "silu",
        "rms_norm_eps": EPSILON,
        "rope_theta": THETA,
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": bool(h["tied"]),
        "bos_token_id": 1,
        "eos_token_id": 2,
        "dtype": "float32",
    }
    names = {"bos_token": BEGIN, "eos_token": END, "unk_token": UNKNOWN, "tokenizer_class": "PreTrainedTokenizerFast"}
    out.mkdir(parents=True)
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (out / "tokenizer_config.json").write_text(json.dumps(names, indent=2) + "\n", encoding="utf-8")
    made.save(str(out / "tokenizer.json"))
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})


def main(arguments: list[str]) -> int:
    """CHECKPOINT TOKENIZER FOLDER."""
    if len(arguments) != 3:
        print("usage: python examples/import_llama2c.py CHECKPOINT TOKENIZER FOLDER", file=sys.stderr)
        return 2
    checkpoint, tokenizer, out = map(Path, arguments)
    try:
        if out.exists():
            raise InputError(f"{out}: exists already; name a new folder.")
        convert(checkpoint, tokenizer, out)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"saved: {out}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
