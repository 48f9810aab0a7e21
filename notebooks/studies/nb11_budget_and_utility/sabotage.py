"""Releases that were broken on purpose: is each of them caught, by an audit or by its card?

pair = WorstPair(proved.softmax(images), epsilon=1.0)
audited(pair, noise=0.9)             released with nine tenths of the noise
smallest_caught(pair)                the power of the audit
for name, row in rows(pair, ...)     each sabotage, and what catches it
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from unittest import mock

import torch
from scipy.stats import chi2, norm
from torch import Tensor, nn

import unlearnlib as ul
from unlearnlib import strongly_convex
from unlearnlib.errors import UnlearnError
from unlearnlib.evaluation.audit import Audit, gdp_audit
from unlearnlib.lab import toy
from unlearnlib.lab.proved import Problem
from unlearnlib.lab.seeds import seed_of
from unlearnlib.lab.settings import DELTA
from unlearnlib.lab.step import solve_on
from unlearnlib.noise import gaussian_sigma, published, with_rounding
from unlearnlib.objective import Objective
from unlearnlib.progress import bar

SHARES = (0.98, 0.96, 0.94, 0.92, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5, 0.3)  # of the noise


@dataclass(frozen=True)
class WorstPair:
    """Two worlds as far apart as the certificate lets them be: w* +- (G/mu) e.

    The softmax loss does not change when all classes' weights move alike, so along such a direction
    e the Hessian is the decay mu alone, everywhere: both ends have a gradient of norm G, as a
    trained and as a refined model may, and Delta = 2G/mu is attained.
    """

    problem: Problem
    epsilon: float

    @cached_property
    def G(self) -> float:
        return self.problem.gradient_for(self.epsilon)

    @cached_property
    def Delta(self) -> float:
        return self.problem.sensitivity(self.G)

    @cached_property
    def sigma(self) -> float:
        return gaussian_sigma(with_rounding(self.Delta), self.epsilon, DELTA)

    @cached_property
    def direction(self) -> Tensor:
        one_class = torch.zeros_like(self.problem.F.initial()).view(-1, self.inputs)
        one_class[:, 0] = 1.0
        return one_class.flatten() / one_class.norm()

    @property
    def inputs(self) -> int:
        return self.problem.F.x.shape[1]

    def ends(self, apart: float = 1.0) -> tuple[Tensor, Tensor]:
        """The two estimates, `apart` times Delta from each other."""
        w = self.problem.trained(1e-3 * self.G).w
        move = apart * self.Delta / 2 * self.direction
        return w + move, w - move


@dataclass(frozen=True)
class Found:
    """What many releases of both worlds show.

    audit    told apart by the side of w* that each lies on
    spread   of the releases of one world along e, in the certificate's sigma: 1 as it should be
    """

    audit: Audit
    spread: float


def audited(
    pair: WorstPair, releases: int, noise: float = 1.0, apart: float = 1.0, seed: int | None = None
) -> Found:
    """Release both worlds many times, by the package's seeded noise, and see what that shows.

    Secret noise has the same law and comes from other samplers, which are tested apart.

    noise   share of the certificate's sigma that is added
    apart   how far apart the estimates are, in Delta
    seed    of the noise, where one is reused for every release
    """
    ends = pair.ends(apart)
    middle, sides = float(sum(ends) @ pair.direction) / 2, []
    for k, estimate in enumerate(ends):
        each = bar(range(releases), "releases to audit")
        drawn = (seed_of(f"audited {k}", i) if seed is None else seed for i in each)
        released = [_released(pair, estimate, noise, s) @ pair.direction for s in drawn]
        sides.append(torch.stack(released) - middle)
    hits, alarms = (int((side > 0).sum()) for side in sides)
    audit = gdp_audit(hits, releases, alarms, releases, delta=DELTA)
    return Found(audit, float(sides[0].std()) / pair.sigma)


def _released(pair: WorstPair, estimate: Tensor, noise: float, seed: int) -> Tensor:
    return published(estimate, noise * pair.sigma, pair.Delta, seed)[0]


def power(pair: WorstPair, releases: int) -> float:
    """The largest share of the noise that the audit refutes in nine runs of ten; 0 if it has none.

    At rates that are short of the expected ones by so much that nine runs of ten do better.
    """
    for share in SHARES:
        right = norm.cdf(pair.Delta / pair.sigma / share / 2)
        short = (
            norm.ppf(0.9) * (right * (1 - right) / releases / 2) ** 0.5
        )  # of a mean of two rates
        hits = round((right - short) * releases)
        if gdp_audit(hits, releases, releases - hits, releases, delta=DELTA).bound > pair.epsilon:
            return share
    return 0.0


# ---- the sabotages -------------------------------------------------------------------------------


def on_the_worst_pair(pair: WorstPair, releases: int) -> dict[str, Callable[[], dict]]:
    """Those that an audit of many releases has to find."""
    caught = power(pair, releases)
    broken = {
        "nothing is broken": {},
        "noise x 0.9": {"noise": 0.9},
        f"noise x {caught:g}": {"noise": caught},
        "no noise": {"noise": 1e-9},
        "refined to 2G only": {"apart": 2.0},
        "one seed for all releases": {"seed": 0},
    }
    return {
        name: partial(_audit_row, pair, releases=releases, **changed)
        for name, changed in broken.items()
    }


def _audit_row(pair: WorstPair, releases: int, **changed) -> dict:
    """The audit's epsilon; and whether the releases vary by less than sigma, at 95%."""
    found = audited(pair, releases, **changed)
    least = (chi2.ppf(0.05, releases - 1) / (releases - 1)) ** 0.5
    return {
        "claimed": pair.epsilon,
        "audited": found.audit.bound,
        "refuted": found.audit.bound > pair.epsilon,
        "spread": found.spread,
        "too narrow": found.spread < least,
    }


def on_the_card() -> dict[str, Callable[[], dict]]:
    """Those that the card has to notice, on the convex toy of notebook 00."""
    F, forget = toy.convex()
    F = F.to(torch.float64)
    w = ul.refinement.refine(F, F.initial(), gradient=toy.SMALLEST_GRADIENT).w
    F_r = F.without(forget)

    def card(**changed) -> dict:
        terms = dict(C=1.0, lam=0.0, delta=DELTA, epsilon=1.0, tol=1e-6, seed=0)
        terms |= {"constants": toy.proved_constants(F)} | changed
        return _card_row(lambda: ul.unlearn(F, terms.pop("w", w), forget, **terms))

    def sampled(F_r: Objective, w: Tensor, b: Tensor, *, lam: float, tol: float):
        return solve_on(F_r.only(range(5)), tol=tol)(F_r, w, b, lam=lam)

    return {
        "nothing is broken": card,
        "a stale `whole`": partial(card, w=w + 0.05, whole=torch.zeros_like(w)),
        "a stale `whole`, measured": partial(card, whole=F.gradient(w + 0.3)),
        "a solver that saw a sample": partial(card, solver=sampled),
        "training left 10 G": partial(card, w=w + 10 * toy.SMALLEST_GRADIENT / F_r.weight_decay),
        "one seed, published": lambda: {"card": card()["noise"]},
    }


def kept_buffer() -> dict:
    """A model whose buffer holds the mean of the data it saw."""

    class Remembers(nn.Linear):
        def __init__(self, x: Tensor):
            super().__init__(2, 2, dtype=torch.float64, device="cpu")
            self.register_buffer("seen", x.mean(0))

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x - self.seen)

    F, forget = toy.convex()
    x = F.x.double().cpu()
    y = (F.y.cpu().flatten() > 0).long()
    Fb = ul.Objective(Remembers(x), x, y, weight_decay=0.1)
    terms = dict(C=1.0, lam=1.0, delta=DELTA, epsilon=1.0, seed=0)
    return _card_row(lambda: ul.unlearn(Fb, Fb.initial() * 0, forget, **terms))


def refined_to_2G(problem: Problem, epsilon: float) -> dict:
    """A release whose refinement stopped at 2G where the card says G."""
    G, true = problem.gradient_for(epsilon), strongly_convex.refine
    w, forget = problem.trained(G).w, range(max(1, problem.F.n // 10))

    def early(F: Objective, w: Tensor, *, gradient: float, **terms):
        done = true(F, w, gradient=gradient, **terms)
        slope = F.gradient(done.w)
        away = slope * (1.9 * gradient - slope.norm()) / (problem.mu * slope.norm())
        return replace(done, w=done.w + away)

    with mock.patch.object(strongly_convex, "refine", early):
        return _card_row(lambda: problem.unlearn(w, forget, G, epsilon=epsilon, seed=0))


def _card_row(release: Callable) -> dict:
    """What the card says: it holds or not, and why; or that nothing was released."""
    try:
        card = release().certificate
    except UnlearnError as refused:
        return {"card": "refused", "why": str(refused).split(":")[0], "noise": ""}
    return {"card": card.holds, "why": " ".join(card.reasons), "noise": card.noise}
