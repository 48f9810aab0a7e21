"""Training inside the ball ||w|| <= C (the norm constraint of Section 3 and Algorithm 1)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from . import batchnorm, checks
from .errors import DivergenceError, require, require_at_least, require_choice, require_counts
from .objective import Objective
from .progress import bar

# the factor of the rate, as a function of the share of the run that is done
SCHEDULES = {"constant": lambda t: 1.0, "cosine": lambda t: (1 + math.cos(math.pi * t)) / 2}
Monitor = Callable[[Tensor, dict[str, Tensor]], dict]


@dataclass(frozen=True)
class Run:
    """The result of training.

    w           (p,), or (k, p) for k models; inside the ball.
    buffers     the model's buffers after training, for `F.with_buffers(run.buffers)`.
    history     one dict an epoch: `epoch`, `loss` (mean over its batches, without decay), `norm`
                (of w), `projected` (share of its steps that ended outside the ball) and, where
                training stops on it, `gradient_norm`. For k models each is a list of k.
    converged   whether the gradient norm asked for was reached; None if none was asked for.
    """

    w: Tensor
    buffers: dict[str, Tensor]
    history: list[dict]
    converged: bool | None
    seconds: float


def project(w: Tensor, C: float) -> Tensor:
    """The nearest point of the ball ||w|| <= C, row by row; inside also after rounding.

    Non-expansive: an estimate never moves away from a retrained model that lies in the ball.
    """
    norm = torch.linalg.vector_norm(w, dim=-1, keepdim=True, dtype=torch.float64)
    inside = C * (1 - 4 * torch.finfo(w.dtype).eps)
    return torch.where(norm > C, w * (inside / norm).to(w.dtype), w)


def projected_sgd(
    F: Objective,
    w0: Tensor,
    *,
    C: float = math.inf,
    epochs: int,
    lr: float,
    momentum: float = 0.0,
    optimizer: str = "sgd",
    schedule: str = "constant",
    batch_size: int = 128,
    until_gradient: float | None = None,
    rows: Tensor | None = None,
    monitor: Monitor | None = None,
    generator: torch.Generator | None = None,
) -> Run:
    """Minimise F over the ball: w <- project(w - lr * rule(grad F_batch(w)), C), batch by batch.

    w0              (p,), or (k, p) to train k models side by side, each on its own shuffle.
                    Projected before the first step: the CNNs of the paper start outside.
    C               radius, > 0; infinity for no constraint.
    optimizer       "sgd" (with momentum) or "adam": torch's own, on the flat vector. The paper's
                    text says projected gradient descent, its experiments use Adam.
    schedule        "constant", or "cosine": from lr to 0 over the whole run.
    until_gradient  stop after the first epoch that ends with ||grad F(w)|| <= this, over all
                    samples and, for k models, for all of them.
    rows            (k, m): the m samples of F that each of k models trains on; default all.
    monitor         called as monitor(w, buffers) after each epoch, say for the accuracy on a
                    validation set; what it returns joins that epoch's entry in the history.
    generator       decides the shuffles and nothing else.

    BatchNorm layers train on batch statistics and hand their buffers on. Raises InputError for
    arguments out of range, and for a batch of one sample where BatchNorm needs two;
    DivergenceError once w stops being finite.
    """
    _check(F, w0, C, lr, momentum, rows)
    require_counts(epochs=epochs, batch_size=batch_size)
    require_at_least(0, until_gradient=0 if until_gradient is None else until_gradient)
    require_choice("optimizer", optimizer, ("sgd", "adam"))
    only_one = optimizer == "sgd" or momentum == 0
    require(only_one, f"momentum is {momentum} with Adam, which has its own; set 0, or take 'sgd'.")
    require_choice("schedule", schedule, (*SCHEDULES,))
    started = time.perf_counter()
    w = project(w0.detach().clone(), C)
    trainee = _Stacked(F, w) if w.dim() == 2 else _Single(F, w)
    rule = torch.optim.Adam([w], lr) if optimizer == "adam" else torch.optim.SGD([w], lr, momentum)
    samples = torch.arange(F.n).expand(*w.shape[:-1], F.n) if rows is None else rows
    _check_batches(F, w, samples.shape[-1], batch_size)
    steps = epochs * math.ceil(samples.shape[-1] / batch_size)
    rate = torch.optim.lr_scheduler.LambdaLR(rule, lambda t: SCHEDULES[schedule](t / steps))

    history, converged = [], None if until_gradient is None else False
    for epoch in bar(range(epochs), "training"):
        losses, outside = [], []
        for positions in _shuffled(samples, generator, batch_size):
            losses.append(trainee.backward(*F.batch(positions)))
            rule.step()
            rate.step()
            outside.append(_project_in_place(w, C))
        history.append(_summary(epoch + 1, losses, outside, w))
        _refuse_divergence(w, epoch + 1, lr)
        if monitor is not None:
            history[-1] |= monitor(w.detach().clone(), trainee.buffers())
        if until_gradient is not None:
            norms = trainee.gradient_norms(samples)
            history[-1]["gradient_norm"] = norms.tolist()
            converged = bool((norms <= until_gradient).all())
            if converged:
                break
    seconds = time.perf_counter() - started
    return Run(w.detach().clone(), trainee.buffers(), history, converged, seconds)


class _Single:
    """One model whose parameters are windows on w and their gradients windows on w.grad."""

    def __init__(self, F: Objective, w: Tensor):
        self.F, self.w = F, w
        w.grad = torch.zeros_like(w)
        self.model = F.module(w)
        for layer in batchnorm.layers(self.model):
            layer.train()
        parameters, slopes = dict(self.model.named_parameters()), F.pieces(w.grad)
        for name, value in F.pieces(w).items():
            parameters[name].data, parameters[name].grad = value, slopes[name]

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        """Put the gradient of the batch, decay included, into w.grad; return the batch's loss."""
        self.w.grad.zero_()
        loss = self.F.loss(self.model(x), y)
        loss.backward()
        self.F.add_decay(self.w.grad, self.w)
        return loss.detach()

    def gradient_norms(self, samples: Tensor) -> Tensor:
        return self.F.with_buffers(self.buffers()).gradient(self.w).norm()

    def buffers(self) -> dict[str, Tensor]:
        return {name: buffer.clone() for name, buffer in self.model.named_buffers()}


class _Stacked:
    """k models advanced together, w (k, p), by vmap."""

    def __init__(self, F: Objective, w: Tensor):
        why = f"{len(w)} models share no BatchNorm: take norm='group', or train one at a time."
        require(not batchnorm.layers(F.model), why)
        self.F, self.w = F, w

    def backward(self, x: Tensor, y: Tensor) -> Tensor:
        leaf = self.w.detach().requires_grad_()
        losses = self.F.batch_loss(leaf, x, y)
        self.w.grad = torch.autograd.grad(losses.sum(), leaf)[0]
        self.F.add_decay(self.w.grad, self.w)
        return losses.detach()

    def gradient_norms(self, samples: Tensor) -> Tensor:
        pairs = zip(self.w, samples, strict=True)
        return torch.stack([self.F.only(rows).gradient(w).norm() for w, rows in pairs])

    def buffers(self) -> dict[str, Tensor]:
        return {name: buffer.clone() for name, buffer in self.F.buffers.items()}


def _shuffled(
    samples: Tensor, generator: torch.Generator | None, batch_size: int
) -> Iterator[Tensor]:
    """One epoch's batches: positions (b,), or (k, b) with an order of its own for each model."""
    if samples.dim() == 1:
        order = torch.randperm(len(samples), generator=generator)
    else:
        order = torch.rand(samples.shape, generator=generator, dtype=torch.float64).argsort(1)
    yield from samples.gather(-1, order).split(batch_size, dim=-1)


def _project_in_place(w: Tensor, C: float) -> Tensor:
    """Project w in place; return 1 for each row that was outside, 0 for the others."""
    if C == math.inf:
        return torch.zeros(w.shape[:-1])
    outside = torch.linalg.vector_norm(w, dim=-1, dtype=torch.float64) > C
    if outside.any():
        w.copy_(project(w, C))
    return outside.to(torch.get_default_dtype())


def _summary(epoch: int, losses: list[Tensor], outside: list[Tensor], w: Tensor) -> dict:
    loss, projected = (torch.stack(each).mean(0).tolist() for each in (losses, outside))
    norm = w.double().norm(dim=-1).tolist()
    return {"epoch": epoch, "loss": loss, "norm": norm, "projected": projected}


def _refuse_divergence(w: Tensor, epoch: int, lr: float) -> None:
    cause = f"Training diverged in epoch {epoch}: w is no longer finite at lr = {lr:g}"
    require(bool(torch.isfinite(w).all()), f"{cause}. Try lr = {lr / 10:g}.", DivergenceError)


def _check_batches(F: Objective, w: Tensor, n: int, batch_size: int) -> None:
    if type(F).batch is Objective.batch:  # not where each sample is joined by another, as NegGrad+
        better = next((b for b in range(batch_size + 1, n + 1) if n % b != 1), "any, for n >= 2")
        remedy = f"n = {n} in batches of {batch_size} ends in one, so take batch_size = {better}"
        batchnorm.check_batch(F, w, n % batch_size or batch_size, remedy)


def _check(
    F: Objective, w0: Tensor, C: float, lr: float, momentum: float, rows: Tensor | None
) -> None:
    F.check(w0, "w0")
    checks.radius(C)
    require(0 < lr < math.inf, f"lr is {lr}; it must be > 0 and finite.")
    require(0 <= momentum < 1, f"momentum is {momentum}; it must be in [0, 1).")
    if rows is None:
        return
    given = f"rows has shape {tuple(rows.shape)} for w0 of shape {tuple(w0.shape)}"
    fits = w0.dim() == 2 and rows.dim() == 2 and len(rows) == len(w0)
    require(fits, f"{given}; give one row of sample positions for each of the k models.")
    for row in rows:
        F.indices(row)
