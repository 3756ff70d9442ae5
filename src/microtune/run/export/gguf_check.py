"""A GGUF file read back by the `gguf` package's reader and dequantiser, and rebuilt into our network.

Three things are compared: every tensor with its original, within what its number format can lose; the logits of the
rebuilt network with ours; and the ids that a tokenizer built from the file's own fields gives for the stored texts.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tokenizers
import torch
from tokenizers import Regex, decoders, models, pre_tokenizers
from torch import Tensor

from microtune.errors import CheckError
from microtune.nn.heads import VocabularyHead
from microtune.run.export.gguf_file import BLOCK, FILE, architecture_of
from microtune.run.export.gguf_tokenizer import KNOWN
from microtune.run.export.parity import PROMPTS, Parity, gap_of, largest, outputs
from microtune.run.export.readers import optional
from microtune.run.load import Model

# How far logits may move, as a share of the largest one, and why. The weights themselves are held to `_allowed`.
BOUNDS = {
    "float32": (1e-6, "the weights are the same to the last bit"),
    "float16": (2e-2, "weights keep 11 bits: each is off by up to 0.05 %, which adds up over the layers"),
    "q8_0": (2e-1, "weights are whole 127ths of the largest of 32: each is off by up to 0.4 % of it"),
}
NAMES = {
    "token_embd": "tokens",
    "position_embd": "decoder.positions",
    "output_norm": "decoder.norm",
    "output": "head.out",
    "attn_norm": "attention_residual.norm",
    "attn_q": "attention.q",
    "attn_k": "attention.k",
    "attn_v": "attention.v",
    "attn_output": "attention.o",
    "ffn_norm": "mlp_residual.norm",
    "ffn_gate": "mlp.gate",
    "ffn_up": "mlp.up",
    "ffn_down": "mlp.down",
}


def check_gguf(work: Path, model: Model, kind: str, rows: Sequence[Sequence[int]]) -> Parity:
    """Compare `work / "model.gguf"` with the model that it was written from."""
    gguf = optional("gguf")
    assert gguf is not None
    reader = gguf.GGUFReader(str(work / FILE))
    state = read_state(gguf, reader, model)
    worst = _worst(state, model, kind)
    wanted = outputs(model, rows)
    got = outputs(_rebuilt(model, state), rows)
    share, reason = BOUNDS[kind]
    version = _version(gguf)
    found = Parity(
        "gguf", f"gguf {version}", True, "logits", len(rows), gap_of(wanted, got), share * largest(wanted), reason
    )
    ids, best = _same_ids(reader, model), _same_best(wanted, got)
    facts = {"dtype": kind, "tensors": len(reader.tensors), "rounding_used": round(worst, 3), "ids": ids}
    return found.with_facts(**facts, same_best_token=round(best, 4))


def _same_best(wanted: Sequence[Tensor], got: Sequence[Tensor]) -> float:
    """The share of positions whose most probable token stays the same."""
    pairs = zip(wanted, got, strict=True)
    same = torch.cat([a.argmax(-1) == b.argmax(-1) for a, b in pairs])
    return float(same.double().mean())


def _version(gguf: Any) -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("gguf")
    except PackageNotFoundError:
        return str(getattr(gguf, "__version__", "of an unknown version"))


def read_state(gguf: Any, reader: Any, model: Model) -> dict[str, Tensor]:
    """Our state from a file's tensors, dequantised; a CheckError for a tensor that has no place."""
    paired = architecture_of(model)[0].paired
    stack = model.spec.output_stack
    state: dict[str, Tensor] = {}
    for entry in reader.tensors:
        values = gguf.quants.dequantize(entry.data, entry.tensor_type)
        shape = [int(n) for n in entry.shape][::-1]  # GGUF writes the fastest axis first
        tensor = torch.from_numpy(values.copy()).view(shape).float()
        name, suffix = entry.name.rsplit(".", 1)
        block, part = re.fullmatch(r"(?:blk\.(\d+)\.)?(\w+)", name).groups()  # type: ignore[union-attr]
        prefix = "" if block is None else f"decoder.blocks.{block}."
        if part == "attn_qkv":
            sizes = [stack.num_heads * stack.head_size, *[stack.kv_heads * stack.head_size] * 2]
            for role, piece in zip("qkv", tensor.split(sizes), strict=True):
                state[f"{prefix}attention.{role}.{suffix}"] = piece
            continue
        if part not in NAMES:
            raise CheckError(f'The written file holds a tensor "{entry.name}" that belongs nowhere.', check="export")
        if paired and part in ("attn_q", "attn_k"):
            heads = stack.num_heads if part == "attn_q" else stack.kv_heads
            tensor = tensor.view(heads, stack.head_size, -1)  # even rows are the first half of a head, odd the second
            tensor = torch.cat((tensor[:, 0::2], tensor[:, 1::2]), 1).reshape(shape)
        state[f"{prefix}{NAMES[part]}.{suffix}"] = tensor
    return state


def _worst(state: dict[str, Tensor], model: Model, kind: str) -> float:
    """The largest error of a weight, as a share of what its format may lose; above 1, or a tensor less, is an error."""
    wanted = {n: t.detach().float().cpu() for n, t in model.network.state_dict().items()}
    if model.spec.tied:
        wanted.pop("head.out.weight")
    if wanted.keys() != state.keys():
        raise CheckError(
            f"The written file lacks or adds tensors: {sorted(wanted.keys() ^ state.keys())[:3]}.", check="export"
        )
    worst = 0.0
    for name, tensor in wanted.items():
        if tensor.shape != state[name].shape:
            raise CheckError(f'"{name}" has shape {list(state[name].shape)} in the written file.', check="export")
        error, allowed = (tensor - state[name]).abs(), _allowed(tensor, kind)
        share = float(torch.where(error == 0, 0.0, error / allowed).max())
        if not share <= 1:
            raise CheckError(
                f'"{name}" was written with {share:.3g} times the error of its number format.', check="export"
            )
        worst = max(worst, share)
    return worst


def _allowed(tensor: Tensor, kind: str) -> Tensor:
    """How far each value may be from the original: half a step of its format, and a little for the scale's own step."""
    if kind == "float32":
        return torch.zeros_like(tensor)
    half = tensor.abs() * 2.0**-11 + 2.0**-25  # float16: 11 bits, and fixed steps below 6e-5
    if kind == "float16" or tensor.dim() < 2 or tensor.shape[-1] % BLOCK:
        return half
    blocks = tensor.reshape(-1, BLOCK).abs().amax(-1, keepdim=True)
    steps = blocks / 127 * 0.5 + blocks * 2.0**-10 + 2.0**-24  # q8_0 keeps its scale in float16
    return steps.expand(-1, BLOCK).reshape(tensor.shape)


def _rebuilt(model: Model, state: dict[str, Tensor]) -> Model:
    """The same network with the file's weights."""
    network = copy.deepcopy(model.network)
    head = network.head
    if model.spec.tied:
        state = {**state, "head.out.weight": state["tokens.weight"]}
    network.load_state_dict(state)
    assert isinstance(head, VocabularyHead)
    other = copy.copy(model)
    other.network = network
    return other


def _field(reader: Any, name: str) -> Any:
    found = reader.get_field(name)
    return None if found is None else found.contents()


def _same_ids(reader: Any, model: Model) -> str:
    """Whether the fields of the file make our ids for the stored texts; a CheckError where they do not."""
    kind, tokens = _field(reader, "tokenizer.ggml.model"), _field(reader, "tokenizer.ggml.tokens")
    if kind == "gpt2":
        encode = _bytes(tokens, _field(reader, "tokenizer.ggml.merges"), _field(reader, "tokenizer.ggml.pre"))
    else:
        encode = _pieces(tokens, _field(reader, "tokenizer.ggml.scores"))
    normal = model.text.backend.normalizer if kind == "gpt2" else None  # llama.cpp takes texts as they come
    for text in PROMPTS:
        text = text if normal is None else normal.normalize_str(text)
        wanted, found = model.text.encode(text, special=False), encode(text)
        if wanted != found:
            raise CheckError(
                f"The tokenizer that was written gives other ids: for {text[:30]!r} {found[:8]}, not {wanted[:8]}.",
                check="export",
            )
    template = _field(reader, "tokenizer.chat_template")
    if template != model.text.chat_template:
        raise CheckError("The chat template was not written as it is.", check="export")
    return f"equal for {len(PROMPTS)} texts"


def _bytes(tokens: list[str], merges: list[str], pre: str) -> Any:
    """A byte-level BPE of the file's tokens and merges, splitting as llama.cpp does under the name `pre`."""
    patterns = next(steps for steps, (name, _) in KNOWN.items() if name == pre)
    whole = next(words for name, words in KNOWN.values() if name == pre)
    pairs = [tuple(merge.split(" ", 1)) for merge in merges]
    bpe = models.BPE({token: i for i, token in enumerate(tokens)}, pairs, ignore_merges=whole)  # type: ignore[arg-type]
    backend = tokenizers.Tokenizer(bpe)
    steps: list[Any] = [
        pre_tokenizers.Digits(individual_digits=True) if p == "digits" else pre_tokenizers.Split(Regex(p), "isolated")
        for p in patterns
    ]
    steps.append(pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False))
    backend.pre_tokenizer = pre_tokenizers.Sequence(steps)
    backend.decoder = decoders.ByteLevel()
    return lambda text: backend.encode(text, add_special_tokens=False).ids


def _pieces(tokens: list[str], scores: list[float]) -> Any:
    """SentencePiece's way with BPE (Kudo and Richardson, 2018): join the two neighbours that make the best token."""
    ids = {token: number for number, token in enumerate(tokens)}

    def encode(text: str) -> list[int]:
        parts = list(("▁" + text).replace(" ", "▁"))
        while True:
            joined = [parts[i] + parts[i + 1] for i in range(len(parts) - 1)]
            ranked = [(scores[ids[token]], -i) for i, token in enumerate(joined) if token in ids]
            if not ranked:
                break
            place = -max(ranked)[1]
            parts[place : place + 2] = [joined[place]]
        found: list[int] = []
        for part in parts:
            found += [ids[part]] if part in ids else [ids[f"<0x{byte:02X}>"] for byte in part.encode()]
        return found

    return encode
