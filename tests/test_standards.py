"""U-LiRA, KLoM and the challenge score: against other ways to compute them, and on known worlds."""

import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from unlearnlib import InputError
from unlearnlib.evaluation import challenge
from unlearnlib.evaluation.klom import BINS, CLIP, FLOOR, klom
from unlearnlib.evaluation.ulira import u_lira


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def world(rng, shift, models=64, samples=100):
    """Margins of models that forgot half of the samples, and show them `shift` higher."""
    forgot = rng.random((models, samples)) < 0.5
    difficulty = rng.normal(0, 3, samples)
    return rng.normal(difficulty + shift * forgot), forgot


# ---- U-LiRA --------------------------------------------------------------------------------------


def test_models_that_forgot_nothing_are_found_and_retrained_ones_are_not(rng):
    """Two normals d apart: an optimal attack has AUC Phi(d/sqrt 2)."""
    for shift in (0.0, 1.0, 3.0):
        found = u_lira(*world(rng, shift), fit=range(48))
        assert found.auc == pytest.approx(norm.cdf(shift / 2**0.5), abs=0.04)
    assert found.tpr > 0.4


def test_the_difficulty_of_a_sample_does_not_count(rng):
    """A threshold on the margin alone is worse, where samples differ more than the models do."""
    margins, forgot = world(rng, 1.0)
    alone = roc_auc_score(forgot[48:].ravel(), margins[48:].ravel())
    assert u_lira(margins, forgot, range(48)).auc > alone + 0.1


def test_it_is_the_likelihood_ratio_by_hand(rng):
    margins, forgot = world(rng, 1.0, models=20, samples=6)
    fit, held = range(14), range(14, 20)
    scores = {True: [], False: []}
    for k in held:
        for i in range(6):
            own = [margins[m, i] for m in fit if forgot[m, i]]
            others = [margins[m, i] for m in fit if not forgot[m, i]]
            p, q = (norm.pdf(margins[k, i], np.mean(s), np.std(s, ddof=1)) for s in (own, others))
            scores[bool(forgot[k, i])].append(p / (p + q))
    order = [(a > b) + 0.5 * (a == b) for a in scores[True] for b in scores[False]]
    found = u_lira(margins, forgot, fit)
    assert found.auc == pytest.approx(np.mean(order))
    assert found.scored == (len(scores[True]), len(scores[False]))


def test_the_models_that_were_fitted_are_not_scored(rng):
    """With two on each side a Gaussian fits its own two models, and nothing else."""
    found = u_lira(*world(rng, 0.0, models=8, samples=400), fit=range(4))
    assert 0.4 < found.auc < 0.6


def test_a_sample_that_too_few_models_forgot_is_left_out(rng):
    margins, forgot = world(rng, 1.0, samples=3)
    forgot[:48, 0] = False
    forgot[:47, 1], forgot[47, 1] = True, False
    assert sum(u_lira(margins, forgot, range(48)).scored) == 16


def test_models_that_all_say_the_same_are_no_division_by_zero():
    forgot = np.array([[True], [False]] * 4)
    found = u_lira(np.where(forgot, 1.0, 0.0), forgot, range(6))
    assert found.auc == 1.0


@pytest.mark.parametrize("fit", [range(0), range(8)])
def test_there_must_be_models_to_fit_and_models_to_score(rng, fit):
    with pytest.raises(InputError, match="give more models"):
        u_lira(*world(rng, 1.0, models=8), fit=fit)


def test_margins_and_truth_must_be_of_the_same_samples(rng):
    margins, forgot = world(rng, 1.0)
    with pytest.raises(InputError, match="both as"):
        u_lira(margins, forgot[:, 1:], range(48))


# ---- KLoM ----------------------------------------------------------------------------------------


def test_the_same_models_are_at_no_distance(rng):
    margins = rng.normal(size=(100, 5))
    assert np.all(klom(margins, margins[::-1]) == 0)
    assert np.all(klom(np.ones((9, 2)), np.ones((9, 2))) == 0)


def test_it_is_the_divergence_of_two_histograms(rng):
    ours, theirs = rng.normal(0.5, 1, (100, 4)), rng.normal(0, 1, (100, 4))
    for k, found in enumerate(klom(ours, theirs)):
        both = np.concatenate([ours[:, k], theirs[:, k]])
        p, q = (
            np.histogram(each[:, k], BINS, (both.min(), both.max()))[0] / 100
            for each in (ours, theirs)
        )
        held = p > 0
        by_hand = sum(
            a * math.log(a / max(b, FLOOR)) for a, b in zip(p[held], q[held], strict=True)
        )
        assert found == pytest.approx(by_hand)
    assert np.isfinite(klom(ours + 50, theirs)).all()


def test_bins_floor_and_clip_are_those_of_the_public_benchmark():
    assert (BINS, FLOOR, CLIP) == (20, 1e-5, 100.0)


def test_worlds_apart_are_as_far_as_the_floor_lets_them_be(rng):
    """All of p where q is empty: ln(1/1e-5) less the entropy of p."""
    far = klom(np.full((100, 1), 90.0), rng.normal(size=(100, 1)))[0]
    assert far == pytest.approx(math.log(1 / FLOOR))


def test_margins_are_clipped():
    ours, theirs = np.full((4, 1), 1e9), np.full((4, 1), 100.0)
    assert klom(ours, theirs)[0] == 0


def test_both_must_have_the_same_samples(rng):
    with pytest.raises(InputError, match="both on the same"):
        klom(rng.normal(size=(4, 3)), rng.normal(size=(4, 2)))


# ---- the challenge -------------------------------------------------------------------------------


def by_brute_force(unlearned, retrained, delta=challenge.DELTA):
    """All intervals between observed margins, open ends included, said to be "unlearned" or not."""
    cuts = [-math.inf, *sorted({*unlearned, *retrained}), math.inf]
    best = 0.0
    for low in cuts:
        for high in cuts:
            for inside in (True, False):
                said = [[(low < m <= high) == inside for m in w] for w in (unlearned, retrained)]
                fnr, fpr = 1 - np.mean(said[0]), np.mean(said[1])
                if fnr == 0 and fpr == 0:
                    return challenge.LARGEST
                if fnr == 0 or fpr == 0:
                    continue
                for top, bottom in ((1 - delta - fpr, fnr), (1 - delta - fnr, fpr)):
                    best = max(best, math.log(top / bottom) if top > 0 else 0.0)
    return min(best, challenge.LARGEST)


@pytest.mark.parametrize("shift", [0.0, 0.7, 2.0])
def test_epsilon_is_that_of_the_best_threshold_of_all(rng, shift):
    ours, theirs = rng.normal(shift, 1, (12, 5)), rng.normal(0, 1, (12, 5))
    found = challenge.per_sample(ours, theirs)
    assert found == pytest.approx(
        [by_brute_force(a, b) for a, b in zip(ours.T, theirs.T, strict=True)]
    )


def test_two_thresholds_see_a_difference_in_width(rng):
    ours, theirs = rng.normal(0, 0.1, (200, 1)), rng.normal(0, 3, (200, 1))
    assert challenge.per_sample(ours, theirs)[0] > 2


def test_apart_or_much_narrower_is_the_largest(rng):
    theirs = rng.normal(size=(20, 1))
    assert challenge.per_sample(theirs + 100, theirs)[0] == challenge.LARGEST
    assert challenge.per_sample(theirs * 0.009, theirs)[0] == challenge.LARGEST


@pytest.mark.parametrize(
    ("epsilon", "points"),
    [(0.0, 1.0), (0.49, 1.0), (0.5, 0.5), (1.0, 0.25), (6.9, 2.0**-13), (7.0, 0.0), (50.0, 0.0)],
)
def test_points_halve_with_every_half_of_epsilon_and_end(epsilon, points):
    """512 models: none from ceil(ln 511) = 7 on."""
    assert challenge.forgetting_quality([epsilon], models=512) == points


def test_the_score_is_a_mean_and_loses_with_the_accuracy():
    assert challenge.forgetting_quality([0.0, 0.5], models=512) == 0.75
    scores = {"retained": 0.9, "test": 0.8}
    assert challenge.final_score(0.5, scores, {"retained": 1.0, "test": 0.8}) == pytest.approx(0.45)


def test_as_many_models_on_both_sides(rng):
    with pytest.raises(InputError, match="as many"):
        challenge.per_sample(rng.normal(size=(4, 2)), rng.normal(size=(5, 2)))
