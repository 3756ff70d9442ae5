"""Prompts and prefixes in both directions against the real peft: equal outputs, one trajectory, refusals with a reason.

peft runs all of these with the installed transformers; it has no class for a masked language model.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_peft as plain
import torch
from peft import PeftModel, PrefixTuningConfig, PromptTuningConfig, get_peft_model
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    BertModel,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    T5Config,
    T5ForConditionalGeneration,
)

from microtune.adapt.base import Attachment, make_method
from microtune.adapt.virtual import VirtualMethod
from microtune.errors import InputError
from microtune.nn.heads import LabelHead
from microtune.nn.virtual import Prefix, ProjectedPrefix, VirtualTokens
from microtune.ragged import Ragged
from microtune.recipe import Choice, Train
from microtune.run.load import Model, load
from microtune.run.peft import write_peft
from microtune.run.peft.virtual import is_virtual
from microtune.run.train import Training
from microtune.tasks.language_modelling import LanguageModelling, block_item

pytestmark = plain.pytestmark
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
ROWS, TARGETS = plain.ROWS, [[0, 5, 6], [0, 7, 1, 2, 3], [0]]
TOKENS, STEPS = 3, 20


def t5(layers: int) -> Any:
    options: dict[str, Any] = {"num_layers": layers, "num_decoder_layers": layers, "num_heads": 4, "dropout_rate": 0.0}
    sizes = {"vocab_size": 41, "d_model": 16, "d_kv": 4, "d_ff": 20}
    return T5ForConditionalGeneration(T5Config(**sizes, **options, decoder_start_token_id=0, pad_token_id=0))


def bart(layers: int) -> Any:
    sides = {
        f"{side}_{name}": n for side in ("encoder", "decoder") for name, n in (("layers", layers), ("ffn_dim", 20))
    }
    heads = {"encoder_attention_heads": 4, "decoder_attention_heads": 4, "scale_embedding": True}
    rest = {"vocab_size": 41, "d_model": 16, "max_position_embeddings": 24, "dropout": 0.0}
    return BartForConditionalGeneration(BartConfig(**sides, **heads, **rest))  # type: ignore[arg-type]


GROUPED = plain.SIZES | plain.PLAIN | {"num_key_value_heads": 2}
MODELS: dict[str, Callable[[], Any]] = {
    "llama": plain.MODELS["llama"],
    "gpt2": plain.MODELS["gpt2"],
    "bert": plain.MODELS["bert"],
    "gemma3_text": lambda: Gemma3ForCausalLM(Gemma3TextConfig(head_dim=6, sliding_window=3, **GROUPED)),
    "t5": lambda: t5(3),
    "bart": lambda: bart(3),
    "t5 of two blocks": lambda: t5(2),
}
SEVERAL = ("t5", "bart", "t5 of two blocks")  # encoder-decoders
THEIRS: dict[str, type[Any]] = {"prompt": PromptTuningConfig, "prefix": PrefixTuningConfig}
kinds = pytest.mark.parametrize("kind", [kind for kind in MODELS if kind != "t5 of two blocks"])
both = pytest.mark.parametrize("name", ["prompt", "prefix"])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A folder with a random model of each kind."""
    found = {}
    for number, (kind, build) in enumerate(MODELS.items()):
        torch.manual_seed(number)
        model = build() if kind != "bert" else BertModel(build().config)
        plain.stir(model, 0.2)
        found[kind] = str(tmp_path_factory.mktemp(kind.replace(" ", "-")))
        model.save_pretrained(found[kind])
    return found


def reference(kind: str, folder: str, *, label: bool = False) -> Any:
    if label:
        return plain.reference(kind, folder, label=True)
    return (BertModel if kind == "bert" else type(MODELS[kind]())).from_pretrained(folder)


def ask(theirs: Any, row: list[int], target: list[int] | None) -> Tensor:
    """Logits (BERT: states) of the given tokens: peft gives those of a prompt, too."""
    extra = {} if target is None else {"decoder_input_ids": torch.tensor([target])}
    found = theirs(input_ids=torch.tensor([row]), **extra)
    values: Tensor = found.logits[0] if "logits" in found else found.last_hidden_state[0]
    return values[-len(row if target is None else target) :]


def answers(theirs: Any, kind: str) -> list[Tensor]:
    theirs.eval()
    targets = TARGETS if kind in SEVERAL else [None] * len(ROWS)
    with torch.no_grad():
        return [ask(theirs, row, target) for row, target in zip(ROWS, targets, strict=True)]


@torch.no_grad()
def ours(model: Model, kind: str) -> list[Tensor]:
    if isinstance(model.network.head, LabelHead):
        return plain.our_logits(model)
    if kind == "bert":
        inputs = Ragged.from_lists(ROWS)
        return list(model.network.eval()(inputs).split(inputs.lengths.tolist()))
    return model.logits(ROWS, TARGETS if kind in SEVERAL else None)


def virtual_of(model: Model) -> VirtualTokens:
    return next(m for m in model.network.modules() if isinstance(m, VirtualTokens) and m.count)


def adapted(folder: str, name: str, *, label: bool = False, **options: Any) -> tuple[Model, VirtualMethod, Attachment]:
    torch.manual_seed(5)
    model = load(folder)
    if label:
        model.network.head = LabelHead(model.spec, plain.LABELS)
        plain.stir(model.network.head, 0.3)
    method = make_method(Choice(name=name, **{"tokens": TOKENS, "init": "random"} | options))
    assert isinstance(method, VirtualMethod)
    return model, method, method.attach(model.network)


@kinds
@both
def test_peft_loads_what_we_write(kind: str, name: str, folders: dict[str, str], tmp_path: Path) -> None:
    plainly = ours(load(folders[kind]), kind)
    model, method, _ = adapted(folders[kind], name)
    write_peft(tmp_path, model, method, base_name=folders[kind])
    wanted = ours(model, kind)
    assert max(float((a - b).abs().max()) for a, b in zip(wanted, plainly, strict=True)) > 1e-2
    theirs = PeftModel.from_pretrained(reference(kind, folders[kind]), str(tmp_path))
    assert_close(answers(theirs, kind), wanted, **CLOSE)
    assert_close(ours(load(tmp_path), kind), wanted, rtol=0, atol=0)


@pytest.mark.parametrize(("kind", "name"), [("llama", "prompt"), ("llama", "prefix"), ("gpt2", "prompt")])
def test_with_a_label_head(kind: str, name: str, folders: dict[str, str], tmp_path: Path) -> None:
    model, method, _ = adapted(folders[kind], name, label=True)
    write_peft(tmp_path, model, method, base_name=folders[kind])
    theirs = PeftModel.from_pretrained(reference(kind, folders[kind], label=True), str(tmp_path)).eval()
    with torch.no_grad():
        found = [theirs(input_ids=torch.tensor([row])).logits[0] for row in ROWS]
    assert_close(found, ours(model, kind), **CLOSE)
    assert_close(ours(load(tmp_path), kind), ours(model, kind), rtol=0, atol=0)


def test_a_bert_classifier_with_a_prefix(folders: dict[str, str], tmp_path: Path) -> None:
    model, method, _ = adapted(folders["bert"], "prefix", label=True)
    write_peft(tmp_path, model, method, base_name=folders["bert"])
    theirs = PeftModel.from_pretrained(reference("bert", folders["bert"], label=True), str(tmp_path)).eval()
    with torch.no_grad():
        found = [theirs(input_ids=torch.tensor([row])).logits[0] for row in ROWS]
    assert_close(found, ours(model, "bert"), **CLOSE)
    assert_close(ours(load(tmp_path), "bert"), ours(model, "bert"), rtol=0, atol=0)


TASKS = {"bert": "FEATURE_EXTRACTION", **dict.fromkeys(SEVERAL, "SEQ_2_SEQ_LM")}


def from_peft(kind: str, name: str, folder: str, out: Path, **options: Any) -> Any:
    """A model of peft with random virtual tokens, saved in `out`."""
    torch.manual_seed(7)
    config = THEIRS[name](task_type=TASKS.get(kind, "CAUSAL_LM"), num_virtual_tokens=TOKENS, **options)
    theirs = get_peft_model(reference(kind, folder), config)
    plain.stir(theirs.prompt_encoder, 0.5)
    theirs.save_pretrained(str(out))
    path = out / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"base_model_name_or_path": folder}))
    return theirs


SAVED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama prompt": ("llama", "prompt", {}),
    "llama prefix": ("llama", "prefix", {}),
    "gemma3 prompt": ("gemma3_text", "prompt", {"prompt_tuning_init": "SAMPLE_VOCAB"}),
    "gpt2 projected prefix": ("gpt2", "prefix", {"prefix_projection": True, "encoder_hidden_size": 7}),
    "bert prefix": ("bert", "prefix", {}),
    "t5 prompt": ("t5", "prompt", {}),
    "t5 prefix": ("t5", "prefix", {}),
    "t5 prefix of blocks that share it": ("t5 of two blocks", "prefix", {}),
    "bart prefix": ("bart", "prefix", {}),
}


@pytest.mark.parametrize("name", list(SAVED))
def test_we_load_what_peft_writes(name: str, folders: dict[str, str], tmp_path: Path) -> None:
    kind, method, options = SAVED[name]
    theirs = from_peft(kind, method, folders[kind], tmp_path, **options)
    model = load(tmp_path)
    assert virtual_of(model).count == TOKENS
    assert not any(p.requires_grad for p in model.network.parameters())
    assert_close(ours(model, kind), answers(theirs, kind), **CLOSE)
    write_peft(tmp_path / "again", model, make_method(Choice(name=method)), base_name=folders[kind])  # and once more
    assert_close(ours(load(tmp_path / "again"), kind), ours(model, kind), rtol=0, atol=0)


def our_loss(model: Model, kind: str) -> Tensor:
    """Mean cross-entropy of the next token over the same rows, with all of them in one batch."""
    rows = TARGETS if kind in SEVERAL else ROWS
    inputs = Ragged.from_lists(rows)
    hidden = model.network(inputs, sources=Ragged.from_lists(ROWS) if kind in SEVERAL else None)
    parts = model.vocabulary_head()(hidden).split(inputs.lengths.tolist())
    return next_tokens(list(parts), rows)


def next_tokens(parts: list[Tensor], rows: list[list[int]]) -> Tensor:
    sums = [
        nn.functional.cross_entropy(part[:-1], torch.tensor(row[1:]), reduction="sum")
        for part, row in zip(parts, rows, strict=True)
        if len(row) > 1
    ]
    return torch.stack(sums).sum() / sum(len(row) - 1 for row in rows)


def descend(loss: Callable[[], Tensor], moving: list[nn.Parameter]) -> list[float]:
    optimizer, losses = torch.optim.AdamW(moving, lr=1e-2, weight_decay=0.01), []
    for _ in range(STEPS):
        optimizer.zero_grad()
        now = loss()
        now.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(float(now.detach()))
    return losses


@torch.no_grad()
def copy_start(theirs: Any, virtual: VirtualTokens, blocks: int, *, both_sides: bool) -> None:
    """Their virtual tokens begin as ours."""
    encoder = theirs.prompt_encoder["default"]
    if isinstance(virtual, ProjectedPrefix):
        encoder.embedding.weight.copy_(virtual.weight)
        for part, layer in ((encoder.transform[0], virtual.inner), (encoder.transform[2], virtual.outer)):
            part.weight.copy_(layer.weight)
            part.bias.copy_(layer.bias)
    elif isinstance(virtual, Prefix):
        order = torch.tensor([2 * i % blocks for i in range(blocks)]) if both_sides else torch.arange(blocks)
        rows = torch.zeros_like(virtual.weight)
        rows[order] = virtual.weight
        encoder.embedding.weight.copy_(rows.permute(2, 0, 1, 3, 4).flatten(1))
    else:
        encoder.embedding.weight[:TOKENS].copy_(virtual.get_parameter("weight"))


TRAINED: dict[str, tuple[str, str, dict[str, Any]]] = {
    **{f"{kind} {name}": (kind, name, {}) for kind in ("llama", "gemma3_text", "t5") for name in ("prompt", "prefix")},
    "gpt2 projected prefix": ("gpt2", "prefix", {"projection": 7}),
}


@pytest.mark.parametrize("name", list(TRAINED))
def test_twenty_steps_along_one_trajectory(name: str, folders: dict[str, str]) -> None:
    """Same start, same rows, AdamW: losses within 1e-4; rows one by one there, one batch here."""
    kind, method, options = TRAINED[name]
    model, _, attachment = adapted(folders[kind], method, **options)
    projected = {"prefix_projection": True, "encoder_hidden_size": 7} if options else {}
    config = THEIRS[method](task_type=TASKS.get(kind, "CAUSAL_LM"), num_virtual_tokens=TOKENS, **projected)
    theirs: Any = get_peft_model(reference(kind, folders[kind]), config)
    blocks = len(model.network.output_stack.blocks)
    copy_start(theirs, virtual_of(model), blocks, both_sides=kind in SEVERAL)
    theirs.eval()  # GPT-2 has dropout; ours is in evaluation mode since it was loaded

    def their_loss() -> Tensor:
        several = kind in SEVERAL
        parts = [ask(theirs, row, TARGETS[i] if several else None) for i, row in enumerate(ROWS)]
        return next_tokens(parts, TARGETS if several else ROWS)

    found = descend(lambda: our_loss(model, kind), [p for _, p in attachment.parameters()])
    wanted = descend(their_loss, [p for p in theirs.parameters() if p.requires_grad])
    assert found[-1] < found[0] - 0.01
    assert_close(found, wanted, rtol=0, atol=1e-4)


@both
def test_the_run_s_own_training_takes_the_same_steps(name: str, folders: dict[str, str]) -> None:
    model, method, attachment = adapted(folders["llama"], name)
    other, _, same = adapted(folders["llama"], name)
    settings = Train(epochs=STEPS, batch_size=3, lr=1e-2, schedule="constant", warmup=0.0, clip=0.0)
    items = [block_item(row) for row in ROWS]
    training = Training(
        model.network, LanguageModelling(), method, attachment, items, settings, seed=0, precision="float32"
    )
    losses = [step.loss for step in training.fit()]
    wanted = descend(lambda: our_loss(other, "llama"), [p for _, p in same.parameters()])
    assert_close(losses, wanted, rtol=0, atol=1e-4)


def test_what_peft_would_compute_otherwise_is_refused(folders: dict[str, str], tmp_path: Path) -> None:
    model, method, _ = adapted(folders["bert"], "prompt", label=True)
    with pytest.raises(InputError, match="peft reads the first virtual token"):
        write_peft(tmp_path, model, method, base_name="")
    model, method, _ = adapted(folders["llama"], "prefix", first_block=1)
    with pytest.raises(InputError, match="stands in the blocks from 1 on only"):
        write_peft(tmp_path, model, method, base_name="")
    model, method, _ = adapted(folders["t5 of two blocks"], "prefix")
    with pytest.raises(InputError, match="peft gives blocks 0 and 1 of a decoder the same prefix"):
        write_peft(tmp_path, model, method, base_name="")
    with pytest.raises(InputError, match="holds no virtual tokens"):
        write_peft(tmp_path, load(folders["llama"]), method, base_name="")
    theirs = get_peft_model(
        reference("bert", folders["bert"], label=True), PromptTuningConfig(task_type="SEQ_CLS", num_virtual_tokens=2)
    )
    theirs.save_pretrained(str(tmp_path))
    change(tmp_path, base_model_name_or_path=folders["bert"])
    with pytest.raises(InputError, match="this adapter has a label head that reads the first token"):
        load(tmp_path)


def change(folder: Path, **values: Any) -> None:
    path = folder / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


CONFIGS: dict[str, tuple[dict[str, Any], str]] = {
    "no tokens": ({"num_virtual_tokens": 0}, "num_virtual_tokens: "),
    "too many": ({"num_virtual_tokens": 70_000}, "num_virtual_tokens: "),
    "other number": ({"num_virtual_tokens": 4}, r"has shape \[3, 16\], but the base"),
    "no task": ({"task_type": None}, '"task_type" is missing'),
    "another task": ({"task_type": "TOKEN_CLS"}, 'task_type "TOKEN_CLS" is not supported; known are CAUSAL_LM'),
    "a task of another kind": ({"task_type": "SEQ_2_SEQ_LM"}, "does not fit a model of this kind"),
    "an option of the future": ({"use_magic": 3}, 'option "use_magic" is not supported'),
    "another method": (
        {"peft_type": "P_TUNING"},
        r'"P_TUNING" is not supported .* only IA3, LORA, PREFIX_TUNING and PROMPT',
    ),
    "no base": ({"base_model_name_or_path": None}, '"base_model_name_or_path" is missing'),
    "a label head": ({"task_type": "SEQ_CLS"}, "holds no label head"),
}


@pytest.mark.parametrize("name", list(CONFIGS))
def test_refused_options(name: str, folders: dict[str, str], tmp_path: Path) -> None:
    values, message = CONFIGS[name]
    from_peft("llama", "prompt", folders["llama"], tmp_path)
    change(tmp_path, **values)
    with pytest.raises(InputError, match=message):
        load(tmp_path)


def test_refused_tensors(folders: dict[str, str], tmp_path: Path) -> None:
    from_peft("llama", "prefix", folders["llama"], tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    good = load_file(path)
    for tensors, message in (
        ({}, '"prompt_embeddings" is missing'),
        (good | {"x": torch.ones(2)}, 'tensor "x" is not one that peft writes'),
        (good | {"base_model.x": torch.ones(2)}, '"base_model.x" belongs to no virtual token'),
        ({"prompt_embeddings": good["prompt_embeddings"] / 0}, "no finite numbers"),
    ):
        save_file(tensors, path)
        with pytest.raises(InputError, match=message):
            load(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match="there is no such file"):
        load(tmp_path)


@pytest.mark.parametrize("kind", [["LORA"], {"PREFIX_TUNING": 1}, 3, None])
def test_a_kind_that_is_no_text_is_none_of_these(kind: object) -> None:
    """Whatever stands there, a refusal follows and no crash."""
    assert not is_virtual({"peft_type": kind})
