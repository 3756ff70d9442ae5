"""Number formats of a run: frozen weights held rounded while training, as the files have them afterwards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from tiny_runs import make_base, make_rows, run, tune_recipe

from microtune.nn.frozen import FrozenLinear
from microtune.nn.heads import VocabularyHead
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Cut, Transformer
from microtune.run.folder import RunFolder
from microtune.run.load import load
from microtune.run.precision import HeldBase
from microtune.run.train import FEWEST_TOKENS, MOST_TOKENS, Step, micro_tokens

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("inputs")
    return make_base(folder / "base"), make_rows(folder / "rows.csv")


class Runs:
    """A run for each method and format, made when first asked for."""

    def __init__(self, inputs: tuple[str, str], folder: Path) -> None:
        self.inputs, self.folder = inputs, folder
        self.made: dict[tuple[str, str], tuple[RunFolder, list[float]]] = {}

    def __call__(self, method: str, precision: str) -> tuple[RunFolder, list[float]]:
        """Its folder and the losses of its steps."""
        if (method, precision) not in self.made:
            losses: list[float] = []
            recipe, path = tune_recipe(*self.inputs, method, precision=precision), self.folder / f"{method}-{precision}"
            folder = run(recipe, path, event=lambda e: losses.append(e.loss) if isinstance(e, Step) else None)
            self.made[method, precision] = folder, losses
        return self.made[method, precision]


@pytest.fixture(scope="module")
def runs(inputs: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Runs:
    return Runs(inputs, tmp_path_factory.mktemp("runs"))


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
@pytest.mark.parametrize("method", ["lora", "dora", "top"])
def test_runs_in_every_format_end_with_the_base_of_the_files(
    inputs: tuple[str, str], runs: Runs, precision: str, method: str
) -> None:
    """The losses stay near those in float32, and the saved run holds the base's own bits."""
    losses = {name: runs(method, name)[1] for name in ("float32", precision)}
    folder = runs(method, precision)[0]
    again, base = load(folder.path), load(inputs[0])
    assert not any(isinstance(m, FrozenLinear) for m in again.network.modules())
    known = dict(base.network.named_parameters())
    found = {name.replace(".base.", "."): p for name, p in again.network.named_parameters()}
    frozen = [(known[name], p) for name, p in found.items() if name in known]
    same = [torch.equal(a, b) for a, b in frozen]
    assert sum(same) >= len(same) // 2 if method == "top" else all(same)
    assert losses[precision] == pytest.approx(losses["float32"], rel=0.05)
    said = [note for note in folder.notes if note.startswith("int8:")]
    assert len(said) == (precision == "int8")
    if said:
        rounded, exact = map(float, re.findall(r"\d+\.\d+", said[0]))
        assert rounded == pytest.approx(exact, rel=0.02)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "int8"])
def test_a_held_base_rounds_tied_and_untied_tables_and_puts_them_back(precision: str) -> None:
    for tied in (True, False):
        network = build_tiny(tied)
        before = {name: value.clone() for name, value in network.state_dict().items()}
        network.requires_grad_(False)
        held = HeldBase(network, precision, lambda tied=tied: build_tiny(tied))  # type: ignore[arg-type, misc]
        head = network.head
        assert isinstance(head, VocabularyHead)
        assert (head.out.weight is network.tokens.weight) == tied
        wide = precision == "float32" or (precision == "int8" and not torch.cpu._is_avx512_bf16_supported())
        assert {network.tokens.weight.dtype, head.out.weight.dtype} == {torch.float32 if wide else torch.bfloat16}
        held.release()
        assert (head.out.weight is network.tokens.weight) == tied
        for name, value in network.state_dict().items():
            assert torch.equal(value, before[name]), name


def build_tiny(tied: bool) -> Transformer:
    """The same weights at every call."""
    torch.manual_seed(0)
    stack = StackSpec(num_layers=1, hidden_size=16, num_heads=2, intermediate_size=24, causal=True)
    return Transformer(ModelSpec(vocab_size=31, decoder=stack, tied=tied))


def test_tokens_computed_at_once_follow_the_size_of_the_model() -> None:
    def spec(**fields: int) -> ModelSpec:
        return ModelSpec(vocab_size=99, decoder=StackSpec(num_heads=8, **fields))

    small = micro_tokens(spec(num_layers=2, hidden_size=64, intermediate_size=128))
    middle = micro_tokens(spec(num_layers=30, hidden_size=576, intermediate_size=1536))
    large = micro_tokens(spec(num_layers=64, hidden_size=8192, intermediate_size=24576))
    assert (small, large) == (MOST_TOKENS, FEWEST_TOKENS)
    assert FEWEST_TOKENS < middle < MOST_TOKENS
    assert middle % 256 == 0


def test_what_lies_below_the_cut_leaves_room_for_more_tokens() -> None:
    stack = StackSpec(num_heads=8, num_layers=30, hidden_size=576, intermediate_size=1536)
    found = [micro_tokens(ModelSpec(vocab_size=99, decoder=stack), Cut(decoder=cut)) for cut in (0, 15, 28, 30)]
    assert found == sorted(found)
    assert FEWEST_TOKENS < found[0] < found[1] < found[2] == MOST_TOKENS
