"""The scores of each split, with their intervals drawn where they are shares."""

from __future__ import annotations

from microtune.run.html import Markup, el, section, table
from microtune.run.report.charts import interval
from microtune.run.report.read import RunFiles, SplitScores
from microtune.run.report.words import Words

SHARES = (  # metrics between 0 and 1: only they are drawn
    *("accuracy", "macro_f1", "weighted_f1", "micro_f1", "subset_accuracy", "mcc", "roc_auc", "calibration_error"),
    *("token_accuracy", "rouge1", "rouge2", "rougeL", "repetition", "exact_match", "pearson", "spearman"),
    *("precision", "recall", "f1", "recall@1", "recall@5", "recall@10", "mrr", "no_answer_accuracy"),
)


def scores(run: RunFiles, say: Words) -> Markup | None:
    """One table per split, the judged one first."""
    found = run.record.scores
    if not found:
        return None
    order = sorted(found, key=lambda name: (name != "test", name))
    rows = max((split.rows for name, split in run.facts.splits.items() if name == order[0]), default=0)
    about = el("p", say("scores_about", rows=f"{rows:,}")) if rows and order[0] == "test" else None
    return section(say("scores"), about, *(_table(name, found[name], say) for name in order), name="scores")


def _table(name: str, split: SplitScores, say: Words) -> Markup:
    rows = []
    for metric, value in split.values.items():
        low, high = split.intervals.get(metric, (None, None))
        known = low is not None and high is not None and value is not None
        drawn = interval(value, low, high) if known and metric in SHARES else None  # type: ignore[arg-type]
        explained = say.maybe(f"metric.{metric}", "")
        name_cell = el("span", el("code", metric), el("span", explained, class_="hint") if explained else None)
        shown = "-" if value is None else f"{value:.4f}"
        rows.append((name_cell, shown, f"{low:.4f} – {high:.4f}" if known else "-", drawn))
    heads = [say("scores_metric"), say("scores_value"), say("scores_interval"), ""]
    part, sign, task = name.partition(": ")  # "test: translate", where one model learnt several tasks
    title = say("scores_split", split=say.maybe(f"split.{part}", part) + sign + task)
    some = {key: split.details.get(key) for key in ("written", "rows")}
    counts = {key: f"{value:,}" for key, value in some.items() if isinstance(value, int)}
    about = el("p", say("scores_written", **counts)) if len(counts) == len(some) else None
    return el("div", el("h3", title), about, table(heads, rows, numbers=(1, 2)))
