"""Two worlds of each forerunner, as far apart as a small model of its kind can be.

descent-to-delete   a parabola. Descent comes from one side of the minimum where it was trained
                    without the samples, and from the other where they were forgotten, one by one
Sekhari et al.      two classes, one input. The bound takes for granted that the gradients of two
                    samples may be opposite and both of full length; of softmax they never are,
                    and half the difference is a quarter of the bound
certified removal   the same. Its bound takes the Hessian at the end of a step for that on the way,
                    and so is twice what is left. A release shows the noise of its objective as
                    -n grad F_r(w)

What these worlds do not attain of a bound an audit can't see: `attained` says how much they do.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn

from unlearnlib.evaluation.peers import Answer, Guo, Neel, Sekhari
from unlearnlib.evaluation.peers.convex import HESSIAN_LIPSCHITZ, SAMPLE_GRADIENT
from unlearnlib.evaluation.peers.interpolation import epsilon_of
from unlearnlib.lab.settings import DELTA
from unlearnlib.noise import sample_noise
from unlearnlib.objective import Objective
from unlearnlib.refinement import refine

from .worlds import EPSILON, GDP, LIMIT, PULL, Release, Worlds, gaussian, line

TERMS = {"epsilon": EPSILON, "delta": DELTA}
EXACT = 1e-13  # the gradient at which training stops
SEED = 0  # of what is not looked at
BENT = 1.317  # ln(2 + sqrt 3): between two logits, where the loss's curvature changes most


# ---- descent-to-delete: eight requests of one sample, until half are left ------------------------

HALF, DESCENT, FAR = 8, 4, 128.0  # samples that stay, steps of a request, bound on the minimiser
ASKED = range(HALF, 2 * HALF)
SLOPE = line([LIMIT] * HALF + [-LIMIT] * HALF, PULL, center=FAR - LIMIT / PULL)


def _descended(F: Objective) -> Neel:
    how = dict(iterations=DESCENT, beta=3 * PULL, L=LIMIT, D=FAR, seed=SEED)
    return Neel.train(F, **how, **TERMS)


@cache
def _descent(forgotten: bool, fewer: int = 0) -> Answer:
    if not forgotten:
        return _descended(SLOPE.without(ASKED)).trained
    method = _descended(SLOPE)
    method.iterations -= fewer
    return [method.forget([sample]) for sample in ASKED][-1]


# ---- Sekhari et al., and certified removal: the last sample is of the other class ----------------


def two_classes(labels: list[int], decay: float, center: float = 0.0) -> Objective:
    """One input, so that the difference of two logits is all; the decay is towards the center."""
    x = torch.ones(len(labels), 1, dtype=torch.float64, device="cpu")
    model = nn.Linear(1, 2, bias=False, device="cpu").double()
    middle = torch.tensor([center, -center], dtype=torch.float64, device="cpu") / 2
    return Objective(model, x, torch.tensor(labels), weight_decay=decay, center=middle)


# So strong a decay is nearly all curvature there is, which is what the bound takes for granted.
STIFF = two_classes([0, 1], decay=100.0, center=BENT)


@cache
def _stored() -> tuple[Sekhari, Answer]:
    how = dict(capacity=1, M=HESSIAN_LIPSCHITZ, L=SAMPLE_GRADIENT, G=EXACT, seed=SEED)
    method = Sekhari.train(STIFF, **how, **TERMS)
    return method, method.forget([1])


@cache
def _newton(forgotten: bool, step: bool = True) -> Tensor:
    method, answer = _stored()
    if forgotten:
        return answer.estimate if step else method.w
    F_r = STIFF.without([1])
    return refine(F_r, torch.zeros_like(F_r.initial()), gradient=EXACT).w


# With so many of each class the minimum lies at BENT; a center is where the noise is put.
MIXED, GONE = two_classes([0] * 342 + [1] * 58, decay=0.1), [399]
LEFT, SMALL, ROOM = MIXED.without(GONE), 1e-7, 1.1  # what is left, the gradient, room in the budget


@cache
def _sigma() -> float:
    """Noise in the objective whose budget has room for one request, and no more."""
    spacious = Guo.train(MIXED, sigma=1.0, G=SMALL, seed=SEED, epsilon=1e3, delta=DELTA)
    return ROOM * spacious.forget(GONE).sensitivity / GDP


def _removed(forgotten: bool, share: float, seed: int, step: bool = True) -> Tensor:
    epsilon = epsilon_of(GDP / share)(DELTA)  # a larger one leaves the budget as it is
    how = dict(sigma=share * _sigma(), G=SMALL, epsilon=epsilon, delta=DELTA, seed=seed)
    method = Guo.train(MIXED if forgotten else LEFT, **how)
    w = method.forget(GONE).w if forgotten and step else method.w
    return along(-LEFT.n * LEFT.gradient(w))


def _attained_by_removal() -> float:
    """The residual that a request leaves, in units of the budget."""
    method = Guo.train(MIXED, sigma=_sigma(), G=SMALL, seed=SEED, **TERMS)
    b, w = method.b, method.forget(GONE).w
    return float((LEFT.n * LEFT.gradient(w) + b).norm()) / method.budget


# ---- all three -----------------------------------------------------------------------------------


def along(w: Tensor) -> Tensor:
    """The one number (1,) in which two worlds differ."""
    return w if len(w) == 1 else (w[:1] - w[1:]) / math.sqrt(2)


def hidden(
    way: str, estimate: Callable[..., Tensor], answer: Answer, **broken: Callable[..., Tensor]
) -> Worlds:
    """A method that publishes an estimate with noise, as its answer says how much."""

    def released(estimate: Callable[..., Tensor]) -> Release:
        def release(forgotten: bool, share: float, seed: int) -> Tensor:
            w = estimate(forgotten)
            return along(w + sample_noise(w, share * answer.sigma, seed))

        return release

    apart = float((estimate(True) - estimate(False)).norm()) / answer.sensitivity
    wrong = {what: released(estimate) for what, estimate in broken.items()}
    return gaussian(way, released(estimate), apart, **wrong)


def descent() -> Worlds:
    estimate = lambda forgotten, fewer=0: _descent(forgotten, fewer).estimate  # noqa: E731
    fewer = partial(estimate, fewer=1)
    return hidden("descent-to-delete", estimate, _descent(True), one_step_less=fewer)


def newton() -> Worlds:
    without = partial(_newton, step=False)
    return hidden("Sekhari et al.", _newton, _stored()[1], without_its_step=without)


def removal() -> Worlds:
    without = partial(_removed, step=False)
    return gaussian("certified removal", _removed, _attained_by_removal(), without_its_step=without)


PAIRS = (removal, newton, descent)
