"""Problems with two weights, small enough that everything can be drawn."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from .. import draws
from ..certificate import Constants, chosen, proved
from ..objective import Objective

SMALLEST_GRADIENT = 1e-8


def logistic(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean of ln(1 + exp(-y f)) for y = -1 or 1, both of shape (n, 1)."""
    return softplus(-y * outputs).mean()


def convex(n: int = 60, weight_decay: float = 0.3, seed: int = 0) -> tuple[Objective, Tensor]:
    """Logistic regression on n points of the unit disc, and the six that are to be forgotten.

    Those six sit together and on the wrong side of the line, so that forgetting them can be seen.
    """
    g = draws.fixed(seed)
    angle = 2 * math.pi * draws.uniform(n, g)
    radius = draws.uniform(n, g).sqrt()
    x = radius[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    y = torch.where(x[:, 0] + 0.3 * x[:, 1] > 0, 1.0, -1.0).to(torch.float64)
    forget = (x @ x.new_tensor([0.2, 1.0])).argsort()[-6:]
    y[forget] = -1.0
    net = nn.Linear(2, 1, bias=False, device="cpu").double()
    nn.init.zeros_(net.weight)  # torch's own start would be another in each run
    return Objective(net, x, y[:, None], loss=logistic, weight_decay=weight_decay), forget


def proved_constants(F: Objective) -> Constants:
    """The constants of `convex`, true of any subset of points in the unit disc.

    With |sigma'| <= 1/4 and |sigma''| <= 1/(6 sqrt 3): L <= 1/4 + wd, M <= 1/(6 sqrt 3), and the
    decay alone keeps every eigenvalue at wd or above. At wd = 0.3 the minimum of any subset lies
    inside ||w|| < 1, since its norm r satisfies wd r <= sigmoid(-r) at worst, so r <= 0.94: a ball
    of radius 1 never binds and full-batch training can reach any G.
    """
    return Constants(
        M=proved(1 / (6 * math.sqrt(3)), "logistic loss, ||x|| <= 1"),
        L=proved(0.25 + F.weight_decay, "logistic loss, ||x|| <= 1"),
        lam_min=proved(F.weight_decay, "convex loss + decay"),
        G=chosen(SMALLEST_GRADIENT, "training stops there"),
        sample_gradient=proved(1.0, "logistic loss, ||x|| <= 1"),
    )


def accuracy(F: Objective, w: Tensor) -> float:
    """Share of the points on the right side of the line."""
    x, y = F.batch(slice(0, F.n))
    return float((F.outputs(w, x) * y > 0).double().mean())


def points(F: Objective, forget: Tensor) -> list[dict]:
    """The points of `convex` as a table: x1, x2, y, and whether each is to be forgotten."""
    gone = forget.new_zeros(F.n, dtype=torch.bool).index_fill(0, forget, True)
    columns = F.x[:, 0], F.x[:, 1], F.y[:, 0], gone
    names = "x1", "x2", "y", "forgotten"
    return [
        dict(zip(names, (c.item() for c in row), strict=True)) for row in zip(*columns, strict=True)
    ]


def landscape(F: Objective, center: Tensor, reach: float, side: int = 41) -> dict:
    """F on a square grid of weights around `center`, as lists: w1, w2 and values[w2][w1]."""
    steps = torch.linspace(-reach, reach, side, dtype=center.dtype, device=center.device)
    w1, w2 = center[0] + steps, center[1] + steps
    values = [[F.value(torch.stack([a, b])) for a in w1] for b in w2]
    return {"w1": w1.tolist(), "w2": w2.tolist(), "values": values}
