"""The rows of notebook 04."""

from dataclasses import replace

import pytest

from studies import nb04_utility as study
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
    scores = {row["method"]: row for row in study.scores_rows(SMALL)}
    distances = {row["method"]: row for row in study.distances_rows(SMALL)}
    assert list(scores) == list(distances) == [*REFERENCES, *METHODS]
    assert scores["retrained"]["gap"] == 0 and scores["retrained"]["ToW"] == 1
    assert distances["trained"]["from trained"] == distances["retrained"]["same seed"] == 0
    assert distances["warm"]["warm start"] == 0 < distances["trained"]["warm start"]


def test_one_setting_of_each_method_is_kept():
    rows = study.tuning_rows(SMALL)
    assert len(rows) == 4 * len(METHODS)
    kept = [row["method"] for row in rows if row["kept"]]
    assert kept == list(METHODS)


def test_the_reach_of_a_step_is_what_it_is_called():
    rows = study.reach_rows(SMALL)
    d = Experiment(SMALL, 0)
    largest = max(rows, key=lambda row: row["lam"])
    w = methods.estimate(methods.solve_by_cg, d, largest["lam"])
    before, after = (float((v - d.warm.w).norm()) for v in (d.w, w))
    assert largest["covered"] == pytest.approx(1 - after / before, abs=1e-4)
    assert largest["step"] == min(row["step"] for row in rows)


def test_gradients_are_those_of_the_retained_images():
    d = Experiment(SMALL, 0)
    found = {row["method"]: row["gradient"] for row in study.gradients_rows(SMALL)}
    assert found["trained"] == pytest.approx(float(d.F_r.gradient(d.w).norm()))
