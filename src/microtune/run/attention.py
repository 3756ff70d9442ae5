"""Where a recurrent decoder looks while it writes: the attention matrix of one text, as numbers and as a picture.

The picture of Bahdanau, Cho and Bengio (2015, figure 3): a row for each token that is written, a column for each that
was read, the brighter the more weight.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from microtune.classic.recurrent import Recurrent
from microtune.data.sources import Row
from microtune.errors import InputError, RunError
from microtune.ragged import Ragged
from microtune.run.decoding import Decoding
from microtune.run.load import Model
from microtune.run.prepare import items_limit
from microtune.tasks.sequence_to_sequence import SequenceToSequence

INCHES = 0.35  # of the picture for each token
MOST = 400  # tokens on a side that a picture can show


@dataclass(frozen=True)
class Attention:
    """weights `[T, S]` of each written token over those that were read, whose texts are beside; rows add up to 1."""

    weights: Tensor
    written: list[str]
    sources: list[str]


def attention_of(model: Model, text: str, answer: str | None = None) -> Attention:
    """The weights while `answer` is written to `text`; without one, the model's own answer (greedy)."""
    network = model.network
    if not isinstance(network, Recurrent) or network.encoder is None or not network.attends:
        raise InputError(
            "The attention matrix is of a seq2seq-rnn with attention: additive or dot; this model has no such layer."
        )
    task = model.task
    if isinstance(task, SequenceToSequence):
        row = task.ready([Row({task.source_field or "source": text}, "<text>", 1)], answers=False)[0]
        sources, opening, _ = task.question(row, model.text, items_limit(model, None, 0))
        longest = task.max_new_tokens
    else:
        asked = Decoding.of(model.config, model.generation, model.spec.vocab_size)
        sources, opening, longest = model.prompt_ids(text), [asked.start], 64
    if not sources:
        raise InputError("The text is empty: there is nothing to look at.")
    writer, stops = model.text.target, model.text.target.stop_ids
    if answer is not None:
        new = writer.encode(answer, special=False)
    else:
        new = list(model.next_ids(sources, max_new_tokens=longest, stop_ids=stops))
    new = [*new, *stops[:1]]
    device = next(network.parameters()).device
    inputs, read = (Ragged.from_lists([ids]).to(device) for ids in ([*opening, *new[:-1]], sources))
    weights = network.attention_weights(inputs, read)[0][len(opening) - 1 :]
    return Attention(
        weights.float().cpu().clone(),
        [writer.decode([i], special=True) for i in new],
        [model.text.decode([i], special=True) for i in sources],
    )


def draw(found: Attention, path: str | Path) -> None:
    """Write the matrix as a PNG; needs the extra `plot`."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError('A picture needs matplotlib: pip install "microtune[plot]".') from error
    rows, columns = found.weights.shape
    if max(rows, columns) > MOST:
        raise InputError(f"The matrix is {rows} x {columns}; a picture shows at most {MOST} tokens on a side.")
    figure = Figure(figsize=(2.5 + INCHES * columns, 2.5 + INCHES * rows), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(found.weights.numpy(), cmap="gray", vmin=0.0, vmax=max(float(found.weights.max()), 1e-6))
    axes.set_xticks(range(columns), [_shown(t) for t in found.sources], rotation=90)
    axes.set_yticks(range(rows), [_shown(t) for t in found.written])
    axes.set_xlabel("read")
    axes.set_ylabel("written")
    figure.colorbar(image, ax=axes, label="weight")
    try:
        figure.savefig(path, format="png", dpi=120)
    except OSError as error:
        raise RunError(f"{path}: cannot be written ({error.strerror}).") from error


def _shown(text: str) -> str:
    """A token as a label: spaces visible, and no dollar sign, which would begin a formula."""
    return text.replace(" ", "\u00b7").replace("\n", "\u21b5").replace("$", r"\$")
