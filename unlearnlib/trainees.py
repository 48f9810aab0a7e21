"""What training advances: one model, or k models side by side."""

from __future__ import annotations

from contextlib import nullcontext

import torch
from torch import Tensor

from . import batchnorm
from .errors import require
from .objective import Objective


def trainee(F: Objective, w: Tensor, autocast: torch.dtype | None) -> Single | Stacked:
    """Return what trains w: (p,) as one model, (k, p) as k of them."""
    if w.dim() == 1:
        return Single(F, w, autocast)
    require(autocast is None, f"autocast is {autocast}, for one model; train {len(w)} without it.")
    return Stacked(F, w)


class Single:
    """One model whose parameters are windows on w and their gradients windows on w.grad.

    Processes that share F share each batch: each differentiates its part, and the parts are added
    up, as DistributedDataParallel does; the gradient is one vector, so one sum is enough.
    """

    def __init__(self, F: Objective, w: Tensor, autocast: torch.dtype | None):
        self.F, self.w, self.autocast = F, w, autocast
        w.grad = torch.zeros_like(w)
        self.model = F.module(w)
        for layer in batchnorm.layers(self.model):
            layer.train()
        parameters, slopes = dict(self.model.named_parameters()), F.pieces(w.grad)
        for name, value in F.pieces(w).items():
            parameters[name].data, parameters[name].grad = value, slopes[name]
        self.reduce = F.reduce if _by_sample(F) else None

    def backward(self, positions: Tensor) -> Tensor:
        """Put the gradient on these samples, decay included, into w.grad; return their mean loss.

        Of a batch that is shared, the loss is this process's part of the mean.
        """
        self.w.grad.zero_()
        if self.reduce is None:
            loss = self._backward(positions, 1.0)
        else:
            own = self.reduce.share(range(len(positions)))
            part = positions[own.start : own.stop]
            loss = self._backward(part, len(own) / len(positions)) if len(own) else self.w[0] * 0
            self.w.grad.copy_(self.reduce(self.w.grad))
        self.F.add_decay(self.w.grad, self.w)
        return loss

    def _backward(self, positions: Tensor, share: float) -> Tensor:
        x, y = self.F.batch(positions)
        cast = torch.autocast(self.w.device.type, self.autocast) if self.autocast else nullcontext()
        with cast:
            outputs = self.model(x)
        loss = self.F.loss(outputs.to(self.w.dtype), y)
        loss.backward(torch.full_like(loss, share))
        return share * loss.detach()

    def mean_loss(self, losses: list[Tensor]) -> Tensor:
        """The mean of what `backward` returned for the batches of an epoch."""
        mean = torch.stack(losses).mean(0)
        return mean if self.reduce is None else self.reduce(mean)

    def gradient_norms(self, samples: Tensor) -> Tensor:
        return self.F.with_buffers(self.buffers()).gradient(self.w).norm()

    def buffers(self) -> dict[str, Tensor]:
        return {name: buffer.clone() for name, buffer in self.model.named_buffers()}

    def take_buffers(self, buffers: dict[str, Tensor]) -> None:
        for name, buffer in self.model.named_buffers():
            buffer.copy_(buffers[name])


class Stacked:
    """k models advanced together, w (k, p), by vmap; each process trains all of them."""

    def __init__(self, F: Objective, w: Tensor):
        why = f"{len(w)} models share no BatchNorm: take norm='group', or train one at a time."
        require(not batchnorm.layers(F.model), why)
        self.F, self.w = F, w

    def backward(self, positions: Tensor) -> Tensor:
        leaf = self.w.detach().requires_grad_()
        losses = self.F.batch_loss(leaf, *self.F.batch(positions))
        self.w.grad = torch.autograd.grad(losses.sum(), leaf)[0]
        self.F.add_decay(self.w.grad, self.w)
        return losses.detach()

    def mean_loss(self, losses: list[Tensor]) -> Tensor:
        return torch.stack(losses).mean(0)

    def gradient_norms(self, samples: Tensor) -> Tensor:
        pairs = zip(self.w, samples, strict=True)
        return torch.stack([self.F.only(rows).gradient(w).norm() for w, rows in pairs])

    def buffers(self) -> dict[str, Tensor]:
        return {name: buffer.clone() for name, buffer in self.F.buffers.items()}

    def take_buffers(self, buffers: dict[str, Tensor]) -> None:
        """Nothing to do: without BatchNorm, training leaves the buffers as they are."""


def _by_sample(F: Objective) -> bool:
    """Whether processes divide F's batches: no BatchNorm, and no samples that come in pairs."""
    return F.reduce.size > 1 and not F.paired and not batchnorm.layers(F.model)
