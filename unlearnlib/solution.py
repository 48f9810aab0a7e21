"""The solution that a solver of (H + lam I) x = b returns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch
from torch import Tensor

from .errors import DivergenceError, require
from .objective import Objective
from .precision import widest

CONVERGED = "converged"
NOISE_FLOOR = "stagnated at the noise floor"
ROUNDING = "stagnated at rounding"
STEPS = "steps used up"


@dataclass(frozen=True)
class Solution:
    """An approximate solution x of (H + lam I) x = b, and how exact it is.

    x            (p,)
    residual     ||(H + lam I) x - b|| / ||b|| of x itself, recomputed at the end
    residual_on  the samples it was measured on: "all n samples" or a named subset
    floor        with a subset, the residual that the exact x would show there; 0 on all samples
    noise        part of the residual that is the chains' disagreement; 0 where it can't be told
    history      (steps, relative residual) at each check
    status       "converged" (residual <= tol), or what stopped it short of that
    scale        LiSSA's scale; None for conjugate gradient
    """

    x: Tensor = field(repr=False)
    residual: float
    residual_on: str
    history: list[tuple[int, float]]
    steps: int
    scale: float | None
    status: str
    seconds: float
    floor: float = 0.0
    noise: float = 0.0

    def __post_init__(self) -> None:
        finite, dtype = bool(torch.isfinite(self.x).all()), self.x.dtype
        cause = f"H(w), lam or b is beyond {dtype}, or the loss has no second derivative at w"
        remedy = "Use F.to(torch.float64), a smooth loss, or a smaller lam."
        require(finite, f"The solution is not finite: {cause}. {remedy}", DivergenceError)

    @property
    def converged(self) -> bool:
        """Whether the tolerance asked for was reached."""
        return self.status == CONVERGED

    @property
    def damping(self) -> float:
        """scale/(steps+1): LiSSA cannot invert eigenvalues below it; 0 for conjugate gradient."""
        return 0.0 if self.scale is None else self.scale / (self.steps + 1)

    def __str__(self) -> str:
        line = f"{self.status} after {self.steps:,} steps, relative residual {self.residual:.2g}"
        line += f" on {self.residual_on}"
        if self.floor:
            line += f" (floor there {self.floor:.2g})"
        if self.scale is not None:
            line += f"; scale {self.scale:.3g}, effective damping {self.damping:.2g}"
        return line


def normalised(b: Tensor) -> tuple[Tensor, float]:
    """b/||b|| and ||b||: the systems are solved at unit size, since float32 squares underflow."""
    wide = widest(b.device)
    size = float(torch.linalg.vector_norm(b, dtype=wide))
    return (b.to(wide) / size).to(b.dtype) if size else b, size


def check_system(F: Objective, w: Tensor, b: Tensor, lam: float, tol: float) -> None:
    """Refuse a w, b, lam or tol that no solver can start from."""
    for name, v in (("w", w), ("b", b)):
        F.check(v, name)
        require(v.dim() == 1, f"{name} has shape {tuple(v.shape)}; solve for one vector at a time.")
    require(0 <= lam < math.inf, f"lam is {lam}; the damping must be a finite number >= 0.")
    require(tol > 0, f"tol is {tol}; the relative residual to stop at must be > 0.")
