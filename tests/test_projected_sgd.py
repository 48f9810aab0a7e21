"""Training: torch's own steps, never outside the ball, one model or many."""

import math
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from unlearnlib import DivergenceError, InputError, Objective, project, projected_sgd

SGD, ADAM = dict(optimizer="sgd", momentum=0.9, lr=0.1), dict(optimizer="adam", lr=0.02)


def norms(w):
    return torch.linalg.vector_norm(w, dim=-1, dtype=torch.float64)


def trained_by_torch(model, w0, x, y, batches, optimizer, lr, momentum=0.0):
    """The plain loop, with a module and torch's optimizer on its parameters."""
    nn.utils.vector_to_parameters(w0.clone(), model.parameters())
    q = model.parameters()
    rule = torch.optim.SGD(q, lr, momentum) if optimizer == "sgd" else torch.optim.Adam(q, lr)
    for batch in batches:
        rule.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        rule.step()
    return nn.utils.parameters_to_vector(model.parameters()).detach()


vector = st.lists(st.floats(-1e3, 1e3, width=32), min_size=3, max_size=3)
radius = st.floats(1e-3, 1e3)
precision = st.sampled_from([torch.float32, torch.float64])


@given(vector, radius, precision)
def test_projection_lands_inside_and_stays(numbers, C, dtype):
    once = project(torch.tensor(numbers, dtype=dtype), C)
    assert float(norms(once)) <= C
    assert torch.equal(project(once, C), once)


@given(vector, radius)
def test_projection_is_the_nearest_point(numbers, C):
    w = torch.tensor(numbers, dtype=torch.float64)
    distance = max(0.0, float(w.norm()) - C)  # of w from the ball
    assert float((project(w, C) - w).norm()) == pytest.approx(distance, rel=1e-12, abs=1e-12 * C)


@given(vector, vector, radius)
def test_projection_is_non_expansive(numbers, others, C):
    a, b = torch.tensor(numbers, dtype=torch.float64), torch.tensor(others, dtype=torch.float64)
    assert (project(a, C) - project(b, C)).norm() <= (a - b).norm() + 1e-14 * C


def test_projection_goes_row_by_row():
    w = torch.tensor([[3.0, 4.0], [0.3, 0.4], [0.0, 0.0]])
    expected = torch.tensor([[0.6, 0.8], [0.3, 0.4], [0.0, 0.0]])
    torch.testing.assert_close(project(w, 1.0), expected)
    assert torch.equal(project(w, math.inf), w)


@pytest.mark.parametrize("rule", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("kind", ["mlp", "conv"])
def test_without_ball_and_decay_it_is_torchs_own_optimizer(kind, rule, request, rng):
    problem = request.getfixturevalue(kind)
    g, n = rng(4), len(problem.x)
    batches = [b for _ in range(3) for b in torch.randperm(n, generator=g).split(8)]
    expected = trained_by_torch(problem.model, problem.w, problem.x, problem.y, batches, **rule)
    run = projected_sgd(
        problem.objective(), problem.w, epochs=3, batch_size=8, generator=rng(4), **rule
    )
    assert torch.equal(run.w, expected)


@pytest.mark.parametrize("C", [math.inf, 4.0])
def test_one_step_is_the_formula(mlp, C):
    start = mlp.w * 4 / mlp.w.norm()
    regulariser = dict(weight_decay=0.3, center=3 * start)  # pulls it out of the ball
    F, by_hand = mlp.objective(**regulariser), mlp.by_hand(**regulariser)
    moved = start - 0.2 * torch.func.grad(by_hand)(start)
    assert moved.norm() > 4
    expected = moved * min(1.0, C / float(moved.norm()))
    run = projected_sgd(F, start, C=C, epochs=1, lr=0.2, batch_size=30)
    torch.testing.assert_close(run.w, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rule", [SGD, ADAM], ids=["sgd", "adam"])
def test_every_step_starts_inside_the_ball(mlp, dtype, rule, rng):
    seen = []

    def note(layer, _):
        seen.append(norms(nn.utils.parameters_to_vector(layer.parameters())).item())

    mlp.model.to(dtype).register_forward_pre_hook(note)
    F = mlp.objective()
    seen.clear()
    settings = dict(C=2.5, epochs=5, batch_size=8, generator=rng())
    run = projected_sgd(F, mlp.w.to(dtype), **settings, **(rule | dict(lr=0.5)))
    assert len(seen) == 20
    assert max(seen) <= 2.5 and norms(run.w) <= 2.5
    assert sum(norm > 2.499 for norm in seen) > 5  # the constraint did bind


def test_a_start_outside_is_projected(mlp):
    run = projected_sgd(mlp.objective(), 50 * mlp.w, C=1.0, epochs=1, lr=1e-9, batch_size=30)
    torch.testing.assert_close(run.w, mlp.w / mlp.w.norm(), rtol=0, atol=1e-7)


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_schedule_goes_from_lr_to_nearly_zero_over_all_steps(quadratic, schedule):
    seen = []
    quadratic.model.register_forward_pre_hook(
        lambda layer, _: seen.append(nn.utils.parameters_to_vector(layer.parameters()).detach())
    )
    quadratic.loss = lambda outputs, y: (outputs - y).sum(1).mean()
    quadratic.x = torch.ones(30, 4).double()  # then every step has the same slope, 1 throughout
    F = quadratic.objective()
    seen.clear()
    run = projected_sgd(F, quadratic.w, lr=0.5, epochs=4, batch_size=10, schedule=schedule)
    walked = torch.stack([*seen, run.w]).diff(dim=0)
    t = torch.arange(12).double()
    rates = {"constant": 1 + 0 * t, "cosine": (1 + torch.cos(math.pi * t / 12)) / 2}[schedule]
    torch.testing.assert_close(walked, -0.5 * rates[:, None].expand(12, 10))


def test_it_stops_after_the_first_epoch_with_so_small_a_gradient(softmax, rng):
    F = softmax.objective(weight_decay=0.1)
    settings = dict(epochs=400, lr=0.5, batch_size=30, generator=rng())
    run = projected_sgd(F, softmax.w, until_gradient=1e-3, **settings)
    slope = torch.func.grad(softmax.by_hand(weight_decay=0.1))(run.w)
    assert run.converged is True
    assert run.history[-1]["gradient_norm"] == pytest.approx(float(slope.norm()), rel=1e-9)
    assert run.history[-1]["gradient_norm"] <= 1e-3 < run.history[-2]["gradient_norm"]
    assert len(run.history) < 400


def test_converged_is_none_unasked_and_false_unreached(softmax):
    F, settings = softmax.objective(), dict(epochs=2, lr=0.1)
    assert projected_sgd(F, softmax.w, **settings).converged is None
    assert projected_sgd(F, softmax.w, until_gradient=1e-6, **settings).converged is False


def test_history_has_the_loss_without_decay_the_norm_and_the_share_projected(mlp):
    F = mlp.objective(weight_decay=0.3)
    run = projected_sgd(F, mlp.w, epochs=1, lr=0.1, batch_size=30)
    assert run.history[0]["loss"] == pytest.approx(float(mlp.by_hand()(mlp.w)))
    assert run.history[0]["norm"] == pytest.approx(float(run.w.norm()))
    assert run.history[0]["projected"] == 0
    grows = dict(epochs=2, lr=1e-3, batch_size=10)  # uphill: each step would leave the ball
    F = mlp.objective(weight_decay=1.0, center=100 * mlp.w)
    assert projected_sgd(F, mlp.w, C=1.0, **grows).history[1]["projected"] == 1


def test_the_same_seed_gives_the_same_bits_and_another_does_not(mlp, rng):
    F, settings = mlp.objective(), dict(C=3.0, epochs=2, lr=0.1, batch_size=8)
    first, second, third = (
        projected_sgd(F, mlp.w, generator=rng(seed), **settings).w for seed in (1, 1, 2)
    )
    assert torch.equal(first, second)
    assert not torch.equal(first, third)


def test_k_models_on_full_batches_are_k_single_runs(mlp, vectors):
    F, w0 = mlp.objective(weight_decay=0.1), vectors(3, 43, seed=8)
    settings = dict(C=6.0, epochs=8, batch_size=30, schedule="cosine", **SGD)
    alone = torch.stack([projected_sgd(F, w, **settings).w for w in w0])
    torch.testing.assert_close(projected_sgd(F, w0, **settings).w, alone, rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_each_of_k_models_stays_inside_the_ball_and_learns(mlp, dtype, vectors, rng):
    mlp.model.to(dtype)
    mlp.y = (mlp.x[:, 0] > 0).long() + (mlp.x[:, 1] > 0).long()
    w0 = vectors(3, 43, seed=8).to(dtype)
    for epochs in (1, 2, 3, 30):
        settings = dict(C=5.0, epochs=epochs, lr=0.5, batch_size=8, generator=rng())
        run = projected_sgd(mlp.objective(), w0, **settings)
        assert (norms(run.w) <= 5).all()
    assert (norms(run.w) > 4.999).any()  # the constraint did bind
    losses = torch.tensor([epoch["loss"] for epoch in run.history])
    assert losses.shape == (30, 3)
    assert (losses[-1] < 0.5 * losses[0]).all()


def test_a_sample_outside_the_rows_of_a_model_has_no_part_in_it(mlp, vectors, rng):
    w0, rows = vectors(2, 43, seed=8), torch.stack([torch.arange(20), torch.arange(10, 30)])

    def trained():
        settings = dict(epochs=3, lr=0.1, batch_size=8, generator=rng())
        return projected_sgd(mlp.objective(), w0, rows=rows, **settings).w

    before = trained()
    mlp.x[25] += 1  # a sample of the second model only
    after = trained()
    assert torch.equal(before[0], after[0])
    assert not torch.equal(before[1], after[1])


def test_k_models_stop_once_the_gradient_on_the_rows_of_each_is_small(softmax):
    F, w0 = softmax.objective(weight_decay=0.1), torch.stack([softmax.w, 0 * softmax.w])
    rows = torch.stack([torch.arange(20), torch.arange(10, 30)])
    settings = dict(epochs=400, lr=0.5, batch_size=20, until_gradient=1e-3)
    run = projected_sgd(F, w0, rows=rows, **settings)
    assert run.converged and len(run.history) < 400
    for w, own, norm in zip(run.w, rows, run.history[-1]["gradient_norm"], strict=True):
        slope = torch.func.grad(softmax.by_hand(own, weight_decay=0.1))(w)
        assert norm == pytest.approx(float(slope.norm()), rel=1e-9)
        assert norm <= 1e-3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(C=0.0), r"C is 0.0; .* must be > 0 \(math.inf for no constraint\)"),
        (dict(C=math.nan), "C is nan"),
        (dict(lr=0.0), "lr is 0.0; it must be > 0"),
        (dict(lr=-1.0), "lr is -1.0; it must be > 0"),
        (dict(lr=math.inf), "lr is inf; it must be > 0 and finite"),
        (dict(until_gradient=math.nan), "until_gradient is nan; .*at least 0"),
        (dict(until_gradient=-1e-9), "until_gradient is -1e-09; .*at least 0"),
        (dict(epochs=0), "epochs is 0; it must be at least 1"),
        (dict(epochs=2.5), "epochs is 2.5; .*a whole number"),
        (dict(epochs=True), "epochs is True; .*a whole number"),
        (dict(batch_size=math.nan), "batch_size is nan; .*a whole number"),
        (dict(batch_size=0), "batch_size is 0; it must be at least 1"),
        (dict(momentum=-0.5), "momentum is -0.5"),
        (dict(optimizer="sdg"), "optimizer is 'sdg'; choose from .*'sgd', 'adam'"),
        (dict(schedule="linear"), "schedule is 'linear'; choose from .*'constant', 'cosine'"),
        (dict(rows=torch.zeros(2, 3).long()), r"rows has shape \(2, 3\) .* \(15,\); give one row"),
        (dict(w0=torch.zeros(2, 15).double(), rows=torch.tensor([[0], [30]])), "30 .* 0 to 29"),
        (dict(w0=torch.zeros(2, 15).double(), rows=torch.tensor([[0], [-1]])), "-1 .* 0 to 29"),
        (dict(w0=torch.zeros(15)), "w0 is torch.float32 and the objective torch.float64"),
        (dict(w0=torch.zeros(15).double() / 0), "w0 holds 15 NaN"),
    ],
)
def test_arguments_out_of_range_are_refused(softmax, change, message):
    arguments = dict(w0=softmax.w.clone(), epochs=1, lr=0.1) | change
    with pytest.raises(InputError, match=message):
        projected_sgd(softmax.objective(), **arguments)
    assert "w0" in change or torch.equal(arguments["w0"], softmax.w)


def test_divergence_is_told_with_a_smaller_rate_that_works(quadratic):
    F = quadratic.objective()
    settings = dict(epochs=1500, batch_size=30)
    with pytest.raises(DivergenceError, match=r"epoch 1?\d\d\d: .* at lr = 4\. Try") as refusal:
        projected_sgd(F, quadratic.w, lr=4.0, **settings)
    smaller = float(re.search(r"Try lr = (.*)\.$", str(refusal.value))[1])
    run = projected_sgd(F, quadratic.w, lr=smaller, **settings)
    assert run.history[-1]["loss"] < run.history[0]["loss"]


def test_a_monitor_sees_each_epoch_and_changes_nothing(mlp, rng):
    F, seen = mlp.objective(), []

    def monitor(w, buffers):
        seen.append(w)
        return {"value": F.value(w)}

    settings = dict(epochs=3, lr=0.1, batch_size=8)
    run = projected_sgd(F, mlp.w, **settings, monitor=monitor, generator=rng(0))
    assert [epoch["value"] for epoch in run.history] == [F.value(w) for w in seen]
    assert torch.equal(seen[-1], run.w) and not torch.equal(seen[0], seen[1])
    assert torch.equal(projected_sgd(F, mlp.w, **settings, generator=rng(0)).w, run.w)


def test_autocast_multiplies_in_bfloat16_and_keeps_w_and_loss_in_single(rng):
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten())
    net.append(nn.Linear(4 * 4 * 4, 3))
    x, y = torch.randn(60, 1, 6, 6, generator=rng(1)), torch.arange(60) % 3
    F, seen = Objective(net, x, y), []
    F.model[0].register_forward_hook(lambda layer, inputs, outputs: seen.append(outputs.dtype))
    settings = dict(epochs=3, lr=0.01, optimizer="adam", batch_size=20)

    def trained(autocast):
        return projected_sgd(F, F.initial(), generator=rng(2), autocast=autocast, **settings)

    fast = trained(torch.bfloat16)
    assert set(seen) == {torch.bfloat16} and fast.w.dtype == torch.float32
    exact = trained(None)
    assert seen[-1] == torch.float32 and not torch.equal(fast.w, exact.w)
    losses = [[epoch["loss"] for epoch in run.history] for run in (fast, exact)]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)  # bfloat16 has 8 bits


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(autocast=torch.float16), "autocast is torch.float16; choose from None, torch.bf"),
        (dict(autocast=torch.bfloat16, w0=torch.zeros(2, 15).double()), "for one model; train 2"),
    ],
)
def test_autocast_is_bfloat16_for_one_model(softmax, change, message):
    with pytest.raises(InputError, match=message):
        projected_sgd(softmax.objective(), **(dict(w0=softmax.w, epochs=1, lr=0.1) | change))
