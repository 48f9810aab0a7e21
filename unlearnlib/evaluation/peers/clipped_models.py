"""Koloskova et al. (2025), "Certified unlearning for neural networks": noisy fine-tuning with
clipped models.

    w <- clip(w - lr grad F_r(w), radius) + N(0, sigma^2 I)

for T steps on batches of what is retained; what follows without noise is free. Nothing is assumed
of the loss, the model or w: what overflowed counts as 0. One step is output perturbation: a clipped
model and noise.

Let d be the least delta for which the two worlds are (epsilon, delta)-indistinguishable so far:
1 at the start. After a step it is at most

    d theta(e', 2 radius/sigma),   e' = ln(1 + (e^epsilon - 1)/d),

theta(e, r) the delta at epsilon = e of two Gaussians that are r standard deviations apart.

Proof. Take the common part min(P, e^epsilon Q) out of both laws P and Q: masses d and
d + e^epsilon - 1 are left, in ratio e^{e'}. What the next step makes of the two rests is no easier
to tell apart, at e', than what it makes of the two worst points (joint convexity), and these are
two Gaussians whose means lie in a ball of this radius. An upper bound on d may take its place: the
result grows with it, being a supremum over sets of d (p - q) - (e^epsilon - 1) q, with p >= q the
chances of a set under the two Gaussians.
"""

from __future__ import annotations

import math
import time
from functools import partial
from itertools import count

from scipy.optimize import brentq
from torch import Generator, Tensor

from ...errors import require, require_counts
from ...noise import check_budget, check_delta, gaussian_delta, gaussian_sigma, rounded_up
from ...objective import Objective
from ...progress import bar
from .clipped_gradients import clip, endless
from .convex import positive
from .interpolation import Noisy, check_objective, fresh_noise

MOST_STEPS = 100_000


def next_delta(d: float, epsilon: float, ratio: float) -> float:
    """d theta(e', 2 ratio): the delta after one more step, for ratio = radius/sigma."""
    require(0 < d <= 1, f"d is {d}; a delta so far lies above 0 and is at most 1.")
    positive(ratio=ratio)
    # ln(1 + (e^epsilon - 1)/d), where e^epsilon may not fit into a float
    e = epsilon + math.log1p(-(1 - d) * math.exp(-epsilon)) - math.log(d)
    return d * gaussian_delta(2 * ratio, 1.0, max(e, 0.0))


def delta_after(steps: int, epsilon: float, ratio: float) -> float:
    """The delta of T steps at this epsilon, for ratio = radius/sigma."""
    require_counts(steps=steps)
    d = 1.0
    for _ in range(steps):
        d = next_delta(d, epsilon, ratio)
        if d == 0:
            break
    return d


def epsilon_after(steps: int, ratio: float, delta: float) -> float:
    """The epsilon of T steps at this delta, for ratio = radius/sigma."""
    check_delta(delta)
    too_much = lambda epsilon: delta_after(steps, epsilon, ratio) - delta  # noqa: E731
    high = 1.0
    while too_much(high) > 0:
        high *= 2
    if too_much(0.0) <= 0:
        return 0.0
    return rounded_up(brentq(too_much, 0.0, high), lambda epsilon: too_much(epsilon) <= 0)


def steps_needed(epsilon: float, delta: float, ratio: float) -> int:
    """The fewest steps for (epsilon, delta), for ratio = radius/sigma."""
    check_budget(epsilon, delta)
    d = 1.0
    for steps in count(1):
        require(
            steps <= MOST_STEPS,
            f"delta is {d:.3g} after {MOST_STEPS:,} steps, above {delta:g}: "
            f"radius/sigma = {ratio:g} is too large.",
        )
        d = next_delta(d, epsilon, ratio)
        if d <= delta:
            return steps


def published_output_sigma(radius: float, epsilon: float, delta: float) -> float:
    """2 radius sqrt(2 ln(1.25/delta))/epsilon: of their output perturbation, for epsilon <= 1."""
    return gaussian_sigma(2 * radius, epsilon, delta, "classical-unchecked")


def unlearn(
    F_r: Objective, w: Tensor, *, steps: int, sigma: float, radius: float, lr: float,
    batch_size: int, generator: Generator | None = None, seed: int | None = None,
) -> Noisy:  # fmt: skip
    """Fine-tune w (p,) with noise on F_r, the retained samples.

    steps, lr, batch_size   of the noisy part
    sigma       standard deviation of a step's noise in each weight
    radius      to which w is clipped at each step, before its noise
    generator   decides the batches, which may be known
    seed        makes the noise reproducible, and so not private
    """
    check_objective(F_r, w)
    require_counts(steps=steps)
    positive(sigma=sigma, radius=radius, lr=lr)
    started, seen = time.perf_counter(), 0
    batches = endless(F_r.n, batch_size, generator)
    for step in bar(range(steps), "noisy fine-tuning"):
        batch = next(batches)
        w = clip(w - lr * F_r.only(batch).gradient(w), radius)
        w, seen = w + fresh_noise(w, sigma, seed, step), seen + len(batch)
    epsilon = partial(epsilon_after, steps, radius / sigma)
    return Noisy(w, epsilon, seen / F_r.n, time.perf_counter() - started)
