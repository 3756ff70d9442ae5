"""The n-gram model beside KenLM: the same text, the same words, perplexity of both on the lines that were held out.

    python benchmarks/ngram_vs_kenlm.py --kenlm FOLDER_OF_BUILT_PROGRAMS --text FILE

KenLM (github.com/kpu/kenlm) is built apart: `cmake` and `make lmplz query` leave the programs in build/bin. Words are
what stands between spaces; every tenth line is held out; words that training has not seen are left out of those lines,
since the two have different ideas of what an unknown word costs. KenLM computes in 32 bits.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def ours(train: list[list[str]], held: list[list[str]], order: int, work: Path) -> dict[str, Any]:
    """Perplexity per word, the ends of lines included, and seconds."""
    from microtune.classic.ngram import Table, count_table

    begun = time.perf_counter()
    words = sorted({word for line in train for word in line})
    ids = {word: number for number, word in enumerate(words, 2)}  # 0 begins a line, 1 ends it
    width = len(words) + 2

    def flat(lines: list[list[str]]) -> Any:
        return np.array([i for line in lines for i in (0, *(ids[w] for w in line), 1)], dtype=np.uint32)

    choices = len(words) + 2  # KenLM's: the words, the end of a line, and the unknown word
    *_, table = count_table(flat(train), order, width, 0, choices, work)
    assert isinstance(table, Table)
    asked = flat(held)
    logs = np.log10(table.probabilities(asked))[asked != 0]
    return {"perplexity": 10 ** -logs.mean(), "tokens": len(logs), "seconds": time.perf_counter() - begun}


def theirs(train: list[list[str]], held: list[list[str]], order: int, work: Path, programs: Path) -> dict[str, Any]:
    """The same by lmplz and query."""
    begun = time.perf_counter()
    text, model = work / "train.txt", work / "model.arpa"
    text.write_text("\n".join(" ".join(line) for line in train) + "\n", encoding="utf-8")
    command = [programs / "lmplz", "-o", str(order), "--text", text, "--arpa", model, "-S", "500M", "-T", work]
    subprocess.run([*map(str, command), "--discount_fallback"], check=True, capture_output=True)
    asked = "\n".join(" ".join(line) for line in held) + "\n"
    done = subprocess.run(
        [str(programs / "query"), "-v", "sentence", str(model)], input=asked, capture_output=True, text=True, check=True
    )
    totals = [float(line.split()[1]) for line in done.stdout.splitlines() if line.startswith("Total: ")]
    assert len(totals) == len(held)
    tokens = sum(len(line) + 1 for line in held)
    return {"perplexity": 10 ** (-sum(totals) / tokens), "tokens": tokens, "seconds": time.perf_counter() - begun}


def main() -> None:
    """One line for each order."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kenlm", type=Path, required=True, help="folder with lmplz and query")
    parser.add_argument("--text", type=Path, required=True, help="a text, a sentence a line")
    parser.add_argument("--orders", type=int, nargs="+", default=[2, 3, 5], help="from 2: query reads no less")
    arguments = parser.parse_args()
    lines = [line.split() for line in arguments.text.read_text(encoding="utf-8").splitlines() if line.split()]
    train = [line for number, line in enumerate(lines) if number % 10]
    known = {word for line in train for word in line}
    held = [kept for line in lines[::10] if (kept := [word for word in line if word in known])]
    print("order  words held out  perplexity: ours  KenLM  difference  seconds: ours  KenLM")
    for order in arguments.orders:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            a = ours(train, held, order, work)
            b = theirs(train, held, order, work, arguments.kenlm)
        off = math.expm1(math.log(a["perplexity"]) - math.log(b["perplexity"]))
        print(
            f"{order:5}  {a['tokens']:14,}  {a['perplexity']:16.4f}  {b['perplexity']:.4f}  {off:+.1e}"
            f"  {a['seconds']:13.2f}  {b['seconds']:.2f}"
        )


if __name__ == "__main__":
    main()
