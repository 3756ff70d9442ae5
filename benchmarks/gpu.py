"""LoRA on one GPU: microtune as it comes beside transformers' Trainer with peft, in bfloat16, on the same card.

    python benchmarks/gpu.py                      both shapes, about two minutes
    python benchmarks/gpu.py --seconds 60         less
    python benchmarks/gpu.py --profile            and what one step of each side consists of
    python benchmarks/gpu.py --tiny --seconds 5   tiny shapes, on a CPU too: whether it runs

Both sides read the same files (random weights in bfloat16), the same rows of token ids, the same number of rows per
step, LoRA of rank 16 on all linear layers, AdamW with a constant rate and gradients clipped at norm 1. Each side first
trains alone from the files (its peak of allocated memory, and its loss on held-out rows after the same number of rows,
in an order of its own); then both take turns. A turn is timed as a whole, from a synchronised device to a synchronised
device, without its first steps; tokens are those that are no padding, and of the turns the median counts.

Useful work per token: what the products of the model need, whoever computes them (frozen weights: forward and the
gradient in the input; LoRA: three products; the vocabulary at supervised tokens alone). Its share of the peak is that
of an 8192 x 8192 x 8192 product in bfloat16 here.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gpu_cases import CASES, PAD, SHARED, TINY_CASES, Case, Row, make_rows

IGNORED = -100
ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
RATE, RANK, ALPHA = 1e-3, 16, 32
HELD_OUT, WARM, TURNS = 16, 4, 3


@dataclass
class Turn:
    """Seconds, and the work done in them."""

    seconds: float
    steps: int
    tokens: int
    supervised: int


@dataclass
class Found:
    """What is known of one side."""

    peak: float = 0.0
    loss: float = 0.0
    trainable: int = 0
    turns: list[Turn] = field(default_factory=list)
    planned: int = 0  # steps of one turn

    def rate(self) -> float:
        """Tokens per second, the median of the turns."""
        return statistics.median(t.tokens / t.seconds for t in self.turns)

    def step(self) -> float:
        """Seconds of a step."""
        return statistics.median(t.seconds / t.steps for t in self.turns)

    def supervised(self) -> float:
        """Supervised tokens per token."""
        return sum(t.supervised for t in self.turns) / sum(t.tokens for t in self.turns)


class Clock:
    """Seconds from the end of the first steps to now, on a device that has nothing left to do."""

    def __init__(self, device: torch.device) -> None:
        self.device, self.begin = device, 0.0

    def wait(self) -> float:
        """Now."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def start(self) -> None:
        """The steps that count begin."""
        self.begin = self.wait()

    def seconds(self) -> float:
        """They have ended."""
        return self.wait() - self.begin


class Ours:
    """microtune: its training as `tune` makes it, on ids instead of texts."""

    name = "microtune, as it comes"

    def __init__(self, folder: Path, rows: list[Row], batch: int, device: torch.device) -> None:
        from microtune.adapt.base import make_method
        from microtune.recipe import Choice, Train
        from microtune.run.load import load
        from microtune.run.precision import HeldBase, resolve
        from microtune.run.train import Training
        from microtune.tasks.instruction import Instruction

        self.device, self.batch = device, batch
        model, self.clock = load(str(folder)), Clock(device)
        network = model.network.to(device)
        torch.manual_seed(0)
        method = make_method(Choice(name="lora", rank=RANK, alpha=ALPHA))
        attachment = method.attach(network)
        self.rows, items = rows, [self.item(row) for row in rows]
        asked = "auto" if device.type == "cuda" else "bfloat16"
        precision = resolve(asked, device, width=network.spec.hidden_size, rows=4096, ragged=True)
        HeldBase(network, precision, lambda: load(str(folder)).network)
        settings = Train(
            batch_size=batch, lr=RATE, schedule="constant", warmup=0, weight_decay=0, epochs=10_000, keep="last"
        )
        self.training = Training(
            network, Instruction(), method, attachment, items, settings, seed=0, precision=precision
        )
        self.steps = self.training.fit()
        self.trainable = sum(attachment.trainable.values())

    @staticmethod
    def item(row: Row) -> Any:
        """As the task makes it of a text: the last token is a target only."""
        from microtune.data.batches import Item

        ids = np.asarray(row.ids)
        places = np.arange(row.prompt, len(ids))
        return Item(ids[:-1], places - 1, ids[places])

    def turn(self, count: int) -> Turn:
        """`count` steps, and the first ones."""
        tokens = supervised = 0
        for number in range(count + WARM):
            if number == WARM:
                self.clock.start()
            step = next(self.steps)
            if number >= WARM:
                tokens, supervised = tokens + step.tokens, supervised + step.supervised
        return Turn(self.clock.seconds(), count, tokens + count * self.batch, supervised)

    def loss(self, rows: list[Row]) -> float:
        """Mean over all targets of other rows."""
        from microtune.data.batches import collate

        training, total, count = self.training, 0.0, 0
        training.model.eval()
        with torch.inference_mode():
            for row in rows:
                batch = collate([self.item(row)]).to(self.device)
                total += float(training.loss(batch, []))
                count += len(row.ids) - row.prompt
        return total / count


class Theirs:
    """transformers' Trainer with peft's LoRA, bf16=True."""

    name = "transformers + peft, bfloat16"

    def __init__(self, folder: Path, rows: list[Row], batch: int, device: torch.device) -> None:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        self.device, self.batch, self.rows, self.clock = device, batch, rows, Clock(device)
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.bfloat16)
        asked = {"r": RANK, "lora_alpha": ALPHA, "lora_dropout": 0.0, "target_modules": ALL_LINEAR}
        self.model = get_peft_model(model, LoraConfig(**asked, task_type="CAUSAL_LM")).to(device)
        self.trainable = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        self.sizes: list[tuple[int, int]] = []

    def collate(self, rows: list[Row]) -> dict[str, torch.Tensor]:
        """Padded on the right to the longest."""
        longest = max(len(row.ids) for row in rows)
        self.sizes.append((sum(len(row.ids) for row in rows), sum(len(row.ids) - row.prompt for row in rows)))
        ids = torch.full((len(rows), longest), PAD)
        labels = torch.full((len(rows), longest), IGNORED)
        mask = torch.zeros(len(rows), longest, dtype=torch.int64)
        for place, row in enumerate(rows):
            own = torch.tensor(row.ids)
            ids[place, : len(own)], mask[place, : len(own)] = own, 1
            labels[place, row.prompt : len(own)] = own[row.prompt :]
        return {"input_ids": ids, "attention_mask": mask, "labels": labels}

    def turn(self, count: int) -> Turn:
        """`count` steps, and the first ones."""
        from transformers import Trainer, TrainerCallback, TrainingArguments

        clock = self.clock

        class Reader(TrainerCallback):
            def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
                if state.global_step == WARM:
                    clock.start()

            def on_train_end(self, *_: Any, **__: Any) -> None:
                self.seconds = clock.seconds()

        reader, self.sizes = Reader(), []
        settings = {"learning_rate": RATE, "lr_scheduler_type": "constant", "weight_decay": 0.0, "report_to": "none"}
        with tempfile.TemporaryDirectory() as out:
            own = {
                "output_dir": out,
                "per_device_train_batch_size": self.batch,
                "max_steps": count + WARM,
                "bf16": True,
            }
            trainer = Trainer(
                model=self.model,
                args=TrainingArguments(
                    **{**own, **settings, "save_strategy": "no", "disable_tqdm": True, "remove_unused_columns": False},
                    use_cpu=self.device.type == "cpu",
                    logging_strategy="no",
                ),
                train_dataset=self.rows,
                data_collator=self.collate,
                callbacks=[reader],
            )
            trainer.train()
        done = self.sizes[WARM : WARM + count]
        return Turn(reader.seconds, count, sum(tokens for tokens, _ in done), sum(answers for _, answers in done))

    def loss(self, rows: list[Row]) -> float:
        """Mean over all targets of other rows."""
        self.model.eval()
        total, count = 0.0, 0
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16):
            for row in rows:
                batch = {name: value.to(self.device) for name, value in self.collate([row]).items()}
                supervised = len(row.ids) - row.prompt
                total, count = total + float(self.model(**batch).loss) * supervised, count + supervised
        return total / count


SIDES = (Ours, Theirs)


def write_model(shape: dict[str, Any], folder: Path, device: torch.device) -> None:
    """Random weights in bfloat16, as published models of these shapes are stored."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        model = LlamaForCausalLM(LlamaConfig(**{**SHARED, **shape}))
    model.to(torch.bfloat16).save_pretrained(folder)


def useful(shape: dict[str, Any], trainable: int, supervised: float, length: float) -> float:
    """Floating-point operations per token; `supervised` of the tokens are, rows have `length` tokens."""
    D, layers, F = (shape[key] for key in ("hidden_size", "num_hidden_layers", "intermediate_size"))
    heads, keys = shape["num_attention_heads"], shape["num_key_value_heads"]
    block = 2 * D * D + 2 * D * D * keys // heads + 3 * D * F
    attention = 3 * 2 * D * length  # two products over half of the keys, three times
    return 4 * block * layers + 6 * trainable + 4 * D * shape["vocab_size"] * supervised + attention * layers


def product_peak(device: torch.device, size: int) -> float:
    """TFLOP/s of a square product in bfloat16: the median of ten."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    clock, times = Clock(device), []
    for _ in range(13):
        clock.start()
        torch.mm(left, right)
        times.append(clock.seconds())
    return 2 * size**3 / statistics.median(times[3:]) / 1e12


def allocated(device: torch.device, *, peak: bool = False) -> float:
    """Bytes on the card; on a CPU nothing is counted."""
    if device.type != "cuda":
        return 0.0
    return float(torch.cuda.max_memory_allocated() if peak else torch.cuda.memory_allocated())


def measure(case: Case, device: torch.device, seconds: float, profile: bool) -> dict[str, Found]:
    """Both sides alone, then in turns for about so many seconds."""
    rows, held_out = (make_rows(count, case.shape["vocab_size"], seed) for count, seed in ((512, 1), (HELD_OUT, 2)))
    rows *= max(1, -(-case.batch * 8 // len(rows)))
    sides: dict[str, Any] = {}
    found: dict[str, Found] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_model(case.shape, Path(folder), device)
        for kind in SIDES:
            if device.type == "cuda":
                torch.cuda.empty_cache()
                torch.cuda.reset_peak_memory_stats()
            before = allocated(device)
            side = sides[kind.name] = kind(Path(folder), rows, case.batch, device)
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats()
            one = found[kind.name] = Found(trainable=side.trainable)
            alone = side.turn(case.alone - WARM)
            one.peak, one.loss = allocated(device, peak=True) - before, side.loss(held_out)
            one.planned = max(4, min(200, int(seconds / len(SIDES) / TURNS * alone.steps / alone.seconds)))
    for _ in range(TURNS):
        for name, side in sides.items():
            found[name].turns.append(side.turn(found[name].planned))
    if profile:
        for name, side in sides.items():
            show_profile(f"{case.name}: {name}", side, device)
    return found


def show_profile(title: str, side: Any, device: torch.device) -> None:
    """Where the time of a few steps goes, and how many kernels were started."""
    from torch.profiler import ProfilerActivity, profile

    kinds = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=kinds) as seen:
        side.turn(1)
    events = seen.key_averages()
    starts = sum(event.count for event in events if event.key.startswith(("cudaLaunchKernel", "cuLaunchKernel")))
    print(f"\n### {title}: {starts / (WARM + 1):.0f} kernels a step\n")
    for sort in ("self_device_time_total", "self_cpu_time_total")[device.type != "cuda" :]:
        print(events.table(sort_by=sort, row_limit=18, max_name_column_width=60))


def main() -> None:
    """All cases; prints the table and writes what it is made of."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=80, help="for the turns of all cases together")
    parser.add_argument("--cases", help="numbers of the cases, such as 0,2; default: all")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes, on a CPU too")
    parser.add_argument("--profile", action="store_true", help="also what a step consists of")
    parser.add_argument("--out", type=Path, default=Path("gpu.json"), help="file for all figures")
    arguments = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.type == "cpu" and not arguments.tiny:
        raise SystemExit("There is no CUDA GPU here; --tiny runs on a CPU.")
    cases = TINY_CASES if arguments.tiny else CASES
    cases = [cases[int(i)] for i in arguments.cases.split(",")] if arguments.cases else cases
    peak = product_peak(device, 512 if arguments.tiny else 8192)
    card = torch.cuda.get_device_name() if device.type == "cuda" else platform.machine()
    print(f"{card}, torch {torch.__version__}; a square product in bfloat16: {peak:.3g} TFLOP/s\n")
    print("| LoRA r=16 | contender | tokens/s | against | share of peak | ms a step | peak memory | loss |")
    print("|" + " --- |" * 8)
    report: list[dict[str, Any]] = []
    for case in cases:
        try:
            found = measure(case, device, arguments.seconds / len(cases), arguments.profile)
        except torch.OutOfMemoryError as error:
            print(f"| {case.name} | out of memory: {str(error).splitlines()[0]} |", flush=True)
            continue
        against = found[Theirs.name].rate()
        for name, one in found.items():
            length = statistics.mean(len(row.ids) for row in make_rows(512, case.shape["vocab_size"], 1))
            share = one.rate() * useful(case.shape, one.trainable, one.supervised(), length) / peak / 1e12
            cells = f"{one.rate():,.0f} | {one.rate() / against:.2f}x | {share:.1%} | {one.step() * 1e3:.1f}"
            print(f"| {case.name} | {name} | {cells} | {one.peak / 1e9:.2f} GB | {one.loss:.4f} |", flush=True)
            facts = {"rate": one.rate(), "share": share, "step": one.step(), "peak_bytes": one.peak, "loss": one.loss}
            turns = [vars(turn) for turn in one.turns]
            report.append({"case": case.name, "side": name, **facts, "trainable": one.trainable, "turns": turns})
        if len({one.trainable for one in found.values()}) != 1:
            print(f"| {case.name} | VOID: the sides train different numbers of parameters |")
        losses = [one.loss for one in found.values()]
        if max(losses) / min(losses) > 1.01:
            print(f"| {case.name} | VOID: the losses differ by more than 1 % |")
        if device.type == "cuda":
            torch.cuda.empty_cache()
    arguments.out.write_text(json.dumps({"card": card, "torch": torch.__version__, "peak": peak, "rows": report}))


if __name__ == "__main__":
    main()
