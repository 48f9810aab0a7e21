"""Membership inference: known answers, held-out rows, and intervals that mean what they say."""

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score, roc_curve

from unlearnlib import InputError
from unlearnlib.evaluation import attacks
from unlearnlib.evaluation.attacks import ATTACKERS, Scores, attack, features, strength


def gaussians(apart, n=300, m=600, k=4, seed=0):
    r = np.random.default_rng(seed)
    return r.normal(apart, 1, size=(n, k)), r.normal(0, 1, size=(m, k))


def test_the_metrics_are_scikit_learns():
    members, unseen = (np.round(s[:, 0], 1) for s in gaussians(1.0))  # with ties
    found = strength([Scores(members, unseen, threshold=0.5)])
    y = np.repeat([1, 0], [len(members), len(unseen)])
    scores = np.concatenate([members, unseen])
    assert found["AUC"]["value"] == pytest.approx(roc_auc_score(y, scores))
    assert found["accuracy"]["value"] == pytest.approx(balanced_accuracy_score(y, scores > 0.5))
    fpr, tpr, _ = roc_curve(y, scores, drop_intermediate=False)
    assert found["TPR at 1% FPR"]["value"] == pytest.approx(tpr[fpr <= 0.01].max())


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_an_attacker_finds_what_is_there(attacker):
    found = strength([attack(attacker, *gaussians(2.5), seed=0)])
    assert found["AUC"]["value"] > 0.85 and found["accuracy"]["value"] > 0.8


@pytest.mark.parametrize("attacker", ATTACKERS)
def test_an_attacker_finds_nothing_in_noise(attacker):
    """Scored on the rows it was fitted on, a forest would be right on all of them."""
    found = strength([attack(attacker, *gaussians(0.0, seed=s), seed=s) for s in range(5)])
    assert abs(found["AUC"]["value"] - 0.5) < 0.06
    assert abs(found["accuracy"]["value"] - 0.5) < 0.06


def test_nothing_is_scored_that_was_fitted_on():
    members, unseen = gaussians(0.0, n=10, m=25, k=1)
    scores = attack("loss threshold", members, unseen, seed=0)
    assert len(scores.members) == 5 and len(scores.unseen) == 20
    assert set(scores.members) <= set(members[:, 0]) and set(scores.unseen) <= set(unseen[:, 0])


def test_the_threshold_is_the_best_of_the_other_half():
    y = np.array([0, 0, 1, 0, 1, 1])
    scores = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    cut = attacks._best_threshold(scores, y)
    assert cut in (2.0, 4.0) and ((scores > cut) == y).sum() == 5
    tied = attacks._best_threshold(np.array([1.0, 1.0, 1.0, 2.0]), np.array([0, 1, 0, 1]))
    assert tied == 1.0


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    truth, covered = 0.7602, 0  # Phi(1/sqrt(2))
    for seed in range(200):
        members, unseen = (s[:, 0] for s in gaussians(1.0, n=80, m=80, seed=seed))
        auc = strength([Scores(members, unseen, 0.5)], seed)["AUC"]
        covered += auc["low"] <= truth <= auc["high"]
    assert 178 <= covered <= 198


def test_several_runs_are_averaged_and_narrow_the_interval():
    runs = [Scores(*(s[:, 0] for s in gaussians(1.0, n=60, m=60, seed=s)), 0.5) for s in range(8)]
    each = [strength([run])["AUC"]["value"] for run in runs]
    together = strength(runs)["AUC"]
    assert together["value"] == pytest.approx(np.mean(each))
    one = strength(runs[:1])["AUC"]
    assert together["high"] - together["low"] < 0.6 * (one["high"] - one["low"])


def test_features_follow_the_order_of_the_original():
    before = torch.tensor([[0.1, 0.7, 0.2]])
    after = torch.tensor([[0.5, 0.3, 0.2]])
    assert np.allclose(features(before, after), [[0.7, 0.2, 0.1, 0.3, 0.2, 0.5]])


def test_posteriors_and_confidences_are_the_models(mlp):
    F = mlp.objective(pass_size=7)
    posteriors = attacks.posteriors(F, mlp.w)
    assert torch.allclose(posteriors.sum(1), torch.ones(30, dtype=F.dtype))
    confidences = attacks.confidences(F, mlp.w)
    assert -confidences.mean() == pytest.approx(float(mlp.by_hand()(mlp.w)))
    assert np.allclose(np.exp(confidences[:, 0]), posteriors[torch.arange(30), mlp.y])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("attacker", ATTACKERS)
def test_a_score_that_is_not_finite_is_refused(attacker, bad):
    for name in ("members", "unseen"):
        samples = dict(zip(("members", "unseen"), gaussians(0.0, n=20, m=20), strict=True))
        samples[name][7, 2] = bad
        message = rf"{name} has shape \(20, 4\) and 1 scores that are not finite; .* \(n, k\)\.$"
        with pytest.raises(InputError, match=message):
            attack(attacker, **samples, seed=0)


def test_what_is_not_finite_has_no_strength_and_no_features():
    fine, bad = np.zeros(3), np.array([0.0, np.nan, 1.0])
    for scores in (Scores(bad, fine, 0.5), Scores(fine, bad, 0.5), Scores(fine, fine, np.nan)):
        with pytest.raises(InputError, match="and 1 scores that are not finite"):
            strength([Scores(fine, fine, 0.5), scores])
    fine, bad = torch.tensor([[0.5, 0.5]]), torch.tensor([[0.5, torch.nan]])
    for pair in ((fine, bad), (bad, fine)):
        with pytest.raises(InputError, match=r"has shape \(1, 2\) and 1 scores"):
            features(*pair)


def test_one_score_a_sample_needs_its_column():
    with pytest.raises(InputError, match=r"members has shape \(20,\) .* the shape \(n, k\)\.$"):
        attack("loss threshold", np.zeros(20), np.zeros((20, 1)), seed=0)


def test_what_cannot_be_attacked_is_refused():
    members, unseen = gaussians(0.0, n=3, m=50)
    with pytest.raises(InputError, match="at least 4 forgotten"):
        attack("MLP", members, unseen, seed=0)
    with pytest.raises(InputError, match="as many unseen"):
        attack("MLP", *gaussians(0.0, n=50, m=40), seed=0)
    with pytest.raises(InputError, match="choose from 'loss threshold'"):
        attack("psychic", *gaussians(0.0), seed=0)
    with pytest.raises(InputError, match="no scores"):
        strength([])


def scored(members, unseen):
    return attacks.Scores(np.asarray(members), np.asarray(unseen), threshold=0.0)


def test_the_difference_of_two_aucs_is_a_mean_over_seeds_and_paired():
    """The same samples, a model that scores all of them alike: no difference and no width."""
    rng = np.random.default_rng(0)
    runs = [scored(rng.normal(1, 1, 200), rng.normal(0, 1, 300)) for _ in range(3)]
    shifted = [scored(run.members + 5, run.unseen + 5) for run in runs]
    same = attacks.auc_difference(runs, shifted)
    assert (same.mean, same.low, same.high, same.seeds) == (0, 0, 0, 3)
    blind = [scored(rng.normal(0, 1, 200), rng.normal(0, 1, 300)) for _ in range(3)]
    found = attacks.auc_difference(runs, blind)
    aucs = [[attacks.strength([run])["AUC"]["value"] for run in each] for each in (runs, blind)]
    assert found.mean == pytest.approx(np.mean(aucs[0]) - np.mean(aucs[1]))
    assert 0.15 < found.low < found.mean < found.high


def test_two_attacks_must_have_scored_the_same_samples():
    with pytest.raises(InputError, match="different samples"):
        attacks.auc_difference([scored([1.0], [0.0])], [scored([1.0, 2.0], [0.0])])


def test_a_margin_is_the_log_odds_of_the_label(softmax):
    F, w = softmax.objective(), softmax.w
    p = np.exp(attacks.confidences(F, w)[:, 0])
    assert attacks.margins(F, w) == pytest.approx(np.log(p / (1 - p)))
