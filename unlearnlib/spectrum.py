"""Measure curvature: extreme eigenvalues and Lipschitz estimates.

Nothing here proves anything. Lanczos returns Rayleigh quotients, so lam_min errs from above and
lam_max from below; a maximum over samples or directions errs from below.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor

from . import draws
from .errors import require, require_counts
from .objective import Objective

DENSE_BELOW = 64
Product = Callable[[Tensor], Tensor]  # of a symmetric matrix and a vector


@dataclass(frozen=True)
class Extremes:
    """Smallest and largest eigenvalue of H(w)."""

    lam_min: float
    lam_max: float


def extreme_eigenvalues(
    F: Objective, w: Tensor, *, tol: float = 1e-3, generator: torch.Generator | None = None
) -> Extremes:
    """lam_min (from above) and lam_max (from below) of the Hessian of F at w, decay included.

    Lanczos in float64 over all samples of F (take F.only(sample) for a cheaper look), each end
    to about tol times the width of the spectrum. Below 64 parameters, exact from the dense matrix.
    """
    F, w = F.to(torch.float64), w.to(torch.float64)
    if F.p < DENSE_BELOW:
        values = torch.linalg.eigvalsh(F.hessian(w))
        return Extremes(float(values[0]), float(values[-1]))
    start = draws.normal(F.p, w, generator, torch.float64)
    start /= start.norm()
    H = F.hessian_at(w)
    image = H(start)
    # shifted so that 0 lies inside the spectrum, then so that the lower end is the far one:
    # ARPACK's relative tolerance is then relative to the width
    middle = float(start @ image)
    if float((image - middle * start).norm()) <= 1e-12 * abs(middle):
        return Extremes(middle, middle)
    top = middle + _lanczos(lambda v: H(v) - middle * v, start, tol, "LA")
    low = top + _lanczos(lambda v: H(v) - top * v, start, tol, "LM")
    return Extremes(min(low, top), top)


def lowest_direction(F: Objective, w: Tensor, *, products: int = 40) -> Tensor:
    """The unit vector (p,) of least curvature among all in a Krylov space of the Hessian at w.

    The method of Rayleigh and Ritz, on the space that `products` Hessian products span from a fixed
    start; fewer if they span it all. v^T H v is above the smallest eigenvalue.
    """
    H = F.hessian_at(w)
    v = draws.normal(F.p, w, draws.fixed(0), torch.float64)
    basis, images = [], []
    for _ in range(min(products, F.p)):
        for q in basis * 2:  # twice, since rounding leaves something of them
            v = v - (q @ v) * q
        if not v.norm() > 1e-12 * (1 if not images else images[-1].norm()):
            break
        basis.append(v / v.norm())
        images.append(H(basis[-1]))
        v = images[-1]
    Q = torch.stack(basis)
    ritz = Q @ torch.stack(images).T
    return torch.linalg.eigh((ritz + ritz.T) / 2).eigenvectors[:, 0] @ Q


def minibatch_curvature(
    F: Objective, w: Tensor, batch_size: int, *, batches: int = 32, iterations: int = 12,
    generator: torch.Generator | None = None,
) -> Tensor:  # fmt: skip
    """Spectral norm of the Hessian, decay included, of each of `batches` sampled minibatches.

    Shape (batches,), from below (power iteration). Minibatches curve far more than the full set;
    it is theirs that LiSSA's scale must exceed.
    """
    require_counts(batch_size=batch_size, batches=batches, iterations=iterations)
    x, y = F.batch(F.draw((batches, batch_size), generator))
    v = draws.normal((batches, F.p), w, generator)
    norms = v.norm(dim=1, keepdim=True)
    for _ in range(iterations):
        v = v / norms.clamp_min(torch.finfo(w.dtype).tiny)
        v = F.hvp_each(w, v, x, y) + F.weight_decay * v
        norms = v.norm(dim=1, keepdim=True)
    return norms.squeeze(1)


def gradient_lipschitz(
    F: Objective, w: Tensor, *, iterations: int = 20, generator: torch.Generator | None = None
) -> float:
    """||H(w)||: a lower estimate of L, which is its largest value anywhere in the ball."""
    return _spectral_norm(F.hessian_at(w), w, iterations, generator)


def hessian_lipschitz(
    F: Objective,
    w: Tensor,
    direction: Tensor,
    distance: float,
    *,
    iterations: int = 20,
    generator: torch.Generator | None = None,
) -> float:
    """||H(w + t u) - H(w)|| / t along u = direction/||direction||, t = distance.

    A lower estimate of M. A ReLU network has no finite M: the Hessian jumps at its kinks.
    """
    length = float(direction.norm())
    given = f"distance is {distance} and the direction has length {length:g}"
    require(distance > 0 and length > 0, f"{given}; both must be > 0.")
    there, here = F.hessian_at(w + distance * direction / length), F.hessian_at(w)

    def change(v: Tensor) -> Tensor:
        return there(v) - here(v)

    return _spectral_norm(change, w, iterations, generator) / distance


def _lanczos(product: Product, start: Tensor, tol: float, which: str) -> float:
    def matvec(v: np.ndarray) -> np.ndarray:
        return product(torch.from_numpy(v.reshape(-1).copy()).to(start)).numpy(force=True)

    operator = LinearOperator((len(start),) * 2, matvec=matvec, dtype="float64")
    v0 = start.numpy(force=True)
    return float(eigsh(operator, 1, which=which, v0=v0, tol=tol, return_eigenvectors=False)[0])


def _spectral_norm(
    product: Product, w: Tensor, iterations: int, generator: torch.Generator | None
) -> float:
    require_counts(iterations=iterations)
    v = draws.normal(w.shape, w, generator)
    norm = v.norm()
    for _ in range(iterations):
        if norm == 0:
            return 0.0
        v = product(v / norm)
        norm = v.norm()
    return float(norm)
