"""How much noise k releases need together, and how many releases a given noise allows."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .errors import require, require_choice, require_counts
from .noise import compose_epsilon, gaussian_epsilon, gaussian_sigma


@dataclass(frozen=True)
class Plan:
    """The noise of each of k releases, and the epsilon that it gives at one delta.

    sigma     standard deviation of every release, drawn afresh each time
    each      epsilon of one release alone
    history   epsilon of releases 1..k seen together
    """

    sigma: float
    delta: float
    each: float
    history: list[float]


def plan(
    requests: int, sensitivity: float, epsilon: float, delta: float, *, seen: str = "all"
) -> Plan:
    """The noise that keeps k requests within (epsilon, delta), each release with this sensitivity.

    seen    "all": someone collects every release. k Gaussians are as one with sqrt(k) times the
            sensitivity (exact, see `compose_epsilon`), so sigma grows by sqrt(k).
            "last": each release replaces the one before, and nobody keeps any. sigma is that of a
            single release, whatever k. Nothing enforces that nobody keeps any.
    """
    require_counts(requests=requests)
    require_choice("seen", seen, ("all", "last"))
    together = math.sqrt(requests) if seen == "all" else 1.0
    sigma = gaussian_sigma(together * sensitivity, epsilon, delta)
    so_far = range(1, requests + 1)
    history = [compose_epsilon([sensitivity] * k, [sigma] * k, delta) for k in so_far]
    return Plan(sigma, delta, gaussian_epsilon(sensitivity, sigma, delta), history)


def affordable(sigma: float, sensitivity: float, epsilon: float, delta: float) -> int:
    """How many releases with this noise stay within (epsilon, delta) together; 0 if none does."""
    require(0 < sigma < math.inf, f"sigma is {sigma}; give a finite one; without noise none is.")
    # rounding must not cost a release where sigma is that of a plan
    return math.floor((sigma / gaussian_sigma(sensitivity, epsilon, delta)) ** 2 * (1 + 1e-9))
