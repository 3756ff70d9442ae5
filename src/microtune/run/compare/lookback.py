"""What the tuned models have forgotten, for the table: run/forgetting.py for every ended run, while time is left."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from microtune.data.sources import read_rows
from microtune.errors import InputError, MicrotuneError
from microtune.run.compare.contest import Contest
from microtune.run.forgetting import MOST_TOKENS, Reference, compare, reference
from microtune.run.general import general_texts as embedded_texts
from microtune.run.hub.revisions import pin
from microtune.run.load import load
from microtune.run.session import Stage

TEXTS = 500  # more of a file are not read
BYTES = 3  # of one token, for a guess at how long reading takes


def general_texts(file: str | Path | None) -> list[str]:
    """The first texts of a file (lines, or the first text field of rows), or the embedded ones."""
    if file is None:
        return embedded_texts()[:TEXTS]
    rows = read_rows(str(file))
    texts = [next((v for v in row.data.values() if isinstance(v, str) and v.strip()), "") for row in rows[: 4 * TEXTS]]
    found = [text for text in texts if text][:TEXTS]
    if not found:
        raise InputError(f"{file}: there is no text in it, by which forgetting could be measured.")
    return found


def tokens_of(texts: Sequence[str]) -> int:
    """About how many tokens they are."""
    return sum(min(len(text.encode()) // BYTES + 1, MOST_TOKENS) for text in texts)


def look_back(contest: Contest, texts: Sequence[str]) -> Iterator[Stage]:
    """Compare every ended run with its base, those first that trained to the end."""
    if contest.asked.base.model.weights == "random":
        return
    base: Reference | None = None
    for name, method in _ended(contest):
        seat = contest.progress.seat(name)
        cost = contest.progress.measured[method].looking
        if seat.forgetting is not None:
            continue
        if contest.budget.left < cost * (2 if base is None else 1):
            return
        yield Stage(f"forgetting, {name}")
        try:
            if base is None:
                model = pin(contest.asked.base, contest.place.path, fresh=False)[0].model
                base = reference(load(model.source or ""), texts)
            found = compare(base, load(contest.place.run(name)))
        except MicrotuneError as error:
            seat.forgetting = {"kind": "", "reason": str(error)}
            continue
        seat.forgetting = {"kind": found.kind, "before": found.before, "after": found.after, "texts": found.texts}
        contest.remember()


def _ended(contest: Contest) -> list[tuple[str, str]]:
    """Run and method, the tested first."""
    found = [(run, entry.method) for heat in contest.heats for entry in heat.entries for run in entry.runs]
    done = [(run, method) for run, method in found if contest.progress.seat(run).ended]
    return sorted(done, key=lambda pair: not contest.progress.seat(pair[0]).tested)
