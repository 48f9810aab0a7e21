"""One request to ResNet-50 on ImageNet, estimated from constants measured on a small network.

Seconds follow from three numbers: the FLOP of a gradient of each network (counted), the FLOP a
second that the small one's gradient reached here, and what a Hessian product costs in gradients
there (both measured). Work is taken to divide evenly among processes; what they send is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import resnet50

from unlearnlib.linearised import Bytes

IMAGES, EPOCHS = 1_281_167, 90  # of ImageNet; of the usual training
FORGOTTEN = 1000
HESSIAN_SAMPLE, PRODUCTS = 50_000, 17  # 16 steps of conjugate gradient, and the residual
PASS = 8  # images that a process takes at a time
VECTORS = 8  # w, b, x, r, v, H v, and two for sums
FLOAT = 4  # bytes


@dataclass(frozen=True)
class Size:
    """A network: its parameters, and for each image FLOP and bytes of a gradient's graph."""

    parameters: int
    flop: float
    graph: float


def imagenet() -> Size:
    """ResNet-50 on images of 3 x 224 x 224, counted without computing anything."""
    with torch.device("meta"):
        model, x = resnet50().eval(), torch.empty(1, 3, 224, 224)
        y = torch.zeros(1, dtype=torch.long)
    parameters = list(model.parameters())
    with Bytes() as counter:
        _slope(model, parameters, x, y)
    p = sum(q.numel() for q in parameters)
    return Size(p, flop_of_gradient(model, x, y), counter.total - p * FLOAT)


def flop_of_gradient(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """FLOP for each image of one gradient of the mean loss over a batch."""
    with FlopCounterMode(display=False) as counter:
        _slope(model, list(model.parameters()), x, y)
    return counter.get_total_flops() / len(x)


def _slope(model: nn.Module, parameters: list[Tensor], x: Tensor, y: Tensor) -> None:
    """Compute one gradient, with the graph that a Hessian product needs: a counter looks on."""
    loss = nn.functional.cross_entropy(model(x), y)
    torch.autograd.grad(loss, parameters, create_graph=True)


def request(processes: int, flop_a_second: float, product: float) -> dict[str, float]:
    """Estimated hours of one request, of what is prepared and of retraining; gigabytes a process.

    flop_a_second   of one process, in gradients
    product         gradients that a fresh Hessian product costs
    """
    size = imagenet()
    gradient = size.flop / flop_a_second / processes / 3600
    answer = FORGOTTEN + PRODUCTS * product * HESSIAN_SAMPLE
    return {
        "processes": processes,
        "prepared, hours": IMAGES * gradient,
        "request, hours": answer * gradient,
        "retraining, hours": EPOCHS * IMAGES * gradient,
        "gigabytes a process": (VECTORS * size.parameters * FLOAT + PASS * size.graph) / 1e9,
    }
