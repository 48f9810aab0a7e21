"""Koloskova et al. (2025), "Certified unlearning for neural networks": noisy fine-tuning with
clipped gradients.

    w_0 = clip(w, radius),   w <- w - lr (clip(grad f(w), limit) + decay w) + N(0, sigma^2 I)

for T steps on what is retained, f a batch's loss and clip(v, c) = v min(1, c/||v||), where what
overflowed counts as 0. What follows without noise is free. Nothing is assumed of the loss, the
model or w: retraining is the same method from any other start.

Two starts are at most 2 radius apart, and a step takes two points to within
(1 - lr decay) z + 2 lr limit, whatever the gradients of the two worlds: `interpolation` does the
rest. It asks for about half the variance of their theorem (at decay 0, epsilon = 1, delta = 1e-5),
and is reached where all gradients are clipped and opposite.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

from torch import Generator, Tensor

from ... import draws
from ...errors import require, require_at_least, require_counts
from ...noise import check_budget
from ...objective import Objective
from ...progress import bar
from ...projected_sgd import project
from .convex import positive
from .interpolation import Noisy, check_objective, epsilon_of, fresh_noise, steps_gdp, steps_sigma


def apart(*, radius: float, limit: float, lr: float, decay: float = 0.0) -> dict[str, float]:
    """What `interpolation` has to know: start = 2 radius, gap = 2 lr limit, contraction."""
    positive(radius=radius, limit=limit, lr=lr)
    require_at_least(0, decay=decay)
    require(
        lr * decay < 1,
        f"lr * decay is {lr * decay:g}; a step must leave some of w: choose a product below 1.",
    )
    return {"start": 2 * radius, "gap": 2 * lr * limit, "contraction": 1 - lr * decay}


def best_steps(*, radius: float, limit: float, lr: float, decay: float) -> int:
    """The T that asks for the least noise: (1 - lr decay)^T = 1 - decay radius/limit.

    With decay = 0 the best T is radius/(lr limit), where pushes have gone as far as the start. Of
    the whole numbers on both sides it is the better one.
    """
    method = dict(radius=radius, limit=limit, lr=lr, decay=decay)
    apart(**method)
    best = radius / (lr * limit) if decay == 0 else _steps_until(radius, limit, lr, decay)
    around = {max(1, math.floor(best)), math.ceil(best)}
    return min(around, key=lambda T: noise(T, 1.0, **method))


def _steps_until(radius: float, limit: float, lr: float, decay: float) -> float:
    left = 1 - decay * radius / limit
    require(
        left > 0,
        f"decay * radius = {decay * radius:g} and limit = {limit:g}: more steps always help; "
        "choose a number yourself, or a decay below limit/radius.",
    )
    return math.log(left) / math.log1p(-lr * decay)


def published_sigma(
    steps: int, *, radius: float, limit: float, lr: float, epsilon: float, delta: float
) -> float:
    """sqrt(9 ln(1/delta)/T) (radius + limit lr T)/epsilon: their theorem, for decay = 0."""
    positive(radius=radius, limit=limit, lr=lr)
    require_counts(steps=steps)
    check_budget(epsilon, delta)
    return math.sqrt(9 * math.log(1 / delta) / steps) * (radius + limit * lr * steps) / epsilon


def noise(steps: int, gdp: float, **method: float) -> float:
    """The sigma of a step that makes it mu-GDP, mu = gdp; `method` as in `apart`."""
    return steps_sigma(steps, gdp, **apart(**method))


def unlearn(
    F_r: Objective, w: Tensor, *, steps: int, sigma: float, radius: float, limit: float, lr: float,
    batch_size: int, generator: Generator | None = None, seed: int | None = None,
) -> Noisy:  # fmt: skip
    """Fine-tune w (p,) with noise on F_r, the retained samples; decay is F_r's own.

    steps, lr, batch_size   of the noisy part
    sigma       standard deviation of a step's noise in each weight, as `noise` gives
    radius      to which w is clipped at the start
    limit       to which each batch's gradient is clipped
    generator   decides the batches, which may be known
    seed        makes the noise reproducible, and so not private
    """
    check_objective(F_r, w)
    method = apart(radius=radius, limit=limit, lr=lr, decay=F_r.weight_decay)
    gdp, started = steps_gdp(steps, sigma=sigma, **method), time.perf_counter()
    w, batches, seen = clip(w, radius), endless(F_r.n, batch_size, generator), 0
    for step in bar(range(steps), "noisy fine-tuning"):
        batch = next(batches)
        pushed = clip(loss_gradient(F_r.only(batch), w), limit)
        w = method["contraction"] * w - lr * pushed + fresh_noise(w, sigma, seed, step)
        seen += len(batch)
    return Noisy(w, epsilon_of(gdp), seen / F_r.n, time.perf_counter() - started)


def clip(v: Tensor, limit: float) -> Tensor:
    """v min(1, limit/||v||); an entry that is no finite number is 0, so that no data escapes."""
    return project(v.nan_to_num(0.0, 0.0, 0.0), limit)


def loss_gradient(F: Objective, w: Tensor) -> Tensor:
    """Gradient of the mean loss alone, without decay, (p,)."""
    return F.gradient(w) - F.weight_decay * w


def endless(n: int, batch_size: int, generator: Generator | None) -> Iterator[Tensor]:
    """Batches of positions for ever, from one shuffle after the other."""
    require_counts(batch_size=batch_size)
    while True:
        yield from draws.order(n, generator).split(batch_size)
