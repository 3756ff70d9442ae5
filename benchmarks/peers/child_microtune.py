"""microtune's side of every training workload, through its public API; settings that decide speed are its defaults.

Rates, schedule and weight decay are set, because both sides must do the same work to the same end; number format,
micro-batches, caching and everything else are as microtune chooses, unless `options.train` says otherwise.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

from measure import Clock, answer, read_job


def listener(clock: Clock, found: dict[str, Any], rows_per_step: int) -> Any:
    """Reads the run's events. The last token of a row is a target only, so microtune does not count it as read."""
    from microtune.run.tune import Evaluated, Prepared, Step

    def listen(event: Any) -> None:
        if isinstance(event, Prepared):
            found["trainable"] = event.summary.trainable
            clock.start()
        elif isinstance(event, Step):
            clock.step()
            clock.seconds[-1] = event.seconds
            clock.count(event.tokens + rows_per_step, event.supervised)
            clock.losses.append(event.loss)
        elif isinstance(event, Evaluated):
            found["loss"] = event.score.values["loss"]
            found["accuracy"] = event.score.values.get("accuracy")

    return listen


def settings(job: dict[str, Any]) -> dict[str, Any]:
    """The `train` section: what decides the result, then what this contender sets."""
    same = {"batch_size": job["batch_size"], "lr": job["lr"], "schedule": "constant", "warmup": 0, "weight_decay": 0}
    return {**same, "keep": "last", **job["options"].get("train", {})}


def tune(job: dict[str, Any], out: Path) -> dict[str, Any]:
    """lora, top2, head, full: the method of that name."""
    import microtune as mt

    methods: dict[str, Any] = {"lora": {"name": "lora", "rank": 16, "alpha": 32}, "top2": "top:2"}
    name, generates = job["workload"], job["workload"] in methods
    clock, found = Clock(), dict[str, Any]()
    mt.tune(
        job["rows"]["train"],
        test=None if name == "head" else job["rows"]["test"],
        split="none",
        task="instruction" if generates else "classification",
        model=job["model"],
        method=methods.get(name, name),
        epochs=job["epochs"],
        train=settings(job),
        seed=job["repeat"],
        out=out,
        on_event=listener(clock, found, job["batch_size"] if generates else 0),
    )
    return {**clock.result(), **found}


def few_shot(job: dict[str, Any], out: Path) -> dict[str, Any]:
    """A classifier from eight texts a class, with the defaults of the method."""
    import microtune as mt

    clock, found, options = Clock(), dict[str, Any](), job["options"]
    mt.tune(
        job["rows"]["train"],
        test=job["rows"]["test"],
        split="none",
        task="classification",
        model=job["model"],
        method=options["method"],
        epochs=options["epochs"],
        seed=job["repeat"],
        out=out,
        on_event=listener(clock, found, 0),
    )
    return {**clock.result(), **found}


def pretrain(job: dict[str, Any], out: Path) -> dict[str, Any]:
    """A decoder from text, in the shape that the model folder has."""
    import microtune as mt
    from microtune.run.session import Scored
    from microtune.run.tune import Step

    clock, found = Clock(), dict[str, Any]()
    spec = mt.load(job["model"]).spec

    def listen(event: Any) -> None:
        if isinstance(event, Step):
            clock.step()
            clock.seconds[-1] = event.seconds
            clock.count(event.tokens, event.supervised)
            clock.losses.append(event.loss)
        elif isinstance(event, Scored):
            found["loss"] = event.values["loss"]

    train, test = (Path(job["rows"][part]) for part in ("train", "test"))
    recipe = {
        "task": "language-modelling",
        "method": "full",
        "seed": job["repeat"],
        "model": {"tokenizer": job["model"], "spec": spec.to_dict()},
        "data": {
            "folder": str(train.parent),
            "block_size": job["block"],
            "sources": [{"path": train.name, "held_out": test.name}],
        },
        "train": {**settings(job), "epochs": 1},
    }
    mt.pretrain(recipe, out=out, on_event=listen)
    facts = json.loads((out / "scores.json").read_text())["facts"]
    return {**clock.result(), **found, "trainable": facts["parameters"]}


def main() -> None:
    """One job."""
    job = read_job()
    work = {"pretrain": pretrain, "fewshot": few_shot}.get(job["workload"], tune)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        result = work(job, out)
        answer(**result, precision=json.loads((out / "plan.json").read_text())["precision"])


if __name__ == "__main__":
    main()
