"""Speculative decoding: a base with an n-gram model as draft against the base alone, in one process.

    python benchmarks/speculative.py                            sprout, draft counted on the embedded tickets
    python benchmarks/speculative.py --draft RUN                draft: the run of an n-gram model of the same tokenizer
    python benchmarks/speculative.py --model FOLDER --text FILE a model folder, draft counted on a text of yours

Prompts are the first words of texts: half of them of the kind that the draft has counted, half of general language,
which it has not. Each way generates the same number of tokens greedily, no token ends an answer; the ways take turns,
and the best of --rounds counts, in seconds of the processor, which other work on the machine does not change much.
`same` is the share of prompts whose ids equal those of the model alone; where one differs, two tokens were so close
that products of several rows round to the other order.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

WORDS = 8


def make_draft(model: str, text: str | None, order: int, folder: Path) -> Any:
    """An n-gram model of the tokens of `model`, counted on a file or on the embedded tickets."""
    import microtune as mt
    from microtune.run.tour import tickets

    if text is None:
        file = folder / "tickets.txt"
        rows = [str(row.data["text"]) for part, rows in tickets().items() if part == "train" for row in rows]
        file.write_text("\n".join(" ".join(row.split()) for row in rows), encoding="utf-8")
        text = str(file)
    recipe = {
        "task": "language-modelling",
        "model": {"classic": f"ngram:{order}", "tokenizer": model},
        "data": {"sources": [{"path": text}]},
    }
    return mt.pretrain(recipe, out=folder / "draft").model


def prompts_of(model: Any, count: int) -> dict[str, list[list[int]]]:
    """Ids of the first words of texts, by kind."""
    from microtune.run.general import general_texts
    from microtune.run.tour import tickets

    texts = {
        "tickets": [str(row.data["text"]) for row in tickets()["validation"]],
        "general": general_texts("en"),
    }
    return {
        kind: [model.prompt_ids(" ".join(text.split()[:WORDS])) for text in found[: count // 2]]
        for kind, found in texts.items()
    }


def main() -> None:
    """One line for each way."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sprout")
    parser.add_argument("--draft", help="run folder of an n-gram model")
    parser.add_argument("--text", help="file to count a draft on")
    parser.add_argument("--order", type=int, default=5)
    parser.add_argument("--prompts", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64, help="generated for each prompt")
    parser.add_argument("--guesses", type=int, nargs="+", default=[2, 4, 8])
    parser.add_argument("--sure", type=float, nargs="+", default=[0.0, 0.3])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    import torch

    import microtune as mt
    from microtune.run.speculative import Tally, drafted_ids

    torch.set_num_threads(arguments.threads)
    model = mt.load(arguments.model)
    with tempfile.TemporaryDirectory() as folder:
        draft: Any = (
            mt.load(arguments.draft)
            if arguments.draft
            else make_draft(arguments.model, arguments.text, arguments.order, Path(folder))
        )
        print(f"{arguments.model}, draft of order {draft.table.order}, {draft.table.tokens:,} tokens counted")
        print("prompts   guesses  sure  tokens/s  speed-up  guessed rightly  tokens a pass  same")
        for kind, prompts in prompts_of(model, arguments.prompts).items():
            ways = [None, *((k, sure) for k in arguments.guesses for sure in arguments.sure)]
            best: dict[Any, float] = {}
            outputs: dict[Any, list[list[int]]] = {}
            tallies: dict[Any, Tally] = {}
            for _ in range(arguments.rounds):
                for way in ways:
                    tally, begun = Tally(), time.process_time()
                    options: dict[str, Any] = {"max_new_tokens": arguments.tokens}
                    if way is None:
                        found = [list(model.next_ids(ids, **options)) for ids in prompts]
                    else:
                        options |= {"draft_tokens": way[0], "sure": way[1], "tally": tally}
                        found = [list(drafted_ids(model, draft, ids, **options)) for ids in prompts]
                    seconds = time.process_time() - begun
                    best[way] = min(best.get(way, seconds), seconds)
                    outputs[way], tallies[way] = found, tally
            total = sum(map(len, outputs[None]))
            print(f"{kind:8}    alone        {total / best[None]:8.0f}")
            for way in ways[1:]:
                tally = tallies[way]
                same = sum(a == b for a, b in zip(outputs[way], outputs[None], strict=True)) / len(prompts)
                print(
                    f"{kind:8}  {way[0]:7}  {way[1]:4.1f}  {total / best[way]:8.0f}  {best[None] / best[way]:8.2f}"
                    f"  {tally.right / max(tally.guessed, 1):15.2f}  {total / tally.passes:13.2f}  {same:4.2f}"
                )


if __name__ == "__main__":
    main()
