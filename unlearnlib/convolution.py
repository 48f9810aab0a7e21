"""Convolutions whose second derivatives are cheaper than PyTorch's.

x_bar and W_bar, the derivatives of <g, conv(x, W)> by x and by W, are bilinear:

    slopes(g, x, W) = (x_bar, W_bar)     x_bar linear in g and W, W_bar linear in g and x

So the derivatives of s = <x_bar, X> + <W_bar, V> = <g, conv(X, W) + conv(x, V)>, for any X and V in
the shapes of x and W, are convolutions and slopes too:

    ds/dg = conv(X, W) + conv(x, V)     (ds/dx, ds/dW) = slopes(g, X, V)

PyTorch computes the same, but all three when it is asked for one, and ds/dW as a convolution by a
kernel as large as the image.
"""

from __future__ import annotations

from functools import partial, reduce

import torch
from torch import Tensor
from torch.autograd import Function
from torch.overrides import TorchFunctionMode

CONVOLUTIONS = (torch.conv1d, torch.conv2d, torch.conv3d)


class Convolutions(TorchFunctionMode):
    """Inside this context, every model uses the convolutions of this file.

    fixed   treat x and W as constants when the slopes are differentiated, which leaves ds/dg. Set
            it once the model has run, since a model may differentiate on its own.
    """

    fixed = False

    def __torch_function__(self, function, types, args=(), kwargs=None):
        chosen = partial(_convolve, self, function) if function in CONVOLUTIONS else function
        return chosen(*args, **(kwargs or {}))


def _convolve(mode, plain, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
    # Uneven padding, an image without a batch, and complex numbers are left to PyTorch.
    ours = not isinstance(padding, str) and input.dim() == weight.dim() and not input.is_complex()
    mixed = torch.is_autocast_enabled(input.device.type)
    if not ours or mixed or torch._C._are_functorch_transforms_active():
        return plain(input, weight, bias, stride, padding, dilation, groups)
    steps = [list(q) if isinstance(q, tuple | list) else [q] for q in (stride, padding, dilation)]
    y = Convolution.apply(input, weight, (*steps, False, [0], groups), mode)
    return y if bias is None else y + bias.view(-1, *[1] * (input.dim() - 2))


class Convolution(Function):
    """conv(x, W), for x (b, channels, ...) and W (outputs, channels / groups, ...)."""

    @staticmethod
    def forward(ctx, x, W, how, mode):
        ctx.save_for_backward(x, W)
        ctx.how, ctx.mode = how, mode
        return torch.convolution(x, W, None, *how)

    @staticmethod
    def backward(ctx, g):
        x, W = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        if not torch.is_grad_enabled():  # no graph is wanted, and vmap would refuse Slopes
            return *slopes(g, x, W, ctx.how, wanted), None, None
        if ctx.mode.fixed:
            x, W = x.detach(), W.detach()
        return *Slopes.apply(g, x, W, ctx.how, wanted), None, None


class Slopes(Function):
    """x_bar and W_bar, as `slopes`, with derivatives of their own."""

    @staticmethod
    def forward(ctx, g, x, W, how, wanted):
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(g, x, W)
        ctx.how = how
        return slopes(g, x, W, how, wanted)

    @staticmethod
    def backward(ctx, X, V):
        g, x, W = ctx.saved_tensors
        _, by_x, by_W = ctx.needs_input_grad[:3]
        terms = [(X, W)] * (X is not None) + [(x, V)] * (V is not None)
        parts = [torch.convolution(*term, None, *ctx.how) for term in terms]
        ds_dg = reduce(torch.add, parts) if parts else None
        wanted = (by_x and V is not None, by_W and X is not None)
        directions = (x if X is None else X, W if V is None else V)
        return ds_dg, *slopes(g, *directions, ctx.how, wanted), None, None


def slopes(g: Tensor, x: Tensor, W: Tensor, how: tuple, wanted: tuple[bool, bool]):
    """(x_bar, W_bar), None where it is not wanted."""
    if not any(wanted):
        return None, None
    return torch.ops.aten.convolution_backward(g, x, W, None, *how, (*wanted, False))[:2]
