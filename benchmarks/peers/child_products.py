"""The machine's own peak: large matrix products by torch.mm, in GFLOP/s; what pretraining rates are a share of."""

from __future__ import annotations

import time
from typing import Any

from measure import answer, read_job

SIZES = ((2048, 2048, 2048), (4096, 1024, 4096), (4096, 384, 1024))
SECONDS = 1.0


def peak(dtype_name: str) -> dict[str, Any]:
    """The fastest product of several shapes; of each, the median over a second."""
    import torch

    dtype, found = getattr(torch, dtype_name), {}
    for n, k, m in SIZES:
        left, right, out = (torch.ones(shape, dtype=dtype) for shape in ((n, k), (k, m), (n, m)))
        torch.mm(left, right, out=out)
        times, begin = [], time.perf_counter()
        while time.perf_counter() - begin < SECONDS:
            start = time.perf_counter()
            torch.mm(left, right, out=out)
            times.append(time.perf_counter() - start)
        found[f"{n}x{k}x{m}"] = 2 * n * k * m / sorted(times)[len(times) // 2] / 1e9
    return {"dtype": dtype_name, "gflops": max(found.values()), "products": found}


def main() -> None:
    """One job."""
    answer(**peak(read_job()["options"]["dtype"]))


if __name__ == "__main__":
    main()
