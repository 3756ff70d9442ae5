"""Loading a checkpoint in the type of its file: the most memory during it, in sizes of the file.

ratio          (peak - memory after `import torch`) / file size: the library's own imports count
ratio_loading  (peak - memory after all imports) / file size: loading alone
ratio_read     the first one, with every weight read once after loading, as any use does: weights that stay in a
               mapped file take memory only then
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any

from measure import answer, memory, read_job


def load(library: str, folder: str) -> dict[str, Any]:
    """Import, load, look at the memory."""
    import torch

    size = sum(file.stat().st_size for file in Path(folder).glob("*.safetensors")) / 1e6
    after_torch = memory("VmRSS")
    if library == "microtune":
        from microtune import load as open_model
    else:
        from transformers import AutoModelForCausalLM
        from transformers.models.llama.modeling_llama import LlamaForCausalLM  # noqa: F401 - imported lazily otherwise

        open_model = AutoModelForCausalLM.from_pretrained
    after_imports, start = memory("VmRSS"), time.perf_counter()
    model = open_model(folder)
    seconds = time.perf_counter() - start
    peak, network = memory("VmHWM"), getattr(model, "network", model)
    assert math.isfinite(sum(float(p.detach().sum()) for p in network.parameters()))
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    return {
        "file_mb": size,
        "load_seconds": seconds,
        "ratio": (peak - after_torch) / size,
        "ratio_loading": (peak - after_imports) / size,
        "ratio_read": (memory("VmHWM") - after_torch) / size,
    }


def main() -> None:
    """One job."""
    job = read_job()
    answer(**load(job["options"]["library"], job["model"]))


if __name__ == "__main__":
    main()
