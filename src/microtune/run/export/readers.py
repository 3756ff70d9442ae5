"""Readers that are not ours: transformers, sentence-transformers and peft, asked what exported files compute.

None of them is a dependency, and nothing else in the package uses them. Where one is not installed, the check says so
and falls back on our own reading, which is better than nothing and not independent. Each row is read alone, without
padding, in float32.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from microtune.errors import CheckError
from microtune.families.base import families
from microtune.run.export.parity import COMPARED, PROMPTS, ROUNDING, Kind, Parity, gap_of, kind_of, largest, outputs
from microtune.run.load import Model, load

REASON = f"{ROUNDING:g} of the largest value, for float32 rounding"


def optional(name: str) -> Any | None:
    """An installed module, or None; for readers that microtune does not depend on."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return import_module(name)
    except ImportError:
        return None


@contextmanager
def quietly() -> Iterator[None]:
    """Their warnings and bars off, and torch's random state as it was: they draw heads that are then replaced."""
    logging = getattr(optional("transformers"), "utils", None)
    before = logging.logging.get_verbosity() if logging is not None else None
    if logging is not None:
        logging.logging.set_verbosity_error()
        logging.logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]):
            warnings.simplefilter("ignore")
            yield
    finally:
        if logging is not None:
            logging.logging.set_verbosity(before)


def check_hf(folder: Path, model: Model, rows: Sequence[Sequence[int]], wanted: Sequence[Tensor]) -> Parity:
    """transformers (and sentence-transformers) on a whole model in Hugging Face form."""
    kind, library = kind_of(model), optional("transformers")
    facts: dict[str, Any] = {}
    if library is None:
        got, reader = outputs(_reloaded(folder, kind), rows), "microtune itself"
    else:
        reader = f"transformers {library.__version__}"
        with quietly():
            theirs = _whole(library, folder, model, kind)
            got = [_answer(theirs, row, kind, model) for row in rows]
            if model.tokenizer is not None:
                facts["ids"] = _same_ids(library, folder, model)
    if kind == "sentence" and model.tokenizer is not None:
        facts["sentence_transformers"] = _sentences(folder, model)
    note = "" if library is not None else "not checked by an independent reader: install transformers"
    return _parity("hf", reader, library is not None, kind, wanted, got, note).with_facts(**facts)


def check_peft(folder: Path, base: Path, model: Model, rows: Sequence[Sequence[int]]) -> Parity:
    """peft on an adapter folder over the base that it was made on; `model` still holds the adapter."""
    kind, wanted = kind_of(model), outputs(model, rows)
    library, peft = optional("transformers"), optional("peft")
    if library is None or peft is None:
        got, reader = outputs(load(folder, dtype="float32"), rows), "microtune itself"
    else:
        reader = f"peft {peft.__version__}, transformers {library.__version__}"
        with quietly():
            head = model.network.head
            options = {"num_labels": head.out.out_features} if kind == "label" else {}  # type: ignore[union-attr]
            whole = _class(library, model, kind).from_pretrained(str(base), dtype=torch.float32, **options)
            theirs = peft.PeftModel.from_pretrained(whole, str(folder)).eval()
            got = [_answer(theirs, row, kind, model) for row in rows]
    note = "" if peft is not None and library is not None else "not checked by an independent reader: install peft"
    return _parity("peft", reader, not note, kind, wanted, got, note)


def _parity(
    form: str,
    reader: str,
    independent: bool,
    kind: Kind,
    wanted: Sequence[Tensor],
    got: Sequence[Tensor],
    note: str,
) -> Parity:
    bound = ROUNDING * largest(wanted)
    return Parity(form, reader, independent, COMPARED[kind], len(wanted), gap_of(wanted, got), bound, REASON, note)


def _reloaded(folder: Path, kind: Kind) -> Model:
    """Our own reading of a folder, with the label head in place."""
    from microtune.nn.heads import LabelHead

    model = load(folder, dtype="float32")
    if kind == "label":
        head = LabelHead(model.spec, len(model.spare["head.out.weight"]))
        head.load_state_dict({name.removeprefix("head."): tensor for name, tensor in model.spare.items()})
        model.network.head = head
    return model


def _class(library: Any, model: Model, kind: Kind) -> Any:
    head = {"label": "label", "vocabulary": "vocabulary"}.get(kind, "none")
    return getattr(library, families[model.family].architectures[head])  # type: ignore[index]


def _whole(library: Any, folder: Path, model: Model, kind: Kind) -> Any:
    """Their model, every tensor of which came from the files and the other way round."""
    options = {"dtype": torch.float32, "output_loading_info": True}
    theirs, report = _class(library, model, kind).from_pretrained(str(folder), **options)
    missing = [name for name in report["missing_keys"] if kind in ("label", "vocabulary") or "pooler" not in name]
    for what, names in (("misses", missing), ("does not expect", report["unexpected_keys"])):
        if names:
            raise CheckError(
                f'transformers {what} the tensor "{sorted(names)[0]}" in the exported files; nothing was written.',
                check="export",
            )
    return theirs.eval()


@torch.inference_mode()
def _answer(theirs: Any, row: Sequence[int], kind: Kind, model: Model) -> Tensor:
    ids = torch.tensor([list(row)])
    both = model.network.encoder is not None and model.network.decoder is not None
    found = theirs(input_ids=ids, attention_mask=torch.ones_like(ids), **({"decoder_input_ids": ids} if both else {}))
    if kind in ("label", "vocabulary"):
        logits: Tensor = found.logits[0].float()
        return logits[-len(row) :] if kind == "vocabulary" else logits  # peft gives those of a prompt, too
    hidden = found.last_hidden_state[0].float()[-len(row) :]
    if kind == "hidden":
        return hidden
    pooled = hidden.mean(0)
    return torch.nn.functional.normalize(pooled, dim=-1) if model.normalize else pooled


def _same_ids(library: Any, folder: Path, model: Model) -> str:
    """Whether their tokenizer gives our ids for the stored texts; a CheckError where it does not."""
    theirs = library.AutoTokenizer.from_pretrained(str(folder))
    for text in PROMPTS:
        ours, found = model.text.encode(text), list(theirs(text)["input_ids"])
        if ours != found:
            raise CheckError(
                f"The tokenizer of the exported files gives other ids in transformers: for {text[:30]!r} "
                f"{found[:8]} in place of {ours[:8]}; nothing was written.",
                check="export",
            )
    return f"equal for {len(PROMPTS)} texts"


def _sentences(folder: Path, model: Model) -> str:
    """Embeddings of texts by sentence-transformers, against ours; a CheckError where they differ."""
    library = optional("sentence_transformers")
    if library is None:
        return "not checked: install sentence-transformers"
    with quietly():
        theirs = library.SentenceTransformer(str(folder), device="cpu")
        got = torch.from_numpy(theirs.encode(list(PROMPTS), show_progress_bar=False))
    wanted = model.embed(PROMPTS)
    gap, bound = gap_of(list(wanted), list(got)), ROUNDING * largest(list(wanted))
    if gap > bound:
        raise CheckError(
            f"sentence-transformers gives embeddings that differ by {gap:.3g}; nothing was written.", check="export"
        )
    return f"{library.__version__}: embeddings of {len(PROMPTS)} texts within {gap:.2g}"
