"""Every forget set of one and two samples of a tiny problem: the largest real error and its bounds.

On 40 images of ten numbers each there are 40 + 780 forget sets. The model is retrained without each
of them, to a gradient of 1e-10, by Newton's method with dense Hessians on all sets side by side:
code that shares only the network and its inputs with what is tested. None may exceed a bound.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from types import SimpleNamespace

import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, vmap
from torch.nn.functional import avg_pool2d, cross_entropy

from unlearnlib import bounds
from unlearnlib.errors import DivergenceError, require
from unlearnlib.evaluation.metrics import distance
from unlearnlib.evaluation.peers import neel, sekhari
from unlearnlib.lab import proved
from unlearnlib.lab.data import Images
from unlearnlib.lab.proved import Problem
from unlearnlib.newton import newton_update
from unlearnlib.objective import Objective
from unlearnlib.progress import bar
from unlearnlib.refinement import refine

SAMPLES = 40
EXACT = 1e-10  # the gradient of every retraining
G = 1e-3  # the gradient that the refined estimate stops at
NEWTON_STEPS = 50
AT_ONCE = 205
DESCENT = 20  # iterations a request of descent-to-delete


def problems(images: Images) -> list[Problem]:
    """Softmax regression (p = 100) and a tanh network (p = 40) on 40 images of 3 x 3 pixels."""
    sample = images.subset(SAMPLES, min(SAMPLES, len(images.y_test)))
    tiny = replace(sample, x_train=_shrunk(sample.x_train), x_test=_shrunk(sample.x_test))
    return [
        proved.softmax(tiny, weight_decay=0.2),
        proved.network(tiny, seed=0, strength=0.3, excess=4.0, width=4),
    ]


def forget_sets(n: int, sizes: tuple[int, ...] = (1, 2)) -> dict[int, list[tuple[int, ...]]]:
    """Every forget set of n samples, by size: tuples of row numbers."""
    return {k: list(combinations(range(n), k)) for k in sizes}


def retrained(problem: Problem, sets: list[tuple[int, ...]]) -> Tensor:
    """The minimiser (B, p) without each of B forget sets, to a gradient of EXACT."""
    masks = problem.F.initial().new_ones(len(sets), problem.F.n)
    for row, gone in zip(masks, sets, strict=True):
        row[list(gone)] = 0
    return torch.cat([_minimisers(problem, part) for part in masks.split(AT_ONCE)])


def compare(problem: Problem, sizes: tuple[int, ...] = (1, 2)) -> list[dict]:
    """One row for each method and size of forget set: the largest error over all, and the bound.

    doing nothing      w*; bound by stability
    one Newton step    Theorem 3.4 at lam = 0, in its local form, with the stability bound as r
    Theorem 3.4        the same step with r = 2C, C = sample_gradient/decay holding every minimiser
    refined            ||grad F_r|| <= G, and EXACT where retrained: (G + EXACT)/mu
    Sekhari et al.     their step from stored statistics
    descent-to-delete  DESCENT iterations of gradient descent
    """
    rows = []
    start = refine(problem.F, torch.zeros_like(problem.F.initial()), gradient=EXACT).w
    for size, sets in forget_sets(problem.F.n, sizes).items():
        exact = retrained(problem, sets)
        for name, (estimate, bound) in _methods(problem, start, size).items():
            errors = [
                distance(estimate(list(gone)), w)
                for gone, w in bar(list(zip(sets, exact, strict=True)), f"{name}, {size} of 40")
            ]
            rows.append(
                {
                    "problem": problem.name,
                    "method": name,
                    "n_u": size,
                    "sets": len(sets),
                    "largest": max(errors),
                    "bound": bound,
                }
            )
    return rows


def _methods(
    problem: Problem, w: Tensor, size: int
) -> dict[str, tuple[Callable[[list[int]], Tensor], float]]:
    """Each method's estimate as a function of the forget set, and its bound."""
    F, mu, M, L = problem.F, problem.mu, problem.M, problem.L
    g = problem.sample_gradient
    r = bounds.stability_bound(F.n, size, g, mu, EXACT)
    ball = g / problem.weight_decay
    known = {"n": F.n, "mu": mu, "L": g}

    def newton(gone: list[int]) -> Tensor:
        return newton_update(F, w, gone, lam=0.0, solver=_densely)

    def refined(gone: list[int]) -> Tensor:
        return refine(F.without(gone), w, gradient=G).w

    def descended(gone: list[int]) -> Tensor:
        F_r, at = F.without(gone), w
        for _ in range(DESCENT):
            at = at - 2 / (mu + L) * F_r.gradient(at)
        return at

    return {
        "doing nothing": (lambda gone: w, r),
        "one Newton step": (newton, bounds.local_newton_bound(r, M, 0.0, mu, EXACT)),
        "Theorem 3.4": (newton, bounds.newton_bound(ball, M, 0.0, mu, EXACT)),
        "refined": (refined, bounds.strong_convexity_bound(G, mu, EXACT)),
        "Sekhari et al.": (
            lambda gone: newton_update(F, w, gone, lam=0.0, solver=_densely, gradient="forget"),
            sekhari.sensitivity(size, M=M, G=EXACT, **known),
        ),
        "descent-to-delete": (descended, neel.sensitivity(DESCENT, m=size, beta=L, **known)),
    }


def _densely(F_r: Objective, w: Tensor, b: Tensor, *, lam: float) -> SimpleNamespace:
    """Solve the damped system with the dense Hessian: exact, and small enough here."""
    A = F_r.hessian(w) + lam * torch.eye(F_r.p, device=w.device)
    return SimpleNamespace(x=torch.linalg.solve(A, b))


def _minimisers(problem: Problem, masks: Tensor) -> Tensor:
    """The minimisers (B, p) of B objectives, one for each mask (B, n) of retained samples.

    By Newton's method on all of them at once; a step is halved until its gradient is smaller.
    """
    x, y = problem.F.x, problem.F.y
    names = [name for name, _ in problem.net.named_parameters()]
    shapes = [q.shape for q in problem.net.parameters()]
    buffers = dict(problem.net.named_buffers())
    require(len(names) == 1, f"The network has {len(names)} parameters; one is expected.")

    def value(w: Tensor, mask: Tensor) -> Tensor:
        weights = buffers | {names[0]: w.view(shapes[0])}
        losses = cross_entropy(functional_call(problem.net, weights, (x,)), y, reduction="none")
        return (mask * losses).sum() / mask.sum() + problem.weight_decay / 2 * w @ w

    slope, curvature = vmap(grad(value)), vmap(hessian(value))
    w = masks.new_zeros(len(masks), problem.F.p)
    g = slope(w, masks)
    for _ in range(NEWTON_STEPS):
        if bool((g.norm(dim=1) <= EXACT).all()):
            return w
        step = torch.linalg.solve(curvature(w, masks), g)
        t = w.new_ones(len(w), 1)
        worse = w.new_ones(len(w), dtype=torch.bool)
        while worse.any() and float(t.min()) > 1e-6:
            after = slope(w - t * step, masks)
            worse = after.norm(dim=1) > g.norm(dim=1).clamp_min(EXACT)
            t[worse] /= 2
        w, g = w - t * step, after
    raise DivergenceError(
        f"A retraining stopped at ||grad|| = {float(g.norm(dim=1).max()):.3g}, above {EXACT:g}."
    )


def _shrunk(x: Tensor) -> Tensor:
    """uint8 images of 6 x 6 or 7 x 7 pixels, which the features average to 3 x 3."""
    return avg_pool2d(x.float(), x.shape[-1] // 6).round().to(torch.uint8)
