"""The panel of 03_certificate_and_noise: the bound at any constants."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from unlearnlib import bounds
from unlearnlib.lab.plots import COLOURS, canvas, headline
from unlearnlib.text import number


def bound_at(C: float, M: float, lam: float, lam_min: float) -> Figure:
    """The bound of Theorem 3.4 by damping, and where it is below 2C."""
    fig, (ax,) = canvas(height=3.4)
    lams = np.geomspace(1e-2, 1e6, 400)
    lams = lams[lams + lam_min > 0]
    bound, ball = (
        [bounds.newton_bound(C, M, value, lam_min) for value in lams],
        bounds.trivial_bound(C),
    )
    ax.plot(lams, bound, color=COLOURS["bound"], label="Theorem 3.4")
    ax.axhline(
        ball, color=COLOURS["2C"], ls="--", label=f"2C = {number(ball)}: both lie in the ball"
    )
    if lam + lam_min > 0:
        at = bounds.newton_bound(C, M, lam, lam_min)
        ax.plot(lam, at, "o", color=COLOURS["unlearned"], ms=8, label=f"here: {number(at)}")
        here = ""
    else:
        here = f" At lam = {number(lam)} H + lam I need not be positive, and nothing is bounded."
    ax.set(xscale="log", yscale="log", xlabel="damping lam", ylabel="distance")
    ax.set_ylim(ball / 1e3, ball * 1e4)
    ax.legend(loc="upper right")
    is_, what = (
        ("above", "the bound says something")
        if lam_min > M * C
        else ("at most", "no damping helps")
    )
    headline(fig, f"lam_min = {number(lam_min)} is {is_} MC = {number(M * C)}, so {what}.{here}")
    return fig
