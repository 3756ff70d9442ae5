"""Peak memory of the vocabulary head: `[R, V]` logits must never exist as a whole.

At V = 50,000 and R = 4,000 supervised tokens the logits alone are 800 MB in float32, and a loss on them needs about
three times as much. Measured in a process of its own, as the growth of the peak of resident memory (VmHWM of Linux, the
peak working set of Windows) over a step that reads 16 tokens.
"""

from __future__ import annotations

import pytest

import fresh_process

BOUND_MB = 250

CHILD = r'''
import sys
import torch
import torch.nn.functional as F
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Transformer
from microtune.ragged import Ragged


def peak():
    """Peak resident memory so far in MB, or None where nothing tells it. (ru_maxrss of Linux counts the parent too.)"""
    try:
        with open("/proc/self/status") as lines:
            values = [line.split()[1] for line in lines if line.startswith("VmHWM")]
        return int(values[0]) / 1024 if values else None
    except OSError:
        import psutil

        info = psutil.Process().memory_info()
        return info.peak_wset / 2**20 if hasattr(info, "peak_wset") else None


def step(mode, tokens, asked):
    ids = Ragged(torch.randint(50_000, (tokens,)), torch.full((tokens // 50,), 50))
    readout, targets = torch.arange(tokens)[:asked], torch.randint(50_000, (asked,))
    if mode == "evaluate":
        with torch.no_grad():
            hidden = model(ids, readout=readout)
            model.head.log_probabilities(hidden, targets), model.head.top_k(hidden, 5)
        return
    hidden = model(ids, readout=readout)
    loss = F.cross_entropy(model.head(hidden), targets) if mode == "whole" else model.head.loss(hidden, targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()


torch.set_num_threads(2)
stack = StackSpec(num_layers=1, hidden_size=32, num_heads=2, intermediate_size=64, causal=True)
model = Transformer(ModelSpec(vocab_size=50_000, decoder=stack))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
mode, tokens = sys.argv[1], int(sys.argv[2])
for _ in range(2):
    step("train", tokens, 16)
before = peak()
step(mode, tokens, tokens)
print("unknown" if before is None else peak() - before)
'''


def growth(mode: str, tokens: int) -> float:
    done = fresh_process.run(CHILD, mode, str(tokens))
    if done.stdout.strip() == "unknown":
        pytest.skip("this platform tells no peak of resident memory")
    return float(done.stdout)


@pytest.mark.parametrize("mode", ["train", pytest.param("evaluate", marks=pytest.mark.slow)])
def test_four_thousand_supervised_tokens_need_no_full_logits(mode: str) -> None:
    assert growth(mode, 4_000) < BOUND_MB


def test_the_measure_sees_whole_logits() -> None:
    """A quarter of the tokens, the logits as a whole: the bound above would fail."""
    assert growth("whole", 1_000) > 1.5 * BOUND_MB
