"""Measure the constants of the bound at one trained model, and compute the bound from them.

known = measure(d)
known.bound(C=20.0, lam=1.0)       Theorem 3.4 in parts, with these constants

None of them is proved, and they err both ways. On a sample of images lam_min comes out too low and
a change of the Hessian too large; over the ball, where the theorem wants them, L and M are too
small, and a ReLU network has no M at all. So curves drawn with them only
illustrate the bound: the true bound may be above or below. That it is vacuous does not depend on
them: it is below 2C only if lam_min > MC + G/(2C), and a trained network's lam_min is near zero or
negative.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from functools import lru_cache

from torch import Tensor

from .. import bounds
from ..spectrum import extreme_eigenvalues, hessian_lipschitz
from .experiments import Experiment
from .seeds import generator, sample
from .store import load_or_make

SAMPLE = {"mlp": 1000, "allcnn": 16, "resnet18": 16}  # training images to measure on
DISTANCES = (0.1, 1.0)  # along the gradient: the Hessian's change is not linear in them


@dataclass(frozen=True)
class Known:
    """Constants measured at a trained w.

    lam_min, L   extreme eigenvalues of the Hessian, L the larger in size, on a sample
    M            ||H(w - t u) - H(w)|| / t, u the unit gradient: the larger of two t
    """

    lam_min: float
    L: float
    M: float

    def bound(self, C: float, lam: float, G: float = 0.0) -> dict[str, float]:
        """[2C(MC + lam) + G]/(lam + lam_min), Theorem 3.4 with Proposition 4.1, and its parts.

        All are infinite where lam + lam_min is not above zero, since there is no bound then.
        """
        least = lam + self.lam_min
        if least <= 0:
            return dict.fromkeys(("M part", "lam part", "G part", "bound"), math.inf)
        parts = {
            "M part": 2 * self.M * C**2 / least,
            "lam part": 2 * lam * C / least,
            "G part": G / least,
        }
        return parts | {"bound": bounds.newton_bound(C, self.M, lam, self.lam_min, G)}


def measure(d: Experiment) -> Known:
    """The constants at d's trained model: measured once, then stored."""

    def look() -> tuple[dict[str, Tensor], dict]:
        return {}, asdict(_measured(d))

    return Known(**load_or_make("constants", d.identity, look).info)


@lru_cache(maxsize=32)  # a pass over all retained images, asked for at each damping
def residual(d: Experiment) -> float:
    """G = ||grad F_r|| at the retrained model: known only after retraining, so not on a card."""
    return float(d.F_r.with_buffers(d.retrained.buffers).gradient(d.retrained.w).norm())


def bound(d: Experiment, lam: float) -> dict[str, float]:
    """`Known.bound` at d's radius, with the constants and the residual measured at its models."""
    return measure(d).bound(d.pair.C, lam, residual(d))


def _measured(d: Experiment) -> Known:
    F, w = sample(d.F_trained, SAMPLE[d.pair.model], d.seed), d.w
    ends = extreme_eigenvalues(F, w, tol=1e-2, generator=generator("lanczos", d.seed))
    downhill = -F.gradient(w)
    changes = [
        hessian_lipschitz(F, w, downhill, t, iterations=5, generator=generator("power", d.seed))
        for t in DISTANCES
    ]
    return Known(ends.lam_min, max(-ends.lam_min, ends.lam_max), max(changes))
