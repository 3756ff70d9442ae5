"""Models that cannot be used, through an ordinary command: one sentence with file and tensor or field, exit code 2,
nothing half-written."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tokenizers
import torch
from command import Answer, call, forked
from safetensors.torch import load_file, save_file
from torch import Tensor

import microtune as mt
from microtune.adapt.base import make_method
from microtune.adapt.lora import LoRA
from microtune.recipe import Choice
from microtune.run.peft import write_peft
from tiny_model import make_model, rows

pytestmark = pytest.mark.usefixtures("quick")

FAST = ["train.precision=float32", "train.batch_size=8", "--epochs", "1", "--quiet"]
WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
NAME = "model.layers.1.self_attn.k_proj.weight"


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("good") / "model")


@pytest.fixture
def model(good: Path, tmp_path: Path) -> Path:
    shutil.copytree(good, tmp_path / "model")
    return tmp_path / "model"


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def configure(folder: Path, **fields: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change(folder: Path, edit: Callable[[dict[str, Tensor]], object], file: str = WEIGHTS) -> None:
    tensors = load_file(folder / file)
    edit(tensors)
    save_file(tensors, folder / file, metadata={"format": "pt"})


def shard(folder: Path) -> dict[str, str]:
    """The weights in two files with an index; the table."""
    tensors = load_file(folder / WEIGHTS)
    table = {name: f"model-{1 + i % 2}.safetensors" for i, name in enumerate(sorted(tensors))}
    for file in set(table.values()):
        save_file({name: tensors[name] for name in table if table[name] == file}, folder / file)
    (folder / WEIGHTS).unlink()
    (folder / INDEX).write_text(json.dumps({"weight_map": table}))
    return table


def missing_shard(folder: Path) -> None:
    shard(folder)
    (folder / "model-2.safetensors").unlink()


def index_outside(folder: Path) -> None:
    table = shard(folder)
    (folder / "model-2.safetensors").rename(folder.parent / "model-2.safetensors")
    table = {n: f.replace("model-2", "../model-2") for n, f in table.items()}
    (folder / INDEX).write_text(json.dumps({"weight_map": table}))


def link(name: str) -> Callable[[Path], None]:
    """A file of the folder becomes a link to one beside the folder."""

    def damage(folder: Path) -> None:
        (folder / name).rename(folder.parent / name)
        os.symlink(folder.parent / name, folder / name)

    return damage


def small_tokenizer(folder: Path) -> None:
    words = {word: i for i, word in enumerate(["[UNK]", "my", "card", "the", "transfer"])}
    other = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    other.save(str(folder / "tokenizer.json"))


def large_tokenizer(folder: Path) -> None:
    path = folder / "tokenizer.json"
    values = json.loads(path.read_text(encoding="utf-8"))
    flags = dict.fromkeys(["single_word", "lstrip", "rstrip", "normalized"], False)
    values["added_tokens"].append({"id": 5000, "content": "<new>", "special": True} | flags)
    path.write_text(json.dumps(values))


def pickled(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model.bin")


def litgpt(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "lit_model.pth")


DTYPES = "but only F64, F32, F16, BF16 are read; export the model in 16 or 32 bits."
FOLDERS: dict[str, tuple[Callable[[Path], object], list[str]]] = {
    "missing shard": (missing_shard, [f"{{}}/{INDEX}: ", 'the shard "model-2.safetensors" is missing; download']),
    "extra tensor": (
        lambda f: change(f, lambda t: t.update(extra=torch.ones(2))),
        [f'{{}}/{WEIGHTS}: tensor "extra" has no place in this family'],
    ),
    "missing tensor": (lambda f: change(f, lambda t: t.pop(NAME)), [f'{{}}: tensor "{NAME}" is missing; the folder']),
    "wrong shape": (
        lambda f: change(f, lambda t: t.update({NAME: t[NAME][:3].clone()})),
        [f'{{}}/{WEIGHTS}: tensor "{NAME}" has shape [3, 16], but config.json asks for [16, 16].'],
    ),
    "whole numbers": (
        lambda f: change(f, lambda t: t.update({NAME: t[NAME].to(torch.int8)})),
        [f'{{}}/{WEIGHTS}: tensor "{NAME}" has type I8, {DTYPES}'],
    ),
    "eight bits": (
        lambda f: change(f, lambda t: t.update({NAME: t[NAME].to(torch.float8_e4m3fn)})),
        [f'{{}}/{WEIGHTS}: tensor "{NAME}" has type F8_E4M3, {DTYPES}'],
    ),
    "quantised": (
        lambda f: configure(f, quantization_config={"quant_method": "gptq", "bits": 4}),
        ["{}/config.json: ", "quantised weights cannot be read; export the model in 16 or 32 bits"],
    ),
    "config without weights": (lambda f: (f / WEIGHTS).unlink(), [f"{{}}: there is neither {WEIGHTS} nor {INDEX} in"]),
    "weights without config": (
        lambda f: (f / "config.json").unlink(),
        ["{}: holds no model: there is no config.json, which says what its weights are; copy it there."],
    ),
    "pickle": (pickled, ["{}/pytorch_model.bin: pickled weights can run code and are not read; convert them once"]),
    "litgpt": (litgpt, ["{}/lit_model.pth: a checkpoint of LitGPT", "only safetensors are. Convert it by `litgpt"]),
    "remote code": (
        lambda f: configure(f, model_type="qwen", auto_map={"AutoModelForCausalLM": "modeling_qwen.QWen"}),
        ['{}/config.json: model_type "qwen" is not supported', '"modeling_qwen.QWen"', "microtune never runs any."],
    ),
    "ids beyond the embedding": (large_tokenizer, ["{}: the tokenizer can give ids up to 340, but the model's"]),
    "another vocabulary": (
        small_tokenizer,
        ["{}: the tokenizer has 5 ids, but the model's embedding has 340 rows; the two do not belong together."],
    ),
    "index outside": (
        index_outside,
        [f'{{}}/{INDEX}: "../model-2.safetensors" is not the name of a safetensors file in this folder.'],
    ),
    "link to weights": (
        link(WEIGHTS),
        [f"{{}}/{WEIGHTS}: a link that leads out of the folder of the model; put a copy"],
    ),
    "link to a tokenizer": (link("tokenizer.json"), ["{}/tokenizer.json: a link that leads out of the folder"]),
}
LINKS = [name for name in FOLDERS if name.startswith("link")]


def tune(capsys: pytest.CaptureFixture[str], folder: Path, name: Path, data: list[Any], task: str) -> Answer:
    """`microtune tune` with this model, which leaves everything in `folder` as it was."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in data))
    before = files(folder)
    arguments = ["--task", task, "--method", "head" if task == "classification" else "lora:2", "--model", name]
    answer = call(capsys, "tune", folder / "rows.jsonl", *arguments, "--out", folder / "run", *FAST)
    if answer.code:
        assert files(folder) == before
        assert not (folder / "run").exists()
    return answer


def check(answer: Answer, folder: Path, parts: list[str]) -> None:
    for part in parts:
        assert part.replace("{}", str(folder)) in answer.sentence
    assert answer.code == 2


@pytest.mark.parametrize("name", FOLDERS)
def test_folders(name: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if name in LINKS and os.name == "nt":
        pytest.skip("links need rights there")
    damage, parts = FOLDERS[name]
    damage(model)
    check(tune(capsys, tmp_path, model, rows(), "classification"), model, parts)


def test_in_a_process_of_its_own(model: Path, tmp_path: Path) -> None:
    damage, parts = FOLDERS["wrong shape"]
    damage(model)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows()))
    out = ["--out", tmp_path / "run", *FAST]
    check(forked("tune", tmp_path / "rows.jsonl", "--task", "classification", "--model", model, *out), model, parts)
    assert not (tmp_path / "run").exists()


def test_the_model_itself_is_good(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert tune(capsys, tmp_path, model, rows(), "classification").code == 0


def test_a_known_family_needs_none_of_its_code(good: Path, model: Path) -> None:
    """A config that merely names code loads: nothing of it is run, and all that is computed is checked as ever."""
    (model / "modeling_x.py").write_text("raise SystemExit('run')")
    configure(model, auto_map={"AutoModelForCausalLM": "modeling_x.Model"}, trust_remote_code=True)
    assert torch.equal(mt.load(model).logits([[1, 2, 3]])[0], mt.load(good).logits([[1, 2, 3]])[0])


def test_links_inside_the_folder_are_followed(good: Path, model: Path) -> None:
    if os.name == "nt":
        pytest.skip("links need rights there")
    (model / WEIGHTS).rename(model / "weights-of-today.safetensors")
    os.symlink("weights-of-today.safetensors", model / WEIGHTS)
    os.symlink(model, model.parent / "name")
    for name in ("model", "name"):
        assert torch.equal(mt.load(model.parent / name).logits([[1, 2]])[0], mt.load(good).logits([[1, 2]])[0])


TEMPLATES = {
    "raises": ("{{ raise_exception('Roles must alternate.') }}", "Roles must alternate."),
    "loops": (
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "The chat template takes more than ",
    ),
    "is broken": ("{% for m in messages %}", ""),
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_templates(name: str, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    template, part = TEMPLATES[name]
    path = model / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | {"chat_template": template}))
    asked = [{"role": "user", "content": f"hello {i}"} for i in range(30)]
    data = [{"messages": [one, {"role": "assistant", "content": "好的"}]} for one in asked]
    answer = tune(capsys, tmp_path, model, data, "instruction")
    check(answer, model, [part, "template"])


# ------------------------------------------------------------------------------------------------- one file


def test_one_safetensors_file(good: Path, model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wanted = mt.load(good).logits([[1, 2, 3]])[0]
    assert torch.equal(mt.load(model / WEIGHTS).logits([[1, 2, 3]])[0], wanted)
    (model / "other.safetensors").write_bytes((model / WEIGHTS).read_bytes())
    change(model, lambda t: t[NAME].mul_(2))
    assert torch.equal(mt.load(model / "other.safetensors").logits([[1, 2, 3]])[0], wanted)
    answer = tune(capsys, tmp_path, model / "other.safetensors", rows(), "classification")
    assert answer.code == 0
    base = json.loads((tmp_path / "run" / "model" / "model.json").read_text())["base"]
    assert base["source"] == str((model / "other.safetensors").resolve())
    change(model, lambda t: t[NAME].mul_(2))  # not the base of this run
    assert [p.row for p in mt.Run(tmp_path / "run").predict(["my card"])] == [0]
    change(model, lambda t: t[NAME].mul_(2), "other.safetensors")
    with pytest.raises(mt.RunError, match="has changed since this run"):
        mt.load(tmp_path / "run")


def test_files_that_are_no_model(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shard(model)
    alone = tmp_path / "alone.safetensors"
    alone.write_bytes((model / "model-1.safetensors").read_bytes())
    for path, part in (
        (model / "model-1.safetensors", "one of several shards of a model; give the folder that holds them all."),
        (alone, "there is no config.json beside this file, which says what its tensors are; put it there."),
        (model / "config.json", "a file; give the folder that holds config.json and the weights."),
    ):
        check(tune(capsys, tmp_path, path, rows(), "classification"), path, [f"{{}}: {part}"])


# ------------------------------------------------------------------------------------------------- adapters of others


@pytest.fixture
def adapter(model: Path, tmp_path: Path) -> Path:
    made, method = mt.load(model), make_method(Choice(name="lora", rank=2))
    assert isinstance(method, LoRA)
    method.attach(made.network)
    write_peft(tmp_path / "adapter", made, method, base_name=str(model))
    return tmp_path / "adapter"


ADAPTERS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "mlx-lm": (
        {"fine_tune_type": "lora", "num_layers": 2, "lora_parameters": {"rank": 8, "scale": 20.0}, "model": "x/y"},
        ["an adapter of mlx-lm, which only shares the file name with PEFT", "mlx_lm.fuse"],
    ),
    "adapters": (
        {"config": {"reduction_factor": 16}, "model_class": "BertAdapterModel", "model_type": "bert", "name": "sst-2"},
        ["an adapter of AdapterHub's `adapters`", '"config" is its field'],
    ),
    "litgpt": (
        {"lora_r": 8, "lora_alpha": 16, "lora_query": True},
        ["an adapter of LitGPT", "merge it with `litgpt merge_lora`"],
    ),
    "lycoris": ({"algo": "loha", "linear_dim": 8, "linear_alpha": 4}, ["an adapter of LyCORIS"]),
    "kohya": ({"network_module": "networks.lora", "network_dim": 8}, ["an adapter of kohya's sd-scripts"]),
    "opendelta": ({"delta_type": "lora", "lora_r": 8}, ["an adapter of OpenDelta"]),
    "loha": ({"peft_type": "LOHA", "r": 8}, ['peft_type "LOHA" is not supported (LoHa of LyCORIS', "merge_and_unload"]),
    "prompt by an encoder": (
        {"peft_type": "P_TUNING", "num_virtual_tokens": 8},
        [
            'peft_type "P_TUNING" is not supported (prompt tuning by an encoder)',
            "only IA3, LORA, PREFIX_TUNING and PROMPT_TUNING adapters are read: it adds virtual",
        ],
    ),
    "adaption": (
        {"peft_type": "ADAPTION_PROMPT"},
        ['"ADAPTION_PROMPT" is not supported (LLaMA-Adapter)', "cannot be merged"],
    ),
    "half a prefix": ({"peft_type": "PREFIX_TUNING"}, ['"task_type" is missing']),
    "of the future": (
        {"peft_type": "MAGIC"},
        ['peft_type "MAGIC" is not supported; only IA3, LORA, PREFIX_TUNING and PROMPT_TUNING adapters are read.'],
    ),
    "empty": (
        {},
        ['peft_type "None" is not supported; only IA3, LORA, PREFIX_TUNING and PROMPT_TUNING adapters are read.'],
    ),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapters_of_other_tools(name: str, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values, parts = ADAPTERS[name]
    (adapter / "adapter_config.json").write_text(json.dumps(values))
    answer = tune(capsys, tmp_path, adapter, rows(), "classification")
    check(answer, adapter, ["{}/adapter_config.json: ", *parts])


TENSORS = {
    "base_model.model.model.layers.0.self_attn.q_proj.hada_w1_a": "LoHa (LyCORIS)",
    "base_model.model.model.layers.0.self_attn.q_proj.lokr_w1": "LoKr (LyCORIS)",
    "base_model.model.model.layers.0.self_attn.q_proj.lora_E": "AdaLoRA",
    "model.layers.0.self_attn.q_proj.lora_a": "mlx-lm",
    "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": "kohya's sd-scripts",
    "prompt_embeddings": "prompt or prefix tuning",
}


@pytest.mark.parametrize("tensor", TENSORS)
def test_tensors_of_other_methods(
    tensor: str, adapter: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The config of a LoRA beside the weights of something else."""
    change(adapter, lambda t: t.update({tensor: torch.ones(2, 2)}), "adapter_model.safetensors")
    answer = tune(capsys, tmp_path, adapter, rows(), "classification")
    wanted = (
        f'{{}}/adapter_model.safetensors: tensor "{tensor}" is one of {TENSORS[tensor]}, not of LoRA as peft writes it'
    )
    check(answer, adapter, [wanted])


def test_bases_of_adapters(adapter: Path, model: Path, tmp_path: Path) -> None:
    """The base by path, by a path relative to the adapter, by an embedded name, or not to be found."""
    path = adapter / "adapter_config.json"
    values = json.loads(path.read_text())
    wanted = mt.load(adapter).logits([[1, 2, 3]])[0]
    for name in (str(model), "../model", f"../model/{WEIGHTS}"):
        path.write_text(json.dumps(values | {"base_model_name_or_path": name}))
        if name.endswith(WEIGHTS):
            with pytest.raises(mt.InputError, match="the base of this adapter cannot be found"):
                mt.load(adapter)
        else:
            assert torch.equal(mt.load(adapter).logits([[1, 2, 3]])[0], wanted)
    path.write_text(json.dumps(values | {"base_model_name_or_path": "sprout"}))
    with pytest.raises(mt.InputError, match=r"adapter_model\.safetensors: "):  # found; its shapes are others
        mt.load(adapter)
    assert torch.equal(mt.load(adapter.parent / "model").logits([[1, 2]])[0], mt.load(model).logits([[1, 2]])[0])
    path.write_text(json.dumps(values))
    assert torch.equal(mt.load(adapter / "adapter_model.safetensors").logits([[1, 2, 3]])[0], wanted)
