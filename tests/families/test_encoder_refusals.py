"""What encoder-only families refuse: an unknown value is one sentence and never a guess; so is an unknown family."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from encoder_cases import LABELS, VOCABULARY, distilbert, electra, modernbert, roberta
from references import Case, reference
from test_refusals import configure, refused

from microtune.errors import InputError
from microtune.families import families, load_folder
from microtune.nn.spec import ModelSpec, StackSpec

VALUES: list[tuple[Case, str, Any, str]] = [
    (roberta(), "position_embedding_type", "relative_key", 'position_embedding_type is "relative_key"'),
    (roberta(), "hidden_act", "mish", 'hidden_act "mish" is not supported.'),
    (roberta(), "is_decoder", True, "is_decoder is True"),
    (roberta(), "pad_token_id", -1, "pad_token_id is -1, but must be a whole number from 0 to"),
    (roberta(), "pad_token_id", "1", 'pad_token_id is "1", but must be a whole number'),
    (roberta(), "type_vocab_size", 0, "type_vocab_size is 0, but must be"),
    (distilbert(), "activation", "swoosh", 'activation "swoosh" is not supported. Did you mean "swish"?'),
    (distilbert(), "sinusoidal_pos_embds", 1, "sinusoidal_pos_embds is 1, but must be true or false."),
    (distilbert(), "position_embedding_type", "relative_key_query", "position_embedding_type is"),
    (distilbert(), "dim", None, 'the field "dim" is missing.'),
    (electra(), "embedding_size", None, 'the field "embedding_size" is missing.'),
    (electra(), "embedding_size", 0, "embedding_size is 0, but must be a whole number from 1"),
    (electra(), "embedding_size", 16, 'tensor "electra.embeddings.LayerNorm.bias" has shape [10], but config.json'),
    (electra(), "position_embedding_type", "relative_key", "position_embedding_type is"),
    (modernbert(), "hidden_activation", "geglu", 'hidden_activation "geglu" is not supported. Did you mean "gelu"?'),
    (modernbert(), "classifier_activation", "tanh", 'classifier_activation "tanh" is not supported.'),
    (modernbert(), "classifier_pooling", "max", 'classifier_pooling "max" is not supported.'),
    (modernbert(), "local_attention", 0, "local_attention is 0, but must be a whole number from 1"),
    (modernbert(), "local_attention", [128, 128], "local_attention is [128, 128], but must be a whole number"),
    (modernbert(), "layer_types", ["full_attention"], "layer_types must name the attention of each of the 5 layers."),
    (modernbert(), "layer_types", ["full_attention"] * 4 + ["linear"], 'layer_types "linear" is not supported.'),
    (modernbert(), "global_attn_every_n_layers", 2, "layer_types and global_attn_every_n_layers disagree; keep one."),
    (modernbert(), "global_attn_every_n_layers", -1, "global_attn_every_n_layers is -1, but must be"),
    (modernbert(), "rope_scaling", {"type": "linear", "factor": 2.0}, "rope_scaling is {'type': 'linear'"),
    (modernbert(), "rope_parameters", [1], "rope_parameters must hold an object for each of full_attention and"),
    (modernbert(), "rope_parameters", {"rope_theta": 5.0}, "rope_parameters must hold an object for each of"),
    (modernbert(), "rope_parameters", {"full_attention": {"rope_type": "yarn"}}, 'rope_type is "yarn"'),
    (modernbert(), "rope_parameters", {"full_attention": {"factor": 2.0}}, 'the field "factor" is not supported.'),
    (modernbert(), "global_rope_theta", 5.0, "global_rope_theta and rope_parameters.full_attention disagree"),
    (modernbert(), "head_dim", 8, "head_dim is 8, which is not supported"),
    (modernbert(), "norm_bias", "yes", 'norm_bias is "yes", but must be true or false.'),
    (modernbert(), "num_attention_heads", 16, "head_dim is 1, but rotary positions need an even number."),
]


@pytest.mark.parametrize(
    ("case", "key", "value", "message"),
    VALUES,
    ids=[f"{c.config.model_type} {k}={str(v)[:30]}" for c, k, v, _ in VALUES],
)
def test_an_unknown_value_is_refused_and_never_guessed(
    case: Case, key: str, value: Any, message: str, tmp_path: Path
) -> None:
    reference(case, tmp_path)
    load_folder(tmp_path)
    configure(tmp_path, **{key: value})
    refused(tmp_path, message)


@pytest.mark.parametrize("case", [VOCABULARY[name] for name in ("roberta", "distilbert", "electra", "modernbert")])
@pytest.mark.parametrize("name", ["nomic_bert", "RoBERTa", "", None, 7])
def test_an_unknown_family_is_a_sentence_with_its_name_and_the_known_ones(
    case: Case, name: object, tmp_path: Path
) -> None:
    reference(case, tmp_path)
    configure(tmp_path, model_type=name)
    message = refused(tmp_path, f'model_type "{name}" is not supported.', f"Known: {', '.join(families)}.")
    assert "modernbert, " in message
    assert "xlm-roberta" in message


def older(folder: Path, **fields: Any) -> ModelSpec:
    """The spec of a ModernBERT folder without the fields that transformers 5 has added."""
    configure(folder, layer_types=None, rope_parameters=None, **fields)
    return load_folder(folder).spec


def test_modernbert_as_it_was_published_is_understood(tmp_path: Path) -> None:
    """config.json of 2024: a distance between global layers and two bases, no list of layers."""
    reference(modernbert(), tmp_path)
    spec = load_folder(tmp_path).spec
    encoder = spec.encoder
    assert encoder is not None
    assert (encoder.pattern, encoder.window, encoder.rope_theta) == ("GLLGL", 3, 160_000.0)
    assert older(tmp_path) == spec
    fields = {"global_attn_every_n_layers": 2, "global_rope_theta": 500.0, "local_rope_theta": 50.0}
    changed = replace(encoder, pattern="GLGLG", rope_theta=500.0, rope_local_theta=50.0)
    assert older(tmp_path, **fields) == replace(spec, encoder=changed)
    configure(tmp_path, local_rope_theta=None)
    refused(tmp_path, "local_rope_theta is null, which versions of transformers understand differently")


def test_what_modernbert_writes_is_read_by_both_generations() -> None:
    """The same spec from the fields of either."""
    config = modernbert(local_attention=7).config.to_dict()
    spec = families["modernbert"].to_spec(config)
    out = families["modernbert"].to_config(spec, config)
    assert (out["local_attention"], out["global_attn_every_n_layers"]) == (7, 3)
    new = ("layer_types", "rope_parameters")
    old = ("global_attn_every_n_layers", "global_rope_theta", "local_rope_theta")
    for left_out in (new, old):
        assert families["modernbert"].to_spec({k: v for k, v in out.items() if k not in left_out}) == spec
    encoder = spec.encoder
    assert encoder is not None
    other = families["modernbert"].to_config(replace(spec, encoder=replace(encoder, pattern="LLG", window=9)), out)
    assert (other["local_attention"], other["global_attn_every_n_layers"]) == (16, None)
    assert other["layer_types"] == [("sliding", "full")[i in (2,)] + "_attention" for i in range(5)]


def test_a_spec_that_a_family_cannot_express_is_not_written() -> None:
    def spec(name: str) -> ModelSpec:
        return families[name.partition(",")[0]].to_spec((VOCABULARY | LABELS)[name].config.to_dict())

    def blocks(given: ModelSpec, **fields: Any) -> ModelSpec:
        return replace(given, encoder=replace(given.output_stack, **fields))

    wrong = [
        (spec("roberta"), "bert", "encoder.position_offset: 41"),
        (blocks(spec("roberta"), position_offset=0), "roberta", "pad_token_id is -1"),
        (spec("electra"), "bert", "encoder.embedding_size: 10"),
        (replace(spec("roberta"), head_activation="relu"), "roberta", "head_activation: relu"),
        (blocks(spec("distilbert"), norm_eps=1e-5), "distilbert", "encoder.norm_eps: 1e-05"),
        (replace(spec("distilbert"), token_types=2), "distilbert", "token_types: 2"),
        (blocks(spec("modernbert"), first_norm=True), "modernbert", "encoder.first_norm: True"),
        (blocks(spec("modernbert"), value_bias=True), "modernbert", "encoder.value_bias: True"),
        (blocks(spec("modernbert"), norm="rms"), "modernbert", "encoder.norm: rms"),
        (spec("modernbert"), "electra", "this model"),
    ]
    for given, family, message in wrong:
        with pytest.raises(InputError, match=f"A {family} file cannot express") as caught:
            families[family].to_config(given)
        assert message in str(caught.value)
    with pytest.raises(InputError, match="pooling: last"):
        families["modernbert"].to_config(replace(spec("modernbert"), pooling="last"), head="label")
    with pytest.raises(InputError, match="label_head: tanh_pooler"):
        families["roberta"].to_config(replace(spec("roberta"), label_head="tanh_pooler"), head="label")
    families["roberta"].to_config(replace(spec("roberta"), label_head="tanh_pooler"))  # no label head, no matter
    every = blocks(spec("modernbert"), pattern="GLLGLGLL")  # five layers read five letters
    families["modernbert"].to_config(every)


def test_fields_that_exclude_each_other() -> None:
    stack: dict[str, Any] = {"num_layers": 1, "hidden_size": 8, "num_heads": 2, "intermediate_size": 8}
    with pytest.raises(InputError, match="first_norm: false needs placement: pre, not post"):
        StackSpec(**stack, first_norm=False, placement="post")
    with pytest.raises(InputError, match="An embedding_size other than hidden_size needs head_transform"):
        ModelSpec(vocab_size=9, encoder=StackSpec(**stack, embedding_size=4))
    with pytest.raises(InputError, match=r"encoder and decoder share the embedding, but are \[4, 8\] wide"):
        ModelSpec(vocab_size=9, encoder=StackSpec(**stack, embedding_size=4), decoder=StackSpec(**stack))
    with pytest.raises(InputError, match='head_activation: unknown value "mish"'):
        ModelSpec(vocab_size=9, encoder=StackSpec(**stack), head_activation="mish")  # type: ignore[arg-type]
    with pytest.raises(InputError, match='label_head: unknown value "dense"'):
        ModelSpec(vocab_size=9, encoder=StackSpec(**stack), label_head="dense")  # type: ignore[arg-type]
    for field, value in (("norm_bias", 1), ("first_norm", "no"), ("embedding_size", 0)):
        with pytest.raises(InputError, match=f"{field} is {value}, but must be"):
            StackSpec(**stack, **{field: value})
    with pytest.raises(InputError, match="head_transform_bias is None, but must be true or false"):
        ModelSpec(vocab_size=9, encoder=StackSpec(**stack), head_transform_bias=None)  # type: ignore[arg-type]
    whole = ModelSpec(vocab_size=9, encoder=StackSpec(**stack, embedding_size=4), head_transform=True)
    assert ModelSpec.from_dict(whole.to_dict()) == whole
