"""Two worlds of each method, as far apart as its theorem lets them be, for the audits.

One weight, and a loss that pushes as hard as it may: the releases are numbers, made by the same
code as everywhere else. What is claimed of a share of the noise is claimed of a family of releases:
its advantage, the most by which a test's two rates may differ, and its epsilon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial

import torch
from scipy.optimize import brentq
from scipy.stats import norm
from torch import Tensor, nn

from unlearnlib import draws
from unlearnlib.evaluation.peers import clipped_gradients, clipped_models, dp_sgd, noisy_sgd, rewind
from unlearnlib.evaluation.peers.interpolation import epsilon_of, gdp_of, spread, steps_sigma
from unlearnlib.lab.settings import DELTA
from unlearnlib.noise import published
from unlearnlib.objective import Objective

from .balls import PAPER
from .descents import OURS

EPSILON = 1.0
GDP = gdp_of(EPSILON, DELTA)
Release = Callable[[bool, float, int], Tensor]
LIMIT, RADIUS, RATE = 1.0, 1.0, 0.1  # of a gradient, of a ball, of descent
STEPS = 3  # of noise
PULL = 0.5  # the decay of the convex worlds, which is their smoothness too


@dataclass(frozen=True)
class Worlds:
    """A method in its two worlds.

    release    (forgotten, share, seed) -> what is published, with this share of its noise
    advantage  (share) -> what the rates of a test may differ by, as claimed
    epsilon    (share) -> as claimed, at DELTA
    broken     what is wrong with it -> a release of such an implementation
    attained   how much of what its theorem allows these worlds differ by
    """

    way: str
    release: Release = field(repr=False)
    broken: Mapping[str, Release] = field(repr=False)
    advantage: Callable[[float], float] = field(repr=False)
    epsilon: Callable[[float], float] = field(repr=False)
    attained: float = 1.0


def gaussian(way: str, release: Release, attained: float = 1.0, **broken: Release) -> Worlds:
    """A method whose theorem gives mu-GDP: a share of the noise divides mu."""
    return Worlds(
        way,
        release,
        {what.replace("_", " "): wrong for what, wrong in broken.items()},
        lambda share: 2 * float(norm.cdf(GDP / share / 2)) - 1,
        lambda share: epsilon_of(GDP / share)(DELTA),
        attained,
    )


def line(slopes: list[float], decay: float = 0.0, center: float = 0.0) -> Objective:
    """One weight; each sample's loss is w times its slope. The decay is towards the center."""
    x = torch.tensor(slopes, dtype=torch.float64, device="cpu")[:, None]
    return _one_weight(x, lambda z, y: z.mean(), decay, at(center) if center else None)


def ridge() -> Objective:
    """One weight, pushed away from 0 on both sides, farther than any clip."""
    return _one_weight(torch.ones(1, 1, device="cpu"), lambda z, y: -99 * z.abs().mean(), 0.0)


def _one_weight(x: Tensor, loss: Callable, decay: float, center: Tensor | None = None) -> Objective:
    model, y = nn.Linear(1, 1, bias=False, device="cpu").double(), torch.zeros(len(x))
    return Objective(model, x, y, loss=loss, weight_decay=decay, center=center)


def at(value: float) -> Tensor:
    return torch.tensor([value], dtype=torch.float64, device="cpu")


# ---- balls: the two models lie on both sides, outside --------------------------------------------


def _far(forgotten: bool) -> Tensor:
    return at(9.0 if forgotten else -9.0)


def _models(
    forgotten: bool, share: float, seed: int, *, ratio: float, steps: int, radius: float = RADIUS
) -> Tensor:
    how = dict(steps=steps, sigma=share * RADIUS / ratio, radius=radius, lr=RATE, batch_size=1)
    return clipped_models.unlearn(RIDGE, _far(forgotten), seed=seed, **how).w


def _gradients(forgotten: bool, share: float, seed: int, limit: float = LIMIT) -> Tensor:
    how = dict(radius=RADIUS, limit=LIMIT, lr=RATE)
    sigma = share * clipped_gradients.noise(1, GDP, **how)
    how |= dict(limit=limit, steps=1, sigma=sigma, batch_size=1)
    return clipped_gradients.unlearn(RIDGE, _far(forgotten), seed=seed, **how).w


def models(steps: int = STEPS) -> Worlds:
    """Clipped models: the family is that of the noise, which no single mu describes."""
    over = lambda r: clipped_models.delta_after(steps, EPSILON, r) - DELTA  # noqa: E731
    ratio = brentq(over, 1e-3, 20.0)
    fewer = partial(_models, ratio=ratio, steps=steps - 1)
    return Worlds(
        "clipped models",
        partial(_models, ratio=ratio, steps=steps),
        {"one step less": fewer},
        lambda share: clipped_models.delta_after(steps, 0.0, ratio / share),
        lambda share: clipped_models.epsilon_after(steps, ratio / share, DELTA),
    )


# ---- descent on a parabola: one sample of four pulls the other way -------------------------------

SLOPES, GONE = [-LIMIT] * 3 + [LIMIT], [3]
BACK, BETWEEN = 4, 2  # steps of descent, and those of a request
EARLIER = 5  # steps of noisy training


def _rewind(forgotten: bool, share: float, seed: int, fewer: int = 0) -> Tensor:
    F, F_r = PARABOLA, PARABOLA.without(GONE)
    known = dict(g=LIMIT, L=PULL, mu=PULL)
    lr, how = 1 / (2 * PULL), dict(steps=BACK, between=BETWEEN)
    sigma = share * rewind.sensitivity(**how, m=1, n=F.n, lr=lr, **known) / GDP
    trained = rewind.train(F if forgotten else F_r, at(0.0), lr=lr, **how)
    trained = replace(trained, n=F.n, between=BETWEEN - fewer * forgotten)
    return rewind.unlearn(F_r, trained, sigma=sigma, seed=seed, **known).w


def _noisy_sgd(forgotten: bool, share: float, seed: int, fewer: int = 0) -> Tensor:
    F, lr = PARABOLA, 1 / (2 * PULL)
    c = noisy_sgd.contraction(lr, PULL, PULL)
    Z = noisy_sgd.distance([F.n], m=1, g=LIMIT, lr=lr, c=c)
    noise = share * steps_sigma(STEPS, GDP, start=Z, gap=0.0, contraction=c)
    run = partial(noisy_sgd.run, F, lr=lr, sigma=noise / (2 * lr) ** 0.5, batch_size=F.n)
    w = run(at(0.0), epochs=EARLIER, forget=[] if forgotten else GONE, seed=2 * seed)
    return run(w, epochs=STEPS - fewer * forgotten, forget=GONE, seed=2 * seed + 1)


def _refined(forgotten: bool, share: float, seed: int, times: float = 1.0) -> Tensor:
    """w* +- G/mu: gradients of norm G on both sides, as training and refining may leave."""
    Delta = 2.0
    estimate = times * Delta / 2 * at(1.0 if forgotten else -1.0)
    return published(estimate, share * Delta / GDP, Delta, seed)[0]


# ---- DP-SGD: two samples that are there, or not --------------------------------------------------

PRIVATE = dict(m=2, rate=0.5, steps=2)
GRID = 0.01  # of its accountant, in epsilon: coarse, for time, and rounded up


def private() -> Worlds:
    """DP-SGD: the family is that of the noise, by its own accountant."""

    @cache
    def epsilon(sigma: float) -> float:
        return dp_sgd.group_epsilon(DELTA, sigma=sigma, interval=GRID, **PRIVATE)

    @cache
    def advantage(share: float) -> float:
        return dp_sgd.group_advantage(sigma=share * sigma, interval=GRID, **PRIVATE)

    sigma = brentq(lambda sigma: epsilon(sigma) - EPSILON, 1.0, 50.0, rtol=1e-3)

    def release(forgotten: bool, share: float, seed: int, limit: float = LIMIT) -> Tensor:
        F = STEEP if forgotten else STEEP.without([1, 2])
        noise = share * sigma * LIMIT / limit  # in units of the clip
        how = dict(lr=RATE, limit=limit, sigma=noise, size=1.0, generator=draws.fixed(seed))
        return dp_sgd.train(F, at(0.0), seed=seed, **how, **PRIVATE).w

    return Worlds(
        "DP-SGD",
        release,
        {"clipped at five times the limit": partial(release, limit=5 * LIMIT)},
        advantage,
        lambda share: epsilon(share * sigma),
    )


RIDGE, PARABOLA, STEEP = ridge(), line(SLOPES, PULL), line([0.0, 9.0, 9.0])
OUTPUT = partial(_models, ratio=GDP / 2, steps=1)


def output() -> Worlds:
    """The paper's step too: it is output perturbation of its ball."""
    twice = partial(OUTPUT, radius=2 * RADIUS)
    return gaussian(f"output perturbation, {PAPER}", OUTPUT, clipped_to_twice_the_ball=twice)


def clipped() -> Worlds:
    """One noisy step, where the bound is attained."""
    more = partial(_gradients, limit=15 * LIMIT)
    return gaussian("clipped gradients", _gradients, clipped_at_fifteen_times_the_limit=more)


def rewound() -> Worlds:
    return gaussian("rewind-to-delete", _rewind, one_step_less=partial(_rewind, fewer=1))


def noisy() -> Worlds:
    """Training has not settled, and left noise of its own: a little less than the bound."""
    c = noisy_sgd.contraction(1 / (2 * PULL), PULL, PULL)
    settled, own = 1 - c**EARLIER, spread(STEPS, c) / spread(EARLIER + STEPS, c)
    fewer = partial(_noisy_sgd, fewer=1)
    return gaussian("noisy SGD", _noisy_sgd, settled * own, one_step_less=fewer)


def refined() -> Worlds:
    return gaussian(OURS, _refined, refined_to_2G_only=partial(_refined, times=2.0))


PAIRS = (output, clipped, models, rewound, noisy, private, refined)
