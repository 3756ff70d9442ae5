"""What the methods with virtual tokens have in common: where the tokens stand, how they begin, what merging says.

Virtual tokens begin as random vectors, as words drawn from the vocabulary, or as a text. A method knows no tokenizer:
it names its text (`opening`), and whoever has one gives the ids to `begin`. A run that is loaded takes all values from
its files and asks for none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NoReturn

import torch
from pydantic import Field, ValidationInfo, field_validator
from torch import Tensor

from microtune.adapt.base import Attachment, Method, freeze, set_module, train_task_head
from microtune.errors import InputError
from microtune.nn.transformer import Cut, Stack, Transformer
from microtune.nn.virtual import VirtualTokens

MOST = 4096  # rows of a table that are looked at for its spread


class VirtualMethod(Method):
    """Base of `prompt` and `prefix`."""

    tokens: int = Field(default=16, ge=1, le=2**16, description="how many virtual tokens stand before every text")
    init: Literal["random", "vocabulary", "text"] = Field(
        default="vocabulary",
        description="how they begin: as random vectors, as words drawn from the vocabulary, as `text`",
    )
    text: str | None = Field(
        default=None, validate_default=True, description="what they begin as (init: text), repeated or cut to `tokens`"
    )
    seed: int = Field(default=0, ge=0, description="of what is drawn")

    @field_validator("text")
    @classmethod
    def _text_where_it_is_read(cls, text: str | None, info: ValidationInfo) -> str | None:
        init = info.data.get("init")
        if init == "text" and not (text or "").strip():
            raise ValueError("init: text needs words to begin as")
        if init != "text" and text is not None:
            raise ValueError(f"read with init: text only (it is {init})")
        return text

    @property
    def virtual_tokens(self) -> int:
        """How many positions they take."""
        return self.tokens

    @property
    def opening(self) -> str | None:
        """The text whose ids `begin` has to be given."""
        return self.text

    def begin(self, model: Transformer, ids: Sequence[int]) -> None:
        """Virtual tokens of an attached method begin as these ids, repeated or cut to their number."""
        raise NotImplementedError

    def ids(self, model: Transformer) -> list[int]:
        """Ids drawn from the whole vocabulary."""
        generator = torch.Generator(device="cpu").manual_seed(self.seed)
        device = torch.device("cpu")
        return torch.randint(model.spec.vocab_size, (self.tokens,), generator=generator, device=device).tolist()

    def place(self, model: Transformer, side: str, virtual: VirtualTokens, cut: Cut, rate: float = 1.0) -> Attachment:
        """Freeze everything, put the tokens into the slot of a stack, let a label head train.

        rate: factor on the tokens' learning rate.
        """
        role = f"{side}.virtual"
        slot = model.get_submodule(role)
        freeze(model)
        set_module(model, role, virtual)
        train_task_head(model)
        rates = {f"{role}.{name}": rate for name, _ in virtual.named_parameters()} if rate != 1.0 else {}
        return Attachment(model, cut=cut, replaced={role: (slot, virtual)}, merge=refuse_merging, rates=rates)

    def check_room(self, stack: Stack) -> None:
        """Refuse to leave no position for a text, and a second set of tokens."""
        spec = stack.spec
        room = None if spec.promised_positions is None else spec.promised_positions - spec.position_offset
        if room is not None and self.tokens >= room:
            raise InputError(
                f"method.tokens: {self.tokens} virtual tokens leave no room for a text; there are {room} positions, "
                "take fewer."
            )
        if stack.virtual.count:
            raise InputError(f"method: this model has {stack.virtual.count} virtual tokens already.")

    def vectors(self, model: Transformer, stack: Stack) -> Tensor:
        """What stands in place of word embeddings `[p, W]` at the start; with init: text no numbers until `begin`."""
        width = stack.spec.embedding_width
        if self.init == "text":
            return torch.full_like(self.normal(model, self.tokens, width), torch.nan)
        if self.init == "vocabulary" and not model.tokens.weight.is_meta:
            return words(model, stack, self.ids(model))
        return self.normal(model, self.tokens, width) * spread(model, stack)

    def normal(self, model: Transformer, *shape: int) -> Tensor:
        """Numbers of a standard normal distribution, drawn from the seed, in at least float32."""
        where = model.tokens.weight
        dtype = torch.promote_types(where.dtype, torch.float32)
        if where.is_meta:
            return torch.empty(*shape, dtype=dtype, device="meta")
        generator = torch.Generator().manual_seed(self.seed)
        return torch.randn(*shape, generator=generator, dtype=torch.float64).to(where.device, dtype)


def refuse_merging() -> NoReturn:
    """Virtual tokens are input, not weights."""
    raise InputError(
        "Virtual tokens (prompt, prefix) stand before every text and cannot be folded into weights; keep them beside "
        "their base: the run itself, or microtune export --format peft."
    )


def refuse_virtual(model: Transformer) -> None:
    """Refuse to write as plain weights a model that reads virtual tokens."""
    if any(isinstance(module, VirtualTokens) and module.count for module in model.modules()):
        refuse_merging()


def repeated(ids: Sequence[int], count: int) -> list[int]:
    """`count` ids: as many of these as fit, from the first again where they end."""
    if not len(ids):
        raise InputError("method.text: the text has no token in this model's vocabulary; write another.")
    return [ids[i % len(ids)] for i in range(count)]


@torch.no_grad()
def words(model: Transformer, stack: Stack, ids: Sequence[int]) -> Tensor:
    """Scaled word embeddings `[n, W]` of ids, as a prompt stands in their place."""
    table = model.tokens.weight
    rows = model.tokens(torch.tensor(list(ids), device=table.device))
    if stack.spec.embedding_scale != 1.0:
        rows = rows * torch.tensor(stack.spec.embedding_scale, dtype=rows.dtype)
    return rows.to(torch.promote_types(rows.dtype, torch.float32))


@torch.no_grad()
def spread(model: Transformer, stack: Stack) -> float:
    """The standard deviation of scaled word embeddings."""
    if model.tokens.weight.is_meta:
        return 1.0
    step = max(1, model.spec.vocab_size // MOST)
    return float(words(model, stack, range(0, model.spec.vocab_size, step)).std())
