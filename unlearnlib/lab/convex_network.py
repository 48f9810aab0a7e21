"""A network of nonlinear neurons whose training objective is proved strongly convex.

    f(x) = a V tanh((U0 + U) x),    a = c / sqrt(m),    ||x|| <= 1,

with m hidden neurons, V (K, m) fixed signs, U0 (m, d) a fixed public start and U (m, d) trained, by
mean cross-entropy + (wd/2)||U||^2. V is antisymmetric over paired neurons, so that f = 0 at U = 0.

*Strong convexity.* With p = softmax(f) and r = p - onehot(y), a sample's loss has the Hessian

    J^T (diag(p) - p p^T) J  +  sum_k r_k Hess f_k,

whose first part is positive semi-definite. The second is block diagonal over the neurons; its block
j is a (sum_k r_k V_kj) tanh''(z_j) x x^T. And ||r||_1 = 2(1 - p_y) <= 2, |V_kj| = 1, ||x|| <= 1,
|tanh''| <= 4/(3 sqrt 3). So for *every* U, sample by sample and thus on any set of samples,

    Hess F(U) >= mu I,    mu = wd - 8/(3 sqrt 3) a  =  wd - 1.54 c / sqrt(m).

With more decay than 1.54 a the minimum is unique and strong convexity holds everywhere: no local
analysis, no assumption. How much freedom that leaves to learn is set by c: near U0 the network acts
like kernel regression with a decay of wd/c^2, about 3/(c sqrt(m)) at wd = 3.08 a. It is not the
paper's network trained as usual: only U moves, and little.

*The other constants*, by A = a ||V||_2, which V gives exactly. ||J|| <= A since |tanh'| <= 1;
diag(p) - p p^T has a norm of at most 1/2 and a Lipschitz constant of T = sqrt(2/27), both shown in
evaluation/peers/convex.py; |tanh'''| <= 2; |Cov_p(u, V_j)| <= ||u||/sqrt 2. Differentiating the
Hessian along a unit direction, term by term, gives with t = 4/(3 sqrt 3)

    sample gradient  ||J^T r|| <= sqrt 2 A
    L  <=  A^2/2 + 8/(3 sqrt 3) a + wd
    M  <=  T A^3 + t A^2 + t a A/sqrt 2 + 4 a.

Convexity of this kind is ours as far as we know; that wide networks are nearly linear in their
weights is Jacot, Gabriel and Hongler (2018), and Chizat, Oyallon and Bach (2019) call it lazy.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from .. import draws
from ..errors import require
from ..evaluation.peers.convex import (
    HESSIAN_LIPSCHITZ,
    LONGEST,
    SAMPLE_GRADIENT,
    SMOOTHNESS,
    check_length,
)
from ..objective import Objective, cross_entropy

BEND = 4 / (3 * math.sqrt(3))  # the largest |tanh''|


class ConvexNetwork(nn.Module):
    """f(x) = (c/sqrt(m)) V tanh((U0 + U) x) for x (n, d); only U (m, d) is trained, from zero.

    strength   c: how far training may move the outputs for the decay that convexity asks.
    scale      standard deviation of U0's entries: how bent the neurons are.
    seed       decides U0 and V, which are public.
    """

    public_buffers = ("start", "signs")

    def __init__(
        self, inputs: int, classes: int, *, width: int, strength: float, scale: float, seed: int
    ):
        super().__init__()
        require(
            width >= 2 and width % 2 == 0,
            f"width is {width}; neurons come in pairs of opposite sign, so give an even number.",
        )
        require(strength > 0, f"strength is {strength}; it must be > 0.")
        g = draws.fixed(seed)
        half = scale * torch.randn(width // 2, inputs, generator=g, device="cpu")
        signs = 2.0 * torch.randint(2, (classes, width // 2), generator=g, device="cpu") - 1
        self.gain = strength / math.sqrt(width)
        self.register_buffer("start", torch.cat([half, half]))
        self.register_buffer("signs", torch.cat([signs, -signs], 1))
        self.moved = nn.Parameter(torch.zeros(width, inputs, device="cpu"))

    def forward(self, x: Tensor) -> Tensor:
        return self.gain * torch.tanh(x @ (self.start + self.moved).T) @ self.signs.T

    def roots(self, moved: Tensor, x: Tensor) -> Tensor:
        """sqrt(p_k) J^T (e_k - p) for each class k, (n, K, m), with J = df/dz at z = (U0 + U) x.

        Their outer products add up to J^T (diag(p) - p p^T) J.
        """
        fired = torch.tanh(x @ (self.start + moved).T)
        p = (self.gain * fired @ self.signs.T).softmax(1)
        pulled = self.signs[None] - (p @ self.signs)[:, None]  # V^T (e_k - p)
        return p.sqrt()[:, :, None] * self.gain * (1 - fired**2)[:, None] * pulled

    @property
    def curvature(self) -> float:
        """8/(3 sqrt 3) a: no sample's loss curves down by more, at any U."""
        return 2 * BEND * self.gain

    @property
    def slope(self) -> float:
        """A = a ||V||_2, which no Jacobian exceeds."""
        return self.gain * float(torch.linalg.matrix_norm(self.signs.double(), 2))

    def gradient_lipschitz(self, weight_decay: float) -> float:
        """L, the Lipschitz constant of the gradient, with this weight decay."""
        return SMOOTHNESS * self.slope**2 + self.curvature + weight_decay

    def hessian_lipschitz(self) -> float:
        """M, the Lipschitz constant of the Hessian."""
        a, A = self.gain, self.slope
        return HESSIAN_LIPSCHITZ * A**3 + BEND * A**2 + BEND * a * A / math.sqrt(2) + 4 * a

    def sample_gradient(self) -> float:
        """Bound on the norm of a sample's gradient, without decay."""
        return SAMPLE_GRADIENT * self.slope


def strong_convexity(F: Objective) -> float:
    """mu = wd - 8/(3 sqrt 3) a of an objective of this network, for which the proof holds.

    Refused for another model or loss, for inputs longer than 1, and where the decay is too small to
    prove any. Reads all inputs once.
    """
    net = F.model
    require(
        isinstance(net, ConvexNetwork)
        and F.loss is cross_entropy
        and bool((net.signs.abs() <= 1).all()),
        "The proof is for cross-entropy on a ConvexNetwork with signs of size 1; this objective "
        f"has a {type(net).__name__}, or another loss, or other signs: build it as lab/proved.py.",
    )
    check_length(F)
    mu = F.weight_decay - LONGEST**2 * net.curvature
    require(
        mu > 0,
        f"weight_decay = {F.weight_decay:g} does not exceed the curvature {net.curvature:g} that a "
        "loss may have: no convexity is proved. Give more decay or less strength.",
    )
    return mu
