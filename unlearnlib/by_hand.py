"""Gradients of the proved models, written out by hand in float64, with a bound on their rounding.

No automatic differentiation and no other code of the package is used, so that `verify` compares
with something independent.

Both models have one form, with or without a hidden layer: the gradient of sample i is s_i x_i^T,

    softmax regression    s = r = softmax(f) - onehot(y),  f = z
    tanh network          s = a (V^T r) * (1 - h^2),  f = a V h,  h = tanh(z)

for z = (start + w) x, where the start of softmax regression is 0.

*Rounding* (Higham, Accuracy and Stability of Numerical Algorithms, chapter 3). u = 2^-53 is the
unit roundoff. A sum of n products, in any order, with or without fused operations, differs from the
exact one by at most n u/(1 - n u) sum |a_i b_i|. Each function below says what it adds. SAFETY
covers terms of second order, such as that n u, and the rounding of the bounds themselves. Taken on
trust: numpy's exp and tanh to four ulp (tests/test_verify.py asks mpmath), and that BLAS
multiplies matrices by sums of products.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

U = 2.0**-53
FOUR_ULP = 8 * U  # relative
SAFETY = 1.01
TINY = 1e-140  # more than what underflow loses, squares in norms included
CHUNK = 1024  # samples at a time

Bounded = tuple[np.ndarray, np.ndarray]  # an array, and a bound on its error


def norm(a: np.ndarray) -> float:
    """Length of all entries together, to one ulp, without overflow."""
    return math.hypot(*a.ravel().tolist())


def norms(a: np.ndarray) -> np.ndarray:
    """Length of each row; relative error (columns + 2) u at most."""
    return np.sqrt(np.einsum("ij,ij->i", a, a))


def split(a: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """Split a = high + low exactly; high has the first `bits` bits of the largest entry."""
    largest = max(int(np.frexp(np.abs(a).max())[1]), -900)  # far from where float64 underflows
    grid = math.ldexp(1.0, largest - bits)
    high = np.rint(a / grid) * grid
    return high, a - high


def product(x: np.ndarray, w: np.ndarray) -> Bounded:
    """x w^T, nearly as if computed in twice the precision.

    With d columns, the high parts of (53 - log2 d)/2 bits multiply exactly: every partial sum is a
    whole number of grid cells below 2^53. The other products are small, so their (d + 4) u
    hardly counts, and one rounding of the result remains: u |z|. The error of a plain product,
    d u ||x|| ||w||, would be too large under a large gain.
    """
    bits = (53 - math.ceil(math.log2(x.shape[1]))) // 2
    (x_high, x_low), (w_high, w_low) = split(x, bits), split(w, bits)
    z = x_high @ w_high.T + (x_high @ w_low.T + x_low @ w.T)
    small = norms(x_high) * norms(w_low).max() + norms(x_low) * norms(w).max()
    return z, U * np.abs(z) + ((x.shape[1] + 4) * U * small)[:, None]


def residual(f: np.ndarray, df: np.ndarray, y: np.ndarray) -> Bounded:
    """r = softmax(f) - onehot(y) and ||dr||; r_y = -(sum of the others), so that nothing cancels.

    An error in a logit, and a relative error of an exponential or a sum, is kept as an error of an
    exponent, where they add up to e: each r_k is then right to a factor exp(+-2 e), and
    ||dr|| <= (exp(2 e) - 1) ||r||. The more certain and right a prediction, the smaller its error.
    """
    at, shifted = (np.arange(len(y)), y), f - f.max(1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(1, keepdims=True)
    powers[at] = 0.0
    powers[at] = -powers.sum(1)
    r = powers / total
    e = df.max(1) + U * np.abs(shifted).max(1) + FOUR_ULP + (2 * f.shape[1] + 2) * U
    return r, np.expm1(2 * e) * norms(r) + TINY


@dataclass(frozen=True, eq=False)
class Sum:
    """F(w) = (1/n) sum_i loss_i + (wd/2)||w - center||^2, on the samples that each call names."""

    x: np.ndarray
    y: np.ndarray
    decay: float
    center: np.ndarray | float
    start: np.ndarray
    signs: np.ndarray | None = None  # V (K, m) and a of the hidden layer, if there is one
    gain: float = 1.0

    def outputs(self, w: np.ndarray, x: np.ndarray) -> tuple[Bounded, Bounded]:
        """(h, dh) and (f, df), the same where there is no hidden layer.

        z = (start, w) (x, x), so that the sum start + w is not rounded. |tanh'| <= 1, and |f_k|
        moves by at most a sum_j |dh_j|, as |V_kj| = 1.
        """
        z, dz = product(np.hstack([x, x]), np.hstack([self.start, w.reshape(self.start.shape)]))
        if self.signs is None:
            return (z, dz), (z, dz)
        h = np.tanh(z)
        dh = dz + FOUR_ULP * np.abs(h)
        f, df = product(h, self.signs)
        df = self.gain * (dh.sum(1, keepdims=True) + df) + U * np.abs(self.gain * f)
        return (h, dh), (self.gain * f, df)

    def slopes(self, w: np.ndarray, x: np.ndarray, y: np.ndarray) -> Bounded:
        """s_i of each sample, and a bound on ||ds_i||; with a hidden layer as a share of A ||r_i||:

        A = a ||V||_2; ||dr||/||r|| from the residual; K^2 u from V^T r, as ||V||_F <= sqrt K
        ||V||_2; from 1 - h^2 at most |dh| (2 + |dh|); and six roundings.
        """
        (h, dh), logits = self.outputs(w, x)
        r, dr = residual(*logits, y)
        if self.signs is None:
            return r, dr
        s = self.gain * (r @ self.signs) * ((1 - h) * (1 + h))
        K, most, A = r.shape[1], dh.max(1), self.gain * float(np.linalg.norm(self.signs, 2))
        return s, A * (dr + (K**2 * U + most * (2 + most) + 6 * U) * norms(r))

    def gradient(self, w: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, float]:
        """grad F(w) in the shape of `start`, and a bound on the length of its rounding error.

        sum_i s_i x_i^T in chunks, in which no number is added to more than CHUNK + chunks others:
        u times that times sum_i ||s_i|| ||x_i||, and sum_i ||ds_i|| ||x_i||. Then four roundings.
        """
        total, wrong, size, chunks = 0.0, 0.0, 0.0, math.ceil(len(rows) / CHUNK)
        for part in np.array_split(rows, chunks):
            x = self.x[part]
            (s, ds), length = self.slopes(w, x, self.y[part]), norms(x)
            total, wrong, size = total + s.T @ x, wrong + ds @ length, size + norms(s) @ length
        data, pull = total / len(rows), self.decay * (w - self.center).reshape(self.start.shape)
        wrong = wrong + (min(CHUNK, len(rows)) + chunks + 2) * U * size
        wrong = wrong / len(rows) + 4 * U * (norm(data) + norm(pull))
        return data + pull, float(SAFETY * wrong + TINY)


def recognise(F) -> Sum | str:
    """Return F in its hand-written form, or a text that says why it is neither of the two models.

    The form is read off parameters, buffers, labels and the loss's identity. Whether the model
    computes what the form says is then tried on four samples: this is evidence, not a proof.
    """
    net = copy.deepcopy(F.model).cpu()
    center = torch.zeros_like(F.initial()) if F.center is None else F.center
    buffers = {k: q.numpy(force=True) for k, q in F.buffers.items()}
    weights, gain = [*net.parameters()], getattr(net, "gain", 1.0)  # frozen ones too: then refused
    start, signs = buffers.pop("start", np.zeros(weights[0].shape)), buffers.pop("signs", None)
    x, y = F.x.double().reshape(len(F.x), -1).numpy(force=True), F.y.numpy(force=True)
    form = len(weights) == 1 and weights[0].shape == start.shape and start.shape[1:] == x.shape[1:]
    form = form and not buffers and F.loss is cross_entropy and y.dtype == np.int64
    form = form and isinstance(gain, float) and gain > 0 and F.dtype == torch.float64
    fit = signs is None or signs.shape[1:] == start.shape[:1] and {*np.unique(signs)} <= {-1, 1}
    if form and fit:
        model = Sum(x, y, F.weight_decay, center.numpy(force=True), start, signs, gain)
        w = np.random.default_rng(0).standard_normal(start.shape)
        weights[0].data = torch.from_numpy(w)
        theirs = net(F.x[:4].cpu().double()).numpy(force=True)
        _, (ours, _) = model.outputs(w, x[:4])
        if theirs.shape == ours.shape and np.allclose(theirs, ours, 1e-9, 1e-9 * norm(ours)):
            return model
    return "neither softmax regression without bias nor a tanh network of signs, in float64"
