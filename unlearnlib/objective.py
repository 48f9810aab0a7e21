"""The training objective as a function of one flat vector.

    F(w) = (1/n) sum_i loss(model_w(x_i), y_i) + (wd/2) ||w - center||^2

Everything else in the package sees a model only through this class, so that code reads like the
paper's equations. The data is walked through in passes of `pass_size` samples: memory does not
grow with n. The model is always evaluated in eval mode, with its buffers frozen.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from torch.nn.functional import cross_entropy

from . import checks, draws, layers, linearised, precision
from .checks import Indices
from .errors import InputError, require, require_counts
from .linearised import KEPT_BYTES, Linearised
from .reduce import ALONE, Alone

MAX_DENSE_GIB = 4
Loss = Callable[[Tensor, Tensor], Tensor]


def squared_error(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean over samples of ||output - y||^2 / 2: a linear model then has a constant Hessian."""
    given, wanted = tuple(outputs.shape), tuple(y.shape)
    require(given == wanted, f"Outputs have shape {given} and targets {wanted}; they must agree.")
    return (outputs - y).square().flatten(1).sum(1).mean() / 2


class Objective:
    """F(w) = mean loss + (wd/2)||w - center||^2 over n samples, for w of shape (p,).

    model   any nn.Module; copied, never changed. Its device and dtype are the objective's. Weights
            with requires_grad=False stay as they are and have no part in w.
    x, y    n inputs and n targets: tensors, held by reference and moved to the dtype a batch at a
            time, or arrays and lists of numbers.
    loss    loss(outputs, y) -> mean over the batch, in which each sample counts alone. Default:
            cross-entropy on integer labels.
    pass_size  samples that a pass over the data takes at a time: what bounds memory.
    weight_decay, center   the regulariser; center defaults to 0. It is the *squared* norm, as
            in the paper's text; the released code uses unsquared norms of single tensors.
    reduce  shares the sums over samples among processes; see reduce.py. One process by default.
    public_buffers  names of buffers, and of weights that are not trained, which were fixed before
            the data was seen; the model's own attribute of this name adds to them. A certificate
            is refused where others are published beside w.

    `w` lists the trained parameters in the order of `model.named_parameters()`, as
    torch.nn.utils.parameters_to_vector does. Raises InputError for inputs the model cannot take.
    PyTorch rounds a GPU's convolutions to ten bits, unless torch.backends.cudnn.allow_tf32 = False.
    """

    paired = False  # whether `batch` returns more samples than it is given positions

    def __init__(
        self,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        *,
        loss: Loss = cross_entropy,
        weight_decay: float = 0.0,
        center: Tensor | None = None,
        pass_size: int = 1024,
        reduce: Alone = ALONE,
        public_buffers: Collection[str] = (),
    ):
        checks.model(model)
        layers.refuse(model)
        self.model = copy.deepcopy(model).eval()
        self.model.zero_grad(set_to_none=True)
        trained = {name: q for name, q in self.model.named_parameters() if q.requires_grad}
        self._shapes = {name: q.shape for name, q in trained.items()}
        self._sizes = [q.numel() for q in trained.values()]
        self._slots = _slots(self.model, trained)
        finite = 0 <= weight_decay < math.inf
        require(finite, f"weight_decay is {weight_decay}; it must be a finite number >= 0.")
        require_counts(pass_size=pass_size)
        first = next(self.model.parameters())
        self.dtype, self.device, self.p = first.dtype, first.device, sum(self._sizes)
        self.x, self.y, self.loss = checks.tensor(x, "x"), checks.tensor(y, "y"), loss
        self.y = self.y if self.y.is_floating_point() else self.y.long()
        self.public_buffers = {*public_buffers, *getattr(model, "public_buffers", ())}
        checks.unpublished(self.model, self.public_buffers)  # a name that is not there is refused
        self.weight_decay, self.pass_size, self.reduce = float(weight_decay), pass_size, reduce
        self.center = None if center is None else self.check(center, "center").clone()
        self.rows: Tensor | None = None
        self.buffers = dict(self.model.named_buffers())
        self._convolutional = any(isinstance(q, nn.modules.conv._ConvNd) for q in model.modules())
        self._check_data()
        self._check_curvature()
        self._vmapped = self._has_rules()
        moved = [k for k, q in model.named_buffers() if not torch.equal(q, self.buffers[k])]
        require(not moved, f"forward changes the buffers {moved}; it must leave them, in eval().")

    # ---- what it holds ---------------------------------------------------------------------

    @property
    def n(self) -> int:
        """Number of samples."""
        return len(self.x) if self.rows is None else len(self.rows)

    def initial(self) -> Tensor:
        """The weights that the model had at the start, as one flat vector of shape (p,)."""
        weights = dict(self.model.named_parameters())
        return torch.cat([weights[name].detach().reshape(-1) for name in self._shapes])

    def pieces(self, w: Tensor) -> dict[str, Tensor]:
        """Windows on w, (p,) or (k, p), one for each named parameter, in its shape."""
        split = zip(self._shapes.items(), w.split(self._sizes, -1), strict=True)
        return {name: part.view(*w.shape[:-1], *shape) for (name, shape), part in split}

    def module(self, w: Tensor) -> nn.Module:
        """A copy of the model that holds w, in eval mode."""
        model, pieces = copy.deepcopy(self.model), self.pieces(self.check(w).clone())
        for name, q in model.named_parameters():
            q.data = pieces.get(name, q.data)
        return model

    def only(self, rows: Indices) -> Objective:
        """The objective on these samples alone (the forget set). Data is shared, not copied."""
        return self._on(self.indices(rows))

    def without(self, rows: Indices) -> Objective:
        """The objective on all other samples (the retained set). Data is shared, not copied."""
        rows = self.indices(rows)
        remedy = "retain at least one, or train a new model instead."
        require(len(rows) < self.n, f"All {self.n} samples would be forgotten; {remedy}")
        keep = torch.ones(self.n, dtype=torch.bool, device="cpu")
        keep[rows] = False
        return self._on(keep.nonzero().squeeze(1))

    def with_buffers(self, buffers: dict[str, Tensor]) -> Objective:
        """The same objective with other frozen buffers (BatchNorm statistics), by name."""
        other = self._like(model=copy.deepcopy(self.model))
        remedy = "give all of the model's buffers, as run.buffers holds them."
        for name, buffer in other.buffers.items():
            shape = tuple(buffer.shape)
            fits = name in buffers and buffers[name].shape == shape
            require(fits, f"Buffer '{name}' of shape {shape} is missing or of another; {remedy}")
            buffer.copy_(buffers[name])
        return other

    def with_loss(self, loss: Loss) -> Objective:
        """The same samples and regulariser under another loss, such as the negative of this one."""
        return self._like(loss=loss)

    def to(self, dtype: torch.dtype) -> Objective:
        """The same objective in another precision; float64 for spectra and certificates."""
        precision.check(dtype, self.device)
        center = None if self.center is None else self.center.to(dtype)
        return self._like(model=copy.deepcopy(self.model).to(dtype), dtype=dtype, center=center)

    # ---- values and derivatives over all n samples -----------------------------------------

    def value(self, w: Tensor) -> float:
        """F(w)."""
        wide = precision.widest(self.device)
        w, total = self.check(w), torch.zeros((), dtype=wide, device=self.device)
        with torch.no_grad():
            for samples in self.own_passes():
                x, y = self.batch(samples)
                total += self.batch_loss(w, x, y).detach() * len(x)
        decay = self.weight_decay / 2 * float(self._from_center(w).square().sum())
        return float(self.reduce(total)) / self.n + decay

    @torch.enable_grad()
    def gradient(self, w: Tensor) -> Tensor:
        """grad F(w), shape (p,)."""
        checks.derivatives()
        leaf = self.check(w).requires_grad_()
        total = torch.zeros_like(leaf)
        for samples in self.own_passes():
            x, y = self.batch(samples)
            total += torch.autograd.grad(self.batch_loss(leaf, x, y), leaf)[0] * len(x)
        return self.reduce(total) / self.n + self.weight_decay * self._from_center(w)

    def hessian_at(self, w: Tensor, keep: int = KEPT_BYTES) -> Callable[[Tensor], Tensor]:
        """Return v -> H(w) v, for many v at one w: what does not depend on v is computed once.

        v (p,), or (k, p). The graphs that are kept take `keep` bytes at most.
        """
        checks.derivatives()
        return Linearised(self, w, linearised.hessian_of_pass, keep)

    def ggn_at(self, w: Tensor, keep: int = KEPT_BYTES) -> Callable[[Tensor], Tensor]:
        """Return v -> the Gauss-Newton product, for many v at one w, as `hessian_at`.

        J^T (d^2 loss / d outputs^2) J v, plus wd v. Positive semi-definite for losses convex in
        the outputs; equal to the Hessian where the model is linear in its parameters.
        """
        checks.derivatives()
        return Linearised(self, w, linearised.gauss_newton_of_pass, keep)

    def hvp(self, w: Tensor, v: Tensor) -> Tensor:
        """One Hessian product H(w) v, for v of shape (p,) or (k, p)."""
        return self.hessian_at(w, keep=0)(v)

    def ggn(self, w: Tensor, v: Tensor) -> Tensor:
        """One Gauss-Newton product, for v of shape (p,) or (k, p)."""
        return self.ggn_at(w, keep=0)(v)

    def hessian(self, w: Tensor) -> Tensor:
        """The dense Hessian H(w), shape (p, p); refused beyond 4 GiB."""
        p, size = self.p, self.p**2 * w.element_size() / 2**30
        remedy = f"more than {MAX_DENSE_GIB}; use F.hvp, or a smaller model."
        require(size <= MAX_DENSE_GIB, f"A dense {p} x {p} Hessian takes {size:.1f} GiB, {remedy}")
        dense = torch.empty(p, p, dtype=self.dtype, device=self.device)
        H = self.hessian_at(w)
        for block in torch.arange(p, device=self.device).split(64):
            dense[block] = H(nn.functional.one_hot(block, p).to(self.dtype))  # unit vectors
        return dense

    # ---- one batch: the data term alone, without decay ---------------------------------------

    def outputs(self, w: Tensor, x: Tensor) -> Tensor:
        """The model's outputs at w (p,) on a batch."""
        return self.outputs_of(self.pieces(w), x)

    def outputs_of(self, pieces: dict[str, Tensor], x: Tensor) -> Tensor:
        """The model's outputs on a batch, for parameters by name."""
        weights = {slot: pieces[name] for slot, name in self._slots.items()}
        with layers.unfused():
            return functional_call(self.model, self.buffers | weights, (x,), tie_weights=False)

    def batch_loss(self, w: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """Mean loss on a batch. For k models, w (k, p), x (k, b, ...), y (k, b): shape (k,)."""
        if w.dim() == 2:
            if self._vmapped:
                return vmap(self.batch_loss)(w, x, y)
            return torch.stack([self.batch_loss(*one) for one in zip(w, x, y, strict=True)])
        return self.loss(self.outputs(w, x), y)

    @torch.enable_grad()
    def hvp_each(self, w: Tensor, v: Tensor, x: Tensor, y: Tensor) -> Tensor:
        """k vectors v (k, p), each times the Hessian of its own batch x (k, b, ...), y (k, b).

        Together by vmap; one batch at a time for convolutional nets, where vmap does not pay, and
        for recurrent and other ones with operations that it has no rule for.
        """
        if self._vmapped and not self._convolutional:
            return linearised.hessians_of_batches(self, w, v, x, y)
        hessian, batches = linearised.hessian_of_pass, zip(v, x, y, strict=True)
        return torch.stack([hessian(self, w, x, y)(v, False) for v, x, y in batches])

    # ---- walking through the data ------------------------------------------------------------

    def batch(self, positions: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Samples by position within this objective; positions may have any shape."""
        at = positions if self.rows is None else self.rows[positions]
        at = _window(at) if self.rows is not None and isinstance(positions, slice) else at
        return self._cast(self.x[at]), self._cast(self.y[at])

    def passes(self) -> Iterator[tuple[Tensor, Tensor]]:
        """All samples once, `pass_size` at a time."""
        return map(self.batch, self._slices(range(self.n)))

    def own_passes(self) -> Iterator[slice]:
        """Slices of this process's share of the samples, `pass_size` at a time."""
        return self._slices(self.reduce.share(range(self.n)))

    def _slices(self, samples: range) -> Iterator[slice]:
        for start in range(samples.start, samples.stop, self.pass_size):
            yield slice(start, min(start + self.pass_size, samples.stop))

    def draw(self, shape: tuple[int, ...], generator: torch.Generator | None) -> Tensor:
        """Positions of samples drawn uniformly with replacement, any shape."""
        return draws.integers(self.n, shape, generator)

    # ---- checks ----------------------------------------------------------------------------

    def check(self, w: Tensor, name: str = "w") -> Tensor:
        """Return `w`; refuse it unless it is finite, (p,) or (k, p), and of the right dtype."""
        checks.vector(w, self.p, self.dtype, name)
        return w.clone() if w.is_inference() else w.detach()

    def _check_data(self) -> None:
        n, m = len(self.x), len(self.y)
        require(n == m and n > 0, f"x has {n} samples and y has {m}; give as many, at least one.")
        checks.finite(self.x, "x")
        checks.finite(self.y, "y")
        x, y = self.batch(checks.of_each_label(self.y))
        # not at the start, where weights of 0 would make all samples look alike
        start = self.initial()
        w = start + torch.linspace(-0.1, 0.1, self.p, device="cpu").to(start)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            outputs = checks.model_by_sample(lambda x: self.outputs(w, x), x[:2])
            if self.loss is cross_entropy:
                checks.labels(self.y, outputs.shape[-1])
            checks.loss_by_sample(self.loss, outputs, y)

    def _check_curvature(self) -> None:
        """Refuse what has no second derivative now, on one sample, rather than after training."""
        w, one = self.initial(), self.batch(slice(0, 1))
        try:
            with torch.enable_grad():
                linearised.hessian_of_pass(self, w, *one)(torch.ones_like(w), False)
        except RuntimeError as problem:
            remedy = "use no sparse or max_norm embedding, no checkpoint and not what it names here"
            what = f"PyTorch can't differentiate the model's loss twice; {remedy}"
            raise InputError(f"{what}: {str(problem).splitlines()[0]}") from problem

    def _has_rules(self) -> bool:
        """Whether vmap can run the model; it has no rule for some operations, as recurrent ones."""
        w, (x, _) = self.initial(), self.batch(slice(0, 1))
        with suppress(RuntimeError), torch.no_grad():
            vmap(self.outputs_of)(self.pieces(w[None]), x[None])
            return True
        return False

    def indices(self, rows: Indices) -> Tensor:
        """Return `rows` as integers; refuse them unless they name samples of F, each only once."""
        return checks.samples(rows, self.n)

    # ---- small things ------------------------------------------------------------------------

    def _on(self, rows: Tensor) -> Objective:
        return self._like(rows=rows if self.rows is None else self.rows[rows])

    def _like(self, **changes) -> Objective:
        other = copy.copy(self)
        vars(other).update(changes)
        other.buffers = dict(other.model.named_buffers())
        return other

    def add_decay(self, gradient: Tensor, w: Tensor) -> None:
        """Add the regulariser's gradient, wd (w - center), in place."""
        gradient.add_(self._from_center(w), alpha=self.weight_decay)

    def _from_center(self, w: Tensor) -> Tensor:
        return w if self.center is None else w - self.center

    def _cast(self, z: Tensor) -> Tensor:
        return z.to(self.device, self.dtype) if z.is_floating_point() else z.to(self.device)


def _window(rows: Tensor) -> Tensor | slice:
    """The rows as a slice where each follows on the last: of x it makes a window, and no copy."""
    return slice(int(rows[0]), int(rows[-1]) + 1) if (rows.diff() == 1).all() else rows


def _slots(model: nn.Module, trained: dict[str, nn.Parameter]) -> dict[str, str]:
    """Where each trained parameter sits: {place in a layer: name in w}.

    A weight that two layers share sits in two places. A layer that is reached by two names is one.
    """
    names = {id(q): name for name, q in trained.items()}
    return {
        f"{prefix}.{name}".lstrip("."): names[id(q)]
        for prefix, layer in model.named_modules()
        for name, q in layer._parameters.items()
        if id(q) in names
    }
