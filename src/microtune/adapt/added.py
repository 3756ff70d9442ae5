"""A method together with added tokens: where it leaves the embedding frozen, the new rows alone train.

The rest of the table is as in the base, so that an adapter stores n rows. The embedding lies below every block: the
trunk is then empty. Where a method trains the head alone, the embedding stays trunk and new rows stay as they began.
"""

from __future__ import annotations

from microtune.adapt.base import Attachment, Method, top_cut
from microtune.nn.added import New, settle, train_alone
from microtune.nn.transformer import Cut, Transformer


def attach(method: Method, model: Transformer, new: New | None) -> Attachment:
    """`method.attach`, and the rows of added tokens (`new`, in a network that has grown) train."""
    attachment = method.attach(model)
    if new is None or attachment.cut == top_cut(model, 0):
        return attachment
    if train_alone(model, new):
        attachment.cut = model.cut = Cut()
        attachment.schedule[-1:] = [(epoch, Cut()) for epoch, _ in attachment.schedule[-1:]]
        attachment.afterwards(lambda learnt: settle(model, learnt=learnt))
    return attachment


def rows_train(attachment: Attachment, new: New | None) -> bool:
    """Whether the input rows of added tokens learn something, by themselves or with the whole embedding."""
    return new is not None and any(name in ("tokens.weight", "tokens.added") for name in attachment.trainable)
