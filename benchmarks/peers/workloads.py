"""The workloads: which rows, how many steps, and who takes part.

Everything is generated from fixed seeds, but the few-shot data, which `--data` names. `FULL` and `QUICK` differ in
sizes only. `CONTENDERS` is the table of all measurements: a name, the child that makes it, and its options; a further
setting of microtune is one line more.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

LLAMA = {
    "hidden_size": 576,
    "num_hidden_layers": 30,
    "num_attention_heads": 9,
    "num_key_value_heads": 3,
    "intermediate_size": 1536,
    "vocab_size": 49152,
    "max_position_embeddings": 2048,
}
TINY_LLAMA = {**LLAMA, "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 6, "intermediate_size": 96}
TINY_LLAMA |= {"vocab_size": 512}
DECODER = {**TINY_LLAMA, "hidden_size": 384, "num_hidden_layers": 6, "num_key_value_heads": 6, "vocab_size": 8192}
DECODER |= {"intermediate_size": 1024, "max_position_embeddings": 256}
TINY_DECODER = {**DECODER, "hidden_size": 48, "num_hidden_layers": 2, "intermediate_size": 96, "vocab_size": 512}
SHAPES = {"llama": LLAMA, "tiny-llama": TINY_LLAMA, "decoder": DECODER, "tiny-decoder": TINY_DECODER}
SPECIAL = ("<unk>", "<eos>", "<pad>")
CLASSES, SHOTS, HELD_OUT = 77, 8, 8
BLOCK = 256  # tokens of one row in pretraining


@dataclass(frozen=True)
class Workload:
    """Sizes of one workload. rate: what `value` of a result is; checked: whether both sides must agree."""

    model: str
    rows: int = 0
    batch_size: int = 8
    epochs: int = 1
    warmup: int = 0
    repeats: int = 3
    lr: float = 1e-3
    rate: str = "tokens/s"
    checked: bool = True
    loss: str = "held-out loss"


FULL = {
    "lora": Workload("llama", rows=48, warmup=1, lr=3e-3),
    "top2": Workload("llama", rows=16, epochs=5, rate="samples/s"),
    "head": Workload("minilm", rows=10_000, batch_size=32, epochs=10, lr=3e-4, rate="samples/s", loss="epoch loss"),
    "full": Workload("minilm", rows=1024, batch_size=32, lr=2e-5, rate="samples/s"),
    "fewshot": Workload("minilm", rate="accuracy", checked=False, repeats=1),
    "pretrain": Workload("decoder", rows=192, batch_size=16, warmup=2),
    "startup": Workload("", rate="seconds", checked=False),
    "load": Workload("llama", rate="times the file", checked=False),
}
QUICK = {
    "lora": Workload("tiny-llama", rows=24, warmup=1, repeats=1, lr=1e-2),
    "top2": Workload("tiny-llama", rows=16, epochs=2, repeats=1, rate="samples/s"),
    "head": Workload("minilm", rows=154, batch_size=77, epochs=2, repeats=1, rate="samples/s", loss="epoch loss"),
    "full": Workload("minilm", rows=154, batch_size=77, lr=2e-5, repeats=1, rate="samples/s"),
    "fewshot": Workload("minilm", rate="accuracy", checked=False, repeats=1),
    "pretrain": Workload("tiny-decoder", rows=6, batch_size=2, warmup=1, repeats=1),
    "startup": Workload("", rate="seconds", checked=False, repeats=1),
    "load": Workload("tiny-llama", rate="times the file", checked=False, repeats=1),
}

Options = dict[str, Any]
BFLOAT16: Options = {"train": {"precision": "bfloat16"}}
FLOAT32: Options = {"train": {"precision": "float32"}}
INT8: Options = {"train": {"precision": "int8"}}
COMPILED: Options = {"train": {"compile": True}}

# The first one of microtune is what the others are compared with.
CONTENDERS: dict[str, list[tuple[str, str, Options]]] = {
    "lora": [
        ("microtune, as it comes", "microtune", {}),
        ("microtune, float32", "microtune", FLOAT32),
        ("microtune, bfloat16", "microtune", BFLOAT16),
        ("microtune, int8", "microtune", INT8),
        ("transformers + peft, as it comes (float32)", "transformers", {}),
        ("transformers + peft, bf16=True", "transformers", {"bf16": True}),
        ("transformers + peft, model in bfloat16", "transformers", {"dtype": "bfloat16"}),
        ("the same, rows grouped by length", "transformers", {"dtype": "bfloat16", "sampling": "group_by_length"}),
        ("trl SFTTrainer, as it comes", "trl", {}),
        ("trl SFTTrainer, packed", "trl", {"packing": True}),
        ("litgpt LoRA, 32-true, one row at once", "litgpt", {"micro_batch": 1}),
    ],
    "top2": [
        ("microtune, as it comes", "microtune", {}),
        ("transformers, float32", "transformers", {}),
        ("transformers, bf16=True", "transformers", {"bf16": True}),
    ],
    "head": [
        ("microtune, as it comes", "microtune", {}),
        ("transformers, float32, 1 epoch", "transformers", {"epochs": 1}),
        ("transformers, bf16=True, 1 epoch", "transformers", {"epochs": 1, "bf16": True}),
    ],
    "full": [
        ("microtune, as it comes", "microtune", {}),
        ("microtune, float32", "microtune", FLOAT32),
        ("microtune, bfloat16", "microtune", BFLOAT16),
        ("transformers, float32", "transformers", {}),
        ("transformers, bf16=True", "transformers", {"bf16": True}),
    ],
    "fewshot": [
        ("microtune, head", "microtune", {"method": "head", "epochs": 20}),
        ("microtune, top:2", "microtune", {"method": "top:2", "epochs": 10}),
        ("setfit, num_iterations=5", "setfit", {"num_iterations": 5}),
    ],
    "pretrain": [
        ("microtune, as it comes", "microtune", {}),
        ("microtune, float32", "microtune", FLOAT32),
        ("microtune, bfloat16", "microtune", BFLOAT16),
        ("microtune, blocks compiled", "microtune", COMPILED),
        ("transformers loop, float32", "transformers", {}),
        ("transformers loop, bfloat16 autocast", "transformers", {"bf16": True}),
        ("torch.mm, float32 (the peak)", "products", {"dtype": "float32"}),
        ("torch.mm, bfloat16 (the peak)", "products", {"dtype": "bfloat16"}),
    ],
    "startup": [
        ("microtune --help", "startup", {"arguments": ["-m", "microtune", "--help"]}),
        ("import microtune", "startup", {"arguments": ["-c", "import microtune"]}),
        ("microtune.load and tune, imported", "startup", {"arguments": ["-c", "from microtune import load, tune"]}),
        ("import transformers", "startup", {"arguments": ["-c", "import transformers"]}),
        ("transformers Trainer, imported", "startup", {"arguments": ["-c", "from transformers import Trainer"]}),
        ("trl SFTTrainer, imported", "startup", {"arguments": ["-c", "from trl import SFTTrainer"]}),
        ("import setfit", "startup", {"arguments": ["-c", "import setfit"]}),
    ],
    "load": [
        ("microtune.load", "load", {"library": "microtune"}),
        ("transformers from_pretrained", "load", {"library": "transformers"}),
    ],
}


def syllable_words(count: int) -> list[str]:
    """`count` different invented words."""
    consonants, vowels = "bdfgklmnprstvz", "aeiou"
    parts = [c + v for c in consonants for v in vowels]
    words = [a + b + c for a in parts for b in parts for c in parts[:15]]
    return words[:count] if count <= len(words) else _too_many(count)


def _too_many(count: int) -> list[str]:
    raise ValueError(f"there are no {count} words")


class Text:
    """Words drawn with frequencies like those of a language (Zipf, 1935), so that there is something to learn."""

    def __init__(self, vocabulary: int, seed: int) -> None:
        self.random = random.Random(seed)
        self.words = syllable_words(vocabulary - len(SPECIAL))
        random.Random(0).shuffle(self.words)
        self.weights = list(accumulate(1 / (rank + 2) for rank in range(len(self.words))))

    def draw(self, count: int) -> str:
        """`count` words, each one token."""
        return " ".join(self.random.choices(self.words, cum_weights=self.weights, k=count))

    def length(self, mean: float, spread: float, least: int, most: int) -> int:
        """A length in words."""
        return int(min(max(self.random.gauss(mean, spread), least), most))


def answer_rows(count: int, vocabulary: int, seed: int) -> Iterator[dict[str, str]]:
    """Prompts of 120 ± 60 tokens and answers of 60 ± 40."""
    text = Text(vocabulary, seed)
    for _ in range(count):
        prompt, answer = text.draw(text.length(120, 60, 16, 400)), text.draw(text.length(60, 40, 8, 300))
        yield {"prompt": prompt, "completion": " " + answer}


FILLERS = """i we please the my a can could how why when what need want help with about for from this that today now"""
TOPICS = """
card bank account transfer money payment cash refund fee rate balance top limit pin phone app code identity address
travel hotel flight train ticket bus car fuel insurance weather rain music song film book news sport team game food
order pizza coffee menu table kitchen doctor medicine health sleep school lesson teacher exam office meeting email
letter package delivery shop price shoes shirt garden tree dog cat water light energy battery screen printer passport
window engine library bicycle
"""
PROBLEMS = """lost late wrong broken missing new double pending old cheap blocked open closed slow safe"""


def labelled_rows(count: int, seed: int) -> Iterator[dict[str, str]]:
    """Texts of about 12 tokens in 77 classes; a class is a topic with a problem."""
    generator, fillers, topics, problems = random.Random(seed), FILLERS.split(), TOPICS.split(), PROBLEMS.split()
    for number in range(count):
        label = number % CLASSES
        words = generator.choices(fillers, k=generator.randint(4, 12))
        words[1:1] = [topics[label]]
        words[3:3] = [problems[label % len(problems)]]
        yield {"text": " ".join(words), "label": f"class {label:02}"}


def document_rows(tokens: int, vocabulary: int, seed: int) -> Iterator[dict[str, str]]:
    """Documents of 200 ± 40 words and an end mark each, `tokens` in all."""
    text = Text(vocabulary, seed)
    while tokens > 1:
        words = min(text.length(200, 40, 20, 250), tokens - 1)
        yield {"text": text.draw(words)}
        tokens -= words + 1


def few_rows(folder: Path, part: str) -> list[dict[str, str]]:
    """Rows of banking77: all of test, and of train the first eight of each class after a fixed shuffle."""
    from microtune.data.sources import read_rows

    (file,) = sorted((folder / "banking77").glob(f"{part}.*"))
    rows = [{"text": str(row.data["text"]), "label": str(row.data["category"])} for row in read_rows(str(file))]
    if part == "test":
        return rows
    random.Random(0).shuffle(rows)
    groups: dict[str, list[dict[str, str]]] = defaultdict(list)
    for row in rows:
        if len(groups[row["label"]]) < SHOTS:
            groups[row["label"]].append(row)
    return [row for label in sorted(groups) for row in groups[label]]


def write(path: Path, rows: Any) -> str:
    """Rows as JSON lines; returns the path."""
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def make_rows(name: str, workload: Workload, folder: Path, data: Path | None, quick: bool) -> dict[str, str]:
    """Write the rows of a workload into `folder`: {train, test}."""
    train, test = folder / f"{name}.train.jsonl", folder / f"{name}.test.jsonl"
    vocabulary = SHAPES[workload.model]["vocab_size"] if workload.model in SHAPES else 0
    if name in ("lora", "top2"):
        parts = (answer_rows(workload.rows, vocabulary, 1), answer_rows(HELD_OUT, vocabulary, 2))
    elif name in ("head", "full"):
        parts = (labelled_rows(workload.rows, 1), labelled_rows(5 * CLASSES, 2))
    elif name == "pretrain":
        tokens = workload.rows * BLOCK + 128
        parts = (document_rows(tokens, vocabulary, 1), document_rows(4000, vocabulary, 2))
    elif name == "fewshot":
        if data is None:
            raise SystemExit("fewshot needs --data FOLDER with a folder banking77 in it.")
        few, rest = few_rows(data, "train"), few_rows(data, "test")
        kept = sorted({row["label"] for row in few})[:3] if quick else {row["label"] for row in few}
        parts = ([row for row in few if row["label"] in kept], [row for row in rest if row["label"] in kept])
    else:
        return {}
    return {"train": write(train, parts[0]), "test": write(test, parts[1])}
