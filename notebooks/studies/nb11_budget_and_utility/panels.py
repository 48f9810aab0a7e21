"""The panel of 11_budget_and_utility: what noise a promise takes, at any budget."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import norm

from unlearnlib import gaussian_sigma
from unlearnlib.lab.plots import COLOURS, canvas, headline, title
from unlearnlib.text import number


def sigma_for(epsilon: float, delta: float, Delta: float, requests: int) -> float:
    """The noise of each of so many releases, if all together cost (epsilon, delta).

    Releases with Gaussian noise compose to one at the distance sqrt(requests) Delta.
    """
    return gaussian_sigma(math.sqrt(requests) * Delta, epsilon, delta)


def noise_for(epsilon: float, delta: float, Delta: float, requests: float) -> Figure:
    """The noise by epsilon, for one request and for many, and the two worlds under it."""
    count = round(requests)
    sigma = sigma_for(epsilon, delta, Delta, count)
    fig, (left, right) = canvas(2, height=3.2)
    grid = np.geomspace(0.1, 1e3, 40)
    for k in sorted({1, count}):
        look = {"label": f"each of {k:,} requests", "color": COLOURS["released"]}
        if k == 1:
            look = {"label": "one request", "color": COLOURS["trained"]}
        left.plot(grid, [sigma_for(e, delta, Delta, k) for e in grid], **look)
    left.plot(epsilon, sigma, "o", color=COLOURS["unlearned"], ms=8)
    left.set(xscale="log", yscale="log", xlabel="epsilon", ylabel="sigma")
    left.legend()
    title(left, f"sigma = {number(sigma)}")
    x = np.linspace(-4 * sigma, Delta + 4 * sigma, 300)
    for centre, name in ((0.0, "retrained"), (Delta, "unlearned")):
        right.plot(x, norm.pdf(x, centre, sigma), color=COLOURS[name], label=f"from {name}")
    right.set(xlabel="along the line between the two models", yticks=[])
    right.set_ylim(0, 1.4 * norm.pdf(0, 0, sigma))
    right.legend()
    title(right, "one release: what an observer sees")
    said = f"delta = {number(delta)}, Delta = {number(Delta)}: epsilon = {number(epsilon)} for "
    headline(fig, said + ("one request" if count == 1 else f"all of {count:,} requests together"))
    return fig
