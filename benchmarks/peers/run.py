"""Speed and memory of microtune beside other tools, on the same models, rows and steps, interleaved in one run.

    python benchmarks/peers/run.py --quick                          every workload in small: do all children work?
    python benchmarks/peers/run.py --workload lora top2             the figures; needs a quiet machine
    python benchmarks/peers/run.py --workload lora --only transformers        fewer contenders
    python benchmarks/peers/run.py --data FOLDER                    all; FOLDER/banking77/{train,test}.* for `fewshot`

The first call makes the environment (environment.py), which holds microtune and all peers; this script itself needs
only Python 3.11. Workloads, what is measured, and about how many minutes they take on two cores:

    lora      LoRA of rank 16 on a Llama of 135 M parameters, answers of instruction rows; tokens/s of the steps    45
    top2      the two top blocks of the same model, 5 epochs; samples/s of the whole job                            10
    head      a classifier's head on MiniLM, 10,000 texts, 10 epochs; samples/s of the whole job                    10
    full      all of MiniLM, 1 epoch; samples/s of the whole job                                                     6
    fewshot   8 texts for each class of banking77; seconds and accuracy                                              8
    pretrain  a decoder of 14 M parameters from text; tokens/s, share of the machine's matrix products              10
    startup   command line and imports; seconds                                                                      7
    load      a checkpoint of 540 MB; memory over file size                                                          3

Every measurement is a process of its own. A repeat runs every contender once, and each repeat begins with another one,
so that a slow minute does not always hit the same tool. Both sides read the same files, take as many rows a step,
shuffle them by their own generator, and train with AdamW at one constant rate. Not measured: quality beyond the loss
that must agree, any GPU, tools that need one. Writes OUTPUT.md (the tables) and OUTPUT.json (every raw measurement)
after each measurement.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import environment
import table
from workloads import BLOCK, CONTENDERS, FULL, QUICK, Workload

HERE = Path(__file__).resolve().parent
OFFLINE = {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "WANDB_DISABLED": "true"}
STARTS = 3  # runs of one start-up measurement, in each repeat


class Bench:
    """The state of one run: where things are, and every measurement so far."""

    def __init__(self, arguments: argparse.Namespace, python: Path, work: Path) -> None:
        self.arguments, self.python, self.work = arguments, python, work
        self.table = QUICK if arguments.quick else FULL
        self.record: dict[str, Any] = {"machine": machine(python), "quick": arguments.quick, "workloads": {}}
        self.texts: dict[str, list[str]] = {}

    def child(self, script: str, job: dict[str, Any]) -> dict[str, Any]:
        """Run a child; its answer, or {"failed": why}."""
        log = self.work / "child.log"
        with log.open("w", encoding="utf-8") as errors:
            done = subprocess.run(
                [str(self.python), str(HERE / script), json.dumps(job)],
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                env={**os.environ, **OFFLINE},
                cwd=self.work,
                check=False,
            )
        if done.returncode or not done.stdout.strip():
            tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-25:]
            print("\n".join(tail), file=sys.stderr)
            return {"failed": (tail or [f"exit code {done.returncode}"])[-1][:200].replace("|", "/")}
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def workload(self, name: str) -> None:
        """All repeats of one workload."""
        workload, data = self.table[name], self.arguments.data
        if self.arguments.rows and workload.rows:
            whole = self.arguments.rows // workload.batch_size * workload.batch_size
            workload = replace(workload, rows=max(whole, workload.batch_size))
        places = {"folder": str(self.work), "data": data and str(data)}
        prepared = self.child(
            "prepare.py", {"name": name, "workload": asdict(workload), "quick": self.arguments.quick, **places}
        )
        if "failed" in prepared:
            sys.exit(f"{name}: could not be prepared: {prepared['failed']}")
        self.record["machine"]["versions"] = prepared["versions"]
        chosen = [c for c in CONTENDERS[name] if wanted(c[0], self.arguments.only)]
        measured: table.Measured = {contender: [] for contender, _, _ in chosen}
        self.record["workloads"][name] = {"sizes": asdict(workload), "measured": measured}
        for repeat in range(self.arguments.repeats or workload.repeats):
            first = repeat * max(1, len(chosen) // 3) % len(chosen)
            for contender, script, options in chosen[first:] + chosen[:first]:
                job = self.job(name, workload, prepared, options, repeat)
                measured[contender].append(self.measure(name, contender, script, job))
                self.write(name, workload, measured)

    def job(
        self, name: str, workload: Workload, prepared: dict[str, Any], options: dict[str, Any], repeat: int
    ) -> dict[str, Any]:
        """What a child is told."""
        given = {"workload": name, "model": prepared["model"], "rows": prepared["rows"], "options": options}
        sizes = {"batch_size": workload.batch_size, "epochs": workload.epochs, "lr": workload.lr, "block": BLOCK}
        return {**given, **sizes, "repeat": repeat, "runs": 1 if self.arguments.quick else STARTS}

    def measure(self, name: str, contender: str, script: str, job: dict[str, Any]) -> dict[str, Any]:
        """One measurement, with when it ran and how busy the machine was before."""
        load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
        started, begin = datetime.datetime.now().astimezone().isoformat(timespec="seconds"), time.perf_counter()
        result = self.child(f"child_{script}.py", job)
        result |= {"started": started, "wall": time.perf_counter() - begin, "load": load, "repeat": job["repeat"]}
        state = "failed" if "failed" in result else "done"
        print(f"{name}, repeat {job['repeat'] + 1}, {contender}: {state}, {result['wall']:.0f} s", file=sys.stderr)
        return result

    def write(self, name: str, workload: Workload, measured: table.Measured) -> None:
        """Both output files."""
        if all(measured.values()):
            self.texts[name] = ["", f"### {name}", "", *table.lines(name, workload, measured)]
        output = self.arguments.output
        output.parent.mkdir(parents=True, exist_ok=True)
        output.with_suffix(".json").write_text(json.dumps(self.record, indent=1) + "\n", encoding="utf-8")
        output.with_suffix(".md").write_text(self.markdown(), encoding="utf-8")

    def markdown(self) -> str:
        """Everything so far."""
        about = self.record["machine"]
        versions = ", ".join(f"{k} {v}" for k, v in about.get("versions", {}).items())
        facts = f"{about['date']}; {about['cpu']}, {about['cores']} cores; Python {about['python']}, {versions}."
        quick = (
            ["", "**Quick run: the sizes are tiny and the figures say nothing about speed.**"]
            if self.arguments.quick
            else []
        )
        return "\n".join([facts, *quick, *(line for text in self.texts.values() for line in text)]) + "\n"


def wanted(contender: str, only: list[str] | None) -> bool:
    """Whether `--only` lets a contender through; the first of microtune always runs."""
    return not only or any(word in contender for word in [*only, "microtune, as it comes"])


def machine(python: Path) -> dict[str, Any]:
    """Date, processor, cores, Python."""
    cpu = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        models = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")
        ]
        cpu = models[0] if models else cpu
    version = subprocess.run([str(python), "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.date.today().isoformat(),
        "cpu": cpu,
        "cores": cores,
        "system": platform.platform(),
        "python": version,
    }


def main() -> None:
    """Parse, prepare, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workload", nargs="+", choices=CONTENDERS, help="default: all that can run")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, one repeat: do all children work?")
    parser.add_argument("--repeats", type=int, help="instead of the workload's own number")
    parser.add_argument("--rows", type=int, help="training rows in whole steps, for a check before the long run")
    parser.add_argument("--only", nargs="+", metavar="WORD", help="contenders with one of these words in their name")
    parser.add_argument("--data", type=Path, help="folder with banking77/train.* and test.*, for fewshot")
    parser.add_argument("--environment", type=Path, default=environment.DEFAULT, help="where the tools are installed")
    parser.add_argument("--torch-index", help="for instance https://download.pytorch.org/whl/cpu")
    parser.add_argument("--work", type=Path, help="folder for models and rows, kept; default: a temporary one")
    parser.add_argument("--output", type=Path, default=Path("runs/peers"), help="OUTPUT.md and OUTPUT.json")
    arguments = parser.parse_args()
    names = arguments.workload or [name for name in CONTENDERS if name != "fewshot" or arguments.data]
    if arguments.data:
        arguments.data = arguments.data.absolute()
    python = environment.interpreter(arguments.environment.absolute())
    if not python.exists():
        python = environment.make(arguments.environment.absolute(), arguments.torch_index)
    work = arguments.work.absolute() if arguments.work else Path(tempfile.mkdtemp(prefix="peers-"))
    work.mkdir(parents=True, exist_ok=True)
    try:
        bench = Bench(arguments, python, work)
        for name in names:
            bench.workload(name)
        print(bench.markdown())
    finally:
        if not arguments.work:
            shutil.rmtree(work, ignore_errors=True)


if __name__ == "__main__":
    main()
