"""The released code's LiSSA, written afresh from its description: what ours is timed against.

One chain after the other; batches of ten from a DataLoader that transforms sample by sample; two
backward passes over the module's parameters, the second with a graph that nobody uses. Unlike the
release it adds a true lam I, so that all contenders solve the same system.
"""

from __future__ import annotations

import time
from itertools import islice

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms


class Pictures(Dataset):
    """Images as torchvision holds them, unpacked, scaled and normalised one at a time."""

    def __init__(self, pixels: Tensor, labels: Tensor, mean: float, std: float):
        self.pixels, self.labels = pixels, labels
        self.transform = transforms.Compose(
            [transforms.ToPILImage(), transforms.ToTensor(), transforms.Normalize(mean, std)]
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> tuple[Tensor, Tensor]:
        return self.transform(self.pixels[i]), self.labels[i]


def released_inverse(
    model: nn.Module,
    pictures: Dataset,
    b: Tensor,
    *,
    damping: float,
    scale: float,
    steps: int,
    chains: int,
    batch_size: int = 10,
    seconds: float = float("inf"),
) -> Tensor:
    """(H + damping I)^-1 b, (p,); `damping` holds the weight decay too.

    Stopped after so many seconds, it returns the mean of the chains that ended.
    """
    parameters, started, found = list(model.parameters()), time.perf_counter(), []
    start = torch.split(b, [q.numel() for q in parameters])
    start = [part.view_as(q) for part, q in zip(start, parameters, strict=True)]
    for _ in range(chains):
        if time.perf_counter() - started > seconds:
            break
        estimate = [part.clone() for part in start]
        for x, y in islice(_batches(pictures, batch_size), steps):
            if time.perf_counter() - started > seconds:
                break
            products = _hessian_product(model, parameters, estimate, x, y, damping)
            with torch.no_grad():
                terms = zip(start, estimate, products, strict=True)
                estimate = [b + q - Hq / scale for b, q, Hq in terms]
        else:
            found.append(torch.cat([q.flatten() for q in estimate]) / scale)
    return torch.stack(found).mean(0)


def _batches(pictures: Dataset, size: int):
    while True:
        yield from DataLoader(pictures, batch_size=size, shuffle=True)


def _hessian_product(model, parameters, vectors, x, y, damping: float) -> tuple[Tensor, ...]:
    loss = nn.functional.cross_entropy(model(x), y)
    loss = loss + damping / 2 * sum(q.square().sum() for q in parameters)
    slopes = torch.autograd.grad(loss, parameters, create_graph=True)
    along = sum((slope * v).sum() for slope, v in zip(slopes, vectors, strict=True))
    return torch.autograd.grad(along, parameters, create_graph=True)
