"""The paper's three architectures, at any width, with or without batch statistics.

| name       | what                                     | at full width, 10 classes            |
|------------|------------------------------------------|--------------------------------------|
| `mlp`      | 784-32-32-10                             | 26,506 parameters on 1x28x28         |
| `allcnn`   | eight convolutions, averaged, one linear | 1,620,010 parameters on 3x32x32      |
| `resnet18` | eight pre-activation blocks              | 11,171,274 parameters on 3x32x32     |

The counts are those of the paper's released code. None has dropout.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from ..errors import require

Layer = Callable[[], nn.Module]
Norm = Callable[[int], nn.Module]

# 8 divides every channel count at full, half and quarter width. At full width a group holds 8 to
# 64 channels, around the 16 that the GroupNorm paper (Wu and He, 2018) found best.
GROUPS = 8

ACTIVATIONS: dict[str, Layer] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "gelu": nn.GELU,
    "silu": nn.SiLU,
}
NORMS: dict[str, Norm] = {"batch": nn.BatchNorm2d, "group": partial(nn.GroupNorm, GROUPS)}
HALVINGS = {"allcnn": 2, "resnet18": 3}
NAMES = ("mlp", *HALVINGS)


def build(
    name: str,
    *,
    in_shape: tuple[int, int, int],
    classes: int = 10,
    width: float = 1.0,
    norm: str = "none",
    activation: str = "relu",
    seed: int,
) -> nn.Module:
    """A freshly initialised model that maps images `(n, *in_shape)` to logits `(n, classes)`.

    name        "mlp", "allcnn" or "resnet18".
    in_shape    (channels, height, width) in pixels.
    width       multiplies every hidden size, the stem's and the MLP's too. The result is rounded
                to the nearest count that the norm allows: 1, 2, 3, ... or multiples of 8 for
                "group", since its 8 groups must share the channels evenly.
    norm        "none" for the MLP, which has no such layer. For the CNNs "batch", as in the paper,
                or "group": a certificate needs it, because with batch statistics training
                minimises another function than the one that is released.
    activation  "relu" as in the paper, or the smooth "tanh", "softplus", "gelu", "silu": a
                Hessian-Lipschitz constant exists for these only.
    seed        decides the initial weights; the global random state stays as it was.

    Raises InputError naming the value and the choices.
    """
    _check(name, in_shape, width, norm, activation)
    unit = GROUPS if norm == "group" else 1

    def scaled(*sizes: int) -> list[int]:
        return [unit * max(1, round(size * width / unit)) for size in sizes]

    act = ACTIVATIONS[activation]
    # made on the CPU, so that a seed gives the same weights on every device
    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.default_generator.manual_seed(seed)
        if name == "mlp":
            return MLP(math.prod(in_shape), scaled(32, 32), classes, act)
        if name == "allcnn":
            return AllCNN(in_shape[0], scaled(96, 192), classes, NORMS[norm], act)
        return ResNet18(in_shape[0], scaled(64, 128, 256, 512), classes, NORMS[norm], act)


def _check(
    name: str, in_shape: tuple[int, int, int], width: float, norm: str, activation: str
) -> None:
    require(name in NAMES, f"there is no model {name!r}; choose from {', '.join(NAMES)}")
    require(
        len(in_shape) == 3 and min(in_shape) >= 1,
        f"in_shape is {in_shape}; give (channels, height, width), each at least 1",
    )
    require(0 < width < math.inf, f"width is {width}; it must be above 0, and 1 is full width")
    norms = ("none",) if name == "mlp" else tuple(NORMS)
    require(norm in norms, f"norm is {norm!r}; {name} takes {' or '.join(map(repr, norms))}")
    require(
        activation in ACTIVATIONS,
        f"activation is {activation!r}; choose from {', '.join(ACTIVATIONS)}",
    )
    # One pixel has no spread over space: its last norm layer would return zeros or refuse.
    smallest = 2 ** (HALVINGS[name] + 1) if name in HALVINGS else 1
    require(
        min(in_shape[1:]) >= smallest,
        f"images of {in_shape[1]}x{in_shape[2]} are too small for {name}, which halves them "
        f"{HALVINGS.get(name, 0)} times; pad or resize them to {smallest}x{smallest} or more",
    )


class MLP(nn.Sequential):
    """Flatten, then linear layers through the `hidden` sizes with an activation after each."""

    def __init__(self, inputs: int, hidden: list[int], classes: int, activation: Layer):
        layers: list[nn.Module] = [nn.Flatten()]
        for size in hidden:
            layers += [nn.Linear(inputs, size), activation()]
            inputs = size
        super().__init__(*layers, nn.Linear(inputs, classes))


class AllCNN(nn.Sequential):
    """Convolutions that halve the image by stride instead of pooling (Springenberg et al., 2015).

    `channels` are those before and after the first halving. Each convolution is followed by norm
    and activation, and has no bias: the norm's shift is one already. The mean over all places
    before the linear layer is the released code's 8x8 average on images of 32x32.
    """

    def __init__(
        self, inputs: int, channels: list[int], classes: int, norm: Norm, activation: Layer
    ):
        first, second = channels
        plan = [  # (channels, kernel, stride)
            (first, 3, 1),
            (first, 3, 1),
            (second, 3, 2),
            (second, 3, 1),
            (second, 3, 1),
            (second, 3, 2),
            (second, 3, 1),
            (second, 1, 1),
        ]
        layers: list[nn.Module] = []
        for outputs, kernel, stride in plan:
            layers += [_conv(inputs, outputs, kernel, stride), norm(outputs), activation()]
            inputs = outputs
        super().__init__(*layers, *_head(inputs, classes))


class ResNet18(nn.Sequential):
    """Pre-activation ResNet-18 with a 3x3 stem (He et al., 2016).

    As in the released code the stem has norm and activation of its own, and the last block has
    none behind it. `channels` are those of the four stages of two blocks each.
    """

    def __init__(
        self, inputs: int, channels: list[int], classes: int, norm: Norm, activation: Layer
    ):
        stem = channels[0]
        layers = [_conv(inputs, stem, 3, 1), norm(stem), activation()]
        inputs = stem
        for stage, outputs in enumerate(channels):
            layers += [
                PreActivationBlock(inputs, outputs, 1 if stage == 0 else 2, norm, activation),
                PreActivationBlock(outputs, outputs, 1, norm, activation),
            ]
            inputs = outputs
        super().__init__(*layers, *_head(inputs, classes))


class PreActivationBlock(nn.Module):
    """Norm and activation before each of two convolutions, added to the input.

    Where the shape changes, a 1x1 convolution of the activated input takes the input's place. It is
    the strided one, written as one without stride on the places that are left: PyTorch's strided
    one writes past its memory on CPUs when it has few channels (oneDNN issue 6035).
    """

    def __init__(self, inputs: int, outputs: int, stride: int, norm: Norm, activation: Layer):
        super().__init__()
        self.before = nn.Sequential(norm(inputs), activation())
        self.residual = nn.Sequential(
            _conv(inputs, outputs, 3, stride),
            norm(outputs),
            activation(),
            _conv(outputs, outputs, 3, 1),
        )
        reshapes = stride != 1 or inputs != outputs
        self.stride, self.shortcut = stride, _conv(inputs, outputs, 1, 1) if reshapes else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.before(x)
        if self.shortcut is not None:
            x = self.shortcut(h[:, :, :: self.stride, :: self.stride])
        return self.residual(h) + x


def _conv(inputs: int, outputs: int, kernel: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False)


def _head(inputs: int, classes: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, classes)]
