"""The step of the ablations: the Newton estimate inside the ball, and where it ends."""

from dataclasses import replace

import pytest
import torch

from unlearnlib import InputError, project
from unlearnlib.evaluation.metrics import accuracy, distance
from unlearnlib.lab import profiles, step
from unlearnlib.lab.experiments import Experiment

pytestmark = pytest.mark.usefixtures("own_store")

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, forget=30)


@pytest.fixture(scope="module")
def d(own_store):
    return Experiment(SMALL, 0)


def test_the_estimate_is_the_newton_step_by_a_dense_solve():
    tiny = Experiment(replace(SMALL, width=1 / 32, train=60, forget=5), 0)
    w, lam = step.estimate(tiny, lam=5.0), 5.0
    F_r = tiny.F_r.to(torch.float64)
    H = F_r.hessian(tiny.w.double()) + lam * torch.eye(F_r.p, dtype=torch.float64)
    by_hand = torch.linalg.solve(H, F_r.gradient(tiny.w.double()))
    assert distance(w, tiny.w.double() - by_hand) < 1e-2 * float(by_hand.norm())


def test_a_kept_gradient_gives_the_same_estimate(d):
    whole = d.F_trained.gradient(d.w)
    kept, anew = step.estimate(d, 50.0, whole=whole), step.estimate(d, 50.0)
    assert distance(kept, anew) < 1e-3 * distance(anew, d.w)
    with pytest.raises(InputError, match="whole"):
        step.estimate(d, 50.0, whole=whole[:-1])


def test_the_estimate_is_projected_into_the_ball(d):
    """A ball that the step leaves: its end is the free one's, shortened."""
    how = {"lam": 50.0, "solver": step.solve_on(step.hessian_sample(d))}
    free = step.projected_step(d.F, d.w, d.forget, C=1e9, **how)
    C = float(free.norm()) / 2
    assert step.projected_step(d.F, d.w, d.forget, C=C, **how).equal(project(free, C))
    assert step.estimate(d, 50.0).equal(project(free, SMALL.C))


def test_the_hessian_is_taken_on_retained_images_alone(d, monkeypatch):
    monkeypatch.setitem(step.HESSIAN_SAMPLE, "mlp", 200)
    rows = step.hessian_sample(d).rows.tolist()
    assert len(set(rows)) == 200 and not set(rows) & set(d.forget.tolist())


def test_what_is_solved_is_the_system_of_the_few(d):
    """Fifty images have another Hessian than all: their system is solved, and not that of all."""
    few, b = d.F_r.only(range(50)), d.F_r.gradient(d.w)
    x = step.solve_on(few, tol=1e-4)(d.F_r, d.w, b, lam=50.0).x
    left, of_all = (float((F.hvp(d.w, x) + 50.0 * x - b).norm() / b.norm()) for F in (few, d.F_r))
    assert left <= 1.1e-4 and of_all > 10 * left


def test_errors_and_scores_are_those_of_the_models_that_they_name(d):
    w = 0.5 * (d.w + d.retrained.w)
    assert step.error(d, w) == {
        "error": distance(w, d.retrained.w),
        "nothing": distance(d.w, d.retrained.w),
    }
    found = step.accuracies(d, w)
    for name, v in {"trained": d.w, "unlearned": w, "retrained": d.retrained.w}.items():
        assert found[f"forgotten, {name}"] == accuracy(d.F_u, v)
        assert found[f"test, {name}"] == accuracy(d.F_test, v)
    assert len(found) == 6


def test_the_controls_of_a_distance_are_shares_of_it():
    d = Experiment(SMALL, 0)
    found, nothing = step.controls(d), distance(d.w, d.retrained.w)
    assert found["trained"] == 0
    assert found["again"] == pytest.approx(1 - distance(d.again.w, d.retrained.w) / nothing)
    assert found["noise alone"] < 0
