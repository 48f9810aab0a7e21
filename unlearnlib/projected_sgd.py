"""Training inside the ball ||w|| <= C (the norm constraint of Section 3 and Algorithm 1)."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.optim import SGD, Adam, Optimizer

from . import batchnorm, checks, draws
from .checkpoint import Checkpoint, State
from .errors import DivergenceError, require, require_at_least, require_choice, require_counts
from .objective import Objective
from .precision import widest
from .progress import bar, note
from .trainees import Single, Stacked, trainee

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
    seconds     that the epochs took, without monitor and checkpoint; also before an interruption.
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
    norm = torch.linalg.vector_norm(w, dim=-1, keepdim=True, dtype=widest(w.device))
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
    generator: Generator | None = None,
    autocast: torch.dtype | None = None,
    checkpoint: Checkpoint | None = None,
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
    autocast        torch.bfloat16: let convolutions and linear layers multiply in it, which is
                    faster where the processor has it. w, the loss and the step stay as they are.
    checkpoint      where to keep the training after each epoch, and to go on from: the result has
                    the bits of a training that was not interrupted. See checkpoint.py.

    BatchNorm layers train on batch statistics and hand their buffers on. Processes that share F
    share each batch, where its samples count alone. Raises InputError for arguments out of range,
    and for a batch of one sample where BatchNorm needs two; DivergenceError once w stops being
    finite.
    """
    _check(F, w0, C, lr, momentum, rows)
    require_counts(epochs=epochs, batch_size=batch_size)
    require_at_least(0, until_gradient=0 if until_gradient is None else until_gradient)
    require_choice("optimizer", optimizer, ("sgd", "adam"))
    only_one = optimizer == "sgd" or momentum == 0
    require(only_one, f"momentum is {momentum} with Adam, which has its own; set 0, or take 'sgd'.")
    require_choice("schedule", schedule, (*SCHEDULES,))
    require_choice("autocast", autocast, (None, torch.bfloat16))
    w = project(w0.detach().clone(), C)
    model = trainee(F, w, autocast)
    rule = Adam([w], lr) if optimizer == "adam" else SGD([w], lr, momentum)
    samples = torch.arange(F.n, device="cpu").expand(*w.shape[:-1], F.n) if rows is None else rows
    _check_batches(F, w, samples.shape[-1], batch_size)
    batches = math.ceil(samples.shape[-1] / batch_size)
    state = State(model, rule, generator)
    if checkpoint:
        state.resume(checkpoint)

    history = state.history
    left = bar(range(len(history), epochs), "training", done=len(history))
    for epoch in left:
        if _arrived(history, until_gradient):
            break
        started = time.perf_counter()
        numbers = range(epoch * batches, (epoch + 1) * batches)
        rates = [lr * SCHEDULES[schedule](step / (epochs * batches)) for step in numbers]
        steps = zip(_shuffled(samples, generator, batch_size), rates, strict=True)
        history.append({"epoch": epoch + 1} | _epoch(model, rule, steps, C))
        _refuse_divergence(w, epoch + 1, lr)
        if until_gradient is not None:
            history[-1]["gradient_norm"] = model.gradient_norms(samples).tolist()
        state.seconds += time.perf_counter() - started
        if monitor is not None:
            seen = monitor(w.detach().clone(), model.buffers())
            history[-1] |= seen
            note(left, seen)
        if checkpoint:
            state.save(checkpoint)
    converged = None if until_gradient is None else _arrived(history, until_gradient)
    return Run(w.detach().clone(), model.buffers(), history, converged, state.seconds)


def _arrived(history: list[dict], until_gradient: float | None) -> bool:
    """Whether the last epoch ended with a gradient as small as was asked for, in all models."""
    if until_gradient is None or not history:
        return False
    norms = torch.tensor(history[-1]["gradient_norm"], dtype=torch.float64, device="cpu")
    return bool((norms <= until_gradient).all())


def _epoch(model: Single | Stacked, rule: Optimizer, steps: Iterable, C: float) -> dict:
    """Take steps, each a batch and a rate; return loss, norm and projected of `Run`."""
    w, losses, outside = model.w, [], []
    for positions, rate in steps:
        rule.param_groups[0]["lr"] = rate
        losses.append(model.backward(positions))
        rule.step()
        outside.append(_project_in_place(w, C))
    norm, projected = w.to(widest(w.device)).norm(dim=-1), torch.stack(outside).mean(0)
    means = {"loss": model.mean_loss(losses), "norm": norm, "projected": projected}
    return {name: value.tolist() for name, value in means.items()}


def _shuffled(samples: Tensor, generator: Generator | None, batch_size: int) -> Iterator[Tensor]:
    """One epoch's batches: positions (b,), or (k, b) with an order of its own for each model."""
    if samples.dim() == 1:
        order = draws.order(len(samples), generator)
    else:
        order = draws.uniform(samples.shape, generator).argsort(1)
    yield from samples.gather(-1, order.cpu()).split(batch_size, dim=-1)


def _project_in_place(w: Tensor, C: float) -> Tensor:
    """Project w in place; return 1 for each row that was outside, 0 for the others."""
    if C == math.inf:
        return torch.zeros(w.shape[:-1], device=w.device)
    outside = torch.linalg.vector_norm(w, dim=-1, dtype=widest(w.device)) > C
    if w.device.type != "cpu" or outside.any():  # elsewhere, asking would wait for the device
        w.copy_(project(w, C))
    return outside.to(torch.get_default_dtype())


def _refuse_divergence(w: Tensor, epoch: int, lr: float) -> None:
    cause = f"Training diverged in epoch {epoch}: w is no longer finite at lr = {lr:g}"
    require(bool(torch.isfinite(w).all()), f"{cause}. Try lr = {lr / 10:g}.", DivergenceError)


def _check_batches(F: Objective, w: Tensor, n: int, batch_size: int) -> None:
    if not F.paired:
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
