"""One file per adaptation method; methods know roles, never a family or a task."""

from microtune.adapt import bottleneck, full, head, lora, reinit, top
from microtune.adapt.base import make_method, methods

__all__ = ["bottleneck", "full", "head", "lora", "make_method", "methods", "reinit", "top"]
