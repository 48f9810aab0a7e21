"""BatchNorm: trained on batch statistics, frozen in an objective, recomputed from the data."""

import copy
from unittest.mock import Mock

import pytest
import torch
from torch import nn
from torch.nn.functional import batch_norm, cross_entropy

from unlearnlib import InputError, Objective, batchnorm, projected_sgd, unlearn
from unlearnlib.evaluation.baselines import neggrad_plus

MEAN, VARIANCE, BATCHES = "1.running_mean", "1.running_var", "1.num_batches_tracked"


@pytest.fixture
def case(batchnorm_net, batchnorm_data, vectors):
    """The net, its data and a vector of weights."""
    return batchnorm_net, *batchnorm_data, vectors(159, seed=3) / 2


def holding(model, w):
    model = copy.deepcopy(model)
    nn.utils.vector_to_parameters(w.clone(), model.parameters())
    return model


def before_batchnorm(model, w, x):
    return holding(model, w)[0](x).detach()


def test_layers_are_found_in_order():
    inner = nn.BatchNorm2d(2)
    model = nn.Sequential(nn.BatchNorm1d(3), nn.GroupNorm(1, 4), nn.Sequential(inner, nn.ReLU()))
    assert batchnorm.layers(model) == [model[0], inner]


def test_training_uses_batch_statistics_and_hands_its_buffers_on(case, rng):
    model, x, y, w = case
    run = projected_sgd(
        Objective(model, x, y), w, epochs=3, lr=0.1, momentum=0.9, batch_size=8, generator=rng(4)
    )
    reference, g = holding(model.train(), w), rng(4)
    rule = torch.optim.SGD(reference.parameters(), 0.1, 0.9)
    for _ in range(3):
        for batch in torch.randperm(20, generator=g).split(8):
            rule.zero_grad()
            cross_entropy(reference(x[batch]), y[batch]).backward()
            rule.step()
    assert torch.equal(run.w, nn.utils.parameters_to_vector(reference.parameters()))
    expected = dict(reference.named_buffers())
    assert run.buffers.keys() == expected.keys()
    assert all(torch.equal(run.buffers[name], expected[name]) for name in expected)
    assert int(run.buffers[BATCHES]) == 9


def test_other_layers_stay_in_eval_mode_while_batchnorm_trains(case, rng):
    model, x, y, w = case
    dropping = nn.Sequential(*model, nn.Dropout(0.5)).eval()
    F, G = Objective(model, x, y), Objective(dropping, x, y)
    runs = [projected_sgd(f, w, epochs=2, lr=0.1, generator=rng()) for f in (F, G)]
    assert torch.equal(runs[0].w, runs[1].w)


def test_an_objective_sees_frozen_buffers_and_does_not_move_them(case):
    model, x, y, w = case
    F = Objective(model, x, y)
    F.value(w), F.gradient(w), F.hvp(w, w)
    reference = holding(model, w).eval()  # fresh buffers: mean 0, variance 1
    assert F.value(w) == pytest.approx(float(cross_entropy(reference(x), y)), abs=1e-12)
    assert torch.equal(F.buffers[MEAN], torch.zeros(4, dtype=torch.float64))
    assert torch.equal(model[1].running_mean, torch.zeros(4, dtype=torch.float64))


def test_with_buffers_is_the_objective_with_those_statistics(case):
    model, x, y, w = case
    mean, variance = torch.arange(4.0).double(), torch.arange(1.0, 5.0).double()
    F = Objective(model, x, y)
    other = F.with_buffers({MEAN: mean, VARIANCE: variance, BATCHES: torch.tensor(1)})

    def by_hand(w):
        q = dict(zip([n for n, _ in model.named_parameters()], F.pieces(w).values(), strict=True))
        z = torch.nn.functional.conv2d(x, q["0.weight"], q["0.bias"])
        z = torch.tanh(batch_norm(z, mean, variance, q["1.weight"], q["1.bias"]))
        return cross_entropy(z.flatten(1) @ q["4.weight"].T + q["4.bias"], y)

    assert other.value(w) == pytest.approx(float(by_hand(w)), abs=1e-12)
    expected = torch.func.hessian(by_hand)(w)
    torch.testing.assert_close(other.hessian(w), expected, rtol=0, atol=1e-8)
    assert torch.equal(other.module(w)[1].running_mean, mean)
    assert torch.equal(F.buffers[MEAN], torch.zeros(4, dtype=torch.float64))
    assert F.value(w) != pytest.approx(other.value(w), abs=1e-3)


def test_a_missing_buffer_is_refused_by_name(case):
    model, x, y, _ = case
    with pytest.raises(InputError, match="Buffer '1.running_var' .* is missing .*give all"):
        Objective(model, x, y).with_buffers({MEAN: torch.zeros(4)})


def test_until_gradient_is_measured_with_the_buffers_of_the_run(case, rng):
    model, x, y, w = case
    F = Objective(model, x, y)
    settings = dict(epochs=2, lr=0.1, batch_size=8, until_gradient=1e-9, generator=rng())
    run = projected_sgd(F, w, **settings)
    reference = holding(model, run.w).eval()
    reference[1].running_mean.copy_(run.buffers[MEAN])
    reference[1].running_var.copy_(run.buffers[VARIANCE])
    loss = cross_entropy(reference(x), y)
    slopes = torch.autograd.grad(loss, list(reference.parameters()))
    expected = float(torch.cat([slope.reshape(-1) for slope in slopes]).norm())
    assert run.history[-1]["gradient_norm"] == pytest.approx(expected, rel=1e-9)


def test_recomputed_buffers_are_the_statistics_of_all_samples(case):
    model, x, y, w = case
    found = batchnorm.recomputed_buffers(Objective(model, x, y), w)
    z = before_batchnorm(model, w, x).transpose(0, 1).flatten(1)
    torch.testing.assert_close(found[MEAN], z.mean(1), rtol=0, atol=1e-12)
    torch.testing.assert_close(found[VARIANCE], z.var(1), rtol=0, atol=1e-12)


def test_recomputed_buffers_average_over_passes(case):
    model, x, y, w = case
    found = batchnorm.recomputed_buffers(Objective(model, x, y, pass_size=5), w)
    passes = [before_batchnorm(model, w, part).transpose(0, 1).flatten(1) for part in x.split(5)]
    mean = torch.stack([z.mean(1) for z in passes]).mean(0)
    variance = torch.stack([z.var(1) for z in passes]).mean(0)
    torch.testing.assert_close(found[MEAN], mean, rtol=0, atol=1e-12)
    torch.testing.assert_close(found[VARIANCE], variance, rtol=0, atol=1e-12)


def test_no_forgotten_sample_and_no_old_buffer_has_a_part_in_recomputed_buffers(case):
    model, x, y, w = case
    before = batchnorm.recomputed_buffers(Objective(model, x, y).without([3, 11]), w)
    altered, x = copy.deepcopy(model), x.clone()
    x[[3, 11]] += 100
    altered[1].running_mean.fill_(50)
    altered[1].running_var.fill_(50)
    altered[1].num_batches_tracked.fill_(7)
    F = Objective(altered, x, y)
    after = batchnorm.recomputed_buffers(F.without([3, 11]), w)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not torch.equal(batchnorm.recomputed_buffers(F, w)[MEAN], before[MEAN])


def test_a_last_pass_of_a_single_sample_is_no_obstacle():
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
    F = Objective(model, torch.randn(9, 4).double(), torch.arange(9) % 3, pass_size=4)
    found = batchnorm.recomputed_buffers(F, F.initial())
    assert torch.isfinite(found[VARIANCE]).all()


def test_a_model_without_buffers_has_none_to_recompute(mlp):
    assert batchnorm.recomputed_buffers(mlp.objective(), mlp.w) == {}


def test_k_models_side_by_side_are_refused(case):
    model, x, y, w = case
    with pytest.raises(
        InputError, match="2 models share no BatchNorm.* norm='group', or train one"
    ):
        projected_sgd(Objective(model, x, y), torch.stack([w, w]), epochs=1, lr=0.1)


# ---- a batch of one -----------------------------------------------------------------------------


@pytest.fixture
def flat():
    """flat(n): a linear layer, then BatchNorm, which sees one value a sample and channel."""

    def make(n, pass_size=1024):
        model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3)).double()
        x = torch.randn(n, 4, dtype=torch.float64)
        return Objective(model, x, torch.arange(n) % 3, pass_size=pass_size)

    return make


@pytest.mark.parametrize(
    ("n", "batch_size", "better"), [(9, 4, 5), (9, 8, 9), (7, 3, 4), (3, 1, 3), (13, 3, 5)]
)
def test_a_last_batch_of_one_is_refused_before_the_first_step(flat, n, batch_size, better):
    F = flat(n)
    message = f"1 sample .* at least 2; n = {n} in batches of {batch_size} .* = {better}\\.$"
    with pytest.raises(InputError, match=message):
        projected_sgd(F, F.initial(), epochs=1, lr=0.1, batch_size=batch_size, monitor=pytest.fail)
    projected_sgd(F, F.initial(), epochs=1, lr=0.1, batch_size=better)


def test_a_request_whose_size_leaves_one_is_refused(flat):
    F, settings = flat(12), dict(epochs=1, lr=0.1, batch_size=4)
    projected_sgd(F, F.initial(), **settings)
    projected_sgd(F.without([0, 1]), F.initial(), **settings)
    with pytest.raises(InputError, match="n = 9 in batches of 4"):
        projected_sgd(F.without([0, 1, 2]), F.initial(), **settings)


def test_training_on_a_single_sample_is_refused(flat):
    with pytest.raises(InputError, match="n = 1 in batches of 128 .* any, for n >= 2"):
        projected_sgd(flat(1), flat(1).initial(), epochs=1, lr=0.1)


def test_a_batch_of_one_will_do_after_a_convolution(case):
    model, x, y, w = case
    F = Objective(model, x[:9], y[:9])
    assert projected_sgd(F, w, epochs=1, lr=0.1, batch_size=4).w.isfinite().all()
    assert all(b.isfinite().all() for b in batchnorm.recomputed_buffers(F.only([0]), w).values())


def test_neggrad_plus_has_no_batch_of_one(flat, rng):
    F = flat(10)  # nine retained, and each comes with a forgotten one
    w = neggrad_plus(
        F, F.initial(), [0], alpha=0.9, epochs=1, lr=0.1, batch_size=4, generator=rng()
    )
    assert w.isfinite().all()


def test_statistics_of_a_single_sample_are_refused(flat):
    F = flat(3, pass_size=1)
    batchnorm.recomputed_buffers(F.only([0, 1]), F.initial())
    with pytest.raises(InputError, match="1 sample .* at least 2; retain at least two samples"):
        batchnorm.recomputed_buffers(F.only([0]), F.initial())


@pytest.mark.parametrize("batch_size", [4, 5])
def test_looking_for_a_batch_of_one_changes_no_training(case, rng, monkeypatch, batch_size):
    model, x, y, w = case
    F, settings = Objective(model, x[:9], y[:9]), dict(epochs=2, lr=0.1, batch_size=batch_size)
    run = projected_sgd(F, w, generator=rng(), **settings)
    monkeypatch.setattr(batchnorm, "check_batch", lambda *_: None)
    without = projected_sgd(F, w, generator=rng(), **settings)
    assert torch.equal(run.w, without.w)
    assert all(torch.equal(run.buffers[name], without.buffers[name]) for name in run.buffers)


def test_a_request_that_leaves_one_sample_is_refused_before_anything_is_solved(flat):
    F, solver = flat(5), Mock()
    terms = dict(C=9.0, lam=50.0, delta=1e-5, sigma=0.1, solver=solver)
    with pytest.raises(InputError, match="retain at least two samples"):
        unlearn(F, F.initial(), range(4), **terms)
    solver.assert_not_called()
