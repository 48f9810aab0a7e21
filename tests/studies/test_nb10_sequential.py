"""The rows of notebook 10: each request goes on from the last estimate, and errors are real."""

from dataclasses import replace

import pytest
import torch

from studies import nb10_sequential as study
from unlearnlib import bounds, project
from unlearnlib.evaluation.metrics import accuracy, distance
from unlearnlib.lab import curvature, profiles
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.requests import Asked, asked, in_turn
from unlearnlib.lab.settings import DELTA, RHO, SIGMA

pytestmark = pytest.mark.usefixtures("own_store")

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, forget=30)


@pytest.fixture(scope="module")
def d(own_store):
    return Experiment(SMALL, 0)


def answered(d, kind, requests):
    """One row a request, with the bounds and the real error after each; and the queue."""
    queue, rows, gone = study.queue(d), [], torch.tensor([], dtype=torch.long)
    for part in in_turn(study.KINDS[kind](d), requests):
        release, gone = queue.forget(part), torch.cat([gone, part])
        row = {"n_u": len(gone)} | study.request_row(d, queue, release, gone)
        row |= study.bound_row(d, row["gradient"]) | study.error_row(d, queue.w, gone)
        rows.append(row)
    return study.with_epsilons(rows, queue), queue


def test_a_sequence_ends_where_its_requests_together_say(d):
    rows, queue = answered(d, "random", requests=3)
    assert [row["n_u"] for row in rows] == [10, 20, 30]
    first = Asked(SMALL, 0, wanted=tuple(study.KINDS["random"](d)[:10].tolist()))
    assert rows[0]["gradient"] == pytest.approx(float(first.F_r.gradient(d.w).norm()), rel=1e-4)
    assert rows[0]["nothing"] == pytest.approx(distance(d.w, first.retrained.w))
    assert rows[2]["nothing"] == pytest.approx(distance(d.w, d.retrained.w))
    assert all(row["error"] != row["nothing"] for row in rows)
    assert rows[0]["each"] == rows[0]["history"] < rows[2]["history"]
    last = queue.releases[-1]
    assert rows[2]["test, released"] == accuracy(d.F_test, last.w) and not last.w.equal(queue.w)
    assert rows[2]["forgotten, unlearned"] == accuracy(d.F_u, queue.w)


def test_a_sequence_goes_on_from_its_last_estimate(d):
    """Two requests by hand: each a step from where the one before it ended."""
    rows, queue = answered(d, "random", requests=2)
    w, gone = d.w, []
    for part in in_turn(study.KINDS["random"](d), 2):
        gone += part.tolist()
        F_r = d.F.without(gone)
        x = study._solve(F_r, w, F_r.gradient(w), lam=SMALL.lam, tol=1e-3).x
        w = project(w - x, SMALL.C)
    assert rows[1]["error"] == pytest.approx(distance(w, d.retrained.w), rel=1e-5)
    assert rows[1]["step"] == pytest.approx(float(x.norm()), rel=1e-3)


def test_the_error_is_that_to_a_retraining_without_all_that_is_gone(d):
    gone = study.KINDS["one class"](d)
    w_r = asked(d, gone).retrained.w
    row = study.error_row(d, 0.9 * d.w, gone)
    assert row["error"] == pytest.approx(distance(0.9 * d.w, w_r))
    assert row["nothing"] == pytest.approx(distance(d.w, w_r))
    assert row["forgotten, retrained"] == accuracy(d.F.only(gone), w_r) == 0  # a class not seen


def test_the_bounds_are_theorem_36_with_the_worst_and_with_the_measured_gradient(d):
    known, G = curvature.measure(d), curvature.residual(d)
    terms = dict(C=SMALL.C, M=known.M, lam=SMALL.lam, lam_min=known.lam_min, L=known.L)
    terms |= dict(dim=d.F.p, rho=RHO, G=G)
    first, second = study.bound_row(d, 0.7), study.bound_row(d, 0.3)
    assert first["worst"] == second["worst"] == bounds.lissa_bound(**terms)
    assert first["measured"] == bounds.lissa_bound(**terms, gradient=0.7)
    assert second["measured"] < first["measured"] < first["worst"]
    assert first["2C"] == 2 * SMALL.C


def test_bounds_are_asked_for_by_themselves(d):
    """They hold beside random requests alone; what any request did is a row without them."""
    queue, part = study.queue(d), study.KINDS["one class"](d)
    row = study.request_row(d, queue, queue.forget(part), part)
    assert not {"worst", "measured"} & set(row) and "gradient" in row


def test_every_release_has_the_noise_that_its_epsilon_is_of(d):
    rows, queue = answered(d, "look-alikes", requests=2)
    assert [row["each"] for row in rows] == list(queue.budget(DELTA).each)
    assert {release.certificate.sigma for release in queue.releases} == {SIGMA}


def test_shares_of_the_way_are_those_of_all_that_was_asked_for(d):
    gone = study.KINDS["random"](d)[:20]
    row, so_far = study.share_rows(d, gone, d.w), asked(d, gone)
    assert row["sequence"] == row["trained"] == 0
    apart = distance(so_far.again.w, so_far.retrained.w) / distance(d.w, so_far.retrained.w)
    assert row["again"] == pytest.approx(1 - apart)
    assert study.share_rows(d, gone, so_far.retrained.w)["sequence"] == 1
