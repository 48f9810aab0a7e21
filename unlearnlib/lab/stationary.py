"""A network trained until its gradient is almost zero, as the theory of the step assumes.

model = Stationary(profile.mlp_mnist, seed=0)
w = model.at(1e-6)                ||grad F(w)|| <= 1e-6
w_r = model.retrained(forget)     the same without these images, from there: a warm start

The paper's MLP with tanh in place of ReLU, so that its Hessian is continuous, with a decay of 0.1,
so that the curvature at its minimum is not tiny, and on few images, for time; in float64, and
lowered by L-BFGS, since no stochastic method gets that far.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import torch
from scipy.optimize import minimize
from torch import Tensor

from .. import draws
from ..cg import conjugate_gradient
from ..errors import DivergenceError, NegativeCurvatureError, require
from ..evaluation.metrics import accuracy, distance
from ..newton import newton_update
from ..noise import with_noise
from ..objective import Objective
from .experiments import Experiment
from .profiles import Pair
from .requests import random_samples, whole_class
from .seeds import generator, seed_of
from .settings import SIGMA
from .step import NOISE
from .store import load_or_make

WEIGHT_DECAY = 0.1
IMAGES, FEWEST = 2000, 75
LEVELS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # of ||grad F||, each reached from the one before
STATIONARY = LEVELS[-1]
MEMORY, MOST_STEPS = 50, 20_000


def lower(F: Objective, w: Tensor, gradient: float) -> Tensor:
    """w, lowered by L-BFGS until ||grad F(w)|| <= gradient.

    Raises DivergenceError where it stops short of that.
    """
    slope = F.gradient(w)

    def value_and_slope(v: np.ndarray) -> tuple[float, np.ndarray]:
        nonlocal slope
        at = torch.from_numpy(v).to(w)
        slope = F.gradient(at)
        return F.value(at), slope.double().numpy(force=True)

    def stop_when_low(_: np.ndarray) -> None:
        if float(slope.norm()) <= gradient:  # slope is that of the point just accepted
            raise StopIteration

    limits = {"maxcor": MEMORY, "maxiter": MOST_STEPS, "maxfun": 2 * MOST_STEPS}
    result = minimize(
        value_and_slope,
        w.double().numpy(force=True),
        jac=True,
        method="L-BFGS-B",
        callback=stop_when_low,
        options=limits | {"ftol": 0, "gtol": gradient / F.p**0.5},
    )
    end = torch.from_numpy(result.x).to(w)
    reached = float(F.gradient(end).norm())
    require(
        reached <= gradient,
        f"L-BFGS stopped at ||grad F|| = {reached:.3g}, above {gradient:g} ({result.message}): "
        "use float64, or a larger decay.",
        DivergenceError,
    )
    return end


@dataclass(frozen=True)
class Stationary:
    """The smooth, decayed network of a pair at one seed. Computed when asked for, then stored.

    d      the experiment it starts from: trained as the pair says, on one in sixteen of its images
           (75 at least, 2,000 at most), and asked to forget one in a hundred of them
    F      its objective, in float64
    """

    pair: Pair
    seed: int

    @cached_property
    def d(self) -> Experiment:
        n = min(IMAGES, max(FEWEST, Experiment(self.pair, self.seed).F.n // 16))
        smooth = {"activation": "tanh", "weight_decay": WEIGHT_DECAY}
        counts = {"train": n, "forget": max(1, n // 100)}
        return Experiment(replace(self.pair, **smooth, **counts), self.seed)

    @cached_property
    def F(self) -> Objective:
        return self.d.F.to(torch.float64)

    def at(self, gradient: float) -> Tensor:
        """w where ||grad F|| first came down to `gradient`, one of LEVELS."""
        before = LEVELS[: LEVELS.index(gradient)]
        return self._kept(
            {"gradient": gradient},
            lambda: lower(self.F, self.at(before[-1]) if before else self.d.w.double(), gradient),
        )

    def retrained(self, forget: Tensor) -> Tensor:
        """The stationary point without these images that one reaches from `at(STATIONARY)`."""
        F_r = self.F.without(forget)
        return self._kept(
            {"without": forget.tolist()}, lambda: lower(F_r, self.at(STATIONARY), STATIONARY)
        )

    def again(self, forget: Tensor) -> Tensor:
        """Retrained by another way: from `at(STATIONARY)`, first moved at random.

        By as far as retraining moves it. It is `retrained(forget)` once more where that is the only
        minimum near by.
        """
        F_r, w = self.F.without(forget), self.at(STATIONARY)
        away = draws.normal(w.shape, w, generator("again", self.seed))
        start = w + away * (distance(w, self.retrained(forget)) / away.norm())
        return self._kept({"again": forget.tolist()}, lambda: lower(F_r, start, STATIONARY))

    def control_row(self, forget: Tensor) -> dict:
        """The share of the way to `retrained(forget)` that models of known verdict cover."""
        w, w_r = self.at(STATIONARY), self.retrained(forget)
        models = {
            "again": self.again(forget),
            "trained": w,
            NOISE: with_noise(w, SIGMA, seed_of("noise", self.seed)),
        }
        return {name: 1 - distance(v, w_r) / distance(w, w_r) for name, v in models.items()}

    def afresh(self) -> Tensor:
        """The stationary point without d.forget that is reached from d.retrained.w."""
        F_r = self.F.without(self.d.forget)
        return self._kept(
            {"afresh": self.d.forget.tolist()},
            lambda: lower(F_r, self.d.retrained.w.double(), STATIONARY),
        )

    def forget_sets(self) -> dict[str, Tensor]:
        """A thousandth, a hundredth and a tenth of the images, at random, and all of one class."""
        n = self.F.n
        counts = sorted({max(1, n // share) for share in (1000, 100, 10)})
        sets = {f"{count} at random": random_samples(self.d, count) for count in counts}
        return sets | {"one class": whole_class(self.d, 3)}

    def step_row(
        self, forget: Tensor, lam: float, level: float = STATIONARY, gradient: str = "retained"
    ) -> dict:
        """The Newton step from `at(level)`: distance to retraining without it and with it, and F1.

        A damping that does not lift the curvature above zero is "refused".
        """
        w, w_r, F_u = self.at(level), self.retrained(forget), self.F.only(forget)
        row = {
            "lam": lam,
            "nothing": distance(w, w_r),
            "trained": accuracy(F_u, w),
            "retrained": accuracy(F_u, w_r),
        }
        solver = partial(conjugate_gradient, tol=1e-4, max_steps=2000)
        try:
            step = newton_update(self.F, w, forget, lam=lam, solver=solver, gradient=gradient)
        except NegativeCurvatureError:
            return row | {"refused": True}
        return row | {"error": distance(step, w_r), "unlearned": accuracy(F_u, step)}

    def _kept(self, key: dict, make) -> Tensor:
        made = load_or_make("stationary", {**self.d.identity, **key}, lambda: ({"w": make()}, {}))
        return made.tensors["w"]
