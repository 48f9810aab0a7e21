"""The rows of notebooks 07 to 10: bounds by the formula, errors by definition, and their limits."""

import math
from dataclasses import replace

import pytest
import torch

from unlearnlib import bounds, project
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import ablations, curvature, profiles, sequences
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.requests import Asked, random_samples

pytestmark = pytest.mark.usefixtures("own_store")

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, seeds=(0,), forget=30)


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
    F = curvature.sample(tiny.F, 60, 0).to(torch.float64)
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


def test_constants_are_measured_once_whatever_is_forgotten(d, monkeypatch):
    known = curvature.measure(d)
    monkeypatch.setattr(curvature, "_measured", lambda d: pytest.fail("measured again"))
    assert curvature.measure(Experiment(replace(SMALL, forget=7, lam=9.0), 0)) == known


def test_the_step_vanishes_as_the_damping_grows(d):
    rows = ablations.dampings(SMALL, [10.0, 1e3, 1e7])
    steps = [row["step"] for row in rows]
    assert steps == sorted(steps, reverse=True) and steps[-1] < 1e-6
    assert rows[-1]["error"] == pytest.approx(rows[-1]["nothing"], rel=1e-6)
    assert rows[0]["nothing"] == pytest.approx(distance(d.w, d.retrained.w))
    assert rows[-1]["bound"] == pytest.approx(rows[-1]["2C"], rel=1e-2)


def test_the_estimate_is_the_newton_step_by_a_dense_solve():
    tiny = Experiment(replace(SMALL, width=1 / 32, train=60, forget=5), 0)
    w, lam = ablations.estimate(tiny, lam=5.0), 5.0
    F_r = tiny.F_r.to(torch.float64)
    H = F_r.hessian(tiny.w.double()) + lam * torch.eye(F_r.p, dtype=torch.float64)
    step = torch.linalg.solve(H, F_r.gradient(tiny.w.double()))
    assert distance(w, tiny.w.double() - step) < 1e-2 * float(step.norm())


def test_each_forget_set_is_as_large_as_asked_and_has_a_retraining_of_its_own():
    rows = ablations.forget_sizes(SMALL, [1, 60])
    assert [row["n_u"] for row in rows] == [1, 60]
    for row in rows:
        wanted = random_samples(Experiment(SMALL, 0), row["n_u"])
        d = Asked(SMALL, 0, wanted=tuple(wanted.tolist()))
        assert len(d.forget) == row["n_u"]
        assert row["nothing"] == pytest.approx(distance(d.w, d.retrained.w))
        bound = curvature.measure(d).bound(SMALL.C, SMALL.lam, curvature.residual(d))
        assert row["bound"] == pytest.approx(bound["bound"])


def test_a_ball_that_does_not_bind_changes_nothing_but_the_bound():
    tight, loose, none = ablations.radii(SMALL, [2.0, 50.0, math.inf], lam=50.0)
    assert tight["norm"] == pytest.approx(2.0)
    assert {k: loose[k] for k in ("norm", "error", "nothing")} == {
        k: none[k] for k in ("norm", "error", "nothing")
    }
    assert none["bound"] == none["2C"] == math.inf > loose["bound"] > tight["bound"]


def test_the_gradients_of_a_stop_are_those_of_the_identity(d):
    """grad F_r = n/n_r grad F - n_u/n_r grad F_u, decay included."""
    row, _ = ablations.stops(SMALL, [SMALL.epochs], lam=50.0)
    pull = d.F_u.n / d.F_r.n * d.F_u.gradient(d.w)
    whole = d.F.gradient(d.w)
    assert row["whole"] == pytest.approx(float(whole.norm()))
    assert row["signal"] == pytest.approx(float(pull.norm()))
    assert (d.F.n / d.F_r.n * whole - pull).allclose(d.F_r.gradient(d.w), atol=1e-6)
    assert row["G"] == pytest.approx(float(d.F_r.gradient(d.retrained.w).norm()))


def test_the_cheap_gradient_leaves_training_out():
    rows = ablations.stops(SMALL, [1, 3], lam=50.0)
    by_side = {(row["epochs"], row["gradient"]): row["step"] for row in rows}
    for epochs in (1, 3):
        assert by_side[epochs, "forget"] < by_side[epochs, "retained"] / 2


def test_a_sequence_ends_where_its_requests_together_say(d):
    rows = sequences.sequence(d, "random", requests=3, checked=(1, 3))
    assert [row["n_u"] for row in rows] == [10, 20, 30]
    assert rows[0]["gradient"] == pytest.approx(
        float(Asked(SMALL, 0, wanted=tuple(_first(d, 10))).F_r.gradient(d.w).norm()), rel=1e-4
    )
    assert rows[2]["nothing"] == pytest.approx(distance(d.w, d.retrained.w))
    assert "error" not in rows[1] and rows[0]["error"] != rows[0]["nothing"]
    assert all(row["measured"] < row["worst"] for row in rows)
    assert len({row["worst"] for row in rows}) == 1
    assert rows[0]["each"] == rows[0]["history"] < rows[2]["history"]


def test_a_sequence_goes_on_from_its_last_estimate(d):
    """Two requests by hand: each a step from where the one before it ended."""
    rows = sequences.sequence(d, "random", requests=2, checked=(2,))
    w, gone = d.w, []
    for part in sequences.in_turn(sequences.KINDS["random"](d), 2):
        gone += part.tolist()
        F_r = d.F.without(gone)
        x = sequences._solve(F_r, w, F_r.gradient(w), lam=SMALL.lam, tol=1e-3).x
        w = project(w - x, SMALL.C)
    assert rows[1]["error"] == pytest.approx(distance(w, d.retrained.w), rel=1e-5)
    assert rows[1]["step"] == pytest.approx(float(x.norm()), rel=1e-3)


def test_bounds_stand_beside_random_requests_alone(d):
    rows = sequences.sequence(d, "one class", requests=2, checked=())
    assert not {"worst", "measured"} & set(rows[0]) and {"gradient", "each"} <= set(rows[0])


def test_a_damping_too_small_is_refused_not_fatal():
    wild = replace(SMALL, epochs=1, width=0.25)
    row, _ = ablations.dampings(wild, [0.0, 100.0])
    assert row["refused"] and row["bound"] == math.inf and "error" not in row


def _first(d, count):
    return sequences.KINDS["random"](d)[:count].tolist()


def test_the_measured_gradient_takes_the_place_of_its_worst_case():
    terms = dict(C=2.0, M=1.0, lam=5.0, lam_min=-1.0, L=3.0, dim=100, rho=0.1, G=0.2)
    worst = bounds.lissa_bound(**terms)
    assert bounds.lissa_bound(**terms, gradient=bounds.gradient_bound(2.0, 3.0, 0.2)) == worst
    newton = bounds.newton_bound(2.0, 1.0, 5.0, -1.0, 0.2)
    assert bounds.lissa_bound(**terms, gradient=0.0) == newton
    halfway = bounds.lissa_bound(**terms, gradient=bounds.gradient_bound(2.0, 3.0, 0.2) / 2)
    assert halfway == pytest.approx((worst + newton) / 2)
