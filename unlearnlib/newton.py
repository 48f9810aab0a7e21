"""The Newton update: one damped second-order step towards the retrained model (Section 3)."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from .cg import conjugate_gradient
from .checks import Indices
from .errors import require_choice
from .objective import Objective
from .solution import Solution

Solver = Callable[..., Solution]


def newton_update(
    F: Objective,
    w: Tensor,
    forget: Indices,
    *,
    lam: float,
    solver: Solver = conjugate_gradient,
    gradient: str = "retained",
    whole: Tensor | None = None,
) -> Tensor:
    """w - (H_r(w) + lam I)^-1 b, shape (p,): the estimate of the retrained model.

    At lam = 0 on a quadratic it *is* the retrained model, up to the solver's tolerance. Only the
    solver's own Solution says whether it was met.

    solver      called as solver(F_r, w, b, lam=lam); functools.partial fixes the rest of its
                arguments.
    gradient    "retained": b = grad F_r(w).
                "forget": b = -n_u/(n - n_u) grad F_u(w), the paper's cheap form: n_u samples
                instead of n - n_u, equal to the former where grad F(w) = 0 and otherwise missing
                n/(n - n_u) grad F(w), the part that is plain non-convergence.
    whole       grad F(w), as in `retained_gradient`.
    """
    require_choice("gradient", gradient, ("retained", "forget"))
    forget = F.indices(forget)
    if gradient == "retained":
        b = retained_gradient(F, w, forget, whole)
    else:
        b = -len(forget) / (F.n - len(forget)) * F.only(forget).gradient(w)
    return w - solver(F.without(forget), w, b, lam=lam).x


def retained_gradient(
    F: Objective, w: Tensor, forget: Indices, whole: Tensor | None = None
) -> Tensor:
    """grad F_r(w), (p,), from n - n_u samples; from n_u alone if `whole` = grad F(w) is known.

    grad F_r = (n grad F - n_u grad F_u)/(n - n_u), decay included: if you keep this one
    vector when training ends, you can answer requests without a pass over the data. It depends on
    the forgotten samples too, but they cancel.
    """
    if whole is None:
        return F.without(forget).gradient(w)
    F_u = F.only(forget)
    return (F.n * F.check(whole, "whole") - F_u.n * F_u.gradient(w)) / (F.n - F_u.n)
