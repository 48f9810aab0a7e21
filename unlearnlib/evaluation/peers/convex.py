"""What the three methods share: a problem they are proved for, and their answers.

Softmax regression without bias on inputs ||x|| <= 1: w = vec(W), W of shape (K, d), and

    F(w) = mean_i cross-entropy(W x_i, y_i) + (mu/2)||w||^2.

Its constants are proved. With q = softmax(z), the loss of one sample has the Hessian
A(z) = diag(q) - q q^T in the logits, and u^T A u is the variance of a variable that takes the value
u_k with probability q_k. For ||u|| = 1 its range is at most sqrt 2.

SMOOTHNESS         ||A|| <= range^2 / 4 = 1/2 (Popoviciu, 1935); F is (1/2 + mu)-smooth.
HESSIAN_LIPSCHITZ  ||A(z) - A(z')|| <= sqrt(2/27) ||z - z'||. The derivative of A is a symmetric
                   trilinear form, so its norm is reached with all three arguments equal (Banach,
                   1938): a third central moment. For a given mean the largest is that of two
                   points, so at most range^3 / (6 sqrt 3). As ||x|| <= 1, it is F's M too.
SAMPLE_GRADIENT    ||(q - e_y) x^T|| <= sqrt 2, without the regulariser. At a minimiser
                   mu ||w|| <= sqrt 2 follows, so that with it 2 sqrt 2 holds there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from ...checks import Indices
from ...errors import require
from ...objective import Objective

SMOOTHNESS = 1 / 2
HESSIAN_LIPSCHITZ = math.sqrt(2 / 27)
SAMPLE_GRADIENT = math.sqrt(2)
LONGEST = 1 + 1e-12  # largest norm of an input that is meant to be 1: rounding adds less


@dataclass(frozen=True)
class Answer:
    """The answer to a request, or the result of training.

    w            (p,), the vector to publish
    estimate     (p,), without output noise: secret; equal to w where there is none (Guo)
    sigma        standard deviation of the noise that hides the difference to retraining
    sensitivity  bound on that difference, in what the noise is added to
    retrained    whether it was trained anew
    gradients    work, in gradients of the whole set first trained on: a Hessian product as two, a
                 dense Hessian by its arithmetic; algebra on (p, p) matrices is in `seconds` alone
    seconds      from request to release
    """

    w: Tensor
    estimate: Tensor
    sigma: float
    sensitivity: float
    retrained: bool
    gradients: float
    seconds: float


def strong_convexity(F: Objective) -> float:
    """mu: the weight decay of an objective whose loss is convex in w. Refuses 0 and float32."""
    require(
        F.weight_decay > 0,
        f"weight_decay is {F.weight_decay:g}; these methods need strong convexity: make it > 0.",
    )
    require(
        F.dtype == torch.float64,
        f"The objective is {F.dtype}; bounds this small need F.to(torch.float64).",
    )
    return F.weight_decay


def positive(**values: float) -> None:
    """Refuse a named constant that is not a finite number > 0."""
    for name, value in values.items():
        require(0 < value < math.inf, f"{name} is {value}; it must be a finite number > 0.")


def rounding(norm: float, dtype: torch.dtype = torch.float64) -> float:
    """What rounding may make of weights of this norm: theorems are about exact numbers."""
    return 2**10 * torch.finfo(dtype).eps * norm


def require_above_rounding(sensitivity: float, w: Tensor) -> None:
    """Refuse a sensitivity that rounding of w exceeds."""
    least = rounding(float(w.norm()), w.dtype)
    require(
        sensitivity >= least,
        f"The sensitivity is {sensitivity:.3g}, below {least:.3g}, rounding of the weights; "
        "promise less: fewer iterations, a larger G or a weaker decay.",
    )


def remaining(F: Objective, kept: Tensor, indices: Indices) -> tuple[Tensor, Tensor]:
    """The samples asked for and those left after them, as indices of the set first trained on."""
    wanted = F.indices(indices)
    gone = wanted[~torch.isin(wanted, kept)].tolist()
    require(not gone, f"Already forgotten: {gone[:5]}; name only samples still retained.")
    left = kept[~torch.isin(kept, wanted)]
    require(
        len(left) > 0,
        f"All {len(kept)} samples left would be forgotten; at least one must be retained.",
    )
    return wanted, left


def check_length(F: Objective) -> None:
    """Raise InputError if an input is longer than 1. Reads all of them once."""
    longest = max(float(x.flatten(1).norm(dim=1).max()) for x, _ in F.passes())
    require(
        longest <= LONGEST,
        f"An input has norm {longest:.14g}; the constants are proved for ||x|| <= 1: divide by it.",
    )


def inputs(F: Objective) -> Tensor:
    """Return the inputs X (n, d), after `check`."""
    check(F)
    return F.batch(slice(0, F.n))[0].flatten(1)


def check(F: Objective) -> None:
    """Refuse all but softmax regression without bias on inputs with ||x|| <= 1."""
    sample = F.batch(slice(0, min(4, F.n)))[0]
    X = sample.flatten(1)
    w = torch.linspace(-1, 1, F.p, dtype=F.dtype, device=F.device)
    linear = F.loss is cross_entropy and F.p % X.shape[1] == 0
    if linear:
        outputs, by_hand = F.outputs(w, sample), X @ w.view(-1, X.shape[1]).T
        linear = outputs.shape == by_hand.shape and torch.allclose(outputs, by_hand)
    require(
        linear,
        "This method is written for softmax regression: cross-entropy on one linear layer without "
        "bias. Append a constant feature to the inputs in its place.",
    )
    check_length(F)


def hessian(F: Objective, w: Tensor) -> Tensor:
    """The dense Hessian (p, p) of softmax regression, decay included, block by block:

    H_kj = (1/n) X^T diag(q_k (1[k=j] - q_j)) X, K(K+1)/2 of them instead of p Hessian products.
    """
    X = inputs(F)
    d = X.shape[1]
    q = (X @ w.view(-1, d).T).softmax(1)
    classes = q.shape[1]
    dense = torch.empty(classes, d, classes, d, dtype=F.dtype, device=F.device)
    for k in range(classes):
        for j in range(k, classes):
            weights = q[:, k] * (float(k == j) - q[:, j])
            dense[k, :, j] = dense[j, :, k] = X.T @ (weights[:, None] * X) / F.n
    dense = dense.view(F.p, F.p)
    dense.diagonal().add_(F.weight_decay)
    return dense


def hessian_cost(F: Objective) -> float:
    """What `hessian` costs in gradients of F: K(K+1) n d^2 operations to 4 n d K."""
    d = F.batch(slice(0, 1))[0].numel()
    return (F.p / d + 1) * d / 4
