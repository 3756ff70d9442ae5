"""From raw measurements to the Markdown table: medians, ratios, and the rows that are void.

A rate is the median over the steps after the warm-up (or the whole job), then the median over the repeats. A ratio is
taken inside each repeat, where both ran minutes apart, then the median of those. Where both sides must agree, a row
whose trainable parameters, steps, tokens or targets differ from microtune's, or whose loss is more than 1 % away, in
any repeat, is void: its figures stay in the table, its ratios do not.
"""

from __future__ import annotations

from statistics import fmean, median
from typing import Any

from workloads import BLOCK, SHAPES, Workload

TOLERANCE = 0.01
Result = dict[str, Any]
Measured = dict[str, list[Result]]  # contender -> one result per repeat


def lines(name: str, workload: Workload, measured: Measured) -> list[str]:
    """The table of one workload."""
    if name == "startup":
        return plain(measured, {"lowest, s": "lowest", "median, s": "median"}, 2)
    if name == "load":
        columns = {
            "times the file": "ratio",
            "loading alone": "ratio_loading",
            "weights read": "ratio_read",
            "s": "load_seconds",
            "file, MB": "file_mb",
        }
        return plain(measured, columns, 2)
    if name == "fewshot":
        columns = {"accuracy": "accuracy", "training, s": "job_seconds", "process, s": "wall", "peak MB": "peak_mb"}
        return plain(measured, columns, 3)
    return compared(workload, measured) + (shares(workload, measured) if name == "pretrain" else [])


def plain(measured: Measured, columns: dict[str, str], digits: int) -> list[str]:
    """Medians of some values, side by side."""
    table = head(["", *columns])
    for contender, results in measured.items():
        failed = next((r["failed"] for r in results if "failed" in r), None)
        cells = [f"{median(r[key] for r in results):.{digits}f}" for key in columns.values()] if not failed else []
        table.append(row([contender, *(cells or [f"failed: {failed}"])]))
    return table


def head(names: list[str]) -> list[str]:
    """The two lines that begin a table."""
    return [row(names), row(["---"] * len(names))]


def row(cells: list[str]) -> str:
    """One line."""
    return "| " + " | ".join(cells) + " |"


def compared(workload: Workload, measured: Measured) -> list[str]:
    """Rates and memory beside those of microtune as it comes."""
    rate = workload.rate
    job = ["whole job, s"] if rate == "samples/s" else []
    names = ["", f"{rate} (range)", *job, "microtune is", "peak MB", "times microtune's", "trainable", "targets"]
    table, reference = head([*names, workload.loss]), next(iter(measured.values()))
    for contender, results in measured.items():
        if any("gflops" in r for r in results):
            continue
        failed = next((r["failed"] for r in results if "failed" in r), None)
        table.append(
            row([contender, f"failed: {failed}"] if failed else cells(workload, contender, results, reference))
        )
    return table


def cells(workload: Workload, contender: str, results: list[Result], reference: list[Result]) -> list[str]:
    """One row of `compared`."""
    rates = [rate_of(workload, r) for r in results]
    void = next((v for r, m in zip(results, reference, strict=False) if (v := difference(workload, r, m))), None)
    if results is reference or void:
        speed, memory = ("1", "1") if not void else (f"void: {void}", "void")
    else:
        pairs = list(zip(results, reference, strict=False))
        speed = f"{median(rate_of(workload, m) / rate_of(workload, r) for r, m in pairs):.2f} x as fast"
        memory = f"{median(r['peak_mb'] / m['peak_mb'] for r, m in pairs):.2f}"
    return [
        contender,
        f"{median(rates):.1f} ({min(rates):.1f}-{max(rates):.1f})",
        *job_of(workload, results),
        speed,
        f"{median(r['peak_mb'] for r in results):.0f}",
        memory,
        f"{results[0]['trainable']:,}",
        f"{sum(results[0]['supervised']):,}",
        losses_of(workload, results, reference),
    ]


def losses_of(workload: Workload, results: list[Result], reference: list[Result]) -> str:
    """The loss; where only some epochs were run, beside microtune's at that time."""
    steps = len(results[0]["seconds"])
    text = f"{median(loss_of(workload, r, steps) for r in results):.4f}"
    known = [r for r in reference if len(r.get("seconds", ())) > steps]
    if workload.loss == "held-out loss" or not known:
        return text
    return f"{text} (microtune then {median(loss_of(workload, r, steps) for r in known):.4f})"


def job_of(workload: Workload, results: list[Result]) -> list[str]:
    """Seconds of the whole job, where the rate is of the job; extrapolated where only some of its epochs were run."""
    if workload.rate != "samples/s":
        return []
    seconds = workload.rows * workload.epochs / median(rate_of(workload, r) for r in results)
    done = len(results[0]["seconds"]) // steps_per_epoch(workload)
    return [f"{seconds:.1f}" + (f" (extrapolated: ran {done} of {workload.epochs})" if done < workload.epochs else "")]


def rate_of(workload: Workload, result: Result) -> float:
    """Tokens that are no padding per second, median over steps; or rows per second of the whole job."""
    if workload.rate == "samples/s":
        return len(result["seconds"]) / steps_per_epoch(workload) * workload.rows / result["job_seconds"]
    pairs = list(zip(result["tokens"], result["seconds"], strict=True))[workload.warmup :]
    return median(tokens / seconds for tokens, seconds in pairs)


def steps_per_epoch(workload: Workload) -> int:
    """Optimizer steps of one pass over the rows."""
    return -(-workload.rows // workload.batch_size)


def loss_of(workload: Workload, result: Result, steps: int) -> float:
    """Held-out loss after training; or the mean training loss of the epoch that ends at `steps`."""
    if workload.loss == "held-out loss":
        return float(result["loss"])
    return fmean(result["losses"][steps - steps_per_epoch(workload) : steps])


def difference(workload: Workload, result: Result, reference: Result) -> str | None:
    """Why two results are not of the same work, or None. A peer may have run fewer epochs; then those are compared."""
    if "failed" in reference:
        return "microtune failed"
    steps = len(result["seconds"])
    if steps != workload.epochs * steps_per_epoch(workload) and workload.loss == "held-out loss":
        return f"{steps} steps instead of {len(reference['seconds'])}"
    if result["trainable"] != reference["trainable"]:
        return f"{result['trainable']:,} parameters train instead of {reference['trainable']:,}"
    for what in ("tokens", "supervised"):
        own, other = (sum(r[what][:steps]) for r in (result, reference))
        if own != other:
            return f"{own:,} {what} instead of {other:,}"
    own, other = (loss_of(workload, r, steps) for r in (result, reference))
    gap = abs(own / other - 1)
    return f"its {workload.loss} {own:.4f} is {gap:.1%} from microtune's {other:.4f}" if not gap <= TOLERANCE else None


def shares(workload: Workload, measured: Measured) -> list[str]:
    """What share of the fastest matrix products of the same run the pretraining rates are."""
    shape = SHAPES[workload.model]
    attention = 12 * shape["num_hidden_layers"] * shape["hidden_size"] * BLOCK
    peaks = {
        results[0]["dtype"]: median(r["gflops"] for r in results)
        for results in measured.values()
        if all("gflops" in r for r in results)
    }
    notes = [""]
    for contender, results in measured.items():
        precision = results[0].get("precision")
        if any("failed" in r for r in results) or precision not in peaks:
            continue
        flops = 6 * results[0]["trainable"] + attention
        done = flops * median(rate_of(workload, r) for r in results) / 1e9
        share, peak = done / peaks[precision], peaks[precision]
        notes.append(
            f"- {contender}: {done:.0f} GFLOP/s, {share:.0%} of the {peak:.0f} of {precision} products in this run "
            f"({flops / 1e6:.1f} MFLOP a token: 6 x parameters + 12 x layers x width x {BLOCK})."
        )
    return notes
