"""Several methods at once: `head+bitfit`, or a list such as `[{name: reinit, blocks: 1}, {name: lora, last_block: 4}]`.

The union of what they train, trains; the trunk ends below the lowest. What each would take is asked beforehand of a
twin without memory, so that two methods for one role, and combinations that add nothing, are refused before anything
is changed. Where `train.lr` is not given, everything learns with the default rate of its own method; what two of them
train goes by the one that stands first.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Literal, Self

import torch
from pydantic import Field, field_validator
from torch import Tensor, nn

from microtune.adapt.base import Attachment, Method, make_method, methods
from microtune.errors import InputError
from microtune.nn.heads import VocabularyHead
from microtune.nn.shapes import shapes_only
from microtune.nn.transformer import Cut, Transformer
from microtune.recipe import Choice

FIELDS = ("last_block", "first_block", "blocks", "roles")  # by which two methods can be parted


class Together(Attachment):
    """The attachments of several methods as one."""

    def __init__(self, model: Transformer, inner: Sequence[Attachment], cut: Cut, rates: dict[str, float]) -> None:
        self._inner = list(inner)  # in the order in which they were attached
        super().__init__(model, cut=cut, rates=rates)

    def kept(self) -> list[Tensor]:
        """As `Attachment.kept`."""
        return [*super().kept(), *(tensor for attachment in self._inner for tensor in attachment.kept())]

    def start(self) -> dict[str, Tensor]:
        """As `Attachment.start`."""
        return {name: value for attachment in self._inner for name, value in attachment.start().items()}

    def merge(self) -> None:
        """As `Attachment.merge`; the last one attached goes first."""
        self._settle_all(learnt=True)
        for attachment in reversed(self._inner):
            attachment.merge()

    def detach(self) -> None:
        """As `Attachment.detach`; the last one attached goes first."""
        self._settle_all(learnt=False)
        for attachment in reversed(self._inner):
            attachment.detach()


class Several(Method):
    """Several methods together, each on its own part: a list in the recipe, or head+bitfit."""

    name: Literal["several"] = "several"
    parts: list[Choice] = Field(min_length=2, max_length=16, description="the methods, each with its options")

    @field_validator("parts")
    @classmethod
    def _whole(cls, parts: list[Choice]) -> list[Choice]:
        """Every option written out, as a recipe and a saved run keep them."""
        if any(part.name == "several" for part in parts):
            raise InputError("method: several methods inside several; write all of them in one list.")
        made = [make_method(part, where=f"method: {part.name}") for part in parts]
        return [Choice(**method.model_dump(mode="json")) for method in made]

    @cached_property
    def made(self) -> list[Method]:
        """The methods."""
        return [make_method(part) for part in self.parts]

    @property
    def default_lr(self) -> float:  # type: ignore[override]
        """That of the first; the others have theirs, see `Attachment.defaults`."""
        return self.made[0].default_lr

    @property
    def default_head_lr(self) -> float | None:  # type: ignore[override]
        """That of the first."""
        return self.made[0].default_head_lr

    @property
    def virtual_tokens(self) -> int:
        """As `Method.virtual_tokens`."""
        return sum(method.virtual_tokens for method in self.made)

    def starting_from(self, start: Mapping[str, Tensor]) -> Self:
        """As `Method.starting_from`."""
        again = self.model_copy()
        again.__dict__["made"] = [method.starting_from(start) for method in self.made]
        return again

    def attach(self, model: Transformer) -> Attachment:
        """Attach all; InputError, with the model as it was, where two do not go together."""
        claims = [claim_of(method, model) for method in self.made]
        check_claims(claims)
        attached: dict[int, Attachment] = {}
        trains: dict[int, list[nn.Parameter]] = {}
        rates: dict[int, float] = {}
        for i in sorted(range(len(claims)), key=lambda i: bool(claims[i].replaced)):  # names of weights stay, till then
            attachment = attached[i] = self.made[i].attach(model)
            found = dict(attachment.parameters())
            trains[i] = list(found.values())
            rates |= {id(found[name]): rate for name, rate in attachment.rates.items()}
        for parameter in (p for parameters in trains.values() for p in parameters):
            parameter.requires_grad_(True)
        names = {id(p): name for name, p in model.named_parameters()}
        cut = lowest(attachment.cut for attachment in attached.values())
        whole = Together(model, list(attached.values()), cut, {names[key]: rate for key, rate in rates.items()})
        for i in reversed(range(len(claims))):  # the first one's word is the last
            whole.defaults |= {names[id(p)]: rate_of(self.made[i], names[id(p)]) for p in trains[i]}
        return whole


def rate_of(method: Method, name: str) -> float:
    """The default learning rate that a method has for a tensor."""
    return (name.startswith("head.") and method.default_head_lr) or method.default_lr


def lowest(cuts: Iterable[Cut]) -> Cut:
    """The cut below which nobody trains anything."""
    found = list(cuts)
    return Cut(min(cut.encoder for cut in found), min(cut.decoder for cut in found))


@dataclass(frozen=True)
class Claim:
    """What a method takes of a model: roles in whose place it puts a module, and what trains beside the task's head."""

    method: Method
    replaced: frozenset[str]
    trains: frozenset[str]
    scheduled: bool = False

    @property
    def name(self) -> str:
        """Of the method."""
        return self.method.name

    @property
    def everything(self) -> bool:
        """Whether every weight trains."""
        return "full" in (self.name, getattr(self.method, "then", ""))


def claim_of(method: Method, model: Transformer) -> Claim:
    """Attach to a twin without memory and look; random numbers stay as they are."""
    memo = {
        id(p): nn.Parameter(torch.empty_like(p, device="meta"), requires_grad=p.requires_grad)
        for p in model.parameters()
    }
    twin = copy.deepcopy(model, memo)
    with shapes_only(), torch.random.fork_rng(devices=[]):
        attachment = method.attach(twin)
    own = "none" if isinstance(twin.head, VocabularyHead) else "head."
    trains = frozenset(name for name in attachment.trainable if not name.startswith(own))
    return Claim(method, frozenset(attachment.replaced), trains, bool(attachment.schedule))


def check_claims(claims: Sequence[Claim]) -> None:
    """InputError for the first two that do not go together, with the reason and what to do."""
    for claim in claims:
        if claim.scheduled:
            raise InputError(
                f"method: {claim.name} with unfreeze: gradual moves the trunk from epoch to epoch, which another "
                "method beside it cannot follow; leave unfreeze out, or take it alone."
            )
    for one, two in combinations(claims, 2):
        for rule in (_everything, _twice, _one_role):
            reason = rule(one, two)
            if reason:
                raise InputError(f"method: {reason}")
    for i, one in enumerate(claims):
        reason = _nothing_added(one, [*claims[:i], *claims[i + 1 :]])
        if reason:
            raise InputError(f"method: {reason}")


def _everything(one: Claim, two: Claim) -> str:
    whole, other = (one, two) if one.everything else (two, one)
    if not whole.everything:
        return ""
    return f"{whole.name} trains every weight already, so {other.name} has nothing to add to it; take one of them."


def _one_role(one: Claim, two: Claim) -> str:
    both = one.replaced & two.replaced
    parted = _parted(one, two) if not both or any(".blocks." in role for role in both) else ""
    then = parted or "take one of them"  # virtual tokens stand before all blocks: no range parts them
    if both:
        return f"two methods for one role: {one.name} and {two.name} both change {min(both)}; {then}."
    for first, second in ((one, two), (two, one)):
        over = [role for role in first.replaced if f"{role}.weight" in second.trains]
        if over:
            return (
                f"two methods for one role: {first.name} changes {min(over)}, whose weight {second.name} trains "
                f"already; {then}."
            )
    return ""


def _parted(one: Claim, two: Claim) -> str:
    """How the two could be kept from each other."""
    fields = [field for field in FIELDS if any(field in type(c.method).model_fields for c in (one, two))]
    return f"part them by {', '.join(fields[:-1])}{' or ' if fields[1:] else ''}{fields[-1]}" if fields else ""


def _twice(one: Claim, two: Claim) -> str:
    both = one.trains & two.trains
    if one.name != two.name or not (both or one.trains == two.trains):
        return ""
    what = f"both would train {min(both)}" if both else "both would train the same head"
    parted = "" if any(".virtual." in name for name in both) else _parted(one, two)
    return f"{one.name} stands twice, and {what}; name it once{f', or {parted}' if parted else ''}."


def _nothing_added(one: Claim, others: Sequence[Claim]) -> str:
    if one.name in ("head", "reinit") or one.replaced or not one.trains:
        return ""
    over = next((other for other in others if one.trains <= other.trains), None)
    return "" if over is None else f"{one.name} adds nothing: {over.name} trains all of that already; leave it out."


methods.add("several", Several)
