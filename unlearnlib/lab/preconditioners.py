"""Approximate inverses of the Hessians of the two proved models: few products make a Newton step.

Both models see an input x as W x only, with W (r, d) the trained weights: the logits of softmax
regression, or what the network's neurons are given. Let B_i (r, r) be the Gauss-Newton matrix of
one sample's loss in W x_i. Over all weights that matrix is

    H = mean_i B_i (x) x_i x_i^T + wd I,

which is softmax regression's Hessian, and the part of the network's that is never negative.
`kronecker` puts the product of the two means in its place (Martens and Grosse, 2015), which the
eigenvectors of each factor invert:

    P = mean_i B_i (x) mean_i x_i x_i^T + wd I.

`sharpened` puts H itself back on the few of P's eigenvectors where P is largest, since there the
mean of products and the product of means differ most. What couples these with the others is left
out.

A preconditioner changes how long a solve takes, not what it ends at. One that was made from samples
is as secret as they are, and knows those that were forgotten until it is made anew.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..errors import require, require_counts
from ..objective import Objective

Roots = Callable[[Objective, Tensor, Tensor], Tensor]  # (F, w, x) -> (n, K, r), see `kronecker`


@dataclass(frozen=True)
class Spectrum:
    """Eigenvalues (d,) and eigenvectors (d, d) of mean x x^T: the half of P that no w changes.

    seconds   that making them took, where it is known
    """

    values: Tensor = field(repr=False)
    vectors: Tensor = field(repr=False)
    seconds: float = math.nan


@dataclass(frozen=True)
class Kronecker:
    """v -> P^-1 v, for P = U diag(bends) U^T (x) V diag(values) V^T + decay I; v (r d,).

    bends, U   eigenvalues (r,) and eigenvectors (r, r) of mean_i B_i
    inputs     the same of mean_i x_i x_i^T
    """

    bends: Tensor = field(repr=False)
    U: Tensor = field(repr=False)
    inputs: Spectrum
    decay: float

    @property
    def sizes(self) -> Tensor:
        """Eigenvalues of P, (r, d)."""
        return self.bends[:, None] * self.inputs.values + self.decay

    def __call__(self, v: Tensor) -> Tensor:
        return self.turned_back(self.turned(v) / self.sizes)

    def turned(self, v: Tensor) -> Tensor:
        """v in the eigenvectors of P, (r, d)."""
        return self.U.T @ v.view(len(self.U), -1) @ self.inputs.vectors

    def turned_back(self, v: Tensor) -> Tensor:
        return (self.U @ v @ self.inputs.vectors.T).flatten()


@dataclass(frozen=True)
class Sharpened:
    """v -> P^-1 v, with H in the place of P on some of P's eigenvectors.

    positions   (m,), which of the r d eigenvectors
    inverse     (m, m), of H in them
    """

    P: Kronecker
    positions: Tensor = field(repr=False)
    inverse: Tensor = field(repr=False)

    def __call__(self, v: Tensor) -> Tensor:
        turned = self.P.turned(v)
        solved = (turned / self.P.sizes).flatten()
        solved[self.positions] = self.inverse @ turned.flatten()[self.positions]
        return self.P.turned_back(solved.view_as(turned))


def input_spectrum(F: Objective) -> Spectrum:
    """Eigenvalues and eigenvectors of mean x x^T over the inputs of F, (d, d), in its precision."""
    d = F.batch(slice(0, 1))[0].numel()
    if 2 * F.n < d:  # most eigenvalues are 0: quicker from the inputs, and solvers fail on the mean
        _, s, V = torch.linalg.svd(F.batch(slice(0, F.n))[0].flatten(1) / math.sqrt(F.n))
        return Spectrum(pad(s.square(), (0, d - F.n)), V.T.contiguous())
    values, vectors = torch.linalg.eigh(_mean(F, lambda x: x.flatten(1)))
    return Spectrum(values.clamp_min(0), vectors)


def kronecker(F: Objective, w: Tensor, inputs: Spectrum, roots: Roots) -> Kronecker:
    """Return v -> P^-1 v at w.

    roots   (F, w, x) -> (n, K, r): K vectors for each sample, whose outer products add up to B_i
    """
    require(
        F.weight_decay > 0,
        f"weight_decay is {F.weight_decay:g}; without any P has no inverse: make it > 0.",
    )
    bends, U = torch.linalg.eigh(_mean(F, lambda x: roots(F, w, x)))
    return Kronecker(bends.clamp_min(0), U, inputs, F.weight_decay)


def sharpened(
    F: Objective, w: Tensor, inputs: Spectrum, roots: Roots, directions: int
) -> Sharpened:
    """Return v -> P^-1 v at w, with H itself on this many directions, at most all of them."""
    require_counts(directions=directions)
    P = kronecker(F, w, inputs, roots)
    sizes = P.sizes.flatten()
    positions = sizes.topk(min(directions, len(sizes))).indices
    i, j = positions // P.sizes.shape[1], positions % P.sizes.shape[1]

    def rows(x: Tensor) -> Tensor:
        return (roots(F, w, x) @ P.U)[..., i] * (x.flatten(1) @ inputs.vectors)[:, None, j]

    H = _mean(F, rows)
    H.diagonal().add_(F.weight_decay)
    return Sharpened(P, positions, torch.cholesky_inverse(torch.linalg.cholesky(H)))


def _mean(F: Objective, rows: Callable[[Tensor], Tensor]) -> Tensor:
    """mean_i of rows(x_i)^T rows(x_i), for rows (n, ..., m) of a pass of n samples: (m, m)."""
    total = torch.zeros((), dtype=F.dtype, device=F.device)
    for samples in F.own_passes():
        R = rows(F.batch(samples)[0]).flatten(0, -2)
        total = total + R.T @ R
    return F.reduce(total) / F.n


def softmax_roots(F: Objective, w: Tensor, x: Tensor) -> Tensor:
    """sqrt(p_k) (e_k - p) for each class k: their outer products add up to diag(p) - p p^T."""
    p = F.outputs(w, x).softmax(1)
    each = torch.eye(p.shape[1], dtype=p.dtype, device=p.device)
    return p.sqrt()[:, :, None] * (each - p[:, None, :])


def network_roots(F: Objective, w: Tensor, x: Tensor) -> Tensor:
    """The roots of a ConvexNetwork, which says what they are."""
    (moved,) = F.pieces(w).values()
    return F.model.roots(moved, x)
