"""The rows of notebook 07: bounds by the formula, errors by definition, and their limits."""

import math
from dataclasses import replace

import pytest

from studies import nb07_local_convexity_ablation as study
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import curvature, profiles
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.requests import Asked, asked, random_samples

pytestmark = pytest.mark.usefixtures("own_store")

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, forget=30)


@pytest.fixture(scope="module")
def d(own_store):
    return Experiment(SMALL, 0)


def test_the_grid_goes_on_from_the_dampings_of_the_pair_to_the_limit():
    assert study.grid(SMALL) == (*SMALL.dampings, 5_000.0, 50_000.0)


def test_the_step_vanishes_as_the_damping_grows(d):
    whole = d.F_trained.gradient(d.w)
    rows = [study.damping_row(d, lam, whole) for lam in (10.0, 1e3, 1e7)]
    steps = [row["step"] for row in rows]
    assert steps == sorted(steps, reverse=True) and steps[-1] < 1e-6
    assert rows[-1]["error"] == pytest.approx(rows[-1]["nothing"], rel=1e-6)
    assert rows[0]["nothing"] == pytest.approx(distance(d.w, d.retrained.w))
    assert rows[-1]["bound"] == pytest.approx(rows[-1]["2C"], rel=1e-2)
    assert rows[0]["warm, nothing"] == pytest.approx(distance(d.w, d.warm.w))
    assert rows[-1]["warm"] == pytest.approx(rows[-1]["warm, nothing"], rel=1e-6)


@pytest.mark.parametrize("n_u", [1, 60])
def test_each_forget_set_is_as_large_as_asked_and_has_a_retraining_of_its_own(d, n_u):
    wanted = random_samples(d, n_u)
    row, own = (
        study.forget_size_row(asked(d, wanted)),
        Asked(SMALL, 0, wanted=tuple(wanted.tolist())),
    )
    assert len(own.forget) == n_u and not own.retrained.w.equal(d.retrained.w)
    assert row["nothing"] == pytest.approx(distance(own.w, own.retrained.w))
    bound = curvature.measure(own).bound(SMALL.C, SMALL.lam, curvature.residual(own))
    assert row["bound"] == pytest.approx(bound["bound"])


def test_a_damping_too_small_is_refused_not_fatal():
    wild = replace(SMALL, epochs=1, width=0.25)
    d = Experiment(wild, 0)
    whole = d.F_trained.gradient(d.w)
    row = study.damping_row(d, 0.0, whole)
    assert row["refused"] and row["bound"] == math.inf and "error" not in row
    assert "error" in study.damping_row(d, 100.0, whole)
