"""What trains and what is frozen, layer by layer: the table that Keras users know."""

from __future__ import annotations

from dataclasses import dataclass

from microtune.adapt.base import Attachment
from microtune.run.load import Model


@dataclass(frozen=True)
class Line:
    """One part of the network."""

    part: str
    kind: str
    parameters: int
    trainable: int


@dataclass(frozen=True)
class Summary:
    """All parts, and the totals (tied weights count once)."""

    lines: tuple[Line, ...]
    parameters: int
    trainable: int
    base: str

    @property
    def share(self) -> float:
        """Trainable share of all parameters."""
        return self.trainable / self.parameters


def summarize(model: Model, attachment: Attachment) -> Summary:
    """Group the parameters of a prepared model into embedding, blocks, norms and head; equal blocks share a line."""
    parts: dict[str, list[int]] = {}
    for name, parameter in model.network.named_parameters():
        entry = parts.setdefault(_part(name), [0, 0])
        entry[0] += parameter.numel()
        entry[1] += parameter.numel() if parameter.requires_grad else 0
    lines = _merged([Line(part, _kind(part), total, moving) for part, (total, moving) in parts.items()])
    total, moving = (sum(entry[i] for entry in parts.values()) for i in (0, 1))
    return Summary(tuple(lines), total, moving, model.place.name if model.place else f"a new {model.family}")


def _part(name: str) -> str:
    pieces = name.split(".")
    if "blocks" in pieces:
        return ".".join(pieces[:3])
    return pieces[0] if pieces[0] in ("tokens", "types", "head") else ".".join(pieces[:2])


def _kind(part: str) -> str:
    if ".blocks." in part:
        return "block"
    last = part.rpartition(".")[2]
    return {
        "tokens": "embedding",
        "types": "embedding",
        "positions": "embedding",
        "head": "head",
        "virtual": "tokens",
    }.get(last, "norm")


def _merged(lines: list[Line]) -> list[Line]:
    """Blocks that follow each other with equal counts become one line, `decoder.blocks.0-3`."""
    result: list[Line] = []
    for line in lines:
        last = result[-1] if result else None
        same = last is not None and (last.kind, line.kind) == ("block", "block")
        if (
            last is not None
            and same
            and _each(last) == (line.parameters, line.trainable)
            and _side(last) == _side(line)
        ):
            first = last.part.rpartition(".")[2].partition("-")[0]
            number = line.part.rpartition(".")[2]
            count = int(number) - int(first) + 1
            part = f"{line.part.rpartition('.')[0]}.{first}-{number}"
            result[-1] = Line(part, "block", line.parameters * count, line.trainable * count)
        else:
            result.append(line)
    return result


def _side(line: Line) -> str:
    return line.part.partition(".")[0]


def _each(line: Line) -> tuple[int, int]:
    first, _, last = line.part.rpartition(".")[2].partition("-")
    count = int(last) - int(first) + 1 if last else 1
    return line.parameters // count, line.trainable // count
