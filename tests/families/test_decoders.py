"""Decoder-only families against transformers, through its own files, in float64.

The references cast to float32 in norms, softmax and rotary tables, which moves logits by a few 1e-6: as they stand they
are held to 1e-5, and with the casts lifted to 1e-6 where deliberate mistakes are looked for and to 1e-11 otherwise
(rounding).
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from decoders import BARE, LABELLED, NAMES, SCALINGS, VARIANTS, by_row, float64_throughout
from references import (
    ROWS,
    Case,
    each,
    open_ours,
    our_hidden,
    our_logits,
    ours,
    reference,
    their_logits,
    their_padded,
)
from safetensors.torch import load_file
from test_parity import compare
from test_roundtrip import CHANGES, DTYPES, assert_same_bits, everything, save_again
from torch import nn
from transformers import AutoModelForCausalLM

from microtune.families import expected_shapes, families, load_folder, module_name, roles, save_folder
from microtune.nn.spec import ModelSpec, StackSpec
from microtune.nn.transformer import Cache
from microtune.ragged import Ragged

pytestmark = pytest.mark.parity
AS_IT_STANDS = {"rtol": 1e-5, "atol": 1e-5}
TOLERANCE = {"rtol": 1e-6, "atol": 1e-6}
ROUNDING = {"rtol": 1e-11, "atol": 1e-11}


@each(VARIANTS | {f"{name} with labels": case for name, case in LABELLED.items()})
def test_scores_equal_the_reference(case: Case, tmp_path: Path) -> None:
    theirs = reference(case, tmp_path)
    mine = open_ours(tmp_path)
    together = our_logits(case, mine)  # a batch of several lengths
    compare(together, their_logits(case, theirs), **AS_IT_STANDS)
    with float64_throughout(case.config.model_type):
        exact = reference(case, tmp_path)
        alone = their_logits(case, exact)
        padded = alone if by_row(case) else their_padded(case, exact)
    compare(together, alone, **ROUNDING)
    compare([our_logits(case, mine, [row])[0] for row in ROWS], alone, **ROUNDING)
    compare(together, padded, **ROUNDING)


@each(BARE)
def test_hidden_states_of_bare_models_equal_the_reference(case: Case, tmp_path: Path) -> None:
    with float64_throughout(case.config.model_type):
        wanted = their_logits(case, reference(case, tmp_path))
    compare(our_hidden(case, ours(load_folder(tmp_path), strict=False)), wanted, **ROUNDING)


STEPS = 9
AUTO = {"internlm3": AutoModelForCausalLM}  # whose class is another family's


@torch.no_grad()
def written_by_reference(case: Case, theirs: nn.Module, row: list[int]) -> list[int]:
    """Greedy; where angles follow the length, by whole passes over rows that have their final length already."""
    ids = torch.tensor([row])
    if not by_row(case):
        out = theirs.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=STEPS, do_sample=False)
        return out[0, len(row) :].tolist()
    total, done = len(row) + STEPS, list(row)
    theirs = copy.deepcopy(theirs)  # dynamic angles remember the longest row so far
    while len(done) < total:
        filled = torch.tensor([done + [1] * (total - len(done))])
        done.append(int(theirs(filled).logits[0, len(done) - 1].argmax()))
    return done[len(row) :]


@each(VARIANTS)
@torch.no_grad()
def test_greedy_generation_equals_the_reference_token_for_token(case: Case, tmp_path: Path) -> None:
    theirs, mine = reference(case, tmp_path), open_ours(tmp_path)
    capacity = max(map(len, ROWS)) + STEPS
    cache = Cache(mine.spec, len(ROWS), capacity, torch.tensor([len(row) + STEPS for row in ROWS]))
    written: list[list[int]] = [[] for _ in ROWS]
    new = ROWS
    for _ in range(STEPS):
        batch = Ragged.from_lists(new)
        hidden = mine(batch, readout=batch.lengths.cumsum(0) - 1, cache=cache)
        new = mine.head(hidden).argmax(-1)[:, None].tolist()
        written = [row + token for row, token in zip(written, new, strict=True)]
    for row, found in zip(ROWS, written, strict=True):
        assert found == written_by_reference(case, theirs, row)
    assert len({token for row in written for token in row}) > 2, "the test generates something"


def stack(**fields: Any) -> Callable[[ModelSpec], ModelSpec]:
    return lambda spec: replace(spec, decoder=replace(spec.decoder, **fields))  # type: ignore[type-var]


def scaling(**fields: Any) -> Callable[[ModelSpec], ModelSpec]:
    def change(spec: ModelSpec) -> ModelSpec:
        assert spec.decoder is not None
        assert spec.decoder.rope_scaling is not None
        return stack(rope_scaling=replace(spec.decoder.rope_scaling, **fields))(spec)

    return change


def model(**fields: Any) -> Callable[[ModelSpec], ModelSpec]:
    return lambda spec: replace(spec, **fields)


NO_SCALE = stack(rope_scaling=None)
MISTAKES: list[tuple[str, Callable[[ModelSpec], ModelSpec], str]] = [
    ("mistral, window", stack(window=4), "a window of 4 for 3"),
    ("mistral, window", stack(pattern="LG"), "a window in every second layer"),
    ("mistral", stack(window=7, pattern="L"), "a window of 7 for none"),
    ("mistral", stack(norm_eps=1e-5), "epsilon 1e-5 for 1e-6"),
    ("mistral", stack(activation="gelu"), "GELU for SiLU"),
    ("internlm3, biases, dynamic", stack(mlp_bias=False), "no bias of the MLP"),
    ("internlm3, biases, dynamic", stack(rope_theta=51.0), "rotary base 51 for 50"),
    ("qwen2", stack(query_bias=False), "no query bias"),
    ("qwen2", stack(value_bias=False), "no value bias"),
    ("qwen2", stack(output_bias=True), "a bias of the output"),
    ("qwen2, windows above", stack(pattern="L"), "windows below, too"),
    ("qwen2, listed layers", stack(window=3), "a window of 3 for 2"),
    ("qwen3", stack(query_key_norm="none"), "no norm of queries and keys"),
    ("qwen3", stack(query_key_norm="width"), "a norm of the whole width"),
    ("qwen3", stack(attention_scale=4**-0.5), "scale of another head width"),
    ("qwen3", model(tied=True), "the embedding for the head"),
    ("gemma", stack(norm_shift=False), "weight for 1 + weight"),
    ("gemma", stack(embedding_scale=1.0), "embeddings as they are"),
    ("gemma", stack(activation="gelu"), "erf GELU for tanh"),
    ("gemma2", stack(placement="pre"), "no norms behind the branches"),
    ("gemma2", stack(attention_softcap=51.0), "attention capped at 51 for 50"),
    ("gemma2", stack(attention_scale=None), "scale of the head width"),
    ("gemma2", stack(pattern="GL"), "windows in the other layers"),
    ("gemma2", stack(window=4), "a window of 4 for 3"),
    ("gemma2", model(logit_softcap=31.0), "logits capped at 31 for 30"),
    ("gemma3_text, scaled", stack(rope_local_theta=500.0), "one base for all layers"),
    ("gemma3_text, scaled", NO_SCALE, "no scaling"),
    ("gemma3_text, scaled", stack(rope_local_theta=None), "scaled windows"),
    ("gemma3_text", stack(query_key_norm="none"), "no norm of queries and keys"),
    ("gemma3_text", stack(placement="pre"), "no norms behind the branches"),
    ("phi3, window, tied", stack(window=4), "a window of 4 for 3"),
    ("phi3, longrope, partial", stack(rotary_dim=4, rope_scaling=None), "fewer numbers turn"),
    ("phi3, longrope, partial", scaling(original_max_positions=8), "short factors for long rows"),
    ("phi3, longrope, partial", scaling(attention_factor=1.0), "attention as it is"),
    ("phi3", stack(norm_eps=1e-6), "epsilon 1e-6 for 1e-5"),
    ("gpt_neox", stack(residuals="sequential"), "the MLP reads what attention wrote"),
    ("gpt_neox", stack(rotary_dim=8), "twice as many numbers turn"),
    ("gpt_neox", stack(rope_layout="pairs"), "neighbours turn together"),
    ("gpt_neox", stack(norm_eps=1e-6), "epsilon 1e-6 for 1e-5"),
    ("gpt_neox, sequential, no biases", stack(residuals="parallel"), "the MLP reads what attention reads"),
    ("gpt_neox, sequential, no biases", stack(activation="gelu"), "erf GELU for tanh"),
    ("olmo2", stack(placement="pre"), "norms before the branches"),
    ("olmo2", stack(placement="post"), "norms after the sums"),
    ("olmo2", stack(placement="sandwich"), "norms on both sides"),
    ("olmo2", stack(query_key_norm="head"), "norms of each head"),
    ("olmo2", stack(query_key_norm="none"), "no norm of queries and keys"),
    ("glm", stack(rope_layout="halves"), "halves turn together"),
    ("glm", stack(rotary_dim=None), "everything turns"),
    ("glm", stack(norm_eps=1e-6), "epsilon 1e-6 for 1.5625e-7"),
    ("glm", stack(query_bias=False), "no query bias"),
    ("glm4", stack(placement="pre"), "no norms behind the branches"),
    ("glm4", stack(rope_layout="halves"), "halves turn together"),
    *((f"llama, {name}", NO_SCALE, "no scaling") for name in SCALINGS),
    ("llama, linear", scaling(factor=3.01), "factor 3.01 for 3"),
    ("llama, dynamic", scaling(factor=2.51), "factor 2.51 for 2.5"),
    ("llama, dynamic", scaling(original_max_positions=5), "5 positions for 4"),
    ("llama, dynamic", scaling(kind="linear"), "linear for dynamic"),
    ("llama, llama3", scaling(low_freq_factor=0.16), "other slow angles"),
    ("llama, llama3", scaling(high_freq_factor=0.51), "other fast angles"),
    ("llama, llama3", scaling(original_max_positions=5), "5 positions for 4"),
    ("llama, llama3", scaling(factor=4.01), "factor 4.01 for 4"),
    ("llama, yarn", scaling(factor=4.01), "factor 4.01 for 4"),
    ("llama, yarn", scaling(attention_factor=1.0), "attention as it is"),
    ("llama, yarn", scaling(beta_fast=0.2), "other fast angles"),
    ("llama, yarn", scaling(beta_slow=0.005), "other slow angles"),
    ("llama, yarn", scaling(truncate=False), "bounds that are no whole numbers"),
    ("llama, yarn", scaling(original_max_positions=40), "40 positions for 4"),
    ("llama, longrope", scaling(original_max_positions=8), "short factors for long rows"),
    ("llama, longrope", scaling(long_factor=(1.5, 2.0, 3.0, 4.01)), "one long factor"),
    ("llama, longrope", scaling(short_factor=(1.0, 1.31, 1.1, 1.2)), "one short factor"),
    ("llama, longrope, factors given", scaling(attention_factor=1.26), "another sharpness"),
]


@pytest.mark.parametrize(("name", "change", "what"), MISTAKES, ids=[f"{n}: {w}" for n, _, w in MISTAKES])
def test_a_wrong_field_is_seen_at_this_tolerance(
    name: str, change: Callable[[ModelSpec], ModelSpec], what: str, tmp_path: Path
) -> None:
    case = VARIANTS[name]
    with float64_throughout(case.config.model_type):
        wanted = their_logits(case, reference(case, tmp_path))
    loaded = load_folder(tmp_path)
    compare(our_logits(case, ours(loaded)), wanted, **TOLERANCE)
    torch.manual_seed(0)  # of weights that the file does not have
    wrong = change(loaded.spec)
    fitting = expected_shapes(wrong)
    state = {n: t for n, t in loaded.state.items() if fitting.get(n) == tuple(t.shape)}
    with pytest.raises(AssertionError, match="not close"):
        compare(our_logits(case, ours(replace(loaded, state=state), wrong, strict=False)), wanted, **TOLERANCE)


FIELDS: dict[str, Callable[[StackSpec], dict[str, Any]]] = {
    "causal": lambda d: {"causal": False},
    "norm": lambda d: {"norm": "layer" if d.norm == "rms" else "rms"},
    "norm_eps": lambda d: {"norm_eps": 10 * d.norm_eps},
    "norm_shift": lambda d: {"norm_shift": not d.norm_shift} if d.norm == "rms" else {},
    "placement": lambda d: {"placement": "sandwich" if d.placement == "pre" else "pre"},
    "residuals": lambda d: {"residuals": "parallel" if d.residuals == "sequential" else "sequential"},
    "final_norm": lambda d: {"final_norm": False},
    "mlp": lambda d: {"mlp": "plain" if d.mlp == "gated" else "gated"},
    "activation": lambda d: {"activation": "silu" if d.activation == "gelu" else "gelu"},
    "positions": lambda d: {"positions": "none"},
    "rope_theta": lambda d: {"rope_theta": 1.1 * d.rope_theta},
    "rope_local_theta": lambda d: {"rope_local_theta": 1.1 * d.rope_local_theta} if d.rope_local_theta else {},
    "rope_layout": lambda d: {"rope_layout": "pairs" if d.rope_layout == "halves" else "halves"},
    "rotary_dim": lambda d: {"rotary_dim": d.rotary_size - 2},
    "window": lambda d: {"window": (d.window or 2) + 1, "pattern": d.pattern if d.window else "L"},
    "pattern": lambda d: {"pattern": d.pattern.translate(str.maketrans("GL", "LG")), "window": d.window or 3},
    "query_bias": lambda d: {"query_bias": not d.query_bias},
    "key_bias": lambda d: {"key_bias": not d.key_bias},
    "value_bias": lambda d: {"value_bias": not d.value_bias},
    "output_bias": lambda d: {"output_bias": not d.output_bias},
    "mlp_bias": lambda d: {"mlp_bias": not d.mlp_bias},
    "query_key_norm": lambda d: {"query_key_norm": "head" if d.query_key_norm != "head" else "width"},
    "attention_scale": lambda d: {"attention_scale": 1.01 * (d.attention_scale or d.head_size**-0.5)},
    "attention_softcap": lambda d: {"attention_softcap": 1.01 * (d.attention_softcap or 30.0)},
    "embedding_scale": lambda d: {"embedding_scale": 1.001 * d.embedding_scale},
}


@pytest.mark.parametrize("name", NAMES)
def test_every_field_of_every_family_matters(name: str, tmp_path: Path) -> None:
    """Each field in turn with another value, and nothing else: all of them are seen at 1e-6."""
    case = VARIANTS[name]
    with float64_throughout(name):
        wanted = their_logits(case, reference(case, tmp_path))
    loaded = load_folder(tmp_path)
    unseen = []
    for field, change in FIELDS.items():
        decoder = loaded.spec.decoder
        assert decoder is not None
        fields = change(decoder)
        if (decoder.placement == "after" and field == "residuals") or not fields:  # no such model
            continue
        torch.manual_seed(0)
        wrong = replace(loaded.spec, decoder=replace(decoder, **fields))
        shapes = expected_shapes(wrong)
        state = {n: t for n, t in loaded.state.items() if shapes.get(n) == tuple(t.shape)}
        found = our_logits(case, ours(replace(loaded, state=state), wrong, strict=False))
        if all(torch.allclose(mine, theirs, **TOLERANCE) for mine, theirs in zip(found, wanted, strict=True)):
            unseen.append(field)
    assert unseen == []


@each(VARIANTS)
def test_a_model_from_nothing_is_opened_by_transformers(case: Case, tmp_path: Path) -> None:
    """No config.json to start from: what we write says all that transformers must know."""
    theirs = reference(case, tmp_path / "theirs")
    loaded = load_folder(tmp_path / "theirs")
    save_again(loaded, tmp_path / "ours", config=None)
    build = AUTO.get(case.config.model_type, case.build)
    again, report = build.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values()), report
    compare(their_logits(case, again.eval()), their_logits(case, theirs), **AS_IT_STANDS)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@each(VARIANTS | {f"{name}, labels": case for name, case in LABELLED.items()})
def test_ours_theirs_ours_is_bit_exact(case: Case, dtype: torch.dtype, tmp_path: Path) -> None:
    spec = families[case.config.model_type].to_spec(case.config.to_dict())
    labelled = "Sequence" in case.build.__name__
    generator = torch.Generator().manual_seed(0)
    state = {
        name: torch.randn(shape, generator=generator).to(dtype)
        for name, shape in expected_shapes(spec, 3 if labelled else None).items()
    }
    if spec.tied and not labelled:
        state["head.out.weight"] = state["tokens.weight"]
    head = "label" if labelled else "vocabulary"
    save_folder(tmp_path, spec, state, family=case.config.model_type, head=head)
    loaded = load_folder(tmp_path)
    assert_same_bits(everything(loaded), state)
    wanted = replace(spec, initializer_range=loaded.spec.initializer_range)
    assert (loaded.spec, loaded.head) == (wanted, head)
    assert ModelSpec.from_dict(spec.to_dict()) == spec


@each(
    VARIANTS
    | {f"{name}, labels": case for name, case in LABELLED.items()}
    | {f"{n}, bare": c for n, c in BARE.items() if not c.config.tie_word_embeddings}
)
def test_theirs_ours_theirs_is_bit_exact_and_transformers_opens_it(case: Case, tmp_path: Path) -> None:
    theirs = reference(case, tmp_path / "theirs", torch.float32)
    loaded = load_folder(tmp_path / "theirs")
    save_again(loaded, tmp_path / "ours")
    if case.config.model_type != "gpt_neox":  # whose head has an older name in files
        assert_same_bits(
            load_file(tmp_path / "ours/model.safetensors"), load_file(tmp_path / "theirs/model.safetensors")
        )
    again, report = AUTO.get(case.config.model_type, case.build).from_pretrained(
        tmp_path / "ours", output_loading_info=True
    )
    assert not any(report.values()), report
    assert_same_bits(again.state_dict(), theirs.state_dict())
    for mine, first in zip(their_logits(case, again.eval()), their_logits(case, theirs), strict=True):
        torch.testing.assert_close(mine, first, rtol=1e-5, atol=1e-6)
    before, after = case.config.to_dict(), again.config.to_dict()
    assert {k: v for k, v in before.items() if after.get(k) != v and k not in CHANGES} == {}


@each(VARIANTS)
def test_every_linear_role_has_its_module_in_the_reference(case: Case, tmp_path: Path) -> None:
    theirs, loaded = reference(case, tmp_path), load_folder(tmp_path)
    mine, modules = ours(loaded), dict(theirs.named_modules())
    for role, layer in mine.named_modules():
        if not isinstance(layer, nn.Linear) or role == "head.out":
            continue
        name, part, parts = module_name(loaded.family, role, spec=loaded.spec)
        members = roles(loaded.family, name, spec=loaded.spec)
        rule = families[loaded.family].rules(loaded.spec).place(f"{name}.weight").rule  # type: ignore[union-attr]
        assert torch.equal(modules[name].weight, rule.join([mine.get_parameter(f"{r}.weight") for r in members]))
        assert (members[part], len(members)) == (role, parts)
