"""All unlearning methods by name: what each does, and what it may spend.

    METHODS["fine-tuning"].run(d, 3e-4)         the weights that it leaves
    METHODS["certified (CG)"].run(d, 20.0)      the estimate; `released` adds the noise

No method may spend more than a tenth of the sample gradients that training took, a Hessian product
counting as one. Outside of that allowance are one gradient over all retained images, LiSSA's
scale, and forward passes. `contenders.py` tunes them by one rule and keeps their results.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import product

import torch
from torch import Tensor

from .. import draws
from ..evaluation.baselines import fine_tune, negative_gradient, neggrad_plus
from ..evaluation.fisher import fisher_forgetting
from ..evaluation.lcodec import lcodec
from ..lissa import SCALE_MARGIN, lissa
from ..objective import Objective
from ..solution import Solution
from ..spectrum import minibatch_curvature
from .experiments import Experiment
from .profiles import Pair
from .seeds import generator
from .settings import BATCH, CHAINS, LISSA_STEPS
from .step import NOISE, projected_step, solve_on
from .store import load_or_make

TENTH = 10
CG_STEPS = 16  # and one product more for the true residual
FISHER_SAMPLES = 1000
SIGMAS = (1e-3, 1e-2, 2e-2, 3e-2)  # the released code's, then ours, to where a network suffers
Setting = tuple[float, ...]


@dataclass(frozen=True)
class Method:
    """A way to forget, with the knobs that are tuned: one, or a damping and the noise's sigma.

    knobs             "sigma", where there is one, comes last
    settings(pair)    values of the knobs to try, mildest first
    run(d, *values)   -> w, of all knobs but sigma: `released` adds the noise
    """

    name: str
    knobs: tuple[str, ...]
    settings: Callable[[Pair], tuple[Setting, ...]]
    run: Callable[..., Tensor]

    @property
    def noisy(self) -> bool:
        return self.knobs[-1] == "sigma"


# ---- the methods -----------------------------------------------------------------------------


def epochs_allowed(d: Experiment) -> int:
    """A tenth of training's epochs, at least one."""
    return max(1, round(d.pair.epochs / TENTH))


def _training(d: Experiment, lr: float, purpose: str) -> dict:
    """The arguments of a baseline's training: the pair's own, for a tenth of its epochs."""
    names = ("C", "momentum", "optimizer", "batch_size")
    return {name: getattr(d.pair, name) for name in names} | {
        "lr": lr,
        "epochs": epochs_allowed(d),
        "generator": generator(purpose, d.seed),
    }


def training_sample(d: Experiment, gradients: int = 1) -> tuple[Objective, range]:
    """Return an objective on all forgotten and some retained images, and where the forgotten are.

    It has as many retained images as the allowance pays for.

    gradients   what a retained image costs in each epoch
    """
    count = max(1, min(d.F_r.n, allowance(d) // (epochs_allowed(d) * gradients)))
    retained = d.F_r.rows[draws.order(d.F_r.n, generator("few", d.seed))[:count]]
    return d.F_trained.only(torch.cat([d.forget, retained])), range(len(d.forget))


def _fine_tuning(d: Experiment, lr: float) -> Tensor:
    F, forget = training_sample(d)
    return fine_tune(F, d.w, forget, **_training(d, lr, "fine-tuning"))


def _negative_gradient(d: Experiment, lr: float) -> Tensor:
    F, forget = training_sample(d)
    return negative_gradient(F, d.w, forget, **_training(d, lr, "negative gradient"))


def _neggrad_plus(d: Experiment, alpha: float) -> Tensor:
    F, forget = training_sample(d, gradients=2)
    training = _training(d, d.pair.lr, "NegGrad+")
    return neggrad_plus(F, d.w, forget, alpha=alpha, **training)


def _fisher(d: Experiment, alpha: float) -> Tensor:
    samples, g = min(FISHER_SAMPLES, allowance(d)), generator("Fisher", d.seed)
    return fisher_forgetting(
        d.F_trained, d.w, d.forget, alpha=alpha, C=d.pair.C, samples=samples, generator=g
    )


def _lcodec(d: Experiment, lam: float) -> Tensor:
    return lcodec(
        d.F_trained,
        d.w,
        d.forget,
        lam=lam,
        C=d.pair.C,
        max_steps=CG_STEPS,
        hessian_on=allowed_sample(d),
        generator=generator("L-CODEC", d.seed),
    )


def estimate_by(solver: Callable, d: Experiment, lam: float, whole: Tensor | None = None) -> Tensor:
    """The Newton estimate inside the ball, without noise.

    It is made as for a certificate, but with any sigma here epsilon is too large to protect.

    whole   grad F(w), where it was kept from training
    """
    return projected_step(
        d.F_trained, d.w, d.forget, C=d.pair.C, lam=lam, solver=partial(solver, d), whole=whole
    )


def solve_by_cg(d: Experiment, F_r: Objective, w: Tensor, b: Tensor, *, lam: float) -> Solution:
    """At most 16 steps of conjugate gradient, on the sample that both solvers see."""
    return solve_on(allowed_sample(d), tol=1e-2, max_steps=CG_STEPS)(F_r, w, b, lam=lam)


def solve_by_lissa(d: Experiment, F_r: Objective, w: Tensor, b: Tensor, *, lam: float) -> Solution:
    """LiSSA with the paper's chains and batches, and as many steps as a tenth of training pays."""
    steps = max(1, min(LISSA_STEPS, allowance(d) // (CHAINS * BATCH)))
    return lissa(
        allowed_sample(d),
        w,
        b,
        lam=lam,
        scale=SCALE_MARGIN * largest_curvature(d) + lam,
        steps=steps,
        chains=CHAINS,
        batch_size=BATCH,
        checks=1,
        generator=generator("hessian", d.seed),
    )


def largest_curvature(d: Experiment) -> float:
    """The largest of eight minibatch curvatures at w, which sets LiSSA's scale: stored.

    It depends on w alone, not on the request, so it can be computed when training ends.
    """

    def measure() -> tuple[dict[str, Tensor], dict]:
        g = generator("curvature", d.seed)
        F = d.F_trained
        sampled = minibatch_curvature(F, d.w, BATCH, batches=8, iterations=8, generator=g)
        return {}, {"curvature": float(sampled.max())}

    return load_or_make("curvature", d.identity, measure).info["curvature"]


def allowance(d: Experiment) -> int:
    """Sample gradients that a tenth of training takes."""
    return max(1, d.pair.epochs * d.F_r.n // TENTH)


def allowed_sample(d: Experiment) -> Objective:
    """A fixed sample of retained images for the Hessian: the allowance pays 17 products on it."""
    size = min(d.F_r.n, max(BATCH, allowance(d) // (CG_STEPS + 1)))
    F_r = d.F_trained.without(d.forget)
    return F_r.only(draws.order(F_r.n, generator("look", d.seed))[:size])


def _rates(*factors: float) -> Callable[[Pair], tuple[Setting, ...]]:
    return lambda pair: tuple((factor * pair.lr,) for factor in factors)


def _values(*values: float) -> Callable[[Pair], tuple[Setting, ...]]:
    return lambda pair: tuple((value,) for value in values)


def _dampings(pair: Pair) -> tuple[Setting, ...]:
    return tuple((lam,) for lam in pair.dampings[::-1])


def _dampings_and_noise(pair: Pair) -> tuple[Setting, ...]:
    return tuple((lam, sigma) for sigma, lam in product(SIGMAS, pair.dampings[::-1]))


METHODS = {
    method.name: method
    for method in (
        Method(
            "certified (CG)",
            ("lam", "sigma"),
            _dampings_and_noise,
            partial(estimate_by, solve_by_cg),
        ),
        Method(
            "certified (LiSSA)",
            ("lam", "sigma"),
            _dampings_and_noise,
            partial(estimate_by, solve_by_lissa),
        ),
        Method("fine-tuning", ("lr",), _rates(0.3, 1, 3, 10), _fine_tuning),
        Method("negative gradient", ("lr",), _rates(0.03, 0.1, 0.3, 1), _negative_gradient),
        Method("NegGrad+", ("alpha",), _values(0.999, 0.99, 0.95, 0.8), _neggrad_plus),
        Method("Fisher forgetting", ("alpha",), _values(3e-4, 1e-3, 3e-3, 1e-2), _fisher),
        Method("L-CODEC", ("lam",), _dampings, _lcodec),
        # no method, but what the noise of the certified ones does without their step
        Method(NOISE, ("sigma",), _values(*SIGMAS), lambda d: d.w),
    )
}
