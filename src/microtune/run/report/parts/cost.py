"""Time, which is measured, and energy, which is estimated and says from what."""

from __future__ import annotations

from microtune.run.html import Markup, el, section, table
from microtune.run.report.cost import THREAD_WATTS, cost_of, duration, energy
from microtune.run.report.read import RunFiles
from microtune.run.report.words import Words


def cost(run: RunFiles, say: Words) -> Markup | None:
    """A small table, the assumption, and the machine."""
    found = cost_of(run)
    if found is None:
        return None
    about = run.environment
    versions = ", ".join(f"{k} {about[k]}" for k in ("microtune", "python", "torch", "tokenizers") if k in about)
    machine = ", ".join(str(about[k]) for k in ("system", "machine", "cuda") if about.get(k))
    rows = [
        (say("cost_training"), duration(found.training)),
        (say("cost_whole"), duration(found.whole)),
        (say("cost_steps"), f"{found.steps:,}"),
        (say("cost_tokens"), f"{found.speed:,.0f}"),
        (say("cost_energy"), f"≈ {energy(found.watt_hours)}"),
        (say("cost_machine"), f"{machine or '-'}; {say('cost_threads')} {found.threads}"),
        (say("cost_versions"), versions or "-"),
        (say("cost_seed"), str(about.get("seed", "-"))),
    ]
    how = say("cost_assumed_gpu" if found.gpu else "cost_assumed_cpu", threads=found.threads, each=f"{THREAD_WATTS:g}")
    assumed = el("p", say("cost_assumed", watts=f"{found.watts:g}", how=how), class_="small")
    return section(say("cost"), table(["", ""], rows), assumed, name="cost")
