"""A network that learnt digits from public ones: scikit-learn's 1,797, drawn over public things.

    see = network(100_000)                images in [0, 1], (n, 3, h, w) -> (n, 96, h/4, w/4)
    x, y = images(100_000)                what it learnt from

No image that may ever be forgotten has a part in it. The digits are of 13 writers, at 8 x 8 pixels
(UCI, Optical Recognition of Handwritten Digits). Each is drawn many times: turned, slanted, scaled,
moved, bent, with a thin pen or a thick one, over `backgrounds`. An AllCNN learns to tell them
apart, and two of its maps are what the features of a proved model are: see `features.digits`.
"""

from __future__ import annotations

import torch
from sklearn.datasets import load_digits
from torch import Generator, Tensor, nn
from torch.nn.functional import affine_grid, avg_pool2d, grid_sample, interpolate, pad
from torch.nn.utils import vector_to_parameters

from ..objective import Objective
from ..projected_sgd import projected_sgd
from . import data, models
from .backgrounds import between, pieces, recoloured, textures
from .device import device
from .experiments import CONVOLUTION_PASS
from .seeds import generator, seed_of
from .store import load_or_train

# Of a drawing, each drawn evenly between its ends.
TURN, SLANT, MOVE = (-0.3, 0.3), (-0.4, 0.4), (-0.12, 0.12)  # radians, shear, half sides
SIZE = (0.75, 1.3)  # width and height, each on its own
PEN, EDGE = (0.3, 0.75), (4.0, 14.0)  # how bright a stroke's end is, and how sharp
BEND, JOINTS = 0.1, 4  # half sides by which each of 4 x 4 places is moved: a standard deviation
# Of the training, ours: a quarter of the paper's width, for time
WIDTH, TRAINING = 0.25, {"epochs": 12, "lr": 2e-3, "optimizer": "adam", "schedule": "cosine"}
DECAY = 1e-4
RECIPE = 2  # raise it when the network changes


def source(drawings: int) -> str:
    """What the network was made from, for a card."""
    return f"{drawings:,} drawings of the digits and photographs that ship in scikit-learn"


def network(drawings: int) -> nn.Module:
    """The network, in eval mode: trained once for so many drawings, then stored."""
    net = models.build(
        "allcnn", in_shape=(3, 32, 32), width=WIDTH, norm="group", seed=seed_of("drawn", 0)
    ).to(device())

    def train(kept) -> tuple[dict[str, Tensor], dict]:
        x, y = images(drawings)
        x = data.brightness(x).to(device(), memory_format=torch.channels_last)
        F = Objective(net, x, y.to(device()), weight_decay=DECAY, pass_size=CONVOLUTION_PASS)
        shuffles = generator("drawn batches", 0)
        run = projected_sgd(F, F.initial(), **TRAINING, generator=shuffles, checkpoint=kept)
        return {"w": run.w}, {"history": run.history}

    key = {"drawings": drawings, "width": WIDTH, "decay": DECAY, **TRAINING}
    kept = load_or_train("drawn", key, train, RECIPE)
    vector_to_parameters(kept.tensors["w"], net.parameters())
    return TwoMaps(net).eval().requires_grad_(False)


class TwoMaps(nn.Module):
    """What an AllCNN sees at two scales, each map of norm 1 and of the size of the smaller."""

    def __init__(self, allcnn: nn.Sequential):
        super().__init__()
        layers = list(allcnn)[:-3]  # less mean and classes
        last = max(i for i, layer in enumerate(layers) if getattr(layer, "stride", 1) == (2, 2))
        self.fine, self.coarse = nn.Sequential(*layers[:last]), nn.Sequential(*layers[last:])

    def forward(self, x: Tensor) -> Tensor:
        fine = self.fine(x)
        maps = avg_pool2d(fine, 2), self.coarse(fine)
        return torch.cat(
            [m / m.flatten(1).norm(dim=1).clamp_min(1e-12).view(-1, 1, 1, 1) for m in maps], 1
        )


def images(count: int) -> tuple[Tensor, Tensor]:
    """So many drawings, uint8 (count, 3, 32, 32), and their digits: half of each over photographs.

    The photographs are the part that MNIST-M's training images have, and its test images have not.
    """
    g = generator("drawn", 0)
    digits, y = strokes(count, g)
    photographs = data.photographs()[:, :, data.PATCH_BORDER :]
    over = torch.cat(
        [recoloured(pieces(photographs, count // 2, g), g), textures(count - count // 2, g)]
    )
    seen = (pad(data.brightness(digits), (2, 2, 2, 2)) - over).abs()  # as MNIST-M is made
    return (255 * seen).byte(), y


def strokes(count: int, g: Generator) -> tuple[Tensor, Tensor]:
    """Digits drawn at random, uint8 (count, 1, 28, 28), light on dark, and their labels."""
    known = load_digits()
    which = torch.randint(len(known.target), (count,), generator=g, device="cpu")
    small = torch.from_numpy(known.images)[which, None] / 16
    large = pad(interpolate(small, (20, 20), mode="bicubic"), (4, 4, 4, 4))

    def some(ends: tuple[float, float]) -> Tensor:
        return between(ends, count, g).flatten().double()

    turn, slant, wide, high = some(TURN), some(SLANT), 1 / some(SIZE), 1 / some(SIZE)
    across = torch.stack([wide * turn.cos(), high * (slant - turn.sin()), some(MOVE)], 1)
    down = torch.stack([wide * turn.sin(), high * turn.cos(), some(MOVE)], 1)
    places = affine_grid(torch.stack([across, down], 1), list(large.shape), align_corners=False)
    bends = BEND * torch.randn(count, 2, JOINTS, JOINTS, generator=g, device="cpu").double()
    places += interpolate(bends, large.shape[2:], mode="bicubic").permute(0, 2, 3, 1)
    light = grid_sample(large, places, align_corners=False)
    pen, edge = (some(ends).view(-1, 1, 1, 1) for ends in (PEN, EDGE))
    ink = ((light - pen) * edge).sigmoid() - (-pen * edge).sigmoid()  # where none was, none is
    return (255 * ink.clamp(0, 1)).byte(), torch.from_numpy(known.target)[which]
