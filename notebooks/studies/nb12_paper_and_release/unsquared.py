"""The regulariser as the released code has it: unsquared norms of single tensors.

What the released code does is written anew here, and solved accurately where its solver would hide
the difference.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, minres
from torch import Tensor

from unlearnlib.evaluation.view import View
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.step import TOL, hessian_sample, projected_step
from unlearnlib.linearised import KEPT_BYTES
from unlearnlib.objective import Objective
from unlearnlib.solution import Solution

from .outcome import Outcome
from .reading import published

MINRES_STEPS = 250


def unsquared_norms(d: Experiment) -> Outcome:
    """Take lam and the decay as unsquared norms, and solve the indefinite system by MINRES."""
    F, lam, solved = Unsquared(d.F_trained, d.pair.lam), d.pair.lam, []
    sample = Unsquared(hessian_sample(d), lam)

    def solver(F_r: Objective, w: Tensor, b: Tensor, *, lam: float) -> Solution:
        solved.append(solve_indefinite(sample, w, b))
        return solved[0]

    w = projected_step(F, d.w, d.forget, C=d.pair.C, lam=lam, solver=solver)
    bare = min(float(u @ sample.hvp(d.w, u)) for u in directions(sample, d.w))
    facts = {
        "lam": lam,
        "its lift along a tensor, at most": max(lifts(sample, d.w.double())),
        "least curvature along a tensor": bare,
        "the same with lam I": bare + lam + d.F_trained.weight_decay,
        "length of the step": float(solved[0].x.norm()),
        "residual": solved[0].residual,
    }
    return published(d, w, facts=facts)


class Unsquared(View):
    """F with wd sum_k ||p_k|| over parameter tensors p_k in place of (wd/2) ||w||^2.

    The Hessian gets (wd + lam)/||p_k|| (I - u u^T) for each tensor, u = p_k/||p_k||: what the
    released code has for the regulariser and for lam I. It is zero along u, whatever lam is, and
    undefined where a tensor is exactly zero.
    """

    def __init__(self, F: Objective, lam: float):
        wd = F.weight_decay
        super().__init__(F, pull=wd, stiffness=wd + lam, weight_decay=0.0)

    def gradient(self, w: Tensor) -> Tensor:
        units = [q / q.norm() for q in self.pieces(w).values()]
        return super().gradient(w) + self.pull * torch.cat([u.reshape(-1) for u in units])

    def hessian_at(self, w: Tensor, keep: int = KEPT_BYTES) -> Callable[[Tensor], Tensor]:
        H = super().hessian_at(w, keep)
        return lambda v: H(v) + self.stiffness * self.bend(w, v)

    def bend(self, w: Tensor, v: Tensor) -> Tensor:
        """The Hessian of sum_k ||p_k|| times v (p,)."""
        bent = []
        for q, z in zip(self.pieces(w).values(), self.pieces(v).values(), strict=True):
            length = q.norm()
            u = q / length
            bent.append(((z - (u * z).sum() * u) / length).reshape(-1))
        return torch.cat(bent)


def directions(F: Objective, w: Tensor) -> list[Tensor]:
    """p_k/||p_k|| of each parameter tensor, as a vector (p,) that is zero elsewhere."""
    units = []
    for name, q in F.pieces(w).items():
        u = torch.zeros_like(w)
        F.pieces(u)[name].copy_(q / q.norm())
        units.append(u)
    return units


def lifts(F: Unsquared, w: Tensor) -> list[float]:
    """|u^T R u| for the direction u of each tensor, where R stands in for (wd + lam) I."""
    return [abs(float(u @ F.bend(w, u))) * F.stiffness for u in directions(F, w)]


def solve_indefinite(F: Objective, w: Tensor, b: Tensor) -> Solution:
    """H(w) x = b by SciPy's MINRES, which needs no positive definite H, to the usual tolerance."""

    def product(v: np.ndarray) -> np.ndarray:
        return F.hvp(w, torch.from_numpy(v.reshape(-1)).to(w)).double().numpy(force=True)

    H, steps = LinearOperator((F.p, F.p), matvec=product, dtype="float64"), []
    # SciPy's rtol is relative to ||H|| ||x||, so it is set well below the tolerance wanted
    x, _ = minres(
        H, b.double().numpy(force=True), rtol=1e-8, maxiter=MINRES_STEPS, callback=steps.append
    )
    residual = float(np.linalg.norm(product(x) - b.double().numpy(force=True)) / b.double().norm())
    return Solution(
        torch.from_numpy(x).to(w),
        residual,
        f"all {F.n:,} samples",
        history=[],
        steps=len(steps),
        scale=None,
        status="converged" if residual <= TOL else "steps used up",
        seconds=0.0,
    )
