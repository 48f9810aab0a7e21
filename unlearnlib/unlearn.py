"""One request (Algorithm 1): estimate the retrained model, certify the estimate, add noise."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from . import batchnorm, bounds, certificate, checks, evidence
from .certificate import Certificate, Constants, Known, Sensitivity
from .cg import conjugate_gradient
from .checks import Indices
from .errors import require
from .newton import Solver, retained_gradient
from .noise import published
from .objective import Objective
from .precision import widest
from .projected_sgd import project
from .refinement import Refinement
from .solution import Solution

NOT_MEASURED = "grad F(w) was given as whole=, not measured: leave it out to have w checked."


@dataclass(frozen=True)
class Release:
    """The answer to a request.

    w            (p,), noisy: the only vector to publish, with `certificate.public_json()`
    certificate  the card; where `certificate.holds` is "void", publish nothing: retrain, and
                 release the retrained model with the same noise
    estimate     (p,), the noiseless estimate inside the ball: secret
    solution     the solver's report, or that of `refine`
    buffers      BatchNorm statistics that belong to w; empty for models without
    seconds      from request to release

    `release.module(F)` is the model to publish.
    """

    w: Tensor
    certificate: Certificate
    estimate: Tensor = field(repr=False)
    solution: Solution | Refinement
    buffers: dict[str, Tensor]
    seconds: float

    def module(self, F: Objective) -> nn.Module:
        """A copy of F's model that holds w, with the buffers that belong to it."""
        return (F.with_buffers(self.buffers) if self.buffers else F).module(self.w)


def unlearn(
    F: Objective,
    w: Tensor,
    forget: Indices,
    *,
    C: float,
    lam: float,
    delta: float,
    epsilon: float | None = None,
    sigma: float | None = None,
    constants: Constants = Constants(),
    solver: Solver = conjugate_gradient,
    tol: float = 1e-3,
    seed: int | None = None,
    stationary: bool = True,
    whole: Tensor | None = None,
    known: Known | None = None,
) -> Release:
    """Forget samples of F: release project(w - (H_r + lam I)^-1 grad F_r(w), C) + N(0, sigma^2 I).

    w           (p,), trained on F inside ||w|| <= C, by a procedure that would have trained the
                retained samples in the same ball.
    forget      indices into F's samples: the forget set is a subset of them by construction.
    delta       always; then exactly one of epsilon, the budget to meet, and sigma, the noise to
                account for.
    constants   what is known of the objective; nothing by default.
    solver      called as solver(F_r, w, b, lam=lam, tol=tol). Its own report is not relied on:
                the residual is measured here, on all retained samples.
    seed        makes the noise reproducible, and the certificate says: not private. By default
                the noise comes from the operating system's entropy; see `noise.published`.
    stationary  whether w claims ||grad F(w)|| <= G itself, as a trained model does; an estimate
                along a sequence does not.
    whole       grad F(w), (p,), kept from the end of training: the request then costs a gradient
                over n_u samples instead of n - n_u. See `newton.retained_gradient`. Nothing
                measures it, so the certificate is conditional at most.
    known       what else is public, for the card: say what the hyperparameters were tuned on.

    The sensitivity follows from C, lam, tol and the constants alone. Gradients, residual and
    curvature met on the way can only void the certificate; to measure them costs one gradient and
    one Hessian product on the retained samples, and none where the ball alone is certified. Where
    lam_min > 0 is proved, (||grad F_r(estimate)|| + G)/lam_min <= Delta is asked for too: it proves
    the distance again, whatever the solver did. With BatchNorm no theorem applies: 2C
    is certified and the buffers are recomputed on retained data from the noisy weights.

    Deviates from the paper: the estimate is projected, the mechanism is analytic, and the residual
    is measured where the paper's Theorem 3.6 relies on concentration.
    Bad input raises InputError and changes nothing.
    """
    check_model(F, w, C)
    rows = F.indices(forget)
    F_r, F_u = F.without(rows), F.only(rows)
    batchnorm.check_batch(F_r, w, F_r.n, "retain at least two samples")
    target = target_sensitivity(F, C, lam, tol, constants)
    epsilon, sigma = certificate.calibrate(target, delta, epsilon, sigma)
    F.reduce.require_same(w=w, forget=rows, C=torch.tensor(C, device="cpu"), x=F.x, y=F.y)

    started = time.perf_counter()
    b = retained_gradient(F, w, rows, whole)
    solution = solver(F_r, w, b, lam=lam, tol=tol)
    estimate = project(w - F.check(solution.x.flatten(), "the solver's x"), C)
    noisy, noise = published(estimate, sigma, target.value, seed)
    released = F.reduce.agree(noisy)
    buffers = batchnorm.recomputed_buffers(F_r, released) if batchnorm.layers(F.model) else {}
    seconds = time.perf_counter() - started

    measured = evidence.measurements(F_r, F_u, w, b, solution.x)
    holds, reasons = target.holds, ()
    if target.source != certificate.THE_BALL:
        measured |= evidence.of_the_solution(F_r, w, b, lam, solution.x, estimate)
        refuted = evidence.refuted(measured, F.dtype, target, C, lam, tol, constants, stationary)
        trusted = (NOT_MEASURED,) if whole is not None else ()
        holds = certificate.VOID if refuted else certificate.CONDITIONAL if trusted else holds
        reasons = refuted or (*trusted, *evidence.weakened(constants.used()))
    card = Certificate(
        epsilon, delta, sigma, target, C, lam, tol, constants, holds=holds, noise=noise,
        doing_nothing=_doing_nothing(F.n, F_u.n, target, C, constants, stationary),
        known=known_to_all(F, known), reasons=reasons, measurements=measured,
    )  # fmt: skip
    return Release(released, card, estimate, solution, buffers, seconds)


def target_sensitivity(
    F: Objective, C: float, lam: float, tol: float, constants: Constants
) -> Sensitivity:
    """Return `certificate.sensitivity` for this model; with BatchNorm always that of the ball."""
    known = Constants() if batchnorm.layers(F.model) else constants
    target = certificate.sensitivity(C, lam, tol, known)
    if target.source != certificate.THE_BALL and target.holds == certificate.PROVED:
        check_precision(F)
    return target


def check_precision(F: Objective) -> None:
    """Refuse an objective in which a gradient is too coarse to prove anything.

    A model that computes in float32 inside cannot tell weights that only float64 tells apart.
    """
    w = F.initial() + torch.linspace(-0.1, 0.1, F.p, device="cpu").to(F.initial()) / 3
    rough, x = w.float().to(w), F.batch(slice(0, 64))[0]
    coarse = F.dtype != torch.float64 or torch.equal(F.outputs(w, x), F.outputs(rough, x))
    require(not coarse, f"The model is {F.dtype} or less inside; use F.to(torch.float64) to prove.")


def known_to_all(F: Objective, known: Known | None) -> Known:
    """Return what is public besides the constants; the card shows it, as none is protected."""
    facts: Known = {"weights": F.p, "weight decay": F.weight_decay}
    if F.public_buffers:
        facts["public buffers"] = ", ".join(sorted(F.public_buffers))
    return {"samples at the start": F.n} | (known or {}) | facts


def check_vector(F: Objective, w: Tensor) -> None:
    """Refuse a w that is not one finite vector, and a model that would publish more than w."""
    F.check(w)
    require(w.dim() == 1, f"w has shape {tuple(w.shape)}; unlearn one model at a time.")
    secret = checks.unpublished(F.model, F.public_buffers)
    remedy = f"if fixed before the data was seen, say Objective(..., public_buffers={secret})."
    require(not secret, f"{', '.join(secret)} would be published as they are: train them; {remedy}")


def check_model(F: Objective, w: Tensor, C: float) -> None:
    """Refuse a w that is not one finite vector inside the ball."""
    check_vector(F, w)
    checks.radius(C)
    norm = float(torch.linalg.vector_norm(w, dtype=widest(w.device)))
    remedy = "Train with projected_sgd(C=...); a C that is read off this w proves nothing."
    require(norm <= C, f"||w|| = {norm:.6g} exceeds C = {C:g}, so no bound applies. {remedy}")


def _doing_nothing(
    n: int, n_u: int, target: Sensitivity, C: float, constants: Constants, stationary: bool
) -> float:
    """Bound for doing nothing: 2C, or less where F_r is claimed to be strongly convex.

    Both minimisers are then close to each other. Along a sequence w is an estimate, which is only
    known to lie within the sensitivity of a minimiser.
    """
    mu, g, G = constants.lam_min.value, constants.sample_gradient.value, constants.G.value
    if mu <= 0:
        return bounds.trivial_bound(C)
    drift = 0.0 if stationary else target.value
    return min(bounds.trivial_bound(C), drift + bounds.stability_bound(n, n_u, g, mu, G))
