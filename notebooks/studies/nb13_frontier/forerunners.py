"""The certified methods that the paper builds on: each by its own theorem, on softmax regression.

Their knob is the decay, which some of their bounds need strong. One of them keeps a dense Hessian,
so they take part where that is no burden. What comes after the release is training on, at the
case's own decay, as for all.
"""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from unlearnlib.errors import require
from unlearnlib.evaluation.peers import Guo, Neel, Noisy, Sekhari
from unlearnlib.evaluation.peers.convex import HESSIAN_LIPSCHITZ, SAMPLE_GRADIENT, SMOOTHNESS
from unlearnlib.evaluation.peers.interpolation import epsilon_of
from unlearnlib.evaluation.peers.neel import training_iterations
from unlearnlib.lab.seeds import seed_of
from unlearnlib.lab.settings import BLUR, DELTA
from unlearnlib.noise import gaussian_sigma
from unlearnlib.objective import Objective

from .cases import Case, decayed, is_softmax
from .way import Setting, Way

SMALL = 4000  # weights of which a dense Hessian is no burden: 128 MB
DESCENT = 50  # steps of descent for a request of descent-to-delete
LONGEST = 1000  # steps of its training that we wait for
EXACT = 1e-9  # the gradient at which the training of the two others stops


def _decays(*decays: float):
    return lambda case: [{"decay": decay} for decay in decays]


def _removal(F: Objective, forget: Tensor, terms: dict) -> Guo:
    """Its noise is in the objective: as much as moves a logit by BLUR at epsilon = 1."""
    share = gaussian_sigma(1.0, terms["epsilon"], DELTA) / gaussian_sigma(1.0, 1.0, DELTA)
    return Guo.train(F, sigma=BLUR * F.n * F.weight_decay * share, G=EXACT, **terms)


def _sekhari(F: Objective, forget: Tensor, terms: dict) -> Sekhari:
    how = dict(M=HESSIAN_LIPSCHITZ, L=SAMPLE_GRADIENT, G=EXACT)
    return Sekhari.train(F, capacity=len(forget), **how, **terms)


def _neel(F: Objective, forget: Tensor, terms: dict) -> Neel:
    mu = F.weight_decay
    known = dict(beta=SMOOTHNESS + mu, D=SAMPLE_GRADIENT / mu, L=SAMPLE_GRADIENT)
    steps = training_iterations(DESCENT, n=F.n, mu=mu, **known)
    remedy = "a stronger decay takes fewer."
    require(steps <= LONGEST, f"training takes {steps} steps, {LONGEST} at most; {remedy}")
    return Neel.train(F, iterations=DESCENT, per_request=len(forget), **known, **terms)


def _begin(train, case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    F = decayed(case.F, setting["decay"]).to(torch.float64)
    terms = dict(epsilon=epsilon, delta=DELTA, seed=seed_of("forerunner", seed))
    method = train(F, forget, terms)
    answer = method.forget(forget)
    hidden = epsilon_of(answer.sensitivity / answer.sigma)
    return Noisy(answer.w.to(case.F.dtype), hidden, answer.gradients, answer.seconds)


def _takes(case: Case) -> bool:
    return is_softmax(case) and case.F.p <= SMALL


WAYS = (
    Way(
        "certified removal",
        _decays(1e-4, 1e-3, 1e-2),
        partial(_begin, _removal),
        _takes,
        gap="its proof takes a residual that depends on the noise for a fixed one",
    ),  # fmt: skip
    Way("Sekhari et al.", _decays(1e-2, 0.1, 1.0), partial(_begin, _sekhari), _takes),
    Way("descent-to-delete", _decays(1e-3, 1e-2, 0.1), partial(_begin, _neel), _takes),
)
