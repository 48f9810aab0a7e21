"""CODEC by its definition, FOCI on known Markov blankets, and the step on a block."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata
from torch import nn

from unlearnlib import InputError
from unlearnlib.evaluation.lcodec import Block, codec, foci, lcodec, perturbed, weights_into

FORGET = [2, 7, 11]


def by_definition(y, z, x=None):
    """The two sums, neighbour by neighbour."""
    n, R, L = len(y), rankdata(y, method="max"), rankdata(-y, method="max")

    def nearest(points, i):
        others = [j for j in range(n) if j != i]
        return min(others, key=lambda j: ((points[i] - points[j]) ** 2).sum())

    both = z if x is None else np.hstack([x, z])
    M = [nearest(both, i) for i in range(n)]
    if x is None:
        above = sum(n * min(R[i], R[M[i]]) - L[i] ** 2 for i in range(n))
        return above / sum(L[i] * (n - L[i]) for i in range(n))
    N = [nearest(x, i) for i in range(n)]
    above = sum(min(R[i], R[M[i]]) - min(R[i], R[N[i]]) for i in range(n))
    return above / sum(R[i] - min(R[i], R[N[i]]) for i in range(n))


def draws(seed=0, n=400):
    """A loss of two parents, a noisy copy of one of them, and five variables of no concern."""
    r = np.random.default_rng(seed)
    x = r.normal(size=(n, 8))
    y = np.sin(2 * x[:, 0]) + x[:, 1] ** 2
    x[:, 2] = x[:, 0] + 0.5 * r.normal(size=n)
    return y, x


@pytest.mark.parametrize("given", [None, slice(1, 3)])
def test_codec_is_its_definition(given):
    y, x = draws(n=60)
    y = np.round(y, 1)  # with ties
    condition = None if given is None else x[:, given]
    assert codec(y, x[:, :1], condition) == pytest.approx(by_definition(y, x[:, :1], condition))


def test_codec_is_one_for_a_function_and_nought_for_chance():
    y, x = draws(n=1500)
    assert codec(y, x[:, :2]) > 0.9
    assert abs(codec(y, x[:, 3:4])) < 0.1
    assert codec(y, x[:, 1:2], x[:, :1]) > 0.8
    assert codec(np.ones(50), x[:50, :1], x[:50, 1:2]) == 1.0


@pytest.mark.parametrize("seed", range(5))
def test_foci_finds_the_markov_blanket(seed, rng):
    y, x = draws(seed)
    assert sorted(foci(y, x, most=8, generator=rng(seed))) == [0, 1]


def test_foci_does_not_care_about_units_of_measurement(rng):
    y, x = draws()
    scaled = x * np.logspace(-3, 3, 8) + 7
    assert sorted(foci(y, scaled, most=8, generator=rng(0))) == [0, 1]


def test_foci_leaves_the_dead_out_and_keeps_its_cap(rng):
    y, x = draws()
    x[:, 3:] = 0.0
    assert len(foci(y, x, most=1, generator=rng(0))) == 1
    assert set(foci(y, x, most=8, generator=rng(0))) <= {0, 1, 2}
    with pytest.raises(InputError, match="No unit responds"):
        foci(y, x[:, 3:], most=8)


def test_a_unit_is_what_its_weights_make_of_the_input(mlp, rng):
    F = mlp.objective()
    activations, losses = perturbed(F, mlp.w, 5, 0.0, rng(0))
    x, y = F.batch(F.draw((5,), rng(0)))
    first, shift, last, bias = mlp.w.split([20, 5, 15, 3])
    hidden = x @ first.view(5, 4).T + shift
    logits = torch.tanh(hidden) @ last.view(3, 5).T + bias
    assert np.allclose(activations, torch.cat([hidden, logits], 1))
    assert np.allclose(losses, nn.functional.cross_entropy(logits, y, reduction="none"))


def test_channels_are_averaged_over_places(conv, rng):
    activations, _ = perturbed(conv.objective(), conv.w, 6, 0.1, rng(0))
    assert activations.shape == (6, 4 + 3)


def test_the_weights_into_a_unit(mlp):
    F = mlp.objective()
    pieces = F.pieces(weights_into(F, [1, 6]))  # second hidden unit, second output
    assert pieces["0.weight"].nonzero()[:, 0].unique().tolist() == [1]
    assert pieces["0.bias"].tolist() == [0, 1, 0, 0, 0]
    assert pieces["2.weight"].nonzero()[:, 0].unique().tolist() == [1]
    assert pieces["2.bias"].tolist() == [0, 1, 0]


def test_a_bare_layer_has_weights_too(softmax):
    F = softmax.objective()
    assert weights_into(F, [0]).sum() == 4 + 1


def test_the_step_is_newtons_on_the_block(mlp, rng, monkeypatch):
    """Against the dense Hessian's block, with a selection that is known."""
    F, lam = mlp.objective(weight_decay=0.1), 5.0
    monkeypatch.setattr("unlearnlib.evaluation.lcodec.foci", lambda *_: [0, 6])
    moved = lcodec(F, mlp.w, FORGET, lam=lam, C=1e9, max_steps=200, generator=rng(0))
    S = weights_into(F, [0, 6]).bool()
    retained = [i for i in range(30) if i not in FORGET]
    H = mlp.hessian_by_hand(retained, weight_decay=0.1)[S][:, S]
    g = torch.func.grad(mlp.by_hand(FORGET, weight_decay=0.1))(mlp.w)[S]
    step = 3 / 27 * torch.linalg.solve(H + lam * torch.eye(len(H), dtype=H.dtype), g)
    assert torch.equal(moved[~S], mlp.w[~S])
    assert torch.allclose((moved - mlp.w)[S], step, rtol=0.02, atol=1e-6)


def test_the_block_is_seen_in_single_and_double_precision(mlp):
    F = mlp.objective().to(torch.float32)
    S = weights_into(F, [0])
    block = Block(F, S).to(torch.float64)
    v = torch.ones(F.p, dtype=torch.float64)
    assert block.hvp(mlp.w, v)[S == 0].eq(0).all() and block.hvp(mlp.w, v).any()


def test_selection_follows_the_generator(mlp, rng):
    F = mlp.objective(weight_decay=0.1)
    once, again = (lcodec(F, mlp.w, FORGET, lam=5.0, C=9.0, generator=rng(3)) for _ in range(2))
    assert torch.equal(once, again) and not torch.equal(once, mlp.w)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (dict(lam=-1.0), "lam is -1.0"),
        (dict(C=0.0), "C is 0.0"),
        (dict(noise=math.nan), "noise is"),
        (dict(max_units=0), "max_units is 0"),
        (dict(max_steps=2.5), "max_steps is 2.5"),
        (dict(perturbations=True), "perturbations is True; .*a whole number"),
    ],
)
def test_arguments_out_of_range_are_refused_before_any_work(mlp, monkeypatch, wrong, message):
    monkeypatch.setattr("unlearnlib.evaluation.lcodec.perturbed", None)
    with pytest.raises(InputError, match=message):
        lcodec(mlp.objective(), mlp.w, FORGET, **dict(lam=5.0, C=9.0) | wrong)
