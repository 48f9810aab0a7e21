"""Local convex LiSSA (Proposition 3.5): (H + lam I)^-1 b from minibatch Hessian products.

The Linear-time Stochastic Second-order Algorithm of Agarwal, Bullins and Hazan (2017), damped:

    x_0 = b,   x_t = b + x_(t-1) - (H_batch + lam I) x_(t-1) / scale,   result x_s / scale

In expectation a spectral filter: an eigenvalue a of H + lam I is answered by
(1/a)(1 - (1 - a/scale)^(s+1)), see `bounds.lissa_filter`. So a finite run acts like extra damping
of scale/(s+1), and minibatch noise leaves a floor that more steps do not lower.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from . import draws
from .errors import DivergenceError, require, require_counts
from .objective import Objective
from .progress import bar
from .reduce import ALONE, Alone
from .solution import CONVERGED, NOISE_FLOOR, STEPS, Solution, check_system, normalised
from .spectrum import extreme_eigenvalues, gradient_lipschitz, minibatch_curvature

SCALE_MARGIN = 1.5  # over the largest of the sampled minibatch curvatures, which err from below
SUBSET = 2048  # samples for the residual where all are too many
GROUPS = 8  # parts of that subset, whose spread tells its floor
LOOK = 10  # steps between two checks of whether the chains grow
PATIENCE = 4  # checks in a row without a tenth of improvement
BULK = 4  # a sample costs this much less in a full pass than in a minibatch, at least


def lissa(
    F: Objective,
    w: Tensor,
    b: Tensor,
    *,
    lam: float,
    scale: float | str = "auto",
    steps: int = 1000,
    chains: int = 10,
    batch_size: int = 10,
    tol: float = 1e-2,
    checks: int = 20,
    generator: torch.Generator | None = None,
) -> Solution:
    """The mean of `chains` LiSSA recursions for (H(w) + lam I) x = b over samples of F.

    b           (p,)
    scale       the paper's H; safe above half the spectral norm of every minibatch Hessian +
                lam I (with F's decay). "auto": 1.5 times the largest of 32 that are measured.
    steps, chains, batch_size   at most this many steps of so many chains, each on minibatches of
                its own, drawn with replacement; batch_size >= F.n takes all samples: no noise.
                Processes that share F share the chains: as many as there are processes, at least.
    tol, checks the relative residual is measured up to `checks` times along the way: on all
                samples where that costs no more than the recursion itself, else on a fixed sample
                that the solution names. The run stops once it is at most tol; or at the noise
                floor, where it has stopped improving and the chains' disagreement makes up most
                of it, or where a sample can't tell it from the exact solution's.

    Raises DivergenceError, naming the scale or the damping to use; never returns NaN.
    Deviates from the released code in stopping at all, and in adding lam I itself.
    """
    check_system(F, w, b, lam, tol)
    _check_scale(F, lam, scale)
    require_counts(steps=steps, chains=chains, batch_size=batch_size, checks=checks)
    started = time.perf_counter()
    if scale == "auto":
        scale = measured_scale(F, w, lam, batch_size, generator)
        scale = float(F.reduce.agree(torch.tensor(scale, dtype=torch.float64, device="cpu")))
    unit, size = normalised(b)
    system = _System(F, w, unit, lam, batch_size, chains, generator)
    ranks = system.reduce.size
    require(chains >= ranks, f"chains is {chains} for {ranks} processes; give each at least one.")
    gauge = _Gauge(system, checks, affordable=BULK * steps * chains * batch_size)
    due = {math.ceil(steps * (i + 1) / gauge.checks) for i in range(gauge.checks)}
    x, history, status = unit.expand(len(system.local_chains), -1), [], STEPS
    for step in bar(range(1, steps + 1), "LiSSA"):
        x = torch.sub(x, system.minibatch_product(x), alpha=1 / scale).add_(unit)
        if step in due or step % LOOK == 0:
            system.refuse_divergence(x, step, scale)
        if step in due:
            residual = gauge.measure(x / scale)
            history.append((step, residual))
            mostly_noise = gauge.noise**2 >= residual**2 / 2
            stuck = mostly_noise and _stagnates([r for _, r in history])
            if stuck or residual <= max(tol, gauge.floor):
                status = CONVERGED if residual <= tol else NOISE_FLOOR
                break
    means, shares = system.halves(x)
    return Solution(
        size * (shares @ means) / scale, residual, gauge.samples, history, step, float(scale),
        status, seconds=time.perf_counter() - started, floor=gauge.floor, noise=gauge.noise,
    )  # fmt: skip


def measured_scale(
    F: Objective, w: Tensor, lam: float, batch_size: int, generator: torch.Generator | None = None
) -> float:
    """The scale that "auto" takes: 1.5 max ||H_batch(w)|| over 32 minibatches, plus lam.

    Where a batch is all samples there is one Hessian, and its norm serves.
    """
    if batch_size >= F.n:
        curvature = gradient_lipschitz(F, w, generator=generator)
    else:
        curvature = float(minibatch_curvature(F, w, batch_size, generator=generator).max())
    cause = f"A Hessian of {min(batch_size, F.n)} samples is not finite at w"
    require(math.isfinite(curvature), f"{cause}: use a smooth loss or activation.", DivergenceError)
    return SCALE_MARGIN * curvature + lam


@dataclass(frozen=True)
class _System:
    """The system (H + lam I) x = b, of which LiSSA sees one minibatch at a time."""

    F: Objective
    w: Tensor
    b: Tensor
    lam: float
    batch_size: int
    chains: int
    generator: torch.Generator | None

    @property
    def reduce(self) -> Alone:
        """How processes share the chains; if each takes all samples, those are shared instead."""
        return ALONE if self.batch_size >= self.F.n else self.F.reduce

    @cached_property
    def local_chains(self) -> range:
        """The chains that this process runs."""
        return self.reduce.share(range(self.chains))

    @cached_property
    def H(self) -> Callable[[Tensor], Tensor]:
        return self.F.hessian_at(self.w)

    def minibatch_product(self, x: Tensor) -> Tensor:
        """(H_batch + lam I) x_k for each chain k on a batch of its own."""
        F = self.F
        if self.batch_size >= F.n:
            return self.H(x) + self.lam * x
        drawn = F.draw((self.chains, self.batch_size), self.generator)  # the same in all processes
        batches = F.batch(drawn[self.local_chains.start : self.local_chains.stop])
        return F.hvp_each(self.w, x, *batches).add_(x, alpha=F.weight_decay + self.lam)

    def halves(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means over two halves of all chains, (2, p), and their shares (2,); of one chain, (1, p).

        The mean over all is shares @ means.
        """
        parts = torch.arange(self.chains, device="cpu").tensor_split(min(2, self.chains))
        numbers = torch.tensor(self.local_chains, device="cpu")
        sums = torch.stack([x[torch.isin(numbers, part)].sum(0) for part in parts])
        counts = x.new_tensor([len(part) for part in parts])
        return self.reduce(sums) / counts[:, None], counts / self.chains

    def refuse_divergence(self, x: Tensor, step: int, scale: float) -> None:
        # where every factor I - A/scale contracts, ||x_t|| <= t + 1 for a b of unit length
        gone = ~(x.norm(dim=1) <= 10 * (step + 1))
        if not self.reduce(gone.sum()):
            return
        same_each_time = draws.fixed(0)
        enough = measured_scale(self.F, self.w, self.lam, self.batch_size, same_each_time)
        cause = f"Minibatches of {self.batch_size} curve too much for it"
        remedy = f"use scale = {enough:.3g}."
        if scale >= enough / SCALE_MARGIN:
            lam_min = extreme_eigenvalues(self.F, self.w, tol=1e-2).lam_min
            cause = f"The curvature is negative: lam_min is about {lam_min:.3g}, less in batches"
            remedy = f"use lam well above {max(-lam_min, self.lam):.3g}, or a larger batch_size."
        terms = f"scale = {scale:.3g} and lam = {self.lam:.3g}"
        raise DivergenceError(f"LiSSA diverges at step {step} with {terms}. {cause}; {remedy}")


class _Gauge:
    """Measures the relative residual of the chains' mean, and how much of it is noise.

    `noise` is the part that comes from the chains' disagreement, read off two halves of them;
    `floor`, on a subset, is what the exact solution would show there: the standard error of the
    subset's Hessian, read off GROUPS parts of it, times x.
    """

    def __init__(self, system: _System, checks: int, affordable: int):
        F, self.system = system.F, system
        self.checks = max(1, min(checks, affordable // F.n))
        self.noise, self.floor = 0.0, 0.0
        self.parts, self.samples = [F], f"all {F.n:,} samples"
        if self.checks < min(checks, PATIENCE) and F.n > SUBSET:
            rows = draws.order(F.n, system.generator)[:SUBSET]
            self.parts = [F.only(part) for part in rows.chunk(GROUPS)]
            self.samples = f"{SUBSET:,} of {F.n:,} samples"
            self.unseen = math.sqrt(1 - SUBSET / F.n)
            self.checks = checks

    def measure(self, x: Tensor) -> float:
        """||A mean(x) - b|| for chains x (k, p) and b of unit length."""
        w, b, lam = self.system.w, self.system.b, self.system.lam
        means, shares = self.system.halves(x)
        products = torch.stack([part.hvp(w, means) for part in self.parts])
        images = products.mean(0) + lam * means
        if len(means) == 2:
            self.noise = float((images[0] - images[1]).norm() * shares.prod().sqrt())
        if len(self.parts) > 1:
            spread = (shares @ (products - products.mean(0))).norm(dim=1)
            standard_error = (spread.square().sum() / (GROUPS * (GROUPS - 1))).sqrt()
            self.floor = float(standard_error) * self.unseen
        return float((shares @ images - b).norm())


def _stagnates(residuals: list[float]) -> bool:
    earlier, recent = residuals[:-PATIENCE], residuals[-PATIENCE:]
    return bool(earlier) and min(recent) > 0.9 * min(earlier)


def _check_scale(F: Objective, lam: float, scale: float | str) -> None:
    if scale == "auto":
        return
    positive = isinstance(scale, (int, float)) and 0 < scale < math.inf
    require(positive, f"scale is {scale!r}; give a number > 0, or 'auto' to have it measured.")
    known = lam + F.weight_decay
    why = f"lam and the decay add {known:g} to all of H, so it must be > {known / 2:g}. Use 'auto'."
    require(scale > known / 2, f"scale = {scale:g} is too small: {why}")
