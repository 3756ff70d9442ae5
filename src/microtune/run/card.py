"""The model card of a pretrained base, and what all cards share; that of a tuned model: report/card.py."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from microtune.recipe import Recipe
from microtune.run.disk import write_text
from microtune.version import __version__

LEARNT_FROM = {
    "causal": "one token after the other (causal language modelling)",
    "masked": "tokens hidden among the others (masked language modelling)",
    "span-denoising": "texts with spans cut out, which it writes down (span denoising)",
    "infilling": "texts with spans hidden, which it writes out whole (text infilling)",
}
NO_BITS = "The model sees both sides of what it guesses, so bits per byte are not defined for it."


def write_base_card(path: Path, recipe: Recipe, scores: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
    """The card of a pretrained base: data, tokens seen, time, bits per byte on held-out text."""
    hours = facts["seconds"] / 3600
    lines = [
        f"A base model of {facts['parameters']:,} parameters, pretrained by microtune {__version__}",
        f"{_beginning(recipe)}:",
        f"{facts['tokens']:,} tokens in {facts['steps']:,} steps, {hours:.1f} hours. Learnt from",
        f"{LEARNT_FROM[recipe.task.options.get('objective', 'causal')]}, never tuned to follow instructions.",
        "",
        "| source | language | tokens | passes planned | share |",
        "|---|---|---|---|---|",
    ]
    mix = sum(s["tokens"] * s["epochs"] for s in facts["sources"])
    lines += [
        f"| {plain(s['name'])} | {s['language']} | {s['tokens']:,} | {s['epochs']:g} | "
        f"{s['tokens'] * s['epochs'] / max(mix, 1):.1%} |"
        for s in facts["sources"]
    ]
    planned = mix * recipe.train.epochs
    share = min(facts["tokens"] / planned, 1.0) if planned else 0.0
    lines += ["", f"Of the passes planned, {share:.0%} of the tokens were seen, drawn from all sources alike.", ""]
    held_out = held_out_table(scores)
    lines += [*held_out, ""] if held_out else []
    lines += _tokenizer(facts["tokenizer"]) if "tokenizer" in facts else []
    write_text(path, "\n".join([*lines, ""]))


def _beginning(recipe: Recipe) -> str:
    """What the training began with."""
    if recipe.model.spec is None:
        return f"from {plain(str(recipe.model.source))} on"
    return "from nothing" if recipe.model.vectors is None else f"from the vectors {plain(recipe.model.vectors)}"


def _tokenizer(report: Mapping[str, Any]) -> list[str]:
    """How well the tokenizer fits the text, by language."""
    lines = [
        f"The tokenizer has {report['vocabulary']:,} entries; {report['used']:.1%} of them occur in the text, and "
        f"{report['common']:,} make up 99 % of it.",
        "",
        "| language | tokens per word | bytes per token | known |",
        "|---|---|---|---|",
    ]
    for name, row in report["languages"].items():
        known = f"{row['coverage']:.2%}"
        lines.append(f"| {plain(name)} | {row['tokens_per_word']:.2f} | {row['bytes_per_token']:.2f} | {known} |")
    return lines


def held_out_table(scores: Mapping[str, Any]) -> list[str]:
    """Bits per byte, or what stands for them where an objective hides tokens: the loss and the share guessed right.

    Nothing where no text was held out.
    """
    if not scores:
        return []
    names = ("bits_per_byte", "perplexity")
    if any(names[0] not in score["values"] for score in scores.values()):
        names = ("loss", next((n for s in scores.values() for n in s["values"] if n.endswith("_accuracy")), "loss"))
    words = {"bits_per_byte": "bits per byte", "perplexity": "perplexity per token"}
    first, second = (words.get(name, name.replace("_", " ")) for name in names)
    lines = [f"| held-out text | {first} | 95 % interval | {second} |", "|---|---|---|---|"]
    for name, score in scores.items():
        low, high = score["intervals"].get(names[0], (float("nan"), float("nan")))
        value, other = (score["values"][n] for n in names)
        shown = f"{other:.1f}" if names[1] == "perplexity" else f"{other:.3f}"
        lines.append(f"| {plain(name)} | {value:.3f} | {low:.3f} to {high:.3f} | {shown} |")
    return lines if names[0] == "bits_per_byte" else [*lines, "", f"{NO_BITS} What is hidden never changes."]


def plain(text: str) -> str:
    """Text of users in Markdown: no table bars, no HTML, no line breaks."""
    escaped = text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("`", "'")
    return " ".join(escaped.split())
