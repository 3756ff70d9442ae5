"""The encoder of an encoder-decoder as a model of its own, for tasks that read texts and write none.

What such a task asks of a text (a label, a number, tags, an answer's place, a vector) stands in the states of the
encoder, as T5EncoderModel and sentence-T5 (Ni et al., 2022) read them; the decoder is let go of and never computed.
Every method, the cut and the stored trunk then see a model of one stack, like BERT.
"""

from __future__ import annotations

from dataclasses import replace

from microtune.classic.recurrent import Recurrent
from microtune.nn.heads import VocabularyHead
from microtune.nn.shapes import shapes_only
from microtune.nn.spec import ModelSpec
from microtune.nn.transformer import Transformer
from microtune.run.load import Model
from microtune.tasks.base import Task


def as_read(model: Model, task: Task) -> Model:
    """The model as this task reads it: of an encoder-decoder the encoder alone, where nothing is written."""
    return encoder_alone(model) if task.only_reads else model


def encoder_alone(model: Model) -> Model:
    """A model of the same encoder, without a copy of its weights; models of one stack, and recurrent ones, as they are.

    A label head that came with the files was learnt on the decoder's states, and is left out with it.
    """
    if not model.is_encoder_decoder or isinstance(model.network, Recurrent):
        return model
    whole, spec = model.network, encoder_spec(model.spec)
    with shapes_only():
        network, head = Transformer(spec), VocabularyHead(spec, None)
    network.tokens, network.encoder, network.head = whole.tokens, whole.encoder, head
    head.out.weight = whole.tokens.weight
    network.train(whole.training)
    return replace(model, network=network, spare={}, missing_head=())


def encoder_spec(spec: ModelSpec) -> ModelSpec:
    """The fields of the encoder alone: read by the mean of its states, whose size differs much between models."""
    return replace(
        spec,
        decoder=None,
        tied=True,
        target_tokens="shared",
        head_bias=False,
        pooling="mean",
        label_head="normalized",
        label_bias=True,
    )
