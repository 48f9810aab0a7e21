"""Hessian and Gauss-Newton products at one point, for many vectors: linearise once.

The graph that leads from w through the samples to grad F(w) does not depend on the vector. While
it is kept, a product costs one sweep backward through it; a new graph costs a forward and a
backward pass in addition.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.func import vmap
from torch.utils._python_dispatch import TorchDispatchMode

from .convolution import Convolutions

if TYPE_CHECKING:
    from .objective import Objective

KEPT_BYTES = 2**30
# product(v, again) on one pass; `again` says that more products will follow
Product = Callable[[Tensor, bool], Tensor]


class Linearised:
    """v -> A v + wd v over all samples of F, for A the Hessian or Gauss-Newton matrix at w.

    build   makes a pass's product: `hessian_of_pass` or `gauss_newton_of_pass`
    keep    bytes that the graphs may take, at most; passes beyond it are built anew each time

    v (p,), or (k, p) for k vectors.
    """

    def __init__(self, F: Objective, w: Tensor, build: Callable[..., Product], keep: int):
        self.F, self.w, self.build = F, F.check(w), build
        self.kept: list[Product] = []
        self.left = keep

    @torch.enable_grad()
    def __call__(self, v: Tensor) -> Tensor:
        F, total = self.F, torch.zeros_like(v)
        for number, samples in enumerate(F.own_passes()):
            if number == len(self.kept):
                self._keep(samples)
            keeps = number < len(self.kept)
            product = self.kept[number] if keeps else self._built(samples)
            total += product(v, keeps) * (samples.stop - samples.start)
        return F.reduce(total) / F.n + F.weight_decay * v

    def _built(self, samples: slice) -> Product:
        return self.build(self.F, self.w, *self.F.batch(samples))

    def _keep(self, samples: slice) -> None:
        """Keep the pass's graph if there is room; once there is none, no later pass is kept."""
        if not self.left:
            return
        if not self.kept:
            self.sizes = _bytes_of_graphs(self._built, samples)
        fixed, each = self.sizes
        self.left = max(0, self.left - fixed - each * (samples.stop - samples.start))
        if self.left:
            self.kept.append(self._built(samples))


def hessian_of_pass(F: Objective, w: Tensor, x: Tensor, y: Tensor) -> Product:
    """H(w) v of the mean loss on a pass, by differentiating its gradient along v."""
    leaf = w.detach().requires_grad_()
    with Convolutions():
        loss = F.batch_loss(leaf, x, y)
    (slope,) = torch.autograd.grad(loss, leaf, create_graph=True)
    return lambda v, again: derivative_along(slope, leaf, v, again)


def gauss_newton_of_pass(F: Objective, w: Tensor, x: Tensor, y: Tensor) -> Product:
    """J^T (d^2 loss / d outputs^2) J v on a pass.

    J v is the derivative of u -> J^T u, which is linear, so that one graph serves both.
    """
    leaf = w.detach().requires_grad_()
    with Convolutions() as mode:
        outputs = F.outputs(leaf, x)
    mode.fixed = True
    u = torch.zeros_like(outputs, requires_grad=True)
    (pulled,) = torch.autograd.grad(outputs, leaf, u, create_graph=True)
    at = outputs.detach().requires_grad_()
    (slope,) = torch.autograd.grad(F.loss(at, y), at, create_graph=True)

    def product(v: Tensor, again: bool) -> Tensor:
        pushed = derivative_along(pulled, u, v, again=True)
        bent = derivative_along(slope, at, pushed, again)
        return derivative_along(outputs, leaf, bent, again)

    return product


def hessians_of_batches(F: Objective, w: Tensor, v: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """k vectors v (k, p), each times the Hessian at w of its own batch x (k, b, ...), y (k, b)."""
    # a leaf for each parameter tensor: windows on one flat leaf would be copied at every use
    pieces = F.pieces(w.detach().expand(len(v), -1))
    leaves = [q.requires_grad_() for q in pieces.values()]
    outputs = vmap(F.outputs_of)(pieces, x)
    # all batches are of one size, so the sum of their means is k times the mean over all samples
    total = len(v) * F.loss(outputs.flatten(0, 1), y.flatten(0, 1))
    slopes = torch.autograd.grad(total, leaves, create_graph=True, materialize_grads=True)
    bends = [(s, z) for s, z in zip(slopes, F.pieces(v).values(), strict=True) if s.requires_grad]
    if not bends:
        return torch.zeros_like(v)
    bent, along = zip(*bends, strict=True)
    products = torch.autograd.grad(bent, leaves, along, materialize_grads=True)
    return torch.cat([q.flatten(1) for q in products], 1)


def derivative_along(value: Tensor, leaf: Tensor, v: Tensor, again: bool) -> Tensor:
    """The derivative of <value, v> by leaf; of each of several v, where v has a row for each."""
    if not value.requires_grad:  # it is constant, as the slope of a linear loss
        return torch.zeros_like(leaf).expand(v.shape[: v.dim() - value.dim()] + leaf.shape)
    several = v.dim() > value.dim()
    if several and torch.__version__ < "2.14":  # GroupNorm can't, and one by one is as quick
        return torch.stack([derivative_along(value, leaf, u, True) for u in v])
    return torch.autograd.grad(
        value, leaf, v, retain_graph=again, is_grads_batched=several, materialize_grads=True
    )[0]


def _bytes_of_graphs(built: Callable[[slice], Product], samples: slice) -> tuple[int, int]:
    """Bytes that a graph takes at most: a fixed number, and a number for each sample.

    Every tensor that is computed is counted, whether the graph keeps it or not.
    """
    taken = []
    for count in (1, 2):
        with Bytes() as counter:
            built(slice(samples.start, min(samples.start + count, samples.stop)))
        taken.append(counter.total)
    each = taken[1] - taken[0] or taken[0]
    return taken[0] - each, each


class Bytes(TorchDispatchMode):
    """Counts the bytes of all tensors that are computed, without views."""

    total = 0

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        made = operation(*args, **(kwargs or {}))
        if not operation.is_view:
            for tensor in made if isinstance(made, (tuple, list)) else (made,):
                if isinstance(tensor, Tensor):
                    self.total += tensor.numel() * tensor.element_size()
        return made
