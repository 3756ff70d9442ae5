"""FrozenLinear: a linear layer that does not train, its weight prepared once.

The weight is held in the type that products run in, so that it is not cast at every step, or in int8 with one scale per
output. Int8 products quantise each row of the other factor as it comes (symmetric, one scale per token: LLM.int8(),
Dettmers et al., 2022; ZeroQuant, Yao et al., 2022), in the gradient too. Roles that read the same input (q, k and v;
gate and up) share one block of memory, so that they can be computed as one product without copying.

`Parts` is what any linear role says about itself to the fast path in `fused.py`; nothing there knows a method.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Format = Literal["float32", "bfloat16", "int8"]
SIBLINGS = (("q", "k", "v"), ("gate", "up"))
LARGEST = 127  # of int8, symmetric


class Update(NamedTuple):
    """A low-rank update `scale * B A`, with dropout on its input."""

    A: Tensor
    B: Tensor
    scale: float
    dropout: float


class Rescale(NamedTuple):
    """A factor for each output, `magnitude / norm()`, both `[O]`; the norm is a constant for the gradient."""

    magnitude: Tensor
    norm: Callable[[], Tensor]


class Parts(NamedTuple):
    """y = factor * (W z + updates) + bias with z = inputs * x; `scale [O]` where W is int8.

    No factor stands where nothing rescales. The bias may be computed from what trains: gradients go through it.
    """

    weight: Tensor
    bias: Tensor | None = None
    scale: Tensor | None = None
    updates: tuple[Update, ...] = ()
    rescale: Rescale | None = None
    inputs: Tensor | None = None  # [I]; only for a role that reads its input alone


class FrozenLinear(nn.Module):
    """y = W x + b with W `[O, I]` in float32, bfloat16 or int8, never trained; a bias that trains goes on training."""

    scale: Tensor | None

    def __init__(self, weight: Tensor, bias: Tensor | None, scale: Tensor | None, *, rounded: bool = False) -> None:
        super().__init__()
        self.rounded = rounded  # whether the weight has lost bits
        self.weight = nn.Parameter(weight, requires_grad=False)
        trains = isinstance(bias, nn.Parameter) and bias.requires_grad  # then it is the same tensor in both layers
        self.bias = bias if trains or bias is None else nn.Parameter(bias.detach(), requires_grad=False)
        self.register_buffer("scale", scale)
        self.out_features, self.in_features = weight.shape

    def forward(self, x: Tensor) -> Tensor:
        """[N, I] -> [N, O]."""
        if self.scale is None:
            return F.linear(x, self.weight, None if self.bias is None else self.bias.to(self.weight.dtype))
        if x.is_cuda:  # torch's int8 product wants sizes of its own there; what int8 saves on a GPU is memory
            return F.linear(x, self.dense().to(x.dtype), None if self.bias is None else self.bias.to(x.dtype))
        y = Int8Product.apply(x, self.weight, self.scale)  # type: ignore[no-untyped-call]
        return y if self.bias is None else y + self.bias.to(y.dtype)

    def dense(self) -> Tensor:
        """The weight in at least float32."""
        if self.scale is None:
            return self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
        return self.weight.float() * self.scale[:, None]

    def parts(self) -> Parts:
        """What the fast path asks."""
        return Parts(self.weight, self.bias, self.scale)


def dense_weight(linear: nn.Module) -> Tensor:
    """The weight `[O, I]` of a linear layer, prepared or not, in at least float32."""
    if isinstance(linear, FrozenLinear):
        return linear.dense()
    assert isinstance(linear, nn.Linear)
    return linear.weight.to(torch.promote_types(linear.weight.dtype, torch.float32))


def parts_of(module: nn.Module) -> Parts | None:
    """The parts of a linear role, or None for a module of another kind."""
    if type(module) is nn.Linear:
        return Parts(module.weight, module.bias)
    ask = getattr(module, "parts", None)
    found: Parts | None = None if ask is None else ask()
    return found


def freeze_linears(network: nn.Module, form: Format) -> dict[str, nn.Linear]:
    """Replace every frozen linear role inside blocks by a FrozenLinear in `form`; returns what was replaced, by role.

    The originals are emptied (their weight moves, it is not kept twice): `thaw_linears` needs the weights anew.
    """
    replaced: dict[str, nn.Linear] = {}
    parents = [(name, module) for name, module in network.named_modules() if ".blocks." in name]
    for parent_name, parent in parents:
        if isinstance(parent, FrozenLinear) or hasattr(parent, "base"):
            continue
        for names in groups(parent):
            members = {n: _frozen_linear(getattr(parent, n)) for n in names}
            found = {n: linear for n, linear in members.items() if linear is not None}
            stacked = _prepared([linear.weight.detach() for linear in found.values()], form)
            for (name, linear), (weight, scale) in zip(found.items(), stacked, strict=True):
                frozen = FrozenLinear(weight, linear.bias, scale, rounded=weight.dtype != linear.weight.dtype)
                owner = getattr(parent, name)
                role = f"{parent_name}.{name}"
                if owner is linear:
                    setattr(parent, name, frozen)
                else:
                    owner.base, role = frozen, f"{role}.base"
                linear.weight = nn.Parameter(weight.new_empty(0), requires_grad=False)
                replaced[role] = linear
    return replaced


def thaw_linears(network: nn.Module, replaced: dict[str, nn.Linear], fresh: Callable[[], nn.Module]) -> None:
    """Put the linear layers back. `fresh` gives a network that holds the base as its files do; it is asked only where
    preparing has rounded the weights."""
    source: nn.Module | None = None
    for role, linear in replaced.items():
        frozen = network.get_submodule(role)
        assert isinstance(frozen, FrozenLinear)
        weight = frozen.weight.detach().clone()  # in memory of its own, as a layer that was never prepared
        if frozen.rounded:
            source = fresh() if source is None else source
            whole = role.removesuffix(".base")
            weight = source.get_parameter(f"{whole}.weight").detach().to(weight.device)
            held: Callable[[Tensor], Tensor] | None = getattr(network.get_submodule(whole), "held", None)
            weight = weight if held is None else held(weight)  # a layer above may hold a part of it only
        linear.weight = nn.Parameter(weight, requires_grad=False)
        parent, _, name = role.rpartition(".")
        setattr(network.get_submodule(parent), name, linear)


def groups(parent: nn.Module) -> Iterator[tuple[str, ...]]:
    """Names of linear roles directly inside `parent`, those that read the same input together."""
    names = [name for name, child in parent.named_children() if _frozen_linear(child) is not None]
    done: set[str] = set()
    for siblings in SIBLINGS:
        together = tuple(name for name in siblings if name in names)
        if together:
            done |= set(together)
            yield together
    yield from ((name,) for name in names if name not in done)


def _frozen_linear(module: nn.Module) -> nn.Linear | None:
    """A linear layer that does not train: the module itself, or the base under a low-rank update."""
    inner = module if type(module) is nn.Linear else getattr(module, "base", None)
    return inner if type(inner) is nn.Linear and not inner.weight.requires_grad else None


def _prepared(weights: Sequence[Tensor], form: Format) -> list[tuple[Tensor, Tensor | None]]:
    """Weights in their new form, as slices of one block of memory."""
    sizes = [len(weight) for weight in weights]
    scales: list[Tensor | None] = [None] * len(weights)
    if form == "int8":
        pairs = [quantize_rows(weight.float()) for weight in weights]
        scales = [scale[:, 0] for _, scale in pairs]
        return list(zip(torch.cat([w for w, _ in pairs]).split(sizes), scales, strict=True))
    dtype = torch.bfloat16 if form == "bfloat16" else weights[0].dtype
    whole = torch.empty(sum(sizes), weights[0].shape[1], dtype=dtype, device=weights[0].device)
    slices = whole.split(sizes)
    for part, weight in zip(slices, weights, strict=True):
        part.copy_(weight)
    return list(zip(slices, scales, strict=True))


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Tensors `[O_i, ...]` as one `[sum O_i, ...]`: a view where they already lie so in memory, else a copy."""
    first = tensors[0]
    if len(tensors) == 1:
        return first
    where, size = first.data_ptr(), first.element_size()
    for tensor in tensors:
        if not tensor.is_contiguous() or tensor.data_ptr() != where or tensor.shape[1:] != first.shape[1:]:
            return torch.cat(list(tensors))
        where += tensor.numel() * size
    rows = sum(len(tensor) for tensor in tensors)
    try:
        return first.detach().as_strided((rows, *first.shape[1:]), first.stride())
    except RuntimeError:  # neighbours by chance, in storages of their own
        return torch.cat(list(tensors))


def quantize_rows(x: Tensor) -> tuple[Tensor, Tensor]:
    """[N, I] float32 -> int8 of the same shape and the scale of each row `[N, 1]`; a row of zeros stays zero."""
    top = torch.maximum(x.amax(1, keepdim=True), -x.amin(1, keepdim=True)).clamp_min_(1e-30)
    return (x * (LARGEST / top)).round_().to(torch.int8), top / LARGEST


def quantize_between(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """[N, I] float32 -> int8 `[N + 1, I]`, whose last row is all ones, and scale and middle of each row `[N, 1]`.

    Between the least and the largest value of a row: what an activation leaves lies almost wholly above zero, and half
    of the steps would go unused around it.
    """
    top, bottom = x.amax(1, keepdim=True), x.amin(1, keepdim=True)
    middle, half = (top + bottom).mul_(0.5), (top - bottom).mul_(0.5).clamp_min_(1e-30)
    rows = torch.ones(len(x) + 1, x.shape[1], dtype=torch.int8)
    rows[:-1].copy_((x - middle).mul_(LARGEST / half).round_())
    return rows, half.div_(LARGEST), middle


def int8_forward(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """x W^T for x `[N, I]` and W `[O, I]` int8 with scales `[O]`, in the type of x."""
    rows, own, middle = quantize_between(x.float())
    product = torch._int_mm(rows, weight.t())  # the last row: sums of W over I, for the middles
    return (product[:-1] * own).addcmul_(middle, product[-1:].float()).mul_(scale).to(x.dtype)


def int8_backward(dy: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """dy W for dy `[N, O]`: the gradient of `int8_forward` in x, with dy quantised in its turn."""
    rows, own = quantize_rows(dy.float() * scale)
    return (torch._int_mm(rows, weight) * own).to(dy.dtype)


class Int8Product(torch.autograd.Function):
    """`int8_forward` with its gradient, for roles outside the fast path."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(weight, scale)
        return int8_forward(x, weight, scale)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None, None]:
        weight, scale = ctx.saved_tensors
        return int8_backward(dy, weight, scale), None, None
