"""Many requests, one after the other (Algorithm 2), and what they cost together."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .certificate import THE_BALL, VOID, Constants, Known, calibrate
from .cg import conjugate_gradient
from .checks import Indices
from .errors import require
from .newton import Solver
from .noise import compose_epsilon, gaussian_epsilon, with_rounding
from .objective import Objective
from .unlearn import Release, check_model, known_to_all, target_sensitivity, unlearn


@dataclass(frozen=True)
class Budget:
    """The epsilon of each release and of the history, at one delta.

    each      epsilon of release k alone: what someone learns who sees only that one
    history   epsilon of releases 1..k seen together, for the samples of request 1, which all of
              them must hide. Those of request j are hidden by releases j..k only, which cost no
              more; in the releases before, they were still trained on and nothing hid them.
    """

    delta: float
    each: list[float]
    history: list[float]


class SequentialUnlearner:
    """Answers requests from the running estimate: w_k = project(w_(k-1) - Newton step on D_r,k).

    Each request starts from the last *noiseless* estimate, on what is then retained; the noise
    of a release never enters the next. Projection keeps every estimate in the ball, which is what
    Proposition 4.2's flat bound rests on. Arguments are those of `unlearn`, the same for every
    request; lam_min and the other constants must hold at every estimate, and the seed of request
    k is seed + k - 1.

    A request that is refused leaves everything as it was. After one whose certificate is void, all
    that follow are void: retrain, release with the same noise, and start anew from there.
    """

    def __init__(
        self, F: Objective, w: Tensor, *, C: float, lam: float, delta: float,
        epsilon: float | None = None, sigma: float | None = None,
        constants: Constants = Constants(), solver: Solver = conjugate_gradient, tol: float = 1e-3,
        seed: int | None = None, known: Known | None = None,
    ):  # fmt: skip
        check_model(F, w, C)
        budget = dict(delta=delta, epsilon=epsilon, sigma=sigma)
        terms = dict(C=C, lam=lam, tol=tol, constants=constants)
        # refuse now what the first request would
        calibrate(target_sensitivity(F, **terms), **budget)
        self._start(F, w, seed, solver=solver, known=known_to_all(F, known), **terms, **budget)

    def _start(self, F: Objective, w: Tensor, seed: int | None, **terms) -> None:
        self.F, self.w, self.seed, self.terms = F, w, seed, terms
        self.kept = torch.arange(F.n, device="cpu")
        self.releases: list[Release] = []

    def forget(self, indices: Indices) -> Release:
        """Answer the next request; indices are those of the set first trained on."""
        wanted = self.F.indices(indices)
        gone = wanted[~torch.isin(wanted, self.kept)].tolist()
        require(not gone, f"Already forgotten: {gone[:5]}; name only samples still retained.")
        now = self.F.only(self.kept) if self.releases else self.F
        seed = None if self.seed is None else self.seed + len(self.releases)
        release = self._answer(now, torch.searchsorted(self.kept, wanted), seed)
        release = self._after_a_void_one(release)
        self.w = release.estimate
        self.kept = self.kept[~torch.isin(self.kept, wanted)]
        self.releases.append(release)
        return release

    def _answer(self, now: Objective, rows: Tensor, seed: int | None) -> Release:
        return unlearn(now, self.w, rows, seed=seed, stationary=not self.releases, **self.terms)

    def _after_a_void_one(self, release: Release) -> Release:
        """Make a release void if an earlier one is, since it starts from that one's estimate."""
        card, void = release.certificate, self._first_void()
        if void is None or card.sensitivity.source == THE_BALL:
            return release
        reason = f"Request {void} was void and this one starts from its estimate: retrain."
        card = replace(card, holds=VOID, reasons=(*card.reasons, reason))
        return replace(release, certificate=card)

    def _first_void(self) -> int | None:
        holds = [release.certificate.holds for release in self.releases]
        return holds.index(VOID) + 1 if VOID in holds else None

    def budget(self, delta: float) -> Budget:
        """The exact epsilon of the releases so far, for Gaussian noise drawn anew each time."""
        require(bool(self.releases), "Nothing has been released yet; call forget(indices) first.")
        void = self._first_void()
        require(void is None, f"Release {void} is void: retrain, and start a new sequence.")
        cards = [release.certificate for release in self.releases]
        sizes = [with_rounding(card.sensitivity.value) for card in cards]
        sigmas = [card.sigma for card in cards]
        each = [gaussian_epsilon(size, s, delta) for size, s in zip(sizes, sigmas, strict=True)]
        history = [compose_epsilon(sizes[:k], sigmas[:k], delta) for k in range(1, len(cards) + 1)]
        return Budget(delta, each, history)
