"""Ways whose noise hides what descent leaves of a difference: their constants must be known."""

from __future__ import annotations

import math
from dataclasses import replace

from torch import Tensor

from unlearnlib.evaluation.peers import Noisy, noisy_sgd, rewind
from unlearnlib.evaluation.peers.interpolation import epsilon_of, gdp_of, steps_sigma
from unlearnlib.lab.clock import now
from unlearnlib.lab.seeds import seed_of
from unlearnlib.lab.settings import DELTA

from .cases import Case, Known, decayed, is_softmax
from .way import Setting, Way, left, no_knob, published

OURS = "refined (ours)"
DESCENT = ((5, 3), (10, 5), (10, 8), (20, 10))  # steps of descent, and those of a request; ours
NOISY_STEPS = (1, 3, 5, 10)  # of a request in noisy SGD; ours
NOISY_TRAINING = 50  # its steps of training
# of noisy SGD: decay is 1e-6 n, a request one epoch, the rate 1/L; published code
THEIR_DECAY, THEIR_EPOCHS = 1e-6, 1


def _back(case: Case) -> list[Setting]:
    return [{"steps": T, "between": K} for T, K in DESCENT]


def _rewind(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    T, K, F_r = int(setting["steps"]), int(setting["between"]), left(case, forget)
    known = case.known
    how = dict(g=known.g, L=known.L, mu=known.mu)
    lr = 2 / (known.mu + known.L) if known.mu else 1 / known.L
    Delta = rewind.sensitivity(T, K, m=len(forget), n=case.F.n, lr=lr, **how)
    sigma = Delta / gdp_of(epsilon, DELTA)
    before = rewind.train(case.F, case.start, steps=T, between=K, lr=lr)
    return rewind.unlearn(F_r, before, sigma=sigma, seed=seed_of("rewound", seed), **how)


def _steps(case: Case) -> list[Setting]:
    return [{"steps": steps} for steps in NOISY_STEPS]


def _noisy_sgd(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    known = case.known
    return _noisy(case, known, 2 / (known.mu + known.L), forget, epsilon, setting, seed)


def _as_published(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    mu, known = setting["decay by n"] * case.F.n, case.known
    theirs = replace(known, mu=mu, L=known.L - known.mu + mu)
    other = replace(case, F=decayed(case.F, mu))
    return _noisy(other, theirs, 1 / theirs.L, forget, epsilon, setting, seed)


def _noisy(
    case: Case, known: Known, lr: float, forget: Tensor, epsilon: float, setting: Setting, seed: int
) -> Noisy:
    F, steps = case.F, int(setting["steps"])
    c = noisy_sgd.contraction(lr, known.mu, known.L)
    Z = noisy_sgd.distance([F.n], m=len(forget), g=known.g, lr=lr, c=c)
    noise = steps_sigma(steps, gdp_of(epsilon, DELTA), start=Z, gap=0.0, contraction=c)
    how = dict(lr=lr, sigma=noise / math.sqrt(2 * lr))
    trained, asked = (seed_of(f"noisy {part}", seed) for part in ("training", "request"))
    every = dict(batch_size=F.n, **how)
    w = noisy_sgd.run(F, case.start, epochs=NOISY_TRAINING, seed=trained, **every)
    started = now()
    w = noisy_sgd.run(F, w, epochs=steps, forget=forget, seed=asked, **every)
    gdp = noisy_sgd.request_gdp(steps, Z=Z, c=c, **how)
    return Noisy(w, epsilon_of(gdp), float(steps), now() - started)


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


def _convex(case: Case) -> bool:
    return case.known.mu > 0


def _has_proof(case: Case) -> bool:
    return case.problem is not None


THEIR_REQUEST = {"steps": THEIR_EPOCHS, "decay by n": THEIR_DECAY}
WAYS = (
    Way("rewind-to-delete", _back, _rewind, rests_on="L and g"),
    Way("noisy SGD", _steps, _noisy_sgd, _convex, "mu, L and g"),
    Way(
        "noisy SGD, as published", published(**THEIR_REQUEST), _as_published, is_softmax, "L and g"
    ),
    Way(OURS, no_knob, _refined, _has_proof, "mu", goes_on=False),
)
