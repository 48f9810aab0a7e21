"""L-CODEC: a Newton step on the few units that the loss of the forgotten samples depends on.

Mehta, Pal, Singh and Ravi, "Deep unlearning via randomized conditionally independent Hessians"
(2022). Three steps: perturb forgotten inputs and watch every unit beside the loss; select a Markov
blanket of the loss among the units by FOCI, with the conditional-dependence coefficient CODEC
(Azadkia and Chatterjee, 2021); update the weights into those units alone.

We could read only the released code, not the text of the paper; each step says where we deviate.
What the L adds to CODEC (a randomisation) appears nowhere in that code, so it is not here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import rankdata
from torch import Tensor, nn

from .. import draws
from ..cg import conjugate_gradient
from ..checks import Indices, radius
from ..errors import require, require_counts
from ..linearised import KEPT_BYTES
from ..objective import Objective
from ..projected_sgd import project
from .view import View

UNITS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
JITTER = 1e-6  # of a standard deviation: breaks ties between neighbours at random


def lcodec(
    F: Objective,
    w: Tensor,
    forget: Indices,
    *,
    lam: float,
    C: float,
    perturbations: int = 300,
    noise: float = 0.1,
    max_units: int = 20,
    max_steps: int = 16,
    hessian_on: Objective | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """project(w + n_u/(n - n_u) (H_SS + lam I)^-1 grad_S F_u(w), C) on the selected weights S.

    The step is that of their code for the removal of n_u samples at once; it removes one at a time
    by default. Their block of the Hessian is an outer product of one gradient difference, ours the
    exact one, on `hessian_on` (default: all retained samples), by conjugate gradient to a residual
    of 0.01 or `max_steps`. Their noise assumes strong convexity and is left out: no certificate.
    """
    require_counts(perturbations=perturbations, max_units=max_units, max_steps=max_steps)
    require(0 <= lam < math.inf, f"lam is {lam}; the damping must be a finite number >= 0.")
    require(0 <= noise < math.inf, f"noise is {noise}; it must be a finite number >= 0.")
    radius(C)
    F_u, F_r = F.only(forget), F.without(forget)
    activations, losses = perturbed(F_u, w, perturbations, noise, generator)
    selected = foci(losses, activations, max_units, generator)
    S = weights_into(F, selected)
    b = -F_u.n / F_r.n * S * F_u.gradient(w)
    block = Block(hessian_on or F_r, S)
    x = conjugate_gradient(block, w, b, lam=lam, tol=1e-2, max_steps=max_steps).x
    return project(w - x, C)


def perturbed(
    F: Objective, w: Tensor, count: int, noise: float, generator: torch.Generator | None
) -> tuple[np.ndarray, np.ndarray]:
    """Every unit's output (count, units) and the loss (count,) on noisy samples of F.

    A unit is an output of a linear layer or a channel of a convolution, averaged over places, in
    the order of `model.modules()`. Each row is a sample of F drawn at random, plus N(0, noise^2)
    in each input; their code perturbs the one sample that it removes.
    """
    require_counts(count=count)
    x, y = F.batch(F.draw((count,), generator))
    x = x + noise * draws.normal(x.shape, x, generator)
    model, seen = F.module(w), {}

    def watch(layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        seen[layer] = output.flatten(2).mean(2) if output.dim() > 2 else output

    layers = [layer for layer in model.modules() if isinstance(layer, UNITS)]
    for layer in layers:
        layer.register_forward_hook(watch)
    with torch.no_grad():
        outputs = model(x)
        losses = torch.stack([F.loss(o[None], t[None]) for o, t in zip(outputs, y, strict=True)])
    activations = torch.cat([seen[layer] for layer in layers], 1)
    return activations.cpu().double().numpy(), losses.cpu().double().numpy()


def weights_into(F: Objective, units: list[int]) -> Tensor:
    """1 at the weights and the bias that feed one of these units, 0 elsewhere: shape (p,)."""
    layers = [(n, m) for n, m in F.model.named_modules() if isinstance(m, UNITS)]
    owner = [(name, i) for name, layer in layers for i in range(len(layer.weight))]
    mask = torch.zeros(F.p, dtype=F.dtype, device=F.device)
    windows = F.pieces(mask)
    for unit in units:
        name, row = owner[unit]
        for kind in ("weight", "bias"):
            window = windows.get(f"{name}.{kind}" if name else kind)
            if window is not None:
                window[row] = 1
    return mask


def foci(
    y: np.ndarray, candidates: np.ndarray, most: int, generator: torch.Generator | None = None
) -> list[int]:
    """Columns of `candidates` (n, k) given which y (n,) no longer depends on the others.

    Greedy: add the column with the largest CODEC given those already taken, while it is positive,
    up to `most`. The first is taken whatever its sign, as in L-CODEC's code; Azadkia and Chatterjee
    would return nothing. Columns are standardised first, as these authors advise and
    L-CODEC's code does not; constant columns are left out.
    """
    require_counts(most=most)
    spread = candidates.std(0)
    require(
        bool((spread > 0).any()),
        "No unit responds to the perturbation; use a larger noise, or a model that is not dead.",
    )
    z = (candidates - candidates.mean(0)) / np.where(spread > 0, spread, 1)
    z = torch.from_numpy(z)
    z = z + JITTER * draws.normal(z.shape, z, generator, torch.get_default_dtype())
    left = [int(k) for k in np.flatnonzero(spread > 0)]
    selected: list[int] = []
    within = z.new_zeros(len(z), len(z))
    while left and len(selected) < most:
        gain = _Codec(y, within if selected else None)
        gains = [gain(within + _squares(z[:, k])) for k in left]
        best = int(np.argmax(gains))
        if selected and gains[best] <= 0:
            break
        selected.append(left.pop(best))
        within = within + _squares(z[:, selected[-1]])
    return selected


def codec(y: np.ndarray, z: np.ndarray, x: np.ndarray | None = None) -> float:
    """CODEC T(y, z | x), about 0 where y depends on z no further than through x, 1 if it is a
    function of both (Azadkia and Chatterjee, 2021).

    y (n,), z and x (n, k). With R the ranks of y, L those of -y, and N(i), M(i) the nearest
    neighbours of i in x and in (x, z): the sum of min(R_i, R_M(i)) - min(R_i, R_N(i)) over that of
    R_i - min(R_i, R_N(i)); without x, of n min(R_i, R_M(i)) - L_i^2 over that of L_i (n - L_i).
    1 where the denominator is 0, as in the authors' FOCI package.
    """
    given = None if x is None else _all_squares(x)
    return _Codec(y, given)(_all_squares(z) + (0 if given is None else given))


class _Codec:
    """CODEC of y and x, given by its squared distances, as a function of those of (x, z)."""

    def __init__(self, y: np.ndarray, given: Tensor | None):
        n, self.R = len(y), rankdata(y, method="max")
        if given is None:
            L = rankdata(-y, method="max")
            self.weight, self.offset, self.below = n, (L**2).sum(), (L * (n - L)).sum()
        else:
            at_N = np.minimum(self.R, self.R[_nearest(given)])
            self.weight, self.offset, self.below = 1, at_N.sum(), (self.R - at_N).sum()

    def __call__(self, both: Tensor) -> float:
        at_M = np.minimum(self.R, self.R[_nearest(both)])
        above = self.weight * at_M.sum() - self.offset
        return float(above / self.below) if self.below else 1.0


def _squares(column: Tensor) -> Tensor:
    return (column[:, None] - column[None, :]).square_()


def _all_squares(columns: np.ndarray) -> Tensor:
    return sum(_squares(column) for column in torch.from_numpy(columns).T)


def _nearest(squared: Tensor) -> np.ndarray:
    """For each row, the index of the nearest other row."""
    apart = squared.clone().fill_diagonal_(torch.inf)
    return apart.numpy().argmin(1)  # eight times as quick as torch's


class Block(View):
    """An objective whose Hessian is restricted to the weights S: v -> S * H (S * v)."""

    def __init__(self, F: Objective, S: Tensor):
        super().__init__(F, S=S)

    def hessian_at(self, w: Tensor, keep: int = KEPT_BYTES) -> Callable[[Tensor], Tensor]:
        H, S = super().hessian_at(w, keep), self.S.to(w.dtype)
        return lambda v: S * H(S * v)
