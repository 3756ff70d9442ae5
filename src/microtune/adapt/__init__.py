"""One file per adaptation method; methods know roles, never a family or a task."""

from microtune.adapt import full, head, lora, reinit, top

__all__ = ["full", "head", "lora", "reinit", "top"]
