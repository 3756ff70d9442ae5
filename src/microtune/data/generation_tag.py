"""`{% generation %}`, by which a chat template marks the assistant's words for transformers.

Here it marks nothing: where the assistant's turns stand is found without it (tasks/conversation.py).
"""

from __future__ import annotations

from typing import Any

from jinja2 import nodes
from jinja2.ext import Extension


class GenerationTag(Extension):
    """`{% generation %} ... {% endgeneration %}` gives what stands inside."""

    tags = {"generation"}  # noqa: RUF012 - declared by Jinja as a field of each extension

    def parse(self, parser: Any) -> nodes.Node:
        """The inside as a scope of its own, as in transformers."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.Scope(body).set_lineno(line)
