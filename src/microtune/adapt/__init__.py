"""One file per adaptation method; methods know roles, never a family or a task."""

from microtune.adapt import bitfit, bottleneck, full, head, ia3, lora, norms, prefix, prompt, reinit, several, top
from microtune.adapt.base import make_method, methods

__all__ = [
    "bitfit",
    "bottleneck",
    "full",
    "head",
    "ia3",
    "lora",
    "make_method",
    "methods",
    "norms",
    "prefix",
    "prompt",
    "reinit",
    "several",
    "top",
]
