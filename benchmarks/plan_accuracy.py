"""How near `microtune plan` comes: predicted and real peak memory and training time of several runs.

    python benchmarks/plan_accuracy.py [--only NAME] [--cpu-time] [--out FILE.json]
    python benchmarks/plan_accuracy.py --limits 0.9 0.8 0.7        does `train.memory` hold?

Prediction and reality are processes of their own. Memory is the peak of the whole run, from start to the saved model
(VmHWM, Linux); time is that of the steps, the frozen trunk's pass and the scoring after each epoch. `--cpu-time`
takes the processor's time in place of the clock's in both, for a machine on which others work too (one thread).
With `--limits`, runs of 64 rows a step that would compute 4096 tokens at once are given these shares of what that would
take as `train.memory`; each line says what the process took in fact, or that the run was refused.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

SPEC = {
    "decoder": {
        "num_layers": 4,
        "hidden_size": 192,
        "num_heads": 4,
        "intermediate_size": 512,
        "causal": True,
        "norm": "rms",
        "mlp": "gated",
        "activation": "silu",
        "positions": "rotary",
        "max_positions": 256,
    }
}
TICKETS: dict[str, Any] = {"task": "classification", "data": "tickets", "model": "sprout"}
RUNS: dict[str, dict[str, Any]] = {
    "sprout head": TICKETS | {"method": "head", "epochs": 3},
    "sprout top:2": TICKETS | {"method": "top:2", "epochs": 3},
    "sprout lora:8": TICKETS | {"method": "lora:8", "epochs": 1},
    "sprout full": TICKETS | {"method": "full", "epochs": 1},
    "instruction lora:8": {"task": "instruction", "model": "sprout", "method": "lora:8", "epochs": 1, "data": "{chat}"},
    "minilm full": TICKETS | {"model": "minilm", "method": "full", "epochs": 1},
    "pretraining": {
        "task": "language-modelling",
        "model": {"spec": SPEC, "tokenizer": {"vocab_size": 4096}},
        "data": {"folder": "{folder}", "block_size": 128, "sources": [{"path": "corpus.txt"}]},
        "method": "full",
        "train": {"epochs": 1, "batch_size": 32},
    },
}
CHILD = """
import json, sys, time
recipe, what, cpu_time, out = json.loads(sys.argv[1]), sys.argv[2], sys.argv[3] == "1", sys.argv[4]
if cpu_time:
    time.perf_counter = time.process_time
import torch
torch.set_num_threads(1)
from microtune.recipe import build
recipe = build({**recipe, "out": out})
if what == "plan":
    from microtune.run.foresee import plan
    begun = time.perf_counter()
    found = plan(recipe)
    print(json.dumps({"peak": found.memory.peak, "seconds": found.pace.total, "took": time.perf_counter() - begun,
        "parts": {p.name: p.bytes for p in found.memory.parts}}))
else:
    from microtune.run import verbs
    from microtune.run.session import Scored, Stage
    from microtune.run.train import Step
    spent, last, counts = 0.0, time.perf_counter(), False
    def note(event):
        # the generator stands still while this runs: the time between two events is that of what led to the second
        global spent, last, counts
        now = time.perf_counter()
        if counts and (isinstance(event, (Step, Scored)) or getattr(event, "name", "").startswith("frozen trunk")):
            spent += now - last
        if isinstance(event, Stage):
            counts = event.name == "training" or event.name.startswith(("frozen trunk", "train "))
        last = time.perf_counter()
    if recipe.data.sources:
        verbs.pretrain(recipe.model_dump(mode="json"), on_event=note)
    else:
        verbs.tune_recipe(recipe, on_event=note)
    with open("/proc/self/status") as lines:
        peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    print(json.dumps({"peak": peak, "seconds": spent}))
"""


def child(recipe: dict[str, Any], what: str, cpu_time: bool, out: str, *, refusal: bool = False) -> dict[str, Any]:
    """Predict or run in a process of its own; `refusal`: that a run does not fit is an answer."""
    command = [sys.executable, "-c", CHILD, json.dumps(recipe), what, str(int(cpu_time)), out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and refusal and "does not fit into memory" in done.stderr:
        return {}
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write_data(folder: Path) -> None:
    """A conversation per ticket, and a corpus of the tickets' texts."""
    from microtune.data.sources import read_rows
    from microtune.run.given import embedded_data

    rows = read_rows(embedded_data("tickets"))
    with (folder / "chat.jsonl").open("w", encoding="utf-8") as out:
        for row in rows[:600]:
            answer = f"This is about {row.data['intent']}. {row.data['text']}"
            out.write(json.dumps({"prompt": row.data["text"], "completion": answer}, ensure_ascii=False) + "\n")
    text = "\n".join(str(row.data["text"]) for row in rows)
    (folder / "corpus.txt").write_text((text + "\n") * 8, encoding="utf-8")


def hold_limits(title: str, recipe: dict[str, Any], shares: list[float], folder: Path) -> None:
    """Runs of one recipe under `train.memory`, and what their processes took."""
    train = {"batch_size": 64, "micro_tokens": 4096, "epochs": recipe.get("epochs", 1)}
    recipe = {key: value for key, value in recipe.items() if key != "epochs"} | {"train": train}
    whole = child(recipe, "plan", False, str(folder / "whole"))["peak"]
    for share in shares:
        limit = int(share * whole)
        limited = recipe | {"train": train | {"memory": f"{limit // 1_000_000}MB"}}
        was = child(limited, "run", False, str(folder / f"{title}-{share}".replace(" ", "-")), refusal=True)
        said = f"{was['peak'] / 1e6:7.0f} MB {was['peak'] / limit - 1:+7.1%}" if was else "refused"
        print(f"{title:20} {limit / 1e6:13.0f} MB {said}", flush=True)


def main() -> None:
    """One line per run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="runs whose name contains this")
    parser.add_argument("--cpu-time", action="store_true", help="processor time in place of the clock")
    parser.add_argument("--out", help="file for all figures, as JSON lines")
    parser.add_argument("--limits", nargs="+", type=float, metavar="SHARE", help="runs under `train.memory` instead")
    chosen = parser.parse_args()
    print(f"{'run':20} {'train.memory':>16} {'real':>10} {'off':>7}") if chosen.limits else print(
        f"{'run':20} {'memory: predicted':>18} {'real':>8} {'off':>7}   {'time: predicted':>15} {'real':>8} {'off':>7}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder)
        for title, values in RUNS.items():
            if chosen.only and chosen.only not in title:
                continue
            text = json.dumps(values).replace("{chat}", str(folder / "chat.jsonl")).replace("{folder}", name)
            if chosen.limits:
                hold_limits(title, json.loads(text), chosen.limits, folder)
                continue
            out = str(folder / title.replace(" ", "-").replace(":", "-"))
            said = child(json.loads(text), "plan", chosen.cpu_time, out)
            was = child(json.loads(text), "run", chosen.cpu_time, out)
            memory, seconds = said["peak"] / was["peak"] - 1, said["seconds"] / was["seconds"] - 1
            print(
                f"{title:20} {said['peak'] / 1e6:15.0f} MB {was['peak'] / 1e6:5.0f} MB {memory:+7.1%}   "
                f"{said['seconds']:13.1f} s {was['seconds']:6.1f} s {seconds:+7.1%}",
                flush=True,
            )
            if chosen.out:
                with open(chosen.out, "a", encoding="utf-8") as lines:
                    lines.write(json.dumps({"run": title, "plan": said, "real": was}) + "\n")


if __name__ == "__main__":
    main()
