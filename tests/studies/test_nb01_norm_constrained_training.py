"""The rows of notebook 01: a gradient in two parts, and a model that is at rest nowhere."""

from dataclasses import replace

import pytest

from studies import nb01_norm_constrained_training as study
from unlearnlib.lab import profiles

SMALL = replace(profiles.load("smoke").mlp_mnist, seeds=(0, 1))


def test_the_two_parts_make_up_the_gradient(softmax):
    F, w = softmax.objective(weight_decay=0.1), softmax.w
    parts, slope = study.gradient_parts(F, w), F.gradient(w)
    assert parts["along w"] ** 2 + parts["across w"] ** 2 == pytest.approx(float(slope @ slope))
    assert parts["along w"] == pytest.approx(abs(float(slope @ w)) / float(w.norm()))


def test_a_fresh_network_is_not_at_rest_on_any_sphere():
    ratios = study.untrained_ratios(SMALL, (1.0, 4.0))
    assert len(ratios) == 4 and min(ratios) > 1
