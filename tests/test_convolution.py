"""Our convolutions are PyTorch's, and so are all their derivatives, at a lower count."""

from collections import Counter

import pytest
import torch
from conftest import normal
from torch.autograd import gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from unlearnlib.convolution import Convolutions
from unlearnlib.lab.models import build
from unlearnlib.objective import Objective

KINDS = {1: torch.conv1d, 2: torch.conv2d, 3: torch.conv3d}
HOW = [
    (1, {}),
    (1, {"stride": 2, "padding": 1}),
    (2, {}),
    (2, {"stride": (2, 1), "padding": (0, 1)}),
    (2, {"dilation": 2, "padding": 2}),
    (2, {"groups": 2}),
    (3, {"padding": 1, "stride": 2}),
]


def operands(places, groups=1):
    x = normal(2, 4, *(5, 6, 3)[:places], seed=0)
    W = normal(6, 4 // groups, *(3, 2, 2)[:places], seed=1)
    return x.requires_grad_(), W.requires_grad_(), normal(6, seed=2).requires_grad_()


@pytest.mark.parametrize(("places", "how"), HOW)
def test_values_and_derivatives_to_the_third_are_those_of_pytorch(places, how):
    x, W, bias = operands(places, how.get("groups", 1))

    def ours(x, W, bias):
        with Convolutions():
            return KINDS[places](x, W, bias, **how)

    assert torch.allclose(ours(x, W, bias), KINDS[places](x, W, bias, **how), atol=1e-12)
    assert gradcheck(ours, (x, W, bias)) and gradgradcheck(ours, (x, W, bias))

    def bent(x, W, bias):
        (slope,) = torch.autograd.grad(ours(x, W, bias).pow(3).sum(), W, create_graph=True)
        return slope

    assert gradgradcheck(bent, (x, W, bias))


def test_what_is_not_ours_stays_as_it_is():
    """Padding by name, and an image without a batch."""
    x, _, bias = operands(2)
    W = normal(6, 4, 3, 3, seed=1)
    for image, how in ((x, {"padding": "same"}), (x[0], {"stride": 2})):
        with Convolutions():
            ours = torch.conv2d(image, W, bias, **how)
        assert torch.equal(ours, torch.conv2d(image, W, bias, **how))


class Model(torch.nn.Module):
    """A small convolutional network with something that PyTorch's own convolutions can do."""

    def __init__(self, what):
        super().__init__()
        self.what, generator = what, torch.Generator().manual_seed(0)
        how = {
            "padding by name": {"padding": "same"},
            "circular padding": {"padding": 1, "padding_mode": "circular"},
            "groups and dilation": {"groups": 2, "dilation": 2},
            "two strides": {"stride": (2, 1)},
        }
        self.first = torch.nn.Conv2d(2, 4, 2 if "name" in what else 3, **how.get(what, {}))
        self.second = torch.nn.Conv2d(4, 3, 2)
        self.register_buffer("blur", torch.rand(4, 1, 2, 2, generator=generator))
        for q in self.parameters():
            torch.nn.init.normal_(q, std=0.3, generator=generator)

    def forward(self, x):
        if self.what == "vmap":
            return torch.vmap(self.outputs)(x[:, None])[:, 0]
        if self.what == "autocast":
            with torch.autocast("cpu", dtype=torch.bfloat16):
                return self.outputs(x).to(x)
        if self.what == "its own gradient":
            with torch.enable_grad():
                x = x.requires_grad_()
                energy = self.outputs(x).pow(2).sum()
                return torch.autograd.grad(energy, x, create_graph=True)[0].mean((2, 3))
        return self.outputs(x)

    def outputs(self, x):
        x = torch.tanh(self.first(x))
        if self.what == "frozen weights":
            x = torch.conv2d(x, self.blur.to(x), groups=4)
        if self.what == "complex numbers":
            x = torch.conv2d(torch.fft.fft2(x), self.blur + 1j * self.blur, groups=4).imag
        return self.second(x).mean((2, 3))


@pytest.mark.parametrize(
    "what",
    ["padding by name", "circular padding", "groups and dilation", "two strides", "vmap",
     "autocast", "its own gradient", "frozen weights", "complex numbers"],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore:Using padding='same'")
def test_products_with_what_else_a_model_may_do(what, monkeypatch):
    dtype = torch.float32 if what == "autocast" else torch.float64
    model = Model(what).to(dtype)
    F = Objective(model, normal(5, 2, 6, 6, seed=3).to(dtype), torch.tensor([0, 1, 0, 0, 1]))
    w, v = F.initial(), normal(F.p, seed=4).to(dtype)
    ours = F.hessian_at(w)(v), F.ggn_at(w)(v)
    monkeypatch.setattr("unlearnlib.convolution.CONVOLUTIONS", ())
    for own, plain in zip(ours, (F.hessian_at(w)(v), F.ggn_at(w)(v)), strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-9, atol=1e-12)
        assert own.norm() > 1e-3


class Count(TorchDispatchMode):
    """Convolutions and slopes of convolutions that are computed."""

    def __init__(self):
        super().__init__()
        self.of = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        if name == "convolution":
            self.of["forward"] += 1
        if name == "convolution_backward":
            self.of["slopes"] += sum(args[-1])
        return operation(*args, **(kwargs or {}))


@pytest.fixture(params=["allcnn", "resnet18"])
def cnn(request):
    size = {"allcnn": 8, "resnet18": 16}[request.param]
    model = build(
        request.param,
        in_shape=(3, size, size),
        classes=3,
        width=0.05,
        norm="group",
        activation="softplus",
        seed=0,
    ).double()
    F = Objective(model, normal(5, 3, size, size, seed=3), torch.tensor([0, 1, 2, 0, 1]))
    layers = sum(isinstance(layer, torch.nn.Conv2d) for layer in model.modules())
    return F, F.initial(), layers


@pytest.mark.parametrize("several", [False, True])
def test_products_are_those_of_pytorch_s_convolutions(cnn, several, monkeypatch):
    F, w, _ = cnn
    v = normal(2, F.p, seed=4) if several else normal(F.p, seed=4)
    ours = F.hessian_at(w)(v), F.ggn_at(w)(v)
    monkeypatch.setattr("unlearnlib.convolution.CONVOLUTIONS", ())
    for own, plain in zip(ours, (F.hessian_at(w)(v), F.ggn_at(w)(v)), strict=True):
        torch.testing.assert_close(own, plain, rtol=1e-9, atol=1e-12)


def test_a_product_computes_what_it_needs(cnn):
    """J v takes two convolutions a layer and J^T two slopes; the sweep of a Hessian takes both, and
    two more slopes. The first layer's images have no slope.
    """
    F, w, layers = cnn
    v = normal(F.p, seed=4)
    found = {}
    for name in ("ggn_at", "hessian_at"):
        product = getattr(F, name)(w)
        product(v)
        with Count() as count:
            product(v)
        found[name] = dict(count.of)
    each = 2 * layers - 1
    assert found["ggn_at"] == {"forward": each, "slopes": each}
    assert found["hessian_at"] == {"forward": each, "slopes": 2 * each - 1}
