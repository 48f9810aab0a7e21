"""A Hessian and a Gauss-Newton product on a batch of 128, against a gradient of the same batch.

The gradient is timed in turn with each product.
"""

import curvlinops
import pytest
import torch
from torch import nn

from studies.benchmarks.rows import BATCH
from studies.benchmarks.scale import flop_of_gradient
from unlearnlib import draws
from unlearnlib.lab.profiles import PAIRS

ROUNDS = 15


@pytest.fixture(params=PAIRS)
def batch(request, system):
    """The first batch of a pair, and a vector."""
    s = system(request.param)
    F = s.F.only(range(BATCH))
    v = draws.normal(F.p, s.w, draws.fixed(0))
    return f"batch of {BATCH}, {PAIRS[request.param]}", F, s.w, v


def away(F, w, v, matrix):
    """The relative difference of a product from the same in double precision."""
    name = "hvp" if matrix == "Hessian" else "ggn"
    exact = getattr(F.to(torch.float64), name)(w.double(), v.double())
    return lambda found: {"difference": float((found - exact).norm() / exact.norm())}


def test_gradient(batch, row):
    task, F, w, _ = batch
    flop = {"flop": flop_of_gradient(F.module(w), *F.batch(slice(0, 2)))}
    job = lambda: F.gradient(w)  # noqa: E731
    row(task, "gradient", job, rounds=ROUNDS, reached=lambda _: flop, against=True)


@pytest.mark.parametrize("matrix", ["Hessian", "Gauss-Newton"])
def test_fresh(batch, matrix, row):
    task, F, w, v = batch
    product = F.hvp if matrix == "Hessian" else F.ggn
    row(
        task,
        f"{matrix}, fresh",
        lambda: product(w, v),
        rounds=ROUNDS,
        reached=away(F, w, v, matrix),
        beside=lambda: F.gradient(w),
    )


@pytest.mark.parametrize("matrix", ["Hessian", "Gauss-Newton"])
def test_reused(batch, matrix, row):
    task, F, w, v = batch
    product = (F.hessian_at if matrix == "Hessian" else F.ggn_at)(w)
    row(
        task,
        f"{matrix}, reused",
        lambda: product(v),
        rounds=ROUNDS,
        reached=away(F, w, v, matrix),
        beside=lambda: F.gradient(w),
    )


@pytest.mark.parametrize("matrix", ["Hessian", "Gauss-Newton"])
def test_curvlinops(batch, matrix, row, system):
    task, F, w, v = batch
    if "MLP" not in task:
        pytest.skip("curvlinops cannot differentiate GroupNorm")
    operators = {
        "Hessian": curvlinops.HessianLinearOperator,
        "Gauss-Newton": curvlinops.GGNLinearOperator,
    }
    model = F.module(w)
    A = operators[matrix](
        model,
        nn.CrossEntropyLoss(),
        list(model.parameters()),
        [F.batch(slice(0, F.n))],
        check_deterministic=False,
    )
    check = away(F, w, v, matrix)
    row(
        task,
        f"{matrix}, curvlinops",
        lambda: A @ v,
        rounds=ROUNDS,
        reached=lambda found: check(found + F.weight_decay * v),
        beside=lambda: F.gradient(w),
    )
