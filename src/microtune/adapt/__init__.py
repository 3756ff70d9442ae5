"""One file per adaptation method; methods know roles, never a family or a task."""

from microtune.adapt import full, head, lora, prefix, prompt, reinit, top
from microtune.adapt.base import make_method, methods

__all__ = ["full", "head", "lora", "make_method", "methods", "prefix", "prompt", "reinit", "top"]
