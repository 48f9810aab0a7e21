"""What is trained, and forgets: a module of one's own, or a model whose certificate is proved.

model = proved_model(samples, features="auto", epsilon=1.0, delta=1e-5, requests=1)
model = own_model(samples, "mymodel.py:make", C=20.0, lam=10.0, weight_decay=5e-4, **training)
w = model.train(without=[])              (p,), the same for the same data, not for publication
release = model.forget(w, rows, epsilon=1.0, delta=1e-5)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from runpy import run_path
from typing import Protocol

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from .. import batchnorm, draws
from ..errors import DataError, InputError, require
from ..lab import proved
from ..lab.features import PIXELS, Features, patches, scattering
from ..lab.proved import Problem
from ..objective import Objective
from ..planner import plan
from ..projected_sgd import projected_sgd
from ..unlearn import Release, unlearn
from .samples import COLUMNS, Samples

GREY = 1  # channels
SMALLEST_MAPS = 16  # pixels of an image's side, below which pixels themselves are the features
DECAY = 1e-5  # of the proved model: stronger than on digits, for data that nobody has seen
SEED = 0  # of training: the same data give the same model


class Model(Protocol):
    """What the command needs of a model.

    F, F_test   objectives on the training samples and on those that judge; None if there are none
    settings    what decides it, as JSON, for what was run
    """

    F: Objective
    F_test: Objective | None
    settings: dict

    def train(self, without: Sequence[int] = ()) -> Tensor: ...

    def forget(self, w: Tensor, rows: Sequence[int], epsilon: float, delta: float) -> Release: ...


# ---- proved: softmax regression on fixed features ------------------------------------------------


@dataclass(frozen=True)
class ProvedModel:
    """Softmax regression; G, the gradient that training stops at, suits the budget beforehand."""

    problem: Problem
    G: float
    settings: dict
    judged: bool

    @property
    def F(self) -> Objective:
        return self.problem.F

    @property
    def F_test(self) -> Objective | None:
        return self.problem.F_test if self.judged else None

    def train(self, without: Sequence[int] = ()) -> Tensor:
        return self.problem.trained(self.G, without).w

    def forget(self, w: Tensor, rows: Sequence[int], epsilon: float, delta: float) -> Release:
        """A release of which `requests` together cost (epsilon, delta), by composition."""
        requests, Delta = self.settings["requests"], self.problem.sensitivity(self.G)
        sigma = plan(requests, Delta, epsilon=epsilon, delta=delta).sigma
        return self.problem.unlearn(w, rows, self.G, sigma=sigma, delta=delta)


def proved_model(
    samples: Samples, *, features: str, epsilon: float, delta: float, requests: int
) -> ProvedModel:
    """The model whose certificate is proved, for releases that cost epsilon all together.

    features   a name of FEATURES, or "auto": scattering for grey images, patches for coloured ones,
               the columns of a table; pixels where an image is too small
    """
    name = _suiting(samples) if features == "auto" else features
    require(
        (name == "columns") == (samples.kind == "table"),
        f"features are {name!r} and the data is of kind {samples.kind!r}; a table's are 'columns'",
        InputError,
    )
    problem = proved.softmax(samples.images, DECAY, FEATURES[name](samples), "nothing: a default")
    settings = {"model": "softmax regression", "features": name, "requests": requests}
    judged = len(samples.images.y_test) > 0
    return ProvedModel(problem, problem.gradient_for(epsilon, requests, delta), settings, judged)


FEATURES: dict[str, Callable[[Samples], Features]] = {
    "scattering": lambda samples: scattering(samples.images.shape),
    "patches": lambda samples: patches(samples.images.shape),
    "pixels": lambda samples: PIXELS,
    "columns": lambda samples: COLUMNS,
}


def _suiting(samples: Samples) -> str:
    channels, height, width = samples.images.shape
    if samples.kind == "table":
        return "columns"
    fits = min(height, width) >= 2
    remedy = "give them as a table, a column a pixel"
    require(fits, f"images of {width} x {height} pixels are too small; {remedy}", DataError)
    if height != width or height < SMALLEST_MAPS:
        return "pixels"
    return "scattering" if channels == GREY else "patches"


# ---- a module of one's own -----------------------------------------------------------------------


@dataclass(frozen=True)
class OwnModel:
    """An nn.Module of one's own, trained in a ball of radius C; of its loss nothing is proved."""

    F: Objective
    F_test: Objective | None
    C: float
    lam: float
    training: dict = field(repr=False)
    settings: dict

    def train(self, without: Sequence[int] = ()) -> Tensor:
        F = self.F.without(without) if len(without) else self.F
        run = projected_sgd(
            F, self.F.initial(), C=self.C, generator=draws.fixed(SEED), optimizer="adam",
            **self.training,
        )  # fmt: skip
        return run.w

    def forget(self, w: Tensor, rows: Sequence[int], epsilon: float, delta: float) -> Release:
        terms = dict(C=self.C, lam=self.lam, epsilon=epsilon, delta=delta)
        return unlearn(self.F, w, rows, **terms)


def own_model(
    samples: Samples, source: str, *, C: float, lam: float, weight_decay: float, **training
) -> OwnModel:
    """The module that mymodel.py:make() returns, on images in [-1, 1] or on a table's numbers.

    training   epochs and lr, by which it is trained, and would be without the forgotten samples
    """
    torch.manual_seed(SEED)  # what make() draws its weights from
    net, images = _made(source), samples.images
    scaled = samples.kind == "images"
    train = images.train() if scaled else (images.x_train.flatten(1).float(), images.y_train)
    test = images.test() if scaled else (images.x_test.flatten(1).float(), images.y_test)
    F = Objective(net, *train, weight_decay=weight_decay)
    judge = Objective(net, *test, weight_decay=weight_decay) if len(test[1]) else None
    settings = {"model": source, "C": C, "lam": lam, "weight decay": weight_decay, **training}
    return OwnModel(F, judge, C, lam, training, settings)


def _made(source: str) -> nn.Module:
    file, _, name = source.rpartition(":")
    shape = f"--model is {source!r}; it has to be FILE.py:NAME"
    require(bool(file) and name.isidentifier(), shape, DataError)
    require(Path(file).is_file(), f"--model names {file}, which is not there", DataError)
    try:
        found = run_path(file).get(name)
        net = found() if callable(found) else None
    except Exception as error:  # of somebody's own code
        why = f"{type(error).__name__}: {error}"
        remedy = "it has to run without arguments and return a torch.nn.Module"
        raise DataError(f"{source} failed ({why}); {remedy}") from error
    require(callable(found), f"{file} has no function {name!r} that makes a model", DataError)
    require(
        isinstance(net, nn.Module),
        f"{source} returns a {type(net).__name__}; it has to return a torch.nn.Module",
        DataError,
    )
    remedy = "its statistics are not kept with these weights; use GroupNorm"
    require(not batchnorm.layers(net), f"{source} has BatchNorm: {remedy}", DataError)
    return net


# ---- weights on the disk -------------------------------------------------------------------------


def weights(F: Objective, w: Tensor) -> dict[str, Tensor]:
    """w as the module's own state, by name."""
    return {k: v.detach().cpu().contiguous() for k, v in F.module(w).state_dict().items()}


def read_weights(F: Objective, path: Path) -> Tensor:
    """The vector (p,) whose parts a safetensors file holds by the module's names."""
    try:
        state = safetensors.torch.load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path} cannot be read ({error}); give a safetensors file") from error
    parts = F.pieces(F.initial())
    missing = [name for name in parts if name not in state]
    strange = [name for name in state if name not in F.module(F.initial()).state_dict()]
    fits = not missing and not strange
    remedy = f"it lacks {missing[:3]} and has {strange[:3]}, which the model does not know"
    require(fits, f"{path} does not fit the model: {remedy}", DataError)
    for name, part in parts.items():
        given, wanted = tuple(state[name].shape), tuple(part.shape)
        require(given == wanted, f"{path}: {name} is {given}, and the model's {wanted}", DataError)
    return torch.cat([state[name].to(F.initial()).flatten() for name in parts])
