"""What an objective refuses: models, vectors, samples and labels that do not fit it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin

from .errors import InputError, require

Indices = Sequence[int] | Set[int] | Iterator[int] | np.ndarray | Tensor
UNWRAPPED = {
    "DataParallel": "model.module",
    "DistributedDataParallel": "model.module",
    "OptimizedModule": "model._orig_mod",
    "ScriptModule": "the torch.nn.Module that it was made of",
}


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


def tensor(data: object, name: str) -> Tensor:
    """`data` as a tensor: lists, numpy arrays and pandas columns of numbers are converted."""
    try:
        data = data if isinstance(data, Tensor) else torch.from_numpy(np.array(data, order="C"))
    except (TypeError, ValueError) as problem:
        raise InputError(
            f"{name} is of type {type(data).__name__} and no array of numbers ({problem}); "
            "give a tensor, a numpy array or a list of numbers."
        ) from problem
    require(not data.is_complex(), f"{name} is {data.dtype}; give real numbers.")
    return data.clone() if data.is_inference() else data.detach()


def finite(z: Tensor, name: str) -> None:
    """Refuse samples that hold NaN or infinity."""
    bad = ~torch.cat([part.reshape(len(part), -1).isfinite().all(1) for part in z.split(2**14)])
    require(
        not bad.any(),
        f"{name} holds NaN or infinity in {int(bad.sum())} of {len(z)} samples, the first at index "
        f"{int(bad.int().argmax())}; all numbers must be finite: mend or remove these samples.",
    )


def samples(rows: Indices, n: int) -> Tensor:
    """`rows` as integers, if they name samples out of n, each once, at least one.

    Sets are sorted, so that every process takes their samples in the same order.
    """
    if isinstance(rows, Set | Iterator):
        rows = sorted(rows) if isinstance(rows, Set) else list(rows)
    rows = tensor(rows, "The set of samples").reshape(-1).cpu()
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
        f"Labels are {y.dtype} of shape {tuple(y.shape)}; cross-entropy needs n integers, such as "
        "y.long().flatten().",
    )
    require(
        0 <= int(y.min()) and int(y.max()) < classes,
        f"Label {_outlier(y)} is out of range for a model with {classes} outputs; "
        f"labels go from 0 to {classes - 1}.",
    )


def model(net: nn.Module) -> None:
    """Refuse a model that cannot be read as a function of one real vector of weights."""
    for kind in type(net).__mro__:
        name = UNWRAPPED.get(kind.__name__)
        require(name is None, f"The model is wrapped in {kind.__name__}; give {name}.")
    require(
        isinstance(net, nn.Module),
        f"The model is of type {type(net).__name__}; give a torch.nn.Module.",
    )
    weights = dict(net.named_parameters())
    for name, q in weights.items():
        require(
            not isinstance(q, UninitializedTensorMixin),
            f"Parameter '{name}' has no shape yet; call the model on one batch first.",
        )
        require(
            q.is_floating_point() and not q.is_meta,
            f"Parameter '{name}' is {q.dtype} on {q.device}; give real weights that hold numbers: "
            "load them, or build the model on the CPU.",
        )
    kinds = {(q.dtype, str(q.device)) for q in weights.values()}
    require(
        len(kinds) <= 1,
        f"Parameters are of several kinds, {sorted(map(str, kinds))}; give them one dtype and one "
        "device, as model.to(torch.float32) does.",
    )
    require(
        any(q.requires_grad for q in weights.values()),
        "The model has no parameters that can be trained; give one that requires a gradient.",
    )
    dropout(net)


def unpublished(net: nn.Module, public: Set[str]) -> list[str]:
    """Names of the tensors that are released beside w as they are and were not declared public.

    Buffers, frozen weights, and tensors that a layer holds as plain attributes. BatchNorm's
    statistics are left out: they are computed anew for each release.
    """
    held = [name for name, q in net.named_parameters() if not q.requires_grad]
    for prefix, layer in net.named_modules():
        if not isinstance(layer, nn.modules.batchnorm._BatchNorm):
            plain = [name for name, q in vars(layer).items() if isinstance(q, Tensor)]
            held += [f"{prefix}.{name}".lstrip(".") for name in [*layer._buffers, *plain]]
    unknown = sorted(set(public) - set(held))
    require(
        not unknown,
        f"public_buffers names {unknown}, and the model has no such buffer or frozen weight; "
        f"it has {held}.",
    )
    return [name for name in held if name not in public]


def copied(net: nn.Module) -> nn.Module:
    """A copy without gradients, or InputError where the model can't be copied."""
    try:
        copy = deepcopy(net)
    except (RuntimeError, TypeError) as problem:
        raise InputError(
            f"The model can't be copied ({problem}); hold no tensors in it that were computed from "
            "its weights: torch.nn.utils.parametrizations does without."
        ) from problem
    copy.zero_grad(set_to_none=True)
    return copy


def of_each_label(y: Tensor) -> Tensor:
    """Positions of the first sample and of one of each other label, 64 at most.

    Where y holds no labels, of the first and the last sample.
    """
    if y.dim() != 1 or y.is_floating_point():
        return torch.tensor([0, len(y) - 1])
    _, label = y.unique(return_inverse=True)
    where = torch.full((int(label.max()) + 1,), len(y)).scatter_reduce(
        0, label.cpu(), torch.arange(len(y)), "amin"
    )
    first, *others = where.sort().values.tolist()
    return torch.tensor([first, *(others or [len(y) - 1])][:64])


def model_by_sample(outputs: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """The outputs on two samples x, if they are those of each alone, and the same every time."""
    try:
        together, again, apart = outputs(x), outputs(x), [outputs(part) for part in x.split(1)]
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as problem:
        raise InputError(
            f"The model cannot take inputs of shape {tuple(x.shape[1:])} in {x.dtype}: {problem}. "
            "Give it the shape and type that it was built for, such as images in x.float()."
        ) from problem
    require(
        isinstance(together, Tensor) and len(together) == len(x),
        f"The model returns a {type(together).__name__}; it must return one tensor with a row for "
        "each sample: wrap it in a module whose forward picks the outputs.",
    )
    require(
        _alike(together, again, 8),
        "The model's outputs differ from one call to the next: F would be random and have no "
        "Hessian. Take the random part out of forward, or switch it off in model.eval().",
    )
    require(
        _alike(together, torch.cat(apart), 8),
        "The model's outputs on a sample depend on the other samples of its batch, so F would "
        "depend on pass_size. Give BatchNorm its running statistics, or build with norm='group'.",
    )
    return together


def loss_by_sample(loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, y: Tensor) -> None:
    """Refuse a loss that is not the mean over the batch of what each sample has alone."""
    outputs = outputs[torch.arange(len(y)) % len(outputs)]
    try:
        together, apart = loss(outputs, y), [*map(loss, outputs.split(1), y.split(1))]
    except (RuntimeError, IndexError, TypeError, AttributeError) as problem:
        raise InputError(
            f"The loss cannot take outputs of shape {tuple(outputs.shape)} and targets of shape "
            f"{tuple(y.shape)} in {y.dtype}: {problem}. Give y the shape and type that it asks for."
        ) from problem
    mean = torch.stack(apart).mean(0)
    require(
        together.dim() == 0 and _alike(together, mean, 0.1),
        f"The loss returns {together.tolist()} for samples whose losses alone have the mean "
        f"{mean.tolist()}; it must return the mean over the batch, one number, in which every "
        "sample counts alike: no sum, no class weights, no ignored labels, no root.",
    )


def _alike(a: Tensor, b: Tensor, times: float) -> bool:
    tol = times * torch.finfo(a.dtype).eps ** 0.5
    size = float(a.abs().max().nan_to_num(0.0, 0.0, 0.0))
    return a.shape == b.shape and torch.allclose(a, b, tol, tol * size, equal_nan=True)


def derivatives() -> None:
    """Refuse to differentiate inside torch.inference_mode."""
    require(
        not torch.is_inference_mode_enabled(),
        "Nothing can be differentiated inside torch.inference_mode; leave it, or use no_grad.",
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
