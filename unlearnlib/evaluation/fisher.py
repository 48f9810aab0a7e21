"""Fisher forgetting: add noise to each weight, less where the retained samples depend on it."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.func import grad, vmap

from .. import draws
from ..checks import Indices, radius
from ..errors import require, require_counts
from ..objective import Objective, cross_entropy
from ..projected_sgd import project

CHUNK = 32  # per-sample gradients held at a time, each as large as w


def fisher_forgetting(
    F: Objective,
    w: Tensor,
    forget: Indices,
    *,
    alpha: float,
    C: float,
    samples: int = 1000,
    generator: torch.Generator | None = None,
) -> Tensor:
    """project(w + alpha (diag I_r(w) + wd)^(-1/4) * N(0, I), C).

    I_r is the Fisher information of the retained samples, estimated on at most `samples` of them.
    Weights of little information get the most noise. The exponent follows from a covariance
    proportional to I^(-1/2): Golatkar, Achille and Soatto, "Eternal sunshine of the spotless net"
    (2020), for quadratic losses. Their released code differs: it clips, averages over each unit's
    inputs and gives the last layer more. We add the weight decay, the regulariser's part of the
    same curvature, so that nothing needs clipping, and treat all weights alike.
    """
    require(0 <= alpha < math.inf, f"alpha is {alpha}; the noise's size must be >= 0 and finite.")
    radius(C)
    F_r = F.without(forget)
    curvature = fisher_diagonal(F_r, w, samples=samples, generator=generator) + F.weight_decay
    smallest = float(curvature.min())
    require(
        smallest > 0,
        "Some weight has neither Fisher information nor decay, so its noise would be infinite; "
        "give the objective a weight_decay > 0.",
    )
    noise = draws.normal(F.p, w, generator)
    return project(w + alpha * curvature**-0.25 * noise, C)


def fisher_diagonal(
    F: Objective, w: Tensor, *, samples: int = 1000, generator: torch.Generator | None = None
) -> Tensor:
    """Mean over samples of (d log p_w(y|x) / dw_j)^2, y drawn from the model: shape (p,).

    Squares of per-sample gradients: those of batch gradients, used in some released codes, miss
    all but their mean. Unbiased for the diagonal of the Fisher information, which is that of the
    Gauss-Newton matrix of the cross-entropy, without decay. On at most `samples` samples of F,
    drawn without replacement. Raises InputError for another loss than cross-entropy.
    """
    require(F.loss is cross_entropy, "Fisher information needs a likelihood: use cross-entropy.")
    require_counts(samples=samples)
    chosen = F.only(draws.order(F.n, generator)[:samples])

    def loss(v: Tensor, x: Tensor, y: Tensor) -> Tensor:
        return F.batch_loss(v, x[None], y[None])

    total = torch.zeros_like(w)
    for positions in torch.arange(chosen.n, device="cpu").split(CHUNK):
        x, _ = chosen.batch(positions)
        with torch.no_grad():
            odds = F.outputs(w, x).softmax(-1)
        y = torch.multinomial(odds.cpu(), 1, generator=generator).squeeze(1).to(odds.device)
        total += vmap(grad(loss), (None, 0, 0))(w, x, y).square().sum(0)
    return total / chosen.n
