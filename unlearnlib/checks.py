"""What an objective refuses: vectors, samples, labels and layers that do not fit it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .errors import require

Indices = Sequence[int] | Tensor


def vector(w: Tensor, p: int, dtype: torch.dtype, name: str) -> None:
    """Refuse a w that is not finite, (p,) or (k, p), of this dtype."""
    require(
        isinstance(w, Tensor) and w.dim() in (1, 2) and w.shape[-1] == p,
        f"{name} has shape {tuple(getattr(w, 'shape', ()))}; this model has {p} parameters, so "
        f"give a tensor of shape ({p},), as F.initial() does.",
    )
    require(
        w.dtype == dtype,
        f"{name} is {w.dtype} and the objective {dtype}; "
        f"convert it with {name}.to({dtype}) or the objective with F.to({w.dtype}).",
    )
    bad = int((~torch.isfinite(w)).sum())
    require(
        bad == 0,
        f"{name} holds {bad} NaN or infinite numbers out of {w.numel()}; all must be finite. "
        "Training probably diverged: lower its rate.",
    )


def radius(C: float) -> None:
    """Refuse a norm bound that is not a positive number."""
    require(C > 0, f"C is {C}; the radius of the ball must be > 0 (math.inf for no constraint).")


def samples(rows: Indices, n: int) -> Tensor:
    """`rows` as integers, if they name samples out of n, each once, at least one."""
    rows = torch.as_tensor(rows).reshape(-1).cpu()
    require(
        len(rows) > 0, "The set of samples is empty; name at least one index of the trained set."
    )
    require(
        not rows.dtype.is_floating_point and rows.dtype != torch.bool,
        f"Indices are {rows.dtype}; give integers (for a mask, mask.nonzero().squeeze(1)).",
    )
    rows = rows.long()
    require(
        0 <= int(rows.min()) and int(rows.max()) < n,
        f"Index {_outlier(rows)} is outside the trained set of {n} samples; "
        f"indices go from 0 to {n - 1}.",
    )
    found, times = rows.unique(return_counts=True)
    twice = found[times > 1].tolist()
    require(
        not twice,
        f"Named more than once: {twice[:5]}; name each sample once (indices.unique() does).",
    )
    return rows


def labels(y: Tensor, classes: int) -> None:
    """Refuse labels that are not n integers from 0 to classes - 1."""
    require(
        not y.is_floating_point() and y.dim() == 1,
        f"Labels are {y.dtype} of shape {tuple(y.shape)}; cross-entropy needs n integers.",
    )
    require(
        0 <= int(y.min()) and int(y.max()) < classes,
        f"Label {_outlier(y)} is out of range for a model with {classes} outputs; "
        f"labels go from 0 to {classes - 1}.",
    )


def dropout(model: nn.Module) -> None:
    """Refuse a model with a dropout layer that is switched on."""
    for name, layer in model.named_modules():
        active = isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training and layer.p > 0
        require(
            not active,
            f"Layer '{name}' is an active dropout (p = {getattr(layer, 'p', 0)}): the loss would "
            "be random and have no Hessian. Set p = 0, or call model.eval() first.",
        )


def _outlier(integers: Tensor) -> int:
    lowest = int(integers.min())
    return lowest if lowest < 0 else int(integers.max())
