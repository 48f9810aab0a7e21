"""F, its derivatives and its subsets, against the same loss written by hand and curvlinops."""

import copy

import curvlinops
import numpy as np
import pytest
import torch
from conftest import normal
from torch import nn

from unlearnlib import InputError, Objective, cross_entropy, projected_sgd, squared_error

EXACT = dict(rtol=0, atol=1e-8)
DECAY = 0.3
ROWS = [3, 17, 4, 9]


def test_value_and_gradient_are_those_of_the_loss_by_hand(problem, vectors):
    center = vectors(len(problem.w))
    F = problem.objective(weight_decay=DECAY, center=center)
    by_hand = problem.by_hand(weight_decay=DECAY, center=center)
    assert F.value(problem.w) == pytest.approx(float(by_hand(problem.w)), abs=1e-12)
    torch.testing.assert_close(F.gradient(problem.w), torch.func.grad(by_hand)(problem.w), **EXACT)


def test_dense_hessian_and_its_product_are_those_of_the_loss_by_hand(problem, vectors):
    F, v = problem.objective(weight_decay=DECAY), vectors(len(problem.w))
    expected = problem.hessian_by_hand(weight_decay=DECAY)
    torch.testing.assert_close(F.hessian(problem.w), expected, **EXACT)
    torch.testing.assert_close(F.hvp(problem.w, v), expected @ v, **EXACT)


@pytest.mark.parametrize("kind", ["softmax", "quadratic", "mlp"])  # theirs can't do GroupNorm
@pytest.mark.parametrize(
    ("product", "operator"),
    [("hvp", curvlinops.HessianLinearOperator), ("ggn", curvlinops.GGNLinearOperator)],
)
def test_products_agree_with_curvlinops(kind, product, operator, vectors, request):
    problem = request.getfixturevalue(kind)
    F, v = problem.objective(weight_decay=DECAY), vectors(len(problem.w))
    model = copy.deepcopy(problem.model)
    nn.utils.vector_to_parameters(problem.w.clone(), model.parameters())
    data, loss, factor = [(problem.x, problem.y)], nn.CrossEntropyLoss(), 1.0
    if kind == "quadratic":  # MSELoss also averages over the outputs
        loss, factor = nn.MSELoss(), problem.y.shape[1] / 2
    theirs = factor * (operator(model, loss, list(model.parameters()), data) @ v)
    torch.testing.assert_close(getattr(F, product)(problem.w, v), theirs + DECAY * v, **EXACT)


def test_gauss_newton_is_the_hessian_of_a_linear_model(softmax, vectors):
    expected = softmax.hessian_by_hand(weight_decay=DECAY) @ vectors(15)
    product = softmax.objective(weight_decay=DECAY).ggn(softmax.w, vectors(15))
    torch.testing.assert_close(product, expected, **EXACT)


def test_gauss_newton_is_positive_semidefinite_where_the_hessian_is_not(conv):
    F = conv.objective()
    dense = torch.stack([F.ggn(conv.w, v) for v in torch.eye(159, dtype=torch.float64)])
    assert torch.linalg.eigvalsh(dense)[0] > -1e-10
    assert torch.linalg.eigvalsh(conv.hessian_by_hand())[0] < -1e-3


def test_hessian_product_of_k_vectors_is_each_of_them_alone(problem, vectors):
    F, v = problem.objective(weight_decay=DECAY), vectors(3, len(problem.w))
    alone = torch.stack([F.hvp(problem.w, each) for each in v])
    torch.testing.assert_close(F.hvp(problem.w, v), alone, **EXACT)


def test_hvp_each_is_the_hessian_of_each_batch_by_hand_without_decay(problem, vectors):
    F, v = problem.objective(weight_decay=DECAY), vectors(3, len(problem.w))
    positions = torch.tensor([[0, 1, 2, 3], [4, 4, 5, 6], [7, 0, 9, 9]])
    expected = [problem.hessian_by_hand(r) @ each for r, each in zip(positions, v, strict=True)]
    product = F.hvp_each(problem.w, v, *F.batch(positions))
    torch.testing.assert_close(product, torch.stack(expected), **EXACT)


def test_batch_loss_of_k_models_is_that_of_each_on_its_own_batch(problem, vectors):
    F, w = problem.objective(weight_decay=DECAY), vectors(2, len(problem.w))
    positions = torch.tensor([[0, 1, 2], [3, 3, 5]])
    pairs = zip(w, positions, strict=True)
    expected = [problem.data_loss(each, problem.x[r], problem.y[r]) for each, r in pairs]
    torch.testing.assert_close(F.batch_loss(w, *F.batch(positions)), torch.stack(expected))


@pytest.mark.parametrize("pass_size", [1, 7, 30])
def test_results_do_not_depend_on_the_pass_size(mlp, pass_size, vectors):
    small, large = (mlp.objective(weight_decay=DECAY, pass_size=q) for q in (pass_size, 10**6))
    w, v = mlp.w, vectors(43)
    assert small.value(w) == pytest.approx(large.value(w), abs=1e-12)
    torch.testing.assert_close(small.gradient(w), large.gradient(w), **EXACT)
    torch.testing.assert_close(small.hvp(w, v), large.hvp(w, v), **EXACT)
    torch.testing.assert_close(small.ggn(w, v), large.ggn(w, v), **EXACT)


@pytest.mark.parametrize("what", ["value", "gradient", "hvp", "ggn", "hessian"])
def test_no_forward_pass_holds_more_than_pass_size_samples(softmax, what):
    seen = []
    softmax.model.register_forward_pre_hook(lambda _, inputs: seen.append(len(inputs[0])))
    F = softmax.objective(pass_size=7)
    seen.clear()
    getattr(F, what)(*[softmax.w] * (2 if what in ("hvp", "ggn") else 1))
    assert max(seen) == 7 and {7, 30 % 7} <= set(seen) <= {1, 2, 7}


def test_any_mean_loss_will_do(softmax):
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    F = Objective(softmax.model, softmax.x, softmax.y, loss=smooth)
    likelihood = F.outputs(softmax.w, softmax.x).log_softmax(1)
    right = likelihood.gather(1, softmax.y[:, None]).mean()
    assert F.value(softmax.w) == pytest.approx(-float(0.9 * right + 0.1 * likelihood.mean()))


def test_a_linear_loss_curves_by_its_decay_alone(quadratic, vectors):
    quadratic.loss = lambda outputs, y: (outputs * y).sum(1).mean()
    F, v = quadratic.objective(weight_decay=DECAY), vectors(10)
    torch.testing.assert_close(F.hvp(quadratic.w, v), DECAY * v, **EXACT)


@pytest.mark.parametrize("rows", [ROWS, torch.tensor(ROWS), np.array(ROWS)])
def test_only_is_the_objective_of_the_sliced_data(problem, rows):
    F = problem.objective(weight_decay=DECAY).only(rows)
    expected = problem.hessian_by_hand(torch.tensor(ROWS), weight_decay=DECAY)
    assert F.n == 4
    torch.testing.assert_close(F.hessian(problem.w), expected, **EXACT)


def test_without_is_the_objective_of_all_other_samples(mlp):
    others = torch.tensor([i for i in range(30) if i not in ROWS])
    F_r = mlp.objective(weight_decay=DECAY).without(ROWS)
    expected = torch.func.grad(mlp.by_hand(others, weight_decay=DECAY))(mlp.w)
    assert F_r.n == 26
    torch.testing.assert_close(F_r.gradient(mlp.w), expected, **EXACT)


def test_samples_in_turn_are_a_window_on_the_data_and_others_a_copy(softmax):
    """So that a request for few images does not copy all others at each pass."""
    F = softmax.objective(pass_size=8)
    n = F.n

    def shared(part: Objective) -> list[bool]:
        start, end = F.x.data_ptr(), F.x.data_ptr() + F.x.nbytes
        return [start <= x.data_ptr() < end for x, _ in part.passes()]

    assert all(shared(F)) and all(shared(F.without([n - 1])))
    assert shared(F.without([9]))[:3] == [True, False, True]
    assert not any(shared(F.only(range(n - 1, -1, -1)))[:1])
    assert not any(shared(F.only([0, 2, 3, 4, 5, 6, 7, 9]))[:1])
    for rows in ([9], [0, 1], [3, 20, 21]):
        kept = torch.tensor([i for i in range(n) if i not in rows])
        part = F.without(rows)
        assert torch.cat([x for x, _ in part.passes()]).equal(F.x[kept])
        assert torch.cat([y for _, y in part.passes()]).equal(F.y[kept])


def test_indices_into_a_subset_count_within_it(mlp):
    nested = mlp.objective().without([0, 1]).only([0, 5, 9]).without([1])  # samples 2 and 11
    expected = float(mlp.by_hand(torch.tensor([2, 11]))(mlp.w))
    assert nested.value(mlp.w) == pytest.approx(expected, abs=1e-12)


def test_draws_reach_every_sample_of_a_subset_and_no_other(softmax, rng):
    F = softmax.objective().only([4, 7, 9])
    drawn = F.draw((20, 10), rng(0))
    assert drawn.unique().tolist() == [0, 1, 2]
    assert torch.equal(F.batch(drawn)[0], softmax.x[torch.tensor([4, 7, 9])[drawn]])


def test_subsets_share_the_data_and_leave_the_whole_as_it_was(softmax):
    F = softmax.objective()
    for part in (F.only(ROWS), F.without(ROWS), F.only(ROWS).without([0]), F.to(torch.float32), F):
        assert part.x.data_ptr() == softmax.x.data_ptr()
        assert part.y.data_ptr() == softmax.y.data_ptr()
    assert F.n == 30
    assert F.value(softmax.w) == pytest.approx(float(softmax.by_hand()(softmax.w)), abs=1e-12)


def test_module_holds_w_in_torchs_order_and_does_not_alias_it(conv):
    F, w = conv.objective(), conv.w.clone()
    model = F.module(w)
    assert not model.training
    assert torch.equal(nn.utils.parameters_to_vector(model.parameters()), w)
    with torch.no_grad():
        for q in model.parameters():
            q.add_(1)
    assert torch.equal(w, conv.w)
    assert torch.equal(nn.utils.parameters_to_vector(F.module(w).parameters()), w)


def test_the_model_and_the_vector_handed_over_never_change(conv):
    before, w = copy.deepcopy(conv.model.train().state_dict()), conv.w.clone()
    F = conv.objective(weight_decay=DECAY)
    F.value(w), F.gradient(w), F.hvp(w, w), F.ggn(w, w), F.to(torch.float32), F.module(w)
    projected_sgd(F, w, C=1.0, epochs=1, lr=0.1)
    assert torch.equal(w, conv.w) and not w.requires_grad
    assert all(torch.equal(before[name], now) for name, now in conv.model.state_dict().items())
    assert all(layer.training for layer in conv.model.modules())
    assert all(q.requires_grad and q.grad is None for q in conv.model.parameters())
    assert torch.equal(F.initial(), nn.utils.parameters_to_vector(before.values()))


def test_a_float32_objective_becomes_exact_in_float64(mlp, vectors):
    mlp.model.float()
    F = mlp.objective(weight_decay=DECAY, center=vectors(43).float())
    w, center = mlp.w.float(), vectors(43).float().double()
    by_hand = mlp.by_hand(weight_decay=DECAY, center=center)
    expected = torch.func.grad(by_hand)(w.double())
    torch.testing.assert_close(F.to(torch.float64).gradient(w.double()), expected, **EXACT)
    assert F.gradient(w).dtype == torch.float32
    torch.testing.assert_close(F.gradient(w).double(), expected, rtol=0, atol=1e-5)


def test_a_dense_hessian_beyond_4_gib_is_refused():
    F = Objective(nn.Linear(200, 200), torch.zeros(1, 200), torch.zeros(1, dtype=torch.long))
    with pytest.raises(InputError, match=r"40200 x 40200 Hessian takes 6\.0 GiB.* 4; use F\.hvp"):
        F.hessian(F.initial())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "empty; name at least one"),
        ([3, 30], "Index 30 is outside .* 30 samples; indices go from 0 to 29"),
        ([-1, 3], "Index -1 is outside .* 30 samples; indices go from 0 to 29"),
        ([3, 5, 3], r"more than once: \[3\]; .*unique"),
        ([3.0], "float64; give integers"),
        (torch.arange(30) == 3, r"torch.bool; give integers .*mask.nonzero\(\)"),
    ],
)
@pytest.mark.parametrize("method", ["only", "without"])
def test_bad_indices_are_refused(softmax, method, rows, message):
    with pytest.raises(InputError, match=message):
        getattr(softmax.objective(), method)(rows)


@pytest.mark.parametrize(
    ("w", "message"),
    [
        (torch.zeros(14).double(), r"w has shape \(14,\); .* 15 parameters.*\(15,\)"),
        (torch.zeros(15), r"w is torch.float32 and .*float64; convert it with w.to\(torch.float64"),
        (torch.zeros(15).double() / 0, "w holds 15 NaN or infinite .* out of 15"),
        (torch.tensor([float("inf")] + 14 * [0]).double(), "w holds 1 NaN or inf.* lower its"),
    ],
)
@pytest.mark.parametrize("what", ["value", "gradient", "hvp", "hessian", "module"])
def test_bad_weights_are_refused(softmax, what, w, message):
    with pytest.raises(InputError, match=message):
        getattr(softmax.objective(), what)(*[w] * (2 if what == "hvp" else 1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(y=torch.tensor(30 * [3])), "Label 3 is out of range .* 3 outputs.* 0 to 2"),
        (dict(y=torch.zeros(30)), "Labels are torch.float32 .* needs n integers"),
        (dict(y=torch.zeros(29, dtype=torch.long)), "x has 30 samples and y has 29"),
        (dict(x=torch.zeros(0, 4), y=torch.zeros(0).long()), "x has 0 samples.* at least one"),
        (dict(x=torch.zeros(30, 5)), r"cannot take inputs of shape \(5,\).*shape and type"),
        (dict(loss=squared_error, y=torch.zeros(30, 2)), r"\(2, 3\) and targets \(2, 2\)"),
        (dict(weight_decay=-0.1), "weight_decay is -0.1; it must be a finite number >= 0"),
        (dict(center=torch.zeros(3)), r"center has shape \(3,\); .* 15 parameters"),
        (dict(center=torch.zeros(15)), "center is torch.float32 and the objective torch.float64"),
        (dict(pass_size=-1), "pass_size is -1"),
    ],
)
def test_arguments_the_model_cannot_take_are_refused(softmax, change, message):
    given = dict(x=softmax.x, y=softmax.y, loss=cross_entropy) | change
    with pytest.raises(InputError, match=f"(?s){message}"):
        Objective(softmax.model, **given)


def test_active_dropout_is_refused_by_name_and_allowed_in_eval_mode(softmax):
    model = nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.4)).double()
    with pytest.raises(InputError, match=r"Layer '1' .*p = 0\.4.*model\.eval\(\)"):
        Objective(model, softmax.x, softmax.y)
    F = Objective(model.eval(), softmax.x, softmax.y)
    assert F.value(softmax.w) == pytest.approx(float(softmax.by_hand()(softmax.w)), abs=1e-12)


def test_another_loss_keeps_samples_and_regulariser(softmax):
    F = softmax.objective(weight_decay=0.3)
    negated = F.only([1, 2]).with_loss(lambda o, y: -F.loss(o, y))
    data = softmax.data_loss(softmax.w, softmax.x[1:3], softmax.y[1:3])
    decay = 0.15 * softmax.w.square().sum()
    assert negated.value(softmax.w) == pytest.approx(float(decay - data))
    assert F.only([1, 2]).value(softmax.w) == pytest.approx(float(decay + data))


def test_weights_that_two_layers_share_count_once_and_serve_both():
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3)).double()
    model[2].weight = model[0].weight
    F = Objective(model, normal(6, 3, seed=1), torch.tensor([0, 1, 2, 0, 1, 2]))
    w, v = normal(F.p, seed=2), normal(2, F.p, seed=3)
    assert F.p == 9 + 3 + 3
    assert F.value(w) == pytest.approx(cross_entropy(F.module(w)(F.x), F.y).item())
    x, y = F.batch(torch.arange(6).view(2, 3))
    each = torch.stack([F.only(range(3)).hvp(w, v[0]), F.only(range(3, 6)).hvp(w, v[1])])
    torch.testing.assert_close(F.hvp_each(w, v, x, y), each, rtol=1e-10, atol=1e-12)
