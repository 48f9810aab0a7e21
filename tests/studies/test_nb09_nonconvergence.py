"""The rows of notebook 09: gradients by the identity, and a step from either of the two."""

from dataclasses import replace

import pytest

from studies import nb09_nonconvergence as study
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import profiles, stationary
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.stationary import STATIONARY, Stationary

pytestmark = pytest.mark.usefixtures("own_store")

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, forget=30)


@pytest.fixture(scope="module")
def d(own_store):
    return Experiment(SMALL, 0)


def test_the_gradients_of_a_stop_are_those_of_the_identity(d):
    """grad F_r = n/n_r grad F - n_u/n_r grad F_u, decay included."""
    row = study.stop_row(d, 50.0, "retained")
    pull = d.F_u.n / d.F_r.n * d.F_u.gradient(d.w)
    whole = d.F.gradient(d.w)
    assert row["whole"] == pytest.approx(float(whole.norm()))
    assert row["signal"] == pytest.approx(float(pull.norm()))
    assert (d.F.n / d.F_r.n * whole - pull).allclose(d.F_r.gradient(d.w), atol=1e-6)
    assert row["G"] == pytest.approx(float(d.F_r.gradient(d.retrained.w).norm()))
    assert row["nothing"] == pytest.approx(distance(d.w, d.retrained.w))


@pytest.mark.parametrize("epochs", [1, 3])
def test_the_cheap_gradient_leaves_training_out(epochs):
    d = Experiment(replace(SMALL, epochs=epochs), 0)
    rows = {side: study.stop_row(d, 50.0, side) for side in ("retained", "forget")}
    assert all(row["gradient"] == side for side, row in rows.items())
    assert rows["forget"]["step"] < rows["retained"]["step"] / 2


def test_both_gradients_agree_where_nothing_is_left_over():
    model = Stationary(replace(SMALL, width=0.25), 0)
    last = {
        side: study.leftover_row(model, STATIONARY, 0.1, side) for side in ("retained", "forget")
    }
    assert last["retained"]["error"] == pytest.approx(last["forget"]["error"], rel=1e-3)
    assert last["retained"]["whole"] <= STATIONARY < last["retained"]["signal"]


def test_a_row_is_of_the_level_that_it_names():
    model = Stationary(replace(SMALL, width=0.25), 0)
    rows = {
        side: study.leftover_row(model, stationary.LEVELS[1], 0.1, side)
        for side in ("retained", "forget")
    }
    w, forget = model.at(stationary.LEVELS[1]), model.d.forget
    signal = len(forget) / (model.F.n - len(forget)) * model.F.only(forget).gradient(w)
    for side, row in rows.items():
        assert (row["level"], row["gradient"]) == (stationary.LEVELS[1], side)
        assert row["nothing"] == pytest.approx(distance(w, model.retrained(forget)))
        assert row["whole"] == pytest.approx(float(model.F.gradient(w).norm()))
        assert row["signal"] == pytest.approx(float(signal.norm()))
    assert rows["retained"]["error"] != rows["forget"]["error"]
