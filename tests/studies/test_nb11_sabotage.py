"""Broken releases are caught: by the audit of the worst pair, or by the card."""

import numpy as np
import pytest
from scipy.stats import norm

from studies.nb11_budget_and_utility import sabotage
from studies.nb11_budget_and_utility.sabotage import WorstPair, audited, power
from unlearnlib import gaussian_epsilon
from unlearnlib.evaluation.audit import gdp_audit
from unlearnlib.evaluation.metrics import distance
from unlearnlib.lab import data, proved
from unlearnlib.lab.settings import DELTA

RELEASES = 3000


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNLEARNLIB_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield WorstPair(proved.softmax(data.load("mnist5k").subset(200, 50)), epsilon=1.0)


def test_the_pair_is_as_far_apart_as_the_certificate_lets_it_be(pair):
    low, high = pair.ends()
    assert distance(low, high) == pytest.approx(pair.Delta, rel=1e-12)
    for w in (low, high):
        assert float(pair.problem.F.gradient(w).norm()) == pytest.approx(pair.G, rel=2e-3)
    assert gaussian_epsilon(pair.Delta, pair.sigma, DELTA) == pytest.approx(1.0, rel=1e-6)


def test_the_audit_passes_true_noise_and_knows_its_power(pair):
    found = audited(pair, RELEASES)
    assert 0.5 < found.audit.bound <= 1 and found.spread == pytest.approx(1, abs=0.04)
    assert power(pair, 300) < power(pair, RELEASES) < power(pair, 60_000) == 0.9
    assert power(pair, 10) == 0


def test_it_has_that_power_in_nine_runs_of_ten():
    """Noise x 0.9 with 60,000 releases a side, by counts drawn from the two Gaussians."""
    rng, right = np.random.default_rng(0), norm.cdf(0.26805 / 0.9 / 2)
    refuted = 0
    for _ in range(300):
        hits, alarms = rng.binomial(60_000, [right, 1 - right])
        found = gdp_audit(int(hits), 60_000, int(alarms), 60_000, delta=DELTA)
        refuted += found.bound > 1
    assert 0.85 < refuted / 300 < 0.97


def test_thirty_thousand_releases_refute_nine_tenths_of_the_noise():
    """By the expected counts: at true noise 0.89 of 1 is shown, at nine tenths more than 1."""
    shown = {}
    for share in (1.0, 0.9):
        hits = round(norm.cdf(0.26805 / share / 2) * 30_000)
        found = gdp_audit(hits, 30_000, 30_000 - hits, 30_000, delta=DELTA)
        shown[share] = found.bound
    assert shown[1.0] == pytest.approx(0.89, abs=0.01) and 1.0 < shown[0.9] < 1.06


@pytest.mark.parametrize(
    ("name", "caught"),
    [
        ("nothing is broken", False),
        ("noise x 0.9", True),
        ("no noise", True),
        ("refined to 2G only", True),
        ("one seed for all releases", True),
    ],
)
def test_the_worst_pair_tells_the_broken_from_the_sound(pair, name, caught):
    row = sabotage.on_the_worst_pair(pair, RELEASES)[name]()
    assert bool(row["refuted"] or row["too narrow"]) == caught


@pytest.mark.parametrize(
    ("name", "card", "why"),
    [
        ("nothing is broken", "proved", ""),
        ("a stale `whole`", "conditional", "not measured"),
        ("a stale `whole`, measured", "void", "exceeds G"),
        ("a solver that saw a sample", "void", "residual"),
        ("training left 10 G", "void", "exceeds G"),
    ],
)
def test_the_card_says_what_no_audit_can_see(name, card, why):
    row = sabotage.on_the_card()[name]()
    assert row["card"] == card and why in row["why"]


def test_a_published_seed_and_a_buffer_of_the_data_are_named_or_refused():
    assert "not private" in sabotage.on_the_card()["one seed, published"]()["card"]
    kept = sabotage.kept_buffer()
    assert kept["card"] == "refused" and "seen" in kept["why"]


def test_a_refinement_that_stopped_early_voids_the_card(pair):
    row = sabotage.refined_to_2G(pair.problem, 1.0)
    assert row["card"] == "void" and "exceeds G" in row["why"]
