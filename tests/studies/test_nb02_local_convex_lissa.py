"""The mean of many runs of LiSSA, and how its distance from a formula is counted."""

import numpy as np
import pytest
import torch

from studies import nb02_local_convex_lissa as study
from unlearnlib import bounds


def test_a_mean_is_about_one_standard_error_away_and_a_bias_is_more():
    answers = np.random.default_rng(0).normal(3.0, 1.0, (40, 500))
    assert study.standard_errors(answers, np.full(500, 3.0)) == pytest.approx(1, abs=0.1)
    assert study.standard_errors(answers, np.full(500, 4.0)) == pytest.approx(40**0.5, rel=0.1)


def test_axes_without_chance_are_left_out():
    answers = np.random.default_rng(0).normal(3.0, 1.0, (40, 2))
    answers[:, 1] = 5.0
    assert study.standard_errors(answers, np.array([3.0, 9.0])) < 3


def test_many_runs_scatter_around_the_filter(softmax, monkeypatch):
    monkeypatch.setattr(study, "RUNS", 12)
    F, w, lam = softmax.objective(weight_decay=0.1), softmax.w, 0.5
    eigenvalues, vectors = torch.linalg.eigh(F.hessian(w))
    scale = study.safe_scale(F, w, lam)
    answers = study.many_runs(F, w, vectors.sum(1), lam, scale) @ vectors.numpy()
    expected = bounds.lissa_filter((eigenvalues + lam).numpy(), scale, study.RUN_STEPS)
    assert answers.shape == (12, F.p) and study.standard_errors(answers, expected) < 2
