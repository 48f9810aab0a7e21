"""Gradients of the proved models, written out by hand in float64, with a bound on their rounding.

No derivative is taken by a machine and nothing of the package is used: `verify` compares with it.
A model is a map from x_i to s_i such that sample i's gradient is the matrix s_i x_i^T:

    softmax regression    s = r = softmax(W x) - onehot(y)
    logistic regression   s = r = sigmoid(w x) - y
    least squares         s = r = W x + b - y,  with x := (x, 1) where there is a bias
    tanh network          s = a (V^T r) * (1 - h^2),  h = tanh((U0 + U) x),  f = a V h

*Rounding* (Higham, Accuracy and Stability of Numerical Algorithms, chapter 3). u = 2^-53 is the
unit roundoff and gamma_n = n u/(1 - n u). A sum of n products, in any order, with or without fused
operations, differs from the exact one by at most gamma_n sum |a_i b_i|. Each function below says
what it adds. SAFETY covers terms of second order and the rounding of the bounds themselves. Taken
on trust: numpy's exp and tanh to four ulp (tests/test_verify.py asks mpmath), that BLAS multiplies
matrices by sums of products, and that LAPACK is backward stable.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import mpmath
import numpy as np
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

U = 2.0**-53
FOUR_ULP = 8 * U  # relative
SAFETY = 1.01
TINY = 1e-140  # more than what underflow loses, squares in norms included
CHUNK = 1024  # samples at a time

Bounded = tuple[np.ndarray, np.ndarray]  # an array, and a bound on what is wrong with it


def gamma(n: int) -> float:
    """What n roundings do to a product of numbers, at most: n u/(1 - n u)."""
    return n * U / (1 - n * U)


def norm(a: np.ndarray) -> float:
    """Length of all entries together, to one ulp, without overflow."""
    return math.hypot(*a.ravel().tolist())


def norms(a: np.ndarray) -> np.ndarray:
    """Length of each row; relative error gamma_(columns + 2) at most."""
    return np.sqrt(np.einsum("ij,ij->i", a, a))


def split(a: np.ndarray, bits: int) -> tuple[np.ndarray, np.ndarray]:
    """a = high + low without rounding: high is the `bits` bits below the largest entry's first."""
    largest = max(int(np.frexp(np.abs(a).max())[1]), -900)  # far from where float64 underflows
    grid = math.ldexp(1.0, largest - bits)
    high = np.rint(a / grid) * grid
    return high, a - high


def product(x: np.ndarray, w: np.ndarray, tail: np.ndarray | float = 0.0) -> Bounded:
    """x (w + tail)^T, for |tail| <= u |w|, nearly as if computed in twice the precision.

    With d columns, the high parts of (53 - log2 d)/2 bits multiply exactly: every partial sum is a
    whole number of grid cells below 2^53. What is left is small, so its gamma_(d+4) hardly counts,
    and one rounding of the result is left: u |z|. A plain product's gamma_d ||x|| ||w|| would be
    too much under a large gain.
    """
    bits = (53 - math.ceil(math.log2(x.shape[1]))) // 2
    (x_high, x_low), (w_high, w_low) = split(x, bits), split(w, bits)
    w_low = w_low + tail
    z = x_high @ w_high.T + (x_high @ w_low.T + x_low @ w.T)
    small = norms(x_high) * norms(w_low).max() + norms(x_low) * norms(w).max()
    return z, U * np.abs(z) + (gamma(x.shape[1] + 4) * small)[:, None]


def softmax_residual(z: np.ndarray, dz: np.ndarray, y: np.ndarray) -> Bounded:
    """r = softmax(z) - onehot(y); r_y = -(sum of the others), so that nothing cancels.

    An error in a logit, and a relative error of an exponential or a sum, is kept as an error of an
    exponent, where they add up to e: each r_k is then right to a factor exp(+-2 e), and
    ||dr|| <= (exp(2 e) - 1) ||r||. The more certain and right a prediction, the smaller its error.
    """
    at = (np.arange(len(y)), y)
    shifted = z - z.max(1, keepdims=True)
    powers = np.exp(shifted)
    total = powers.sum(1)
    powers[at] = 0.0
    powers[at] = -powers.sum(1)
    r = powers / total[:, None]
    exponent = dz.max(1) + U * np.abs(shifted).max(1) + FOUR_ULP + gamma(2 * z.shape[1] + 2)
    return r, np.expm1(2 * exponent) * norms(r) + TINY


def logistic_residual(z: np.ndarray, dz: np.ndarray, y: np.ndarray) -> Bounded:
    """r = sigmoid(z) - y for y in [0, 1]; |sigmoid'| <= 1/4, and six roundings of numbers <= 1."""
    small = np.exp(-np.abs(z))
    r = np.where(z < 0, small, 1.0) / (1 + small) - y.reshape(z.shape)
    return r, dz[:, 0] / 4 + FOUR_ULP + 6 * U


def squared_residual(z: np.ndarray, dz: np.ndarray, y: np.ndarray) -> Bounded:
    """r = z - y, one rounding of the difference."""
    return z - y, norms(dz) + U * norms(z - y)


@dataclass(frozen=True, eq=False)
class Linear:
    """z = W x, W (K, d); with a bias the last column of W."""

    name: str
    inputs: int
    bias: bool
    residual: Callable[[np.ndarray, np.ndarray, np.ndarray], Bounded]

    def matrix(self, w: np.ndarray) -> np.ndarray:
        """W, in which what multiplies x stands; a flat vector as PyTorch orders it."""
        if not self.bias:
            return w.reshape(-1, self.inputs)
        rows = len(w) // (self.inputs + 1)
        return np.column_stack([w[:-rows].reshape(rows, -1), w[-rows:]])

    def outputs(self, w: np.ndarray, x: np.ndarray) -> Bounded:
        return product(x, self.matrix(w))

    def slopes(self, w: np.ndarray, x: np.ndarray, y: np.ndarray) -> Bounded:
        """s_i of each sample, and a bound on ||ds_i||."""
        return self.residual(*self.outputs(w, x), y)


@dataclass(frozen=True, eq=False)
class Tanh:
    """f = a V tanh((U0 + U) x) by cross-entropy, with V of signs."""

    start: np.ndarray
    signs: np.ndarray
    gain: float
    name: str = "tanh network"
    bias: bool = False

    def matrix(self, w: np.ndarray) -> np.ndarray:
        """U."""
        return w.reshape(self.start.shape)

    @cached_property
    def slope(self) -> mpmath.mpf:
        """A = a ||V||_2, from the whole numbers V V^T."""
        with mpmath.workdps(40):
            gram = mpmath.matrix((self.signs @ self.signs.T).tolist())
            return mpmath.mpf(self.gain) * mpmath.sqrt(max(mpmath.eigsy(gram, eigvals_only=True)))

    def _hidden(self, w: np.ndarray, x: np.ndarray) -> Bounded:
        """h, dh. U0 + U is kept as sum and rounding error (Knuth's two-sum); |tanh'| <= 1."""
        moved = self.matrix(w)
        weight = self.start + moved
        back = weight - self.start
        tail = (self.start - (weight - back)) + (moved - back)
        z, dz = product(x, weight, tail)
        h = np.tanh(z)
        return h, dz + FOUR_ULP * np.abs(h)

    def _above(self, h: np.ndarray, dh: np.ndarray) -> Bounded:
        """f and df: |f_k| moves by at most a sum_j |dh_j|, as |V_kj| = 1."""
        f, df = product(h, self.signs)
        f = self.gain * f
        return f, self.gain * (dh.sum(1, keepdims=True) + df) + U * np.abs(f)

    def outputs(self, w: np.ndarray, x: np.ndarray) -> Bounded:
        return self._above(*self._hidden(w, x))

    def slopes(self, w: np.ndarray, x: np.ndarray, y: np.ndarray) -> Bounded:
        """s_i of each sample, and a bound on ||ds_i||, as a share of A ||r_i||:

        ||dr||/||r|| from the residual; K gamma_K from V^T r, as ||V||_F <= sqrt K ||V||_2; from
        1 - h^2 at most |dh| (2 + |dh|); and six roundings.
        """
        h, dh = self._hidden(w, x)
        r, dr = softmax_residual(*self._above(h, dh), y)
        s = self.gain * (r @ self.signs) * ((1 - h) * (1 + h))
        K, most = r.shape[1], dh.max(1)
        share = K * gamma(K) + most * (2 + most) + 6 * U
        return s, float(self.slope) * (dr + share * norms(r))


@dataclass(frozen=True, eq=False)
class Sum:
    """F(w) = (1/n) sum_i loss_i + (wd/2)||w - center||^2, on samples that each call names."""

    form: Linear | Tanh
    x: np.ndarray
    y: np.ndarray
    decay: float
    center: np.ndarray | float

    def batches(self, rows: np.ndarray):
        """x and y of the samples, CHUNK at a time, x with a 1 where the model has a bias."""
        for some in np.array_split(rows, max(1, math.ceil(len(rows) / CHUNK))):
            x = self.x[some].reshape(len(some), -1).astype(np.float64)
            yield np.pad(x, ((0, 0), (0, int(self.form.bias))), constant_values=1.0), self.y[some]

    def gradient(self, w: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, float]:
        """grad F(w) in the shape of `matrix`, and a bound on the length of its rounding error.

        sum_i s_i x_i^T in chunks, in which no number is added to more than CHUNK + chunks others:
        gamma of that times sum_i ||s_i|| ||x_i||, and sum_i ||ds_i|| ||x_i||. Then four roundings.
        """
        total, wrong, size, chunks = 0.0, 0.0, 0.0, 0
        for x, y in self.batches(rows):
            (s, ds), length = self.form.slopes(w, x, y), norms(x)
            total, chunks = total + s.T @ x, chunks + 1
            wrong, size = wrong + ds @ length, size + norms(s) @ length
        data, pull = total / len(rows), self.decay * self.form.matrix(w - self.center)
        rounding = (wrong + gamma(min(CHUNK, len(rows)) + chunks + 2) * size) / len(rows)
        rounding += 4 * U * (norm(data) + norm(pull))
        return data + pull, SAFETY * rounding + TINY

    def longest(self, rows: np.ndarray) -> tuple[float, float]:
        """The largest ||x||, and a bound on its rounding."""
        longest = max(float(norms(x).max()) for x, _ in self.batches(rows))
        return longest, SAFETY * gamma(self.x[0].size + 3) * longest

    def spectrum(self, rows: np.ndarray) -> tuple[float, float, float]:
        """Least and largest eigenvalue of X^T X/n, and a bound on their error.

        By Weyl no more than the matrix's: gamma_n of the sums, and for LAPACK 10 d u of its size.
        """
        total, size, chunks = 0.0, 0.0, 0
        for x, _ in self.batches(rows):
            total, size, chunks = total + x.T @ x, size + float((x * x).sum()), chunks + 1
        ends = np.linalg.eigvalsh(total / len(rows))[[0, -1]]
        wrong = (gamma(min(CHUNK, len(rows)) + chunks + 2) + 10 * len(total) * U) * size / len(rows)
        return float(ends[0]), float(ends[1]), SAFETY * wrong


SQUARED_ERROR = ["unlearnlib.objective", "squared_error"]  # by name: importing would share a path


def recognise(F) -> Sum | str:
    """F written out by hand; or, in words, why it is none of the four models.

    The form is read off parameters, buffers and the loss's identity. That the model computes what
    the form says is then tried on a few samples at weights of three sizes: evidence, no proof.
    """
    if F.dtype != torch.float64:
        return f"{F.dtype}: its rounding is not bounded here; use F.to(torch.float64)"
    form = _network(F) if "signs" in F.buffers else _linear(F)
    if form is None:
        return "no linear layer, and no tanh network of signs, by a loss that is written out here"
    center = 0.0 if F.center is None else _numpy(F.center)
    found = Sum(form, _numpy(F.x), _numpy(F.y), F.weight_decay, center)
    return found if _agrees(F, found) else f"its outputs are not those of a {form.name}"


def _linear(F) -> Linear | None:
    """Softmax or logistic regression without bias, or least squares; None for anything else."""
    shapes = [tuple(q.shape) for q in F.model.parameters()]
    matrix, bias = len(shapes[0]) == 2 and shapes[0][1] == F.x[0].numel(), len(shapes) == 2
    if F.buffers or not matrix or len(shapes) > 2 or (bias and shapes[1] != shapes[0][:1]):
        return None
    inputs, loss = shapes[0][1], [getattr(F.loss, q, "") for q in ("__module__", "__name__")]
    if loss == SQUARED_ERROR:
        return Linear("least squares", inputs, bias, squared_residual)
    if F.loss is cross_entropy and not bias:
        return Linear("softmax regression", inputs, bias, softmax_residual)
    in_range = F.y.is_floating_point() and bool(((F.y >= 0) & (F.y <= 1)).all())
    if F.loss is binary_cross_entropy_with_logits and shapes == [(1, inputs)] and in_range:
        return Linear("logistic regression", inputs, bias, logistic_residual)
    return None


def _network(F) -> Tanh | None:
    """The network of tanh neurons, if that is what the model holds."""
    shapes, gain = [q.shape for q in F.model.parameters()], getattr(F.model, "gain", None)
    if set(F.buffers) != {"start", "signs"} or not isinstance(gain, float) or not gain > 0:
        return None
    start, signs = (_numpy(F.buffers[name]) for name in ("start", "signs"))
    if F.loss is not cross_entropy or shapes != [start.shape] or not (np.abs(signs) == 1).all():
        return None
    return Tanh(start, signs, gain)


def _agrees(F, found: Sum) -> bool:
    """Whether the model's own outputs are those written out, on four samples."""
    rng, net = np.random.default_rng(0), copy.deepcopy(F.model)
    (x, _), *_ = found.batches(np.arange(min(4, len(found.x))))
    for size in (0.1, 1.0, 10.0):
        w = size * rng.standard_normal(F.p)
        torch.nn.utils.vector_to_parameters(torch.from_numpy(w).to(F.device), net.parameters())
        with torch.no_grad():
            theirs = _numpy(net(F.x[:4].to(F.device, F.dtype)))
        ours = found.form.outputs(w, x)[0]
        if theirs.shape != ours.shape or not np.allclose(theirs, ours, 1e-9, 1e-9 * norm(ours)):
            return False
    return True


def _numpy(tensor: torch.Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy()
