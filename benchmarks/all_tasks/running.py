"""A base on a data set: as it is, or tuned; what it reaches on the test rows."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from all_tasks.measures import Result
from all_tasks.of_writing import numbers_met
from all_tasks.works import Parts, Run, Work

ANSWER = 160  # tokens of a written solution


def prepared(parts: Parts, work: Work, base: Any) -> tuple[Any, dict[str, Any]]:
    """The task as it reads these rows with this base, and the rows."""
    from microtune import recipe as recipes
    from microtune.data.sources import Row
    from microtune.run.answers import settled
    from microtune.run.prepare import make_task

    task = make_task(recipes.build({"task": {"name": work.kind, **work.options}}))
    rows = {part: task.ready([Row(row, part, i) for i, row in enumerate(found, 1)]) for part, found in parts.items()}
    text = None if work.kind == "preference" else work.text
    task = task.prepare(rows, text_field=text, label_field=work.label)
    return settled(task.fitted(base.spec), base), rows


def untuned(parts: Parts, work: Work, run: Run) -> Result:
    """What the base makes of the test rows before it has seen any."""
    import microtune as mt
    from microtune.run.evaluate import evaluate_items
    from microtune.run.prepare import items_limit

    base = mt.load(run.model)
    task, rows = prepared(parts, work, base)
    head = task.make_head(base.spec)
    if head is not None:
        base.network.head = head
    encoded = task.encode_all(rows["test"], base.text, items_limit(base, work.max_length, 0), training=False)
    score = evaluate_items(base.network, task, encoded)
    found: Result = {"values": dict(score.values), "intervals": dict(score.intervals), "share": 0.0}
    if "number_match" in work.scores:
        from microtune.run.predict import predict

        base.task = task
        answers = [str(p.answer) for p in predict(base, rows["test"], max_new_tokens=ANSWER)]
        add(found, numbers_met(parts["test"], work, answers))
    return found


def tuned(parts: Parts, work: Work, run: Run) -> Result:
    """Tune, choose by validation, and judge on test once."""
    import microtune as mt
    from microtune.recipe import override, parse_short
    from microtune.run.tune import Prepared

    seen: dict[str, float] = {}

    def listen(event: Any) -> None:
        if isinstance(event, Prepared):
            seen["share"] = event.summary.share

    said = {"task": {"name": work.kind, **work.options}, "method": parse_short(run.method)}
    said = override({**said, "train": {"epochs": run.epochs, **run.train}}, run.settings)
    with tempfile.TemporaryDirectory() as folder:
        result = mt.tune(
            parts["train"],
            validation=parts["validation"],
            test=parts["test"],
            **said,
            model={"source": run.model, "max_length": work.max_length},
            seed=run.seed,
            text_field=None if work.kind == "preference" else work.text,
            label_field=work.label,
            out=Path(folder) / "run",
            on_event=listen,
        )
        found: Result = {"values": result.scores["test"], "intervals": result.intervals["test"], **seen}
        found["validation"] = result.scores["validation"]
        if "number_match" in work.scores:
            texts = [str(row[work.text]) for row in parts["test"]]
            answers = [str(p.answer) for p in result.predict(texts, max_new_tokens=ANSWER)]
            add(found, numbers_met(parts["test"], work, answers))
    return found


def add(found: Result, more: Result) -> None:
    """Further scores."""
    for name in ("values", "intervals"):
        found[name] = {**found[name], **more[name]}


def peak_megabytes() -> float:
    """The most memory that this process has had."""
    if sys.platform == "win32":
        import psutil

        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6
