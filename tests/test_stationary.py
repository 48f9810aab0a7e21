"""Where training is finished: it is, retraining starts from there, and Newton's step tracks it."""

from dataclasses import replace

import pytest
import torch

from unlearnlib import DivergenceError, NegativeCurvatureError, Objective, squared_error
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import profiles, stationary
from unlearnlib.lab.requests import Asked
from unlearnlib.lab.stationary import STATIONARY, Stationary, lower

SMALL = replace(profiles.load("smoke").mlp_mnist, width=0.25, epochs=3)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield Stationary(SMALL, 0)


def quadratic():
    g = torch.Generator().manual_seed(0)
    x = torch.randn(40, 5, generator=g, dtype=torch.float64)
    y = torch.randn(40, 2, generator=g, dtype=torch.float64)
    net = torch.nn.Linear(5, 2).double()
    return Objective(net, x, y, loss=squared_error, weight_decay=0.1)


def test_lowering_ends_at_the_minimum_of_a_quadratic():
    F = quadratic()
    w = lower(F, F.initial(), 1e-8)
    exact = w - torch.linalg.solve(F.hessian(w), F.gradient(w))
    assert float(F.gradient(w).norm()) <= 1e-8 and distance(w, exact) < 1e-6


def test_lowering_stops_as_soon_as_it_is_low_enough():
    F = quadratic()
    norms = [float(F.gradient(lower(F, F.initial(), level)).norm()) for level in (1e-1, 1e-6)]
    assert 1e-6 < norms[0] <= 1e-1 and norms[1] <= 1e-6


def test_a_level_out_of_reach_is_refused_and_says_where_it_stopped():
    F = quadratic()
    with pytest.raises(DivergenceError, match=r"stopped at .* above 1e-30 .*: use float64"):
        lower(F, F.initial(), 1e-30)


def test_each_level_is_reached_inside_the_ball(model):
    norms = [float(model.F.gradient(model.at(level)).norm()) for level in stationary.LEVELS]
    assert all(norm <= level for norm, level in zip(norms, stationary.LEVELS, strict=True))
    assert float(model.at(STATIONARY).norm()) < SMALL.C


def test_retraining_is_stationary_without_the_forgotten_and_made_once(model, monkeypatch):
    forget = model.d.forget
    w_r = model.retrained(forget)
    assert float(model.F.without(forget).gradient(w_r).norm()) <= STATIONARY
    monkeypatch.setattr(stationary, "lower", lambda *a: pytest.fail("lowered again"))
    assert model.retrained(forget).equal(w_r)


def test_two_requests_of_one_size_are_retrained_each_without_its_own(model, monkeypatch):
    model.at(STATIONARY)
    monkeypatch.setattr(stationary, "lower", lambda F, w, gradient: F.gradient(w))
    requests = [2, 5], [2, 6]
    one, other = (model.retrained(torch.tensor(forget)) for forget in requests)
    assert not one.equal(other)
    one, other = (Stationary(SMALL, 0) for _ in requests)
    for it, wanted in zip((one, other), requests, strict=True):
        vars(it)["d"] = Asked(model.d.pair, 0, wanted=tuple(wanted))
        vars(it.d)["retrained"] = model.d.trained  # one start, so that the request alone decides
    assert not one.afresh().equal(other.afresh())


def test_for_one_image_less_damping_covers_more_of_the_way(model):
    sets = model.forget_sets()
    one = sets["1 at random"]
    rows = [model.step_row(one, lam) for lam in (1e-3, 0.1, 10.0)]
    left = [row["error"] / row["nothing"] for row in rows]
    assert left == sorted(left) and left[0] < 0.7 and 0.8 < left[2] < 1
    assert rows[0]["nothing"] == distance(model.at(STATIONARY), model.retrained(one))


def test_forget_sets_are_shares_of_the_images_and_one_class(model):
    n, sets = model.F.n, model.forget_sets()
    sizes = {len(forget) for name, forget in sets.items() if name != "one class"}
    assert sizes == {max(1, n // share) for share in (1000, 100, 10)} and 1 in sizes
    assert set(model.F.y[sets["one class"]].tolist()) == {3}
    assert len(sets["one class"]) == int((model.F.y == 3).sum())


def test_a_damping_too_small_is_refused_not_fatal(model, monkeypatch):
    def refuse(*arguments, **named):
        raise NegativeCurvatureError("lam is too small")

    monkeypatch.setattr(stationary, "newton_update", refuse)
    row = model.step_row(model.d.forget, 0.0)
    assert row["refused"] and "error" not in row and row["nothing"] > 0


def test_another_way_to_retrain_ends_at_the_same_point_and_noise_does_not(model):
    forget = model.d.forget
    row, w_r = model.control_row(forget), model.retrained(forget)
    assert row["trained"] == 0 and row["noise alone"] < 0 and row["again"] > 0.9
    again = model.again(forget)
    assert float(model.F.without(forget).gradient(again).norm()) <= STATIONARY
    assert 0 < distance(again, w_r) < 0.1 * distance(model.at(STATIONARY), w_r)
