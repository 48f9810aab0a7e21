"""The measured constants of the bound: those of a dense Hessian, and put together rightly."""

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from unlearnlib.lab import curvature, profiles
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.seeds import sample

pytestmark = pytest.mark.usefixtures("own_store")

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, forget=30)


@pytest.fixture(scope="module")
def d(own_store):
    return Experiment(SMALL, 0)


def test_the_parts_of_the_bound_are_theorem_34():
    known = curvature.Known(lam_min=-0.5, L=9.0, M=2.0)
    parts = known.bound(C=3.0, lam=10.0, G=0.7)
    assert parts["bound"] == pytest.approx((2 * 3 * (2 * 3 + 10) + 0.7) / 9.5)
    assert sum(parts.values()) == pytest.approx(2 * parts["bound"])
    assert math.isinf(known.bound(C=math.inf, lam=10.0)["bound"])


def test_the_constants_are_those_of_the_dense_hessian():
    """A network small enough for it: five inputs a side would do, and one hidden unit does."""
    tiny = Experiment(replace(SMALL, width=1 / 32, train=60, forget=5), 0)
    known = curvature.measure(tiny)
    F = sample(tiny.F, 60, 0).to(torch.float64)
    w, slope = tiny.w.double(), tiny.F.gradient(tiny.w).double()
    H = F.hessian(w)
    ends = torch.linalg.eigvalsh(H)
    width = float(ends[-1] - ends[0])
    assert known.lam_min == pytest.approx(float(ends[0]), abs=0.05 * width)
    assert known.L == pytest.approx(float(ends.abs().max()), abs=0.05 * width)
    changes = [
        torch.linalg.matrix_norm(F.hessian(w - t * slope / slope.norm()) - H, 2) / t
        for t in curvature.DISTANCES
    ]
    assert 0.5 * max(changes) <= known.M <= 1.01 * max(changes)


def test_the_larger_end_in_size_is_the_smoothness(d, monkeypatch):
    ends = SimpleNamespace(lam_min=-9.0, lam_max=2.0)
    monkeypatch.setattr(curvature, "extreme_eigenvalues", lambda *a, **k: ends)
    known = curvature._measured(d)
    assert (known.lam_min, known.L) == (-9.0, 9.0)


def test_constants_are_measured_once_whatever_is_forgotten(d, monkeypatch):
    known = curvature.measure(d)
    monkeypatch.setattr(curvature, "_measured", lambda d: pytest.fail("measured again"))
    assert curvature.measure(Experiment(replace(SMALL, forget=7, lam=9.0), 0)) == known


def test_the_bound_of_an_experiment_is_that_of_its_constants_ball_and_residual(d):
    G = float(d.F_r.gradient(d.retrained.w).norm())
    by_hand = curvature.measure(d).bound(SMALL.C, 700.0, G)
    assert curvature.bound(d, 700.0) == pytest.approx(by_hand)
    assert by_hand["G part"] > 0 and math.isfinite(by_hand["bound"])
