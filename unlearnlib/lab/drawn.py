"""A network that learnt digits from public ones: scikit-learn's 1,797, drawn over photographs.

    see = network(20_000)                 images in [0, 1], (n, 3, h, w) -> (n, 48, h/4, w/4)
    public = images(20_000)               what it learnt from

No image that may ever be forgotten has a part in it. The digits are of 13 writers, at 8 x 8 pixels
(UCI, Optical Recognition of Handwritten Digits), the photographs the two that ship beside them.
Each digit is drawn many times: turned, slanted, scaled, moved, with a thin pen or a thick one. An
AllCNN learns to tell them apart, and its last map, before the mean over all places, is what the
features of a proved model are: see `features.digits`.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Generator, Tensor, nn
from torch.nn.functional import affine_grid, grid_sample, interpolate, pad

from ..objective import Objective
from ..projected_sgd import projected_sgd
from . import data, models
from .device import device
from .experiments import CONVOLUTION_PASS
from .seeds import generator, seed_of
from .store import load_or_train

# Of a drawing, each drawn evenly between its ends.
TURN, SLANT, MOVE = (-0.3, 0.3), (-0.4, 0.4), (-0.12, 0.12)  # radians, shear, half sides
SIZE = (0.75, 1.3)  # width and height, each on its own
PEN, EDGE = (0.3, 0.75), (4.0, 14.0)  # how bright a stroke's end is, and how sharp
# Of the training, ours: a quarter of the paper's width, for time
WIDTH, TRAINING = 0.25, {"epochs": 10, "lr": 2e-3, "optimizer": "adam", "schedule": "cosine"}
DECAY = 1e-4
RECIPE = 1  # raise it when the network changes


def source(drawings: int) -> str:
    """What the network was made from, for a card."""
    return f"{drawings:,} drawings of the digits and photographs that ship in scikit-learn"


def network(drawings: int) -> nn.Module:
    """The network, in eval mode: trained once for so many drawings, then stored."""
    public = images(drawings)
    net = models.build(
        "allcnn", in_shape=public.shape, width=WIDTH, norm="group", seed=seed_of("drawn", 0)
    ).to(device())
    x = data.brightness(public.x_train).to(device(), memory_format=torch.channels_last)
    F = Objective(
        net, x, public.y_train.to(device()), weight_decay=DECAY, pass_size=CONVOLUTION_PASS
    )

    def train(kept) -> tuple[dict[str, Tensor], dict]:
        shuffles = generator("drawn batches", 0)
        run = projected_sgd(F, F.initial(), **TRAINING, generator=shuffles, checkpoint=kept)
        return {"w": run.w}, {"history": run.history}

    key = {"data": public.digest, "width": WIDTH, "decay": DECAY, **TRAINING}
    kept = load_or_train("drawn", key, train, RECIPE)
    return nn.Sequential(*list(F.module(kept.tensors["w"]))[:-3]).eval()  # less mean and classes


def images(count: int) -> data.Images:
    """So many drawings over photographs, 3 x 32 x 32: nine tenths to train, one tenth to test."""
    x, y = strokes(count, generator("drawn", 0))
    # the part of the photographs that MNIST-M's training images have, and its test images have not
    photographs = data.photographs()[:, :, data.PATCH_BORDER :]
    seen = data.blend(x, photographs, np.random.RandomState(seed_of("blended", 0) % 2**32))
    (x_test, x_train), (y_test, y_train) = (
        part.split([count // 10, count - count // 10]) for part in (seen, y)
    )
    classes = tuple("0123456789")
    return data.Images("drawn", source(count), x_train, y_train, x_test, y_test, classes)


def strokes(count: int, g: Generator) -> tuple[Tensor, Tensor]:
    """Digits drawn at random, uint8 (count, 1, 28, 28), light on dark, and their labels."""
    known = load_digits()
    which = torch.randint(len(known.target), (count,), generator=g, device="cpu")
    small = torch.from_numpy(known.images)[which, None] / 16
    large = pad(interpolate(small, (20, 20), mode="bicubic"), (4, 4, 4, 4))

    def between(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(count, generator=g, device="cpu").double()

    turn, slant = between(*TURN), between(*SLANT)
    wide, high = 1 / between(*SIZE), 1 / between(*SIZE)
    across = torch.stack([wide * turn.cos(), high * (slant - turn.sin()), between(*MOVE)], 1)
    down = torch.stack([wide * turn.sin(), high * turn.cos(), between(*MOVE)], 1)
    places = affine_grid(torch.stack([across, down], 1), list(large.shape), align_corners=False)
    light = grid_sample(large, places, align_corners=False)
    pen, edge = (between(*ends).view(-1, 1, 1, 1) for ends in (PEN, EDGE))
    ink = ((light - pen) * edge).sigmoid() - (-pen * edge).sigmoid()  # where none was, none is
    return (255 * ink.clamp(0, 1)).byte(), torch.from_numpy(known.target)[which]
