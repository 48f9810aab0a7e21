"""The rows of notebook 04."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from studies.nb04_utility import scores, weights
from unlearnlib.evaluation.metrics import accuracy
from unlearnlib.lab import contenders, profiles
from unlearnlib.lab.contenders import REFERENCES, contender
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import METHODS, NOISE, estimate_by, solve_by_cg
from unlearnlib.lab.verdicts import OURS, SETS
from unlearnlib.text import number

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3, seeds=(0,))


@pytest.fixture(scope="module", autouse=True)
def own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        contenders.tune.cache_clear()
        yield
        contenders.tune.cache_clear()


@pytest.fixture(scope="module")
def found(own_cache):
    return list(contenders.fields(SMALL))


def test_each_contender_has_a_row_and_retraining_is_at_no_distance_from_itself(found):
    ((_, by_name),) = found
    assert list(by_name) == [*REFERENCES, *METHODS]
    scored = {name: scores.score_row(by_name, name) for name in by_name}
    apart = {name: weights.distance_row(by_name, name) for name in by_name}
    assert scored["retrained"]["gap"] == 0 and scored["retrained"]["ToW"] == 1
    # the store may have a result from another machine: 06 times the methods
    assert not any("seconds" in row for row in scored.values())
    assert apart["trained"]["from trained"] == apart["retrained"]["same seed"] == 0
    assert apart["warm"]["warm start"] == 0 < apart["trained"]["warm start"]


def test_one_setting_of_each_method_is_kept():
    for method in METHODS.values():
        trials = contenders.tune(SMALL, method).trials
        rows = [scores.tuning_row(SMALL, method, trial) for trial in trials]
        tried = [", ".join(map(number, setting)) for setting in method.settings(SMALL)]
        assert [row["setting"] for row in rows] == tried
        assert sum(row["kept"] for row in rows) == 1
        assert rows[0]["knobs"] == ", ".join(method.knobs)


def test_differences_are_those_of_the_scores(found):
    seeds = [by_name for _, by_name in found]
    for name in ("trained", "retrained", OURS):
        for row in scores.difference_rows(seeds, name):
            ours, theirs = (seeds[0][who].scores[row["samples"]] for who in (name, "retrained"))
            assert row["mean"] == pytest.approx(ours - theirs)
            assert row["low"] <= row["mean"] <= row["high"]
        assert [row["samples"] for row in scores.difference_rows(seeds, name)] == list(SETS)


def test_more_noise_changes_more_answers(found):
    (d, by_name), sizes = found[0], {}
    for sigma in (1e-4, 1.0):
        rows = scores.sigma_rows([d], [by_name], sigma)
        assert {row["sigma"] for row in rows} == {sigma}
        assert [row["method"] for row in rows] == [OURS] * 3 + [NOISE] * 3
        sizes[sigma] = {(row["method"], row["samples"]): row["mean"] for row in rows}
    assert sizes[1.0][NOISE, "test"] < sizes[1e-4][NOISE, "test"] - 0.2
    noisy = contender(d, NOISE, (1.0,)).scores["test"] - by_name["retrained"].scores["test"]
    assert sizes[1.0][NOISE, "test"] == pytest.approx(noisy)


def test_another_sigma_takes_the_methods_place_in_the_rule():
    means = {
        "trained": (0.03, 0, 0),
        "elsewhere": (0, 0, 0),
        NOISE: (0.03, 0, 0),
        OURS: (0.03, 0, 0),
    }
    means[scores.ITS_NOISE] = (0.03, 0, 0)
    means |= {name: (0.03, 0, 0) for name in scores.RIVALS}
    rows = [
        {"method": name, "samples": s, "mean": m, "low": m - 1e-3, "high": m + 1e-3, "seeds": 1}
        for name, each in means.items() for s, m in zip(SETS, each, strict=True)
    ]  # fmt: skip
    differences = pd.DataFrame(rows)
    assert scores.judged(differences).verdict == "not reproduced"
    close = differences[differences.method == "elsewhere"].assign(sigma=0.02)
    far = differences[differences.method == NOISE].assign(sigma=0.02)
    by_sigma = pd.concat([close.assign(method=OURS), far])
    assert scores.judged_at(differences, by_sigma, 0.02)["verdict"] == "reproduced"
    noise_does_it = pd.concat([close.assign(method=OURS), close.assign(method=NOISE)])
    assert scores.judged_at(differences, noise_does_it, 0.02)["verdict"] == "not judged"


def test_its_own_noise_is_that_of_the_setting_that_was_kept(found):
    ((d, by_name),) = found
    noise = scores.with_its_noise(d, by_name)[scores.ITS_NOISE]
    assert noise.setting == by_name[OURS].setting[-1:]


def test_no_certified_method_is_a_rival_of_the_other():
    assert not {name for name in scores.RIVALS if "certified" in name or "noise" in name}


def test_how_far_below_is_counted_in_standard_errors_of_a_share():
    """The paper's cells, by the standard error of 1,000 images."""
    below = [
        scores.below_retained(forgotten / 100, retained / 100, scores.PAPER_FORGETS)
        for forgotten, retained, _ in scores.PAPER.values()
    ]
    assert below == pytest.approx([1.5, 2.9, 1.2], abs=0.1)
    assert scores.below_retained(0.9, 0.9, 1000) == scores.below_retained(1.0, 1.0, 25) == 0
    assert scores.below_retained(0.9, 1.0, 25) > 0


def test_the_reach_of_a_step_is_what_it_is_called():
    d, (small, *_, large) = Experiment(SMALL, 0), SMALL.dampings
    row, w = weights.reach_row(d, large), estimate_by(solve_by_cg, Experiment(SMALL, 0), large)
    before, after = (float((v - d.warm.w).norm()) for v in (d.w, w))
    assert row["covered"] == pytest.approx(1 - after / before, abs=1e-4)
    assert row["step"] < weights.reach_row(d, small)["step"]


def test_the_controls_of_a_distance_are_models_whose_verdict_is_known():
    d = Experiment(SMALL, 0)
    row = weights.control_row(d)
    assert row["trained"] == 0 == weights.covered(d, d.w) and weights.covered(d, d.warm.w) == 1
    assert row["again"] == weights.covered(d, d.again.w) and row[NOISE] < 0


@pytest.mark.parametrize("model", ["trained", "retrained"])
def test_the_signal_of_a_network_is_what_the_forgotten_images_score_above_new_ones(model):
    d = Experiment(SMALL, 0)
    row, w = scores.network_row(d, model), getattr(d, model).w
    forgotten, test = accuracy(d.F_u, w), accuracy(d.F_test, w)
    assert (row["forgotten"], row["test"]) == (forgotten, test)
    assert row["signal"] == forgotten - test and row["norm"] == "none"


def test_gradients_are_those_of_the_retained_images():
    d = Experiment(SMALL, 0)
    for name, w in (("trained", d.w), ("retrained", d.retrained.w)):
        slope = float(d.F_r.gradient(w).norm())
        assert weights.gradient_row(d, name)["gradient"] == pytest.approx(slope)


def test_right_answers_of_images_are_kept_as_booleans(found):
    right = found[0][1]["trained"].right
    assert {each.numpy().dtype for each in right.values()} == {np.dtype(bool)}
