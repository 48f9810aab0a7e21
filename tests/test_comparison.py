"""The rows that notebooks 04 and 05 record."""

from dataclasses import replace

import numpy as np
import pytest

from unlearnlib import InputError
from unlearnlib.evaluation import attacks
from unlearnlib.lab import comparison, contenders, profiles
from unlearnlib.lab.contenders import METHODS, REFERENCES
from unlearnlib.lab.experiments import Experiment

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, seeds=(0,))


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        contenders.tune.cache_clear()
        yield
        contenders.tune.cache_clear()


def test_each_contender_has_a_row_and_retraining_is_at_no_distance_from_itself():
    scores = {row["method"]: row for row in comparison.scores(SMALL)}
    distances = {row["method"]: row for row in comparison.distances(SMALL)}
    assert list(scores) == list(distances) == [*REFERENCES, *METHODS]
    assert scores["retrained"]["gap"] == 0 and scores["retrained"]["ToW"] == 1
    assert distances["trained"]["from trained"] == distances["retrained"]["same seed"] == 0
    assert distances["warm"]["warm start"] == 0 < distances["trained"]["warm start"]


def test_one_setting_of_each_method_is_kept():
    rows = comparison.tuning(SMALL)
    assert len(rows) == 4 * len(METHODS)
    kept = [row["method"] for row in rows if row["kept"]]
    assert kept == list(METHODS)


def test_the_reach_of_a_step_is_what_it_is_called():
    rows = comparison.reach(SMALL)
    d = Experiment(SMALL, 0)
    largest = max(rows, key=lambda row: row["lam"])
    w = contenders.estimate(contenders.solve_by_cg, d, largest["lam"])
    before, after = (float((v - d.warm.w).norm()) for v in (d.w, w))
    assert largest["covered"] == pytest.approx(1 - after / before, abs=1e-4)
    assert largest["step"] == min(row["step"] for row in rows)


def test_gradients_are_those_of_the_retained_images():
    d = Experiment(SMALL, 0)
    found = {row["method"]: row["gradient"] for row in comparison.depths(SMALL)}
    assert found["trained"] == pytest.approx(float(d.F_r.gradient(d.w).norm()))


@pytest.mark.parametrize("question", comparison.QUESTIONS)
def test_every_attack_has_three_metrics_with_their_intervals(question):
    rows = comparison.memberships(SMALL, question)
    assert len(rows) == (len(REFERENCES) + len(METHODS)) * len(attacks.ATTACKERS) * 3
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)


def test_a_misspelt_question_is_refused():
    with pytest.raises(InputError, match="'unseen', 'retained'"):
        comparison.memberships(SMALL, "unsen")


def test_a_model_that_did_not_move_shows_the_attacker_the_same_twice():
    d = Experiment(SMALL, 0)
    others = comparison._others(d, "unseen")
    before = {who: attacks.posteriors(F, d.w) for who, F in others.items()}
    members, _ = comparison._features(d, others, before, d.w)["posteriors"]
    once, again = np.hsplit(members, 2)
    assert np.allclose(once, again)
