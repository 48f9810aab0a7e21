"""BatchNorm layers: find them, and recompute their statistics before a model is released.

Training minimises a function with batch statistics; with frozen buffers it is another function. A
retrained model is a stationary point of neither, so no theorem of the paper applies. The ball still
gives 2C, but only if the buffers are recomputed on the retained data from the noisy weights: the
old buffers were computed from the forgotten samples too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from .errors import InputError
from .objective import Objective

_Layer = nn.modules.batchnorm._BatchNorm


def layers(model: nn.Module) -> list[nn.Module]:
    """The model's BatchNorm layers."""
    return [layer for layer in model.modules() if isinstance(layer, _Layer)]


def check_batch(F: Objective, w: Tensor, size: int, remedy: str) -> None:
    """Refuse a batch of one sample if a BatchNorm layer would get only one value per channel.

    Behind a convolution a layer gets one value per place in the image, so one sample is enough.
    """
    if size != 1 or not layers(F.model):
        return
    try:
        _in_training(F, w)(Objective.batch(F, slice(0, 1))[0])
    except ValueError as error:
        message = f"A batch of 1 sample has no variance, and BatchNorm needs at least 2; {remedy}."
        raise InputError(message) from error


def recomputed_buffers(F: Objective, w: Tensor) -> dict[str, Tensor]:
    """All buffers of the model at w, with batch statistics averaged over the samples of F.

    Running mean and variance are plain averages over passes of one to two times `F.pass_size`
    samples. Besides w they depend on F's samples alone. With F = F_r and a noisy w, no forgotten
    sample influences them, but they are an exact (noiseless) statistic of the retained data.
    Raises InputError for a single sample where a layer needs two.
    """
    check_batch(F, w, F.n, "retain at least two samples")
    model = _in_training(F, w)
    passes = torch.arange(F.n, device="cpu").tensor_split(max(1, F.n // max(2, F.pass_size)))
    with torch.no_grad():
        for positions in passes:
            model(F.batch(positions)[0])
    return {name: buffer.clone() for name, buffer in model.named_buffers()}


def _in_training(F: Objective, w: Tensor) -> nn.Module:
    """The model at w, its BatchNorm layers on batch statistics and averaging them from now on."""
    model = F.module(w)
    for layer in layers(model):
        layer.reset_running_stats()
        layer.momentum = None
        layer.train()
    return model
