"""The model: which part of it trained."""

from __future__ import annotations

from microtune.run.html import Markup, el, section, table
from microtune.run.report.read import RunFiles
from microtune.run.report.words import Words


def model(run: RunFiles, say: Words) -> Markup | None:
    """The share that trained, and every part with its parameters."""
    network = run.facts.model
    if not network.parameters:
        return None
    share = f"{network.trainable / network.parameters:.2%}"
    rows = [
        (
            el("code", line.part),
            say.maybe(f"kind.{line.kind}", line.kind),
            f"{line.parameters:,}",
            f"{line.trainable:,}" if line.trainable else say("model_frozen"),
        )
        for line in network.lines
    ]
    rows.append((el("b", say("model_total")), "", f"{network.parameters:,}", f"{network.trainable:,}"))
    heads = [say(f"model_{key}") for key in ("part", "kind", "parameters", "trainable")]
    counts = {"trainable": f"{network.trainable:,}", "parameters": f"{network.parameters:,}", "share": share}
    return section(
        say("model"),
        el("p", say("model_share", **counts)),
        table(heads, rows, numbers=(2, 3)),
        None if network.is_new else _license(network.license, say),
        name="model",
    )


def _license(name: str, say: Words) -> Markup:
    return el("p", say("model_license"), say("colon"), el("code", name), class_="small")
