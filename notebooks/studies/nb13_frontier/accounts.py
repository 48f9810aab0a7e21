"""What each method's published formula asks for, beside the exact accounting used here."""

from __future__ import annotations

from unlearnlib.evaluation.peers import clipped_gradients, clipped_models, dp_sgd, noisy_sgd, rewind
from unlearnlib.evaluation.peers.interpolation import gdp_of
from unlearnlib.lab.settings import DELTA
from unlearnlib.noise import gaussian_sigma

from .private import group_sigma

STEPS, LR, DRIFT = 36, 0.1, (60, 20)  # examples: of noisy steps, a rate, steps of descent
CHIEN = dict(n=11_264, mu=11_264e-6, sigma=0.1, epsilon=0.01)  # MNIST, 3 against 8
GROUP = 10  # samples at once


def account_rows(epsilon: float) -> list[dict]:
    """One row a method: the noise, or the steps, of its published formula and of ours.

    quantity   what is compared: at equal privacy less is better
    """
    return [
        _row("clipped gradients", "noise of a step", *_gradients(epsilon)),
        _row("output perturbation", "noise", *_output(epsilon)),
        _row("rewind-to-delete", "sensitivity", *_rewind()),
        _row("noisy SGD", f"epochs, at epsilon = {CHIEN['epsilon']:g}", *_noisy_sgd()),
        _row(f"DP-SGD, {GROUP} samples", "noise of a step", *_group(epsilon)),
    ]


def _row(way: str, quantity: str, published: float, exact: float) -> dict:
    ratio = published / exact
    return {
        "way": way,
        "quantity": quantity,
        "published": published,
        "exact": exact,
        "ratio": ratio,
    }


def _gradients(epsilon: float) -> tuple[float, float]:
    how = dict(radius=STEPS * LR, limit=1.0, lr=LR)
    published = clipped_gradients.published_sigma(STEPS, epsilon=epsilon, delta=DELTA, **how)
    return published, clipped_gradients.noise(STEPS, gdp_of(epsilon, DELTA), **how)


def _output(epsilon: float) -> tuple[float, float]:
    published = clipped_models.published_output_sigma(1.0, epsilon, DELTA)
    return published, gaussian_sigma(2.0, epsilon, DELTA)


def _rewind() -> tuple[float, float]:
    T, K = DRIFT
    how = dict(m=1000, n=60_000, g=1.0, L=1.0, lr=LR)
    return rewind.published_sensitivity(T, K, **how), rewind.sensitivity(T, K, **how)


def _noisy_sgd() -> tuple[float, float]:
    n, mu, sigma, epsilon = CHIEN.values()
    lr = 1 / (0.25 + mu)
    c = noisy_sgd.contraction(lr, mu, 0.25 + mu)
    Z = noisy_sgd.distance([n], m=1, g=1.0, lr=lr, c=c)
    how = dict(Z=Z, batches=1, lr=lr, sigma=sigma, c=c)
    published, exact = (
        noisy_sgd.epochs_needed(epsilon, 1 / n, published=by_theirs, **how)
        for by_theirs in (True, False)
    )
    return float(published), float(exact)


def _group(epsilon: float) -> tuple[float, float]:
    epsilon_1, delta_1 = dp_sgd.of_one(GROUP, epsilon, DELTA)
    how = dict(rate=0.1, steps=100)
    by_lemma = group_sigma(epsilon_1, m=1, delta=delta_1, **how)
    return by_lemma, group_sigma(epsilon, m=GROUP, **how)
