"""The ways to forget: what each needs to know, its knobs, and the weights that it begins with.

for way in taking_part(case):
    begun = way.begin(case, forget, epsilon, setting, seed)      Noisy, certified for epsilon
    case.train_on(F_r, begun.w, epochs, seed)                    costs no privacy any more

Knobs are given in units of a logit, so that one list suits all models: weights in 1/case.scale,
gradients in case.scale.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache, partial

from scipy.optimize import brentq
from torch import Tensor

from unlearnlib.evaluation.peers import (
    Noisy,
    clipped_gradients,
    clipped_models,
    dp_sgd,
    noisy_sgd,
    rewind,
)
from unlearnlib.evaluation.peers.interpolation import epsilon_of, gdp_of, steps_sigma
from unlearnlib.lab.seeds import generator, seed_of
from unlearnlib.lab.settings import DELTA
from unlearnlib.noise import sample_noise
from unlearnlib.objective import Objective
from unlearnlib.projected_sgd import project

from .cases import PROVED, Case

Setting = dict[str, float]
UNTIMED = math.nan  # seconds of what is compared by its gradients alone
RETRAINING, NOTHING, OURS = "retraining", "nothing is done", "refined (ours)"
TO_THE_END, NOTHING_ASSUMED = "retraining, to the end", "nothing"
SIZES = (7e-3, 2e-2, 7e-2, 2e-1)  # of the noise in a weight that a start is left with; ours
A_PASS = 36  # noisy steps that are one pass over the images: sigma is then half a radius; ours
DESCENT = ((5, 3), (10, 5), (10, 8), (20, 10))  # steps of descent, and those of a request; ours
NOISY_STEPS = (1, 3, 5, 10)  # of a request in noisy SGD; ours
NOISY_TRAINING = 50  # its steps of training
PRIVATE_STEPS = 100  # of DP-SGD's training; ours
RATE = 0.05  # chance of an image to be in a batch of DP-SGD; ours
GRID = 0.01  # of epsilon, on which its losses are added: coarse, for time, and rounded up; ours
RATES = (0.03, 0.1, 0.3, 1.0)  # of DP-SGD, in a logit; ours


@dataclass(frozen=True)
class Way:
    """A way to forget.

    settings   (case) -> values of the knobs to try, mildest first
    begin      (case, forget, epsilon, setting, seed) -> Noisy: what it publishes first
    takes      (case) -> whether its theorem speaks of this case
    rests_on   what the epsilon takes for granted, in words
    goes_on    whether it is trained on, without noise, where the budget allows that
    """

    name: str
    settings: Callable[[Case], Sequence[Setting]] = field(repr=False)
    begin: Callable[[Case, Tensor, float, Setting, int], Noisy] = field(repr=False)
    takes: Callable[[Case], bool] = field(repr=False, default=lambda case: True)
    rests_on: str = NOTHING_ASSUMED
    goes_on: bool = True

    def proved(self, case: Case) -> bool:
        """Whether its epsilon is proved in this case."""
        return self.rests_on == NOTHING_ASSUMED or case.known.source == PROVED


def taking_part(case: Case) -> list[Way]:
    return [way for way in WAYS.values() if way.takes(case)]


def left(case: Case, forget: Tensor) -> Objective:
    """The objective on what is retained."""
    return case.F.without(forget)


# ---- without noise -------------------------------------------------------------------------------


def _retraining(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    return Noisy(case.start, lambda delta: 0.0, 0.0, UNTIMED)


def _to_the_end(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    w, gradients = case.retrained(forget)
    return Noisy(w, lambda delta: 0.0, gradients, UNTIMED)


def _nothing(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    return Noisy(case.w, lambda delta: math.inf, 0.0, UNTIMED)


# ---- noise that hides a ball ---------------------------------------------------------------------


def _sizes(case: Case) -> list[Setting]:
    """The noise that is left is the knob, and the ball as large as epsilon then allows."""
    return [{"noise": size} for size in SIZES]


def _output(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    sigma = setting["noise"] / case.scale
    radius = sigma * gdp_of(epsilon, DELTA) / 2
    w = project(case.w, radius)
    w = w + sample_noise(w, sigma, seed_of("output", seed))
    return Noisy(w, epsilon_of(2 * radius / sigma), 0.0, UNTIMED)


def _models(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    F_r, sigma = left(case, forget), setting["noise"] / case.scale
    return clipped_models.unlearn(
        F_r, case.w, steps=A_PASS, sigma=sigma, radius=sigma * _ratio(epsilon),
        lr=case.lr, batch_size=_batch(F_r), **_drawn("models", seed),
    )  # fmt: skip


def _ratio(epsilon: float) -> float:
    """The largest radius/sigma with which A_PASS steps reach (epsilon, DELTA)."""

    def over(log_ratio: float) -> float:
        reached = clipped_models.delta_after(A_PASS, epsilon, math.exp(log_ratio))
        return math.log(max(reached, 1e-300)) - math.log(DELTA)

    return 0.999 * math.exp(brentq(over, -5, 3, xtol=1e-4))


def _gradients(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    F_r, gdp = left(case, forget), gdp_of(epsilon, DELTA)
    radius, limit = setting["noise"] / case.scale * gdp / 4, case.scale
    # together they push as far as the ball's radius: the least noise
    method = {"radius": radius, "limit": limit, "lr": radius / (limit * A_PASS)}
    sigma = clipped_gradients.noise(A_PASS, gdp, decay=F_r.weight_decay, **method)
    return clipped_gradients.unlearn(
        F_r, case.w, steps=A_PASS, sigma=sigma, batch_size=_batch(F_r), **method,
        **_drawn("gradients", seed),
    )  # fmt: skip


def _batch(F: Objective) -> int:
    return math.ceil(F.n / A_PASS)


# ---- descent from before the request -------------------------------------------------------------


def _rewind(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    T, K, F_r = int(setting["steps"]), int(setting["between"]), left(case, forget)
    known = case.known
    how = dict(g=known.g, L=known.L, mu=known.mu)
    lr = 2 / (known.mu + known.L) if known.mu else 1 / known.L
    Delta = rewind.sensitivity(T, K, m=len(forget), n=case.F.n, lr=lr, **how)
    sigma = Delta / gdp_of(epsilon, DELTA)
    before = rewind.train(case.F, case.start, steps=T, between=K, lr=lr)
    return rewind.unlearn(F_r, before, sigma=sigma, seed=seed_of("rewound", seed), **how)


def _back(case: Case) -> list[Setting]:
    return [{"steps": T, "between": K} for T, K in DESCENT]


def _noisy_sgd(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    known, steps, F = case.known, int(setting["steps"]), case.F
    lr = 2 / (known.mu + known.L)
    c = noisy_sgd.contraction(lr, known.mu, known.L)
    Z = noisy_sgd.distance([F.n], m=len(forget), g=known.g, lr=lr, c=c)
    noise = steps_sigma(steps, gdp_of(epsilon, DELTA), start=Z, gap=0.0, contraction=c)
    how = dict(lr=lr, sigma=noise / math.sqrt(2 * lr))
    trained, asked = (seed_of(f"noisy {part}", seed) for part in ("training", "request"))
    run = partial(noisy_sgd.run, F, batch_size=F.n, **how)
    w = run(case.start, epochs=NOISY_TRAINING, seed=trained)
    w = run(w, epochs=steps, forget=forget, seed=asked)
    gdp = noisy_sgd.request_gdp(steps, Z=Z, c=c, **how)
    return Noisy(w, epsilon_of(gdp), float(steps), UNTIMED)


def _steps(case: Case) -> list[Setting]:
    return [{"steps": steps} for steps in NOISY_STEPS]


def _dp_sgd(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    m = len(forget)
    sigma = group_sigma(epsilon, m, RATE, PRIVATE_STEPS)
    made = dp_sgd.train(
        case.F, case.start, steps=PRIVATE_STEPS, lr=setting["lr"] / case.scale**2, limit=case.scale,
        sigma=sigma, rate=RATE, size=RATE * case.F.n, m=m, **_drawn("DP-SGD", seed),
    )  # fmt: skip
    return Noisy(made.w, made.epsilon, 0.0, UNTIMED)  # a request is answered already


@cache
def group_sigma(epsilon: float, m: int, rate: float, steps: int, delta: float = DELTA) -> float:
    """The noise of a step's sum with which m samples at once cost (epsilon, delta)."""

    def over(sigma: float) -> float:
        how = dict(m=m, rate=rate, sigma=sigma, steps=steps, interval=GRID * epsilon)
        return dp_sgd.group_epsilon(delta, **how) - epsilon

    high = m * math.sqrt(steps) / gdp_of(epsilon, delta)  # enough if all were in every batch
    while over(high / 2) < 0:
        high /= 2
    return brentq(over, high / 2, high, rtol=1e-3) * 1.002


# ---- ours ----------------------------------------------------------------------------------------


def _refined(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    problem = case.problem
    G = problem.gradient_for(1.0)
    run = problem.trained(G)
    terms = dict(prepared=problem.prepared(G), whole=run.slope, seed=seed_of("refined", seed))
    release = problem.unlearn(run.w, forget.tolist(), G, epsilon=epsilon, **terms)
    card = release.certificate
    hidden = epsilon_of(card.sensitivity.value / card.sigma)
    w = release.w.to(case.F.dtype)
    return Noisy(w, hidden, release.solution.gradients, release.seconds)


def _drawn(purpose: str, seed: int) -> dict:
    return {"generator": generator(purpose, seed), "seed": seed_of(purpose, seed)}


def _none(case: Case) -> list[Setting]:
    return [{}]


def _rates(case: Case) -> list[Setting]:
    return [{"lr": lr} for lr in RATES]


def _convex(case: Case) -> bool:
    return case.known.mu > 0


def _has_proof(case: Case) -> bool:
    return case.problem is not None


WAYS = {
    way.name: way
    for way in (
        Way(RETRAINING, _none, _retraining),
        Way(TO_THE_END, _none, _to_the_end, goes_on=False),
        Way(NOTHING, _none, _nothing, rests_on="no promise", goes_on=False),
        Way("output perturbation", _sizes, _output),
        Way("clipped gradients", _sizes, _gradients),
        Way("clipped models", _sizes, _models),
        Way("rewind-to-delete", _back, _rewind, rests_on="L and g"),
        Way("noisy SGD", _steps, _noisy_sgd, _convex, "mu, L and g"),
        Way("DP-SGD", _rates, _dp_sgd),
        Way(OURS, _none, _refined, _has_proof, "mu", goes_on=False),
    )
}
