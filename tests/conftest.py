"""Tiny float64 models whose loss is written out a second time, from a flat vector, by hand."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import pytest
import torch
from hypothesis import settings
from torch import nn
from torch.nn import functional

from unlearnlib import Objective, cross_entropy, squared_error

os.environ["UNLEARNLIB_PROGRESS"] = "0"
torch.set_num_threads(1)
settings.register_profile("tests", deadline=None, database=None, derandomize=True)
settings.load_profile("tests")


@dataclass
class Problem:
    """A model with data, a vector w to look at it from, and its mean loss by hand."""

    model: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    w: torch.Tensor
    data_loss: Callable  # (w, x, y) -> mean loss, without decay; uses nothing of the package
    loss: Callable = cross_entropy

    def objective(self, rows=slice(None), **options):
        """The package's objective, on samples sliced beforehand."""
        return Objective(self.model, self.x[rows], self.y[rows], loss=self.loss, **options)

    def by_hand(self, rows=slice(None), weight_decay=0.0, center=0.0):
        """The same objective as a plain function of w."""

        def value(w):
            decay = weight_decay / 2 * ((w - center) ** 2).sum()
            return self.data_loss(w, self.x[rows], self.y[rows]) + decay

        return value

    def hessian_by_hand(self, rows=slice(None), weight_decay=0.0, at=None):
        """The dense Hessian of `by_hand`."""
        at = self.w if at is None else at
        return torch.func.hessian(self.by_hand(rows, weight_decay))(at)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=seeded(seed), dtype=torch.float64)


def labels(n, classes=3):
    return torch.randint(classes, (n,), generator=seeded(1))


def mean_cross_entropy(outputs, y):
    return (outputs.logsumexp(1) - outputs.gather(1, y[:, None]).squeeze(1)).mean()


def split(w, *shapes):
    sizes = [torch.Size(shape).numel() for shape in shapes]
    return [part.reshape(shape) for part, shape in zip(w.split(sizes), shapes, strict=True)]


def make_softmax(n=30):
    """Softmax regression: convex, p = 15."""

    def loss(w, x, y):
        weight, bias = split(w, (3, 4), (3,))
        return mean_cross_entropy(x @ weight.T + bias, y)

    model = nn.Linear(4, 3).double()
    return Problem(model, normal(n, 4, seed=2), labels(n), normal(15, seed=3), loss)


def make_quadratic(n=30):
    """A linear model with squared error: the Hessian is constant, p = 10."""

    def loss(w, x, y):
        weight, bias = split(w, (2, 4), (2,))
        return ((x @ weight.T + bias - y) ** 2).sum(1).mean() / 2

    x, y = normal(n, 4, seed=2), normal(n, 2, seed=5)
    model = nn.Linear(4, 2).double()
    return Problem(model, x, y, normal(10, seed=3), loss, squared_error)


def make_mlp(n=30):
    """tanh MLP: not convex, p = 43."""

    def loss(w, x, y):
        first, shift, last, bias = split(w, (5, 4), (5,), (3, 5), (3,))
        return mean_cross_entropy(torch.tanh(x @ first.T + shift) @ last.T + bias, y)

    model = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()
    return Problem(model, normal(n, 4, seed=2), labels(n), normal(43, seed=3), loss)


def make_conv(n=20):
    """A convolution with GroupNorm: not convex, p = 159."""

    def loss(w, x, y):
        kernel, shift, scale, offset, last, bias = split(
            w, (4, 1, 3, 3), (4,), (4,), (4,), (3, 36), (3,)
        )
        z = functional.conv2d(x, kernel, shift)
        groups = z.reshape(len(x), 2, -1)
        centred = groups - groups.mean(2, keepdim=True)
        normed = centred / (centred.square().mean(2, keepdim=True) + 1e-5).sqrt()
        z = normed.reshape(z.shape) * scale[:, None, None] + offset[:, None, None]
        return mean_cross_entropy(torch.tanh(z).flatten(1) @ last.T + bias, y)

    model = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)
    ).double()
    w = normal(159, seed=3) / 2
    return Problem(model, normal(n, 1, 5, 5, seed=2), labels(n), w, loss)


PROBLEMS = {
    "softmax": make_softmax,
    "quadratic": make_quadratic,
    "mlp": make_mlp,
    "conv": make_conv,
}


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """One worker takes a whole file; and the notebooks that compare the methods, one by one.

    Side by side, each of them would train and tune the same models as the others.
    """
    from xdist.scheduler import LoadFileScheduling

    @cache
    def compares(file):
        return file.endswith(".ipynb") and "lab.methods" in (config.rootpath / file).read_text()

    class TogetherOrByFile(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return "methods" if compares(file) else file

    return TogetherOrByFile(config, log)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(params=PROBLEMS)
def problem(request):
    """Each of the four, in turn."""
    return PROBLEMS[request.param]()


@pytest.fixture
def softmax():
    return make_softmax()


@pytest.fixture
def quadratic():
    return make_quadratic()


@pytest.fixture
def mlp():
    return make_mlp()


@pytest.fixture
def conv():
    return make_conv()


@pytest.fixture(scope="module")
def own_store(tmp_path_factory):
    """A store of this file's own, which its tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def rng():
    """rng(seed) is a generator."""
    return seeded


@pytest.fixture
def vectors():
    """vectors(*shape, seed=0) is standard normal, in float64."""
    return normal


@pytest.fixture
def many_softmax():
    """many_softmax(n) is softmax regression on more samples than a solver looks at for a check."""
    return make_softmax


@pytest.fixture
def batchnorm_net():
    """A convolution with BatchNorm, in training mode; p = 159."""
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Flatten(), nn.Linear(36, 3)
    ).double()


@pytest.fixture
def batchnorm_data():
    """20 images and labels for it."""
    return 1 + 2 * normal(20, 1, 5, 5, seed=2), labels(20)
