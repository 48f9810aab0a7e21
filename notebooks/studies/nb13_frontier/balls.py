"""Ways whose noise hides a ball: any two models in it, wherever the trained one lies.

Their knob is the noise that is left in a weight; the ball is then as large as epsilon allows. Of
the paper's step the ball is the one that training was kept in.
"""

from __future__ import annotations

import math

from scipy.optimize import brentq
from torch import Tensor

from unlearnlib.evaluation.peers import Noisy, clipped_gradients, clipped_models
from unlearnlib.evaluation.peers.interpolation import epsilon_of, gdp_of
from unlearnlib.lab.clock import now
from unlearnlib.lab.seeds import seed_of
from unlearnlib.lab.settings import DELTA
from unlearnlib.noise import sample_noise
from unlearnlib.objective import Objective
from unlearnlib.projected_sgd import project

from .cases import Case, decayed
from .way import Setting, Way, drawn, left, published

SIZES = (7e-3, 2e-2, 7e-2, 2e-1)  # of the noise in a weight that a start is left with; ours
A_PASS = 36  # noisy steps that are one pass over the images: sigma is then half a radius; ours
# of clipped gradients, one of its authors' configurations: published code
THEIR_CLIPPING = dict(radius=0.01, limit=100.0, lr=1e-4, decay=10.0, steps=1)
PAPER = "the paper's step"


def _sizes(case: Case) -> list[Setting]:
    return [{"noise": size} for size in SIZES]


def _hidden(w: Tensor, radius: float, epsilon: float, seed: int) -> tuple[Tensor, float]:
    """w with the noise that hides a ball of this radius, and mu of what then is known."""
    sigma = 2 * radius / gdp_of(epsilon, DELTA)
    return w + sample_noise(w, sigma, seed), 2 * radius / sigma


def _output(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    started, radius = now(), setting["noise"] / case.scale * gdp_of(epsilon, DELTA) / 2
    w, gdp = _hidden(project(case.w, radius), radius, epsilon, seed_of("output", seed))
    return Noisy(w, epsilon_of(gdp), 0.0, now() - started)


def _paper(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    started, paper = now(), case.paper
    estimate, gradients = paper.step(forget, setting["lam"])
    w, gdp = _hidden(estimate, paper.C, epsilon, seed_of("the paper", seed))
    return Noisy(w, epsilon_of(gdp), gradients, now() - started)


def _dampings(case: Case) -> list[Setting]:
    return [{"lam": lam} for lam in case.paper.dampings]


def _models(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    F_r, sigma = left(case, forget), setting["noise"] / case.scale
    return clipped_models.unlearn(
        F_r, case.w, steps=A_PASS, sigma=sigma, radius=sigma * _ratio(epsilon),
        lr=case.lr, batch_size=_batch(F_r), **drawn("models", seed),
    )  # fmt: skip


def _ratio(epsilon: float) -> float:
    """The largest radius/sigma with which A_PASS steps reach (epsilon, DELTA)."""

    def over(log_ratio: float) -> float:
        reached = clipped_models.delta_after(A_PASS, epsilon, math.exp(log_ratio))
        return math.log(max(reached, 1e-300)) - math.log(DELTA)

    return 0.999 * math.exp(brentq(over, -5, 3, xtol=1e-4))


def _gradients(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    radius, limit = setting["noise"] / case.scale * gdp_of(epsilon, DELTA) / 4, case.scale
    # together they push as far as the ball's radius: the least noise
    method = {"radius": radius, "limit": limit, "lr": radius / (limit * A_PASS)}
    return _clipped(case, left(case, forget), A_PASS, epsilon, method, seed)


def _as_published(case: Case, forget: Tensor, epsilon: float, setting: Setting, seed: int) -> Noisy:
    F_r = decayed(left(case, forget), setting["decay"])
    method = {name: setting[name] for name in ("radius", "limit", "lr")}
    return _clipped(case, F_r, int(setting["steps"]), epsilon, method, seed)


def _clipped(
    case: Case, F_r: Objective, steps: int, epsilon: float, method: dict, seed: int
) -> Noisy:
    gdp = gdp_of(epsilon, DELTA)
    sigma = clipped_gradients.noise(steps, gdp, decay=F_r.weight_decay, **method)
    how = dict(steps=steps, sigma=sigma, batch_size=_batch(F_r), **method)
    return clipped_gradients.unlearn(F_r, case.w, **how, **drawn("gradients", seed))


def _batch(F: Objective) -> int:
    return math.ceil(F.n / A_PASS)


def _is_the_papers(case: Case) -> bool:
    return case.paper is not None


WAYS = (
    Way(PAPER, _dampings, _paper, _is_the_papers),
    Way("output perturbation", _sizes, _output),
    Way("clipped gradients", _sizes, _gradients),
    Way("clipped gradients, as published", published(**THEIR_CLIPPING), _as_published),
    Way("clipped models", _sizes, _models),
)
