"""What an objective refuses: models, vectors, samples and labels that do not fit it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Set

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import UninitializedTensorMixin
from torch.utils._pytree import tree_leaves

from .errors import InputError, require
from .precision import widest

Indices = Sequence[int] | Set[int] | Iterator[int] | np.ndarray | Tensor
STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}
WRAPPERS = ("DataParallel", "DistributedDataParallel", "OptimizedModule", "ScriptModule")


def vector(w: Tensor, p: int, dtype: torch.dtype, name: str) -> None:
    """Refuse a w that is not finite, (p,) or (k, p), of this dtype."""
    shape = tuple(getattr(w, "shape", ()))
    fits = isinstance(w, Tensor) and len(shape) in (1, 2) and shape[-1] == p
    wanted = f"this model has {p} parameters, so give a tensor of shape ({p},)."
    require(fits, f"{name} has shape {shape}; {wanted}")
    remedy = f"convert it with {name}.to({dtype}) or the objective with F.to({w.dtype})."
    require(w.dtype == dtype, f"{name} is {w.dtype} and the objective {dtype}; {remedy}")
    bad = int((~torch.isfinite(w)).sum())
    remedy = "training probably diverged: lower its rate."
    require(bad == 0, f"{name} holds {bad} NaN or infinite numbers out of {w.numel()}; {remedy}")


def radius(C: float) -> None:
    """Refuse a norm bound that is not a positive number."""
    require(C > 0, f"C is {C}; the radius of the ball must be > 0 (math.inf for no constraint).")


def tensor(data: object, name: str) -> Tensor:
    """`data` as a tensor: lists, numpy arrays and pandas columns of numbers are converted."""
    try:
        data = data if isinstance(data, Tensor) else torch.from_numpy(np.array(data, order="C"))
    except (TypeError, ValueError) as problem:
        what = f"{name} is of type {type(data).__name__} and no array of numbers ({problem})"
        raise InputError(f"{what}; give a tensor, an array or a list of numbers.") from problem
    require(not data.is_complex(), f"{name} is {data.dtype}; give real numbers.")
    return data.clone() if data.is_inference() else data.detach()


def finite(z: Tensor, name: str) -> None:
    """Refuse samples that hold NaN or infinity."""
    bad = ~z.reshape(len(z), -1).sum(1, dtype=widest(z.device)).isfinite()
    where = f"{int(bad.sum())} of {len(z)} samples, the first at index {int(bad.int().argmax())}"
    require(not bad.any(), f"{name} holds NaN or infinity in {where}; mend or remove them.")


def samples(rows: Indices, n: int) -> Tensor:
    """Return `rows` as integers; refuse them unless they name samples out of n, each only once.

    Sets are sorted, so that every process takes their samples in the same order.
    """
    if isinstance(rows, Set | Iterator):
        rows = sorted(rows) if isinstance(rows, Set) else list(rows)
    rows = tensor(rows, "The set of samples").reshape(-1).cpu()
    require(len(rows) > 0, "The set of samples is empty; name at least one of the trained set.")
    whole = not rows.dtype.is_floating_point and rows.dtype != torch.bool
    remedy = "give integers (for a mask, mask.nonzero().squeeze(1))."
    require(whole, f"Indices are {rows.dtype}; {remedy}")
    rows = rows.long()
    worst, limits = _outlier(rows), f"{n} samples; indices go from 0 to {n - 1}."
    require(0 <= worst < n, f"Index {worst} is outside the trained set of {limits}")
    distinct, times = rows.unique(return_counts=True)
    twice = distinct[times > 1].tolist()
    require(not twice, f"Named more than once: {twice[:5]}; indices.unique() names each once.")
    return rows


def labels(y: Tensor, classes: int) -> None:
    """Refuse labels that are not n integers from 0 to classes - 1."""
    integers = not y.is_floating_point() and y.dim() == 1
    remedy = "cross-entropy needs n integers, such as y.long().flatten()."
    require(integers, f"Labels are {y.dtype} of shape {tuple(y.shape)}; {remedy}")
    worst, limits = _outlier(y), f"{classes} outputs; labels go from 0 to {classes - 1}."
    require(0 <= worst < classes, f"Label {worst} is out of range for a model with {limits}")


def model(net: nn.Module) -> None:
    """Refuse a model that cannot be read as a function of one real vector of weights."""
    wrapped = [kind.__name__ for kind in type(net).__mro__ if kind.__name__ in WRAPPERS]
    kind, plain = (wrapped or [type(net).__name__])[0], isinstance(net, nn.Module) and not wrapped
    remedy = "give the torch.nn.Module itself: a wrapper's is model.module or model._orig_mod."
    require(plain, f"The model is of type {kind}; {remedy}")
    weights = dict(net.named_parameters())
    for name, q in weights.items():
        kind = f"{type(q).__name__} of {q.dtype} on {q.device}"
        remedy = "give real weights that hold numbers; a lazy layer must be called on a batch once."
        lazy = isinstance(q, UninitializedTensorMixin)
        real = not lazy and q.is_floating_point() and not q.is_meta
        require(real, f"Parameter '{name}' is {kind}; {remedy}")
    kinds = sorted({f"{q.dtype} on {q.device}" for q in weights.values()})
    require(len(kinds) <= 1, f"Parameters are {kinds}; give them one dtype and device: model.to.")
    trained = any(q.requires_grad for q in weights.values())
    require(trained, "The model has no parameters that can be trained; all are frozen, or none.")
    dropout(net)


def unpublished(net: nn.Module, public: Set[str]) -> list[str]:
    """Names of the tensors that would be released with w, unchanged, and are not declared public.

    Buffers, frozen weights, and tensors or arrays that a layer holds in an attribute, a list, tuple
    or dict; what other Python objects hold is not seen. BatchNorm's statistics are left out: they
    are computed anew for each release.
    """
    held = [name for name, q in net.named_parameters() if not q.requires_grad]
    weights, internal = {id(q) for q in net.parameters()}, {"_parameters", "_buffers", "_modules"}
    for prefix, layer in net.named_modules():
        anew = STATISTICS if isinstance(layer, nn.modules.batchnorm._BatchNorm) else set()
        for name, q in (vars(layer) | layer._buffers).items():
            leaves = [z for z in tree_leaves(q) if isinstance(z, Tensor | np.ndarray)]
            if name not in internal | anew and any(id(z) not in weights for z in leaves):
                held.append(f"{prefix}.{name}".lstrip("."))
    unknown = sorted(set(public) - set(held))
    require(not unknown, f"public_buffers names {unknown}; the model has no such; it has {held}.")
    return [name for name in held if name not in public]


def of_each_label(y: Tensor) -> Tensor:
    """Positions of the first sample and of one sample of each other label, at most 64 in all.

    If there is no other label, the last sample is the second one.
    """
    first = {label: k for k, label in reversed([*enumerate(y.tolist())])} if y.dim() == 1 else {}
    others = sorted(set(first.values()) - {0}) or [len(y) - 1]
    return torch.tensor([0, *others][:64], device="cpu")


def model_by_sample(outputs: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the outputs on two samples x; refuse a model that mixes samples or is random."""
    try:
        together, again, apart = outputs(x), outputs(x), [outputs(part) for part in x.split(1)]
    except (RuntimeError, ValueError, IndexError, TypeError, AttributeError) as problem:
        given = f"inputs of shape {tuple(x.shape[1:])} in {x.dtype}"
        remedy = "Give it the shape and type that it was built for, such as x.float()."
        raise InputError(f"The model cannot take {given}: {problem}. {remedy}") from problem
    rows, kind = isinstance(together, Tensor) and len(together) == len(x), type(together).__name__
    require(rows, f"The model returns a {kind}; it must return one tensor, a row for each sample.")
    same = _alike(together, again, 8)
    require(same, "The model's outputs differ from one call to the next: make forward repeatable.")
    remedy = "give BatchNorm its running statistics, or build with norm='group'."
    alone = _alike(together, torch.cat(apart), 8)
    require(alone, f"The outputs on a sample depend on the other samples of its batch: {remedy}")
    return together


def loss_by_sample(loss: Callable[[Tensor, Tensor], Tensor], outputs: Tensor, y: Tensor) -> None:
    """Refuse a loss that is not the mean over the batch of the losses of single samples."""
    outputs = outputs[torch.arange(len(y), device=y.device) % len(outputs)]
    try:
        together, apart = loss(outputs, y), [*map(loss, outputs.split(1), y.split(1))]
    except (RuntimeError, IndexError, TypeError, AttributeError) as problem:
        given = f"outputs of shape {tuple(outputs.shape)} and y of {tuple(y.shape)} in {y.dtype}"
        remedy = "Give y the shape and type that it asks for."
        raise InputError(f"The loss cannot take {given}: {problem}. {remedy}") from problem
    mean = torch.stack(apart).mean(0)
    result = f"{together.tolist()} where single samples' losses have the mean {mean.tolist()}"
    remedy = "one number: no sum, no class weights, no ignored labels, no root."
    holds = together.dim() == 0 and _alike(together, mean, 0.1)
    require(holds, f"The loss returns {result}; it must return the mean over the batch, {remedy}")


def _alike(a: Tensor, b: Tensor, times: float) -> bool:
    tol = times * torch.finfo(a.dtype).eps ** 0.5
    size = float(a.abs().max().nan_to_num(0.0, 0.0, 0.0))
    return a.shape == b.shape and torch.allclose(a, b, tol, tol * size, equal_nan=True)


def derivatives() -> None:
    """Refuse to differentiate inside torch.inference_mode."""
    inside = torch.is_inference_mode_enabled()
    require(not inside, "Nothing can be differentiated inside torch.inference_mode; leave it.")


def dropout(model: nn.Module) -> None:
    """Refuse a model with a dropout layer that is switched on."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.modules.dropout._DropoutNd) and layer.training:
            cause = f"Layer '{name}' is an active dropout (p = {layer.p}), so the loss is random"
            require(layer.p <= 0, f"{cause}: set p = 0, or call model.eval() first.")


def _outlier(integers: Tensor) -> int:
    lowest = int(integers.min())
    return lowest if lowest < 0 else int(integers.max())
