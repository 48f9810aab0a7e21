"""The rows of notebook 04."""

from dataclasses import replace

import pytest

from studies import nb04_utility as study
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab import methods, profiles
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import METHODS, REFERENCES

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, seeds=(0,))


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        methods.tune.cache_clear()
        yield
        methods.tune.cache_clear()


def test_each_contender_has_a_row_and_retraining_is_at_no_distance_from_itself():
    ((_, contenders),) = methods.fields(SMALL)
    assert list(contenders) == [*REFERENCES, *METHODS]
    scores = {name: study.score_row(contenders, name) for name in contenders}
    distances = {name: study.distance_row(contenders, name) for name in contenders}
    assert scores["retrained"]["gap"] == 0 and scores["retrained"]["ToW"] == 1
    assert distances["trained"]["from trained"] == distances["retrained"]["same seed"] == 0
    assert distances["warm"]["warm start"] == 0 < distances["trained"]["warm start"]


def test_one_setting_of_each_method_is_kept():
    for method in METHODS.values():
        trials = methods.tune(SMALL, method).trials
        rows = [study.tuning_row(SMALL, method, trial) for trial in trials]
        assert [row["setting"] for row in rows] == list(method.settings(SMALL))
        assert sum(row["kept"] for row in rows) == 1 and rows[0]["knob"] == method.knob


def test_the_reach_of_a_step_is_what_it_is_called():
    d, (large, *_, small) = Experiment(SMALL, 0), METHODS["certified (CG)"].settings(SMALL)
    row = study.reach_row(d, large)
    w = methods.estimate_by(methods.solve_by_cg, d, large)
    before, after = (float((v - d.warm.w).norm()) for v in (d.w, w))
    assert row["covered"] == pytest.approx(1 - after / before, abs=1e-4)
    assert row["step"] < study.reach_row(d, small)["step"]


@pytest.mark.parametrize("model", ["trained", "retrained"])
def test_the_signal_of_a_network_is_what_the_forgotten_images_score_above_new_ones(model):
    d = Experiment(SMALL, 0)
    row, w = study.network_row(d, model), getattr(d, model).w
    forgotten, test = accuracy(d.F_u, w), accuracy(d.F_test, w)
    assert (row["forgotten"], row["test"]) == (forgotten, test)
    assert row["signal"] == forgotten - test and row["norm"] == "none"


def test_gradients_are_those_of_the_retained_images():
    d = Experiment(SMALL, 0)
    for name, w in (("trained", d.w), ("retrained", d.retrained.w)):
        slope = float(d.F_r.gradient(w).norm())
        assert study.gradient_row(d, name)["gradient"] == pytest.approx(slope)
