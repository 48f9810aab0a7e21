"""Everything is made on the device of the model, as a default device without numbers finds out.

Under `torch.set_default_device("meta")` a tensor that is made without a device has no numbers, and
whatever meets it fails. So the CPU stands in for the GPU that this machine may lack.
"""

import math

import pytest
import torch
from digits import tiny

import unlearnlib as ul
from unlearnlib import draws, precision, spectrum
from unlearnlib.errors import InputError
from unlearnlib.evaluation import attacks, baselines, fisher, lcodec, metrics
from unlearnlib.lab import contenders, curvature, device, features, profiles, proved, toy
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import METHODS

TERMS = dict(C=20.0, lam=20.0, delta=1e-5, sigma=0.1)
TRAIN = dict(epochs=2, lr=0.1, batch_size=8)
FORGET = [3, 14, 15]


@pytest.fixture
def elsewhere():
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


CORE = {
    "value": lambda F, w, g: F.value(w),
    "gradient": lambda F, w, g: F.gradient(w),
    "product": lambda F, w, g: F.hvp(w, w),
    "Gauss-Newton": lambda F, w, g: F.ggn(w, w),
    "Hessian": lambda F, w, g: F.hessian(w),
    "parts": lambda F, w, g: F.without(FORGET).without([0]).only([1, 2]).gradient(w),
    "double": lambda F, w, g: F.to(torch.float64).value(w.double()),
    "training": lambda F, w, g: ul.projected_sgd(F, w, C=1.0, generator=g, **TRAIN),
    "Adam": lambda F, w, g: ul.projected_sgd(F, w, generator=g, optimizer="adam", **TRAIN),
    "k models": lambda F, w, g: ul.projected_sgd(F, torch.stack([w, -w]), generator=g, **TRAIN),
    "until": lambda F, w, g: ul.projected_sgd(F, w, generator=g, until_gradient=9.0, **TRAIN),
    "conjugate gradient": lambda F, w, g: ul.conjugate_gradient(F, w, w, lam=20.0),
    "LiSSA": lambda F, w, g: ul.lissa(F, w, w, lam=20.0, steps=20, batch_size=4, generator=g),
    "unlearn": lambda F, w, g: ul.unlearn(F, w, FORGET, **TERMS),
    "unlearn, seed": lambda F, w, g: ul.unlearn(F, w, FORGET, **TERMS, seed=1),
    "sequence": lambda F, w, g: ul.SequentialUnlearner(F, w, **TERMS).forget(FORGET),
    "eigenvalues": lambda F, w, g: spectrum.extreme_eigenvalues(F, w, generator=g),
    "lowest": lambda F, w, g: spectrum.lowest_direction(F, w, products=3),
    "minibatches": lambda F, w, g: spectrum.minibatch_curvature(F, w, 4, batches=3, generator=g),
    "M": lambda F, w, g: spectrum.hessian_lipschitz(F, w, w, 0.1, iterations=2, generator=g),
    "fine-tuning": lambda F, w, g: baselines.fine_tune(F, w, FORGET, generator=g, **TRAIN),
    "NegGrad+": lambda F, w, g: baselines.neggrad_plus(
        F, w, FORGET, alpha=0.9, generator=g, **TRAIN
    ),
    "Fisher": lambda F, w, g: fisher.fisher_forgetting(
        F, w, FORGET, alpha=1e-3, C=20.0, samples=9, generator=g
    ),
    "L-CODEC": lambda F, w, g: lcodec.lcodec(F, w, FORGET, lam=20.0, C=20.0, generator=g),
    "posteriors": lambda F, w, g: attacks.features(*[attacks.posteriors(F, w)] * 2),
    "confidences": lambda F, w, g: attacks.confidences(F, w),
    "distance": lambda F, w, g: metrics.distance(w, -w),
}


@pytest.mark.parametrize("name", CORE)
def test_the_algorithms_make_everything_on_the_model_s_device(name, mlp, rng, elsewhere):
    CORE[name](mlp.objective(weight_decay=0.1), mlp.w, rng(3))


def test_so_do_convolutions_and_batch_statistics(conv, rng, elsewhere):
    F = conv.objective()
    run = ul.projected_sgd(F, conv.w, **TRAIN, generator=rng(3))
    ul.lissa(F, run.w, conv.w, lam=50.0, steps=3, generator=rng(3))


def test_so_does_the_lab(tmp_path, monkeypatch, elsewhere):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path))
    torch.set_default_device(None)
    d = Experiment(profiles.load("smoke").mlp_mnist, seed=0)
    assert d.images.digest  # a dataset is made on the CPU, and moved with the objective
    torch.set_default_device("meta")
    for name in ("trained", "retrained", "warm"):
        assert getattr(d, name).w.device == torch.device("cpu")
    assert curvature.measure(d).M > 0
    for name in ("certified (CG)", "fine-tuning", "Fisher forgetting"):
        assert contenders.contender(d, name, METHODS[name].settings(d.pair)[0])
    F, forget = toy.convex()
    assert toy.landscape(F, F.initial().flatten(), 1.0, side=3) and toy.points(F, forget)


@pytest.mark.parametrize(
    "make",
    [
        proved.softmax,
        lambda images: proved.network(images, seed=0, width=8),
        lambda images: proved.softmax(images, 0.1, features.scattering(images.shape)),
        lambda images: proved.softmax(images, 0.1, features.patches(images.shape, count=3)),
    ],
    ids=["softmax", "network", "scattering", "patches"],
)
def test_so_do_proved_releases_and_their_second_opinion(make, tmp_path, monkeypatch, elsewhere):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path))
    torch.set_default_device(None)
    images = tiny()
    torch.set_default_device("meta")
    problem = make(images)
    G = problem.gradient_for(epsilon=50.0)
    w = problem.trained(G).w
    release = problem.unlearn(w, [1, 2], G, epsilon=50.0, prepared=problem.prepared(G))
    assert ul.verify(problem.F, w, [1, 2], release)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", CORE)
def test_the_algorithms_run_on_a_gpu(name, mlp, rng):
    mlp.model.to("cuda")
    F = mlp.objective(weight_decay=0.1)
    assert F.device.type == "cuda"
    CORE[name](F, mlp.w.to("cuda"), rng(3))


# ---- which device --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "cuda", "mps", "given"),
    [
        ("", False, False, "cpu"),
        ("auto", False, False, "cpu"),
        ("auto", True, False, "cuda"),
        ("auto", False, True, "cpu"),
        ("cpu", True, True, "cpu"),
        ("cuda", True, False, "cuda"),
        ("mps", False, True, "mps"),
    ],
)
def test_the_variable_decides(monkeypatch, asked, cuda, mps, given):
    monkeypatch.setenv(device.VARIABLE, asked)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    assert device.device().type == given
    assert torch.backends.cudnn.allow_tf32 is (given != "cuda")  # a GPU's float32 is not rounded


def test_processes_of_one_machine_take_its_gpus_in_turn(monkeypatch):
    monkeypatch.setenv(device.VARIABLE, "cuda")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    taken = []
    for rank in range(3):
        monkeypatch.setenv("LOCAL_RANK", str(rank))
        taken.append(device.device().index)
    assert taken == [0, 1, 0]


@pytest.mark.parametrize(
    ("asked", "said"),
    [("gpu", "'gpu'; choose from auto, cpu, cuda, mps"), ("cuda", "no such device.*'auto'")],
)
def test_what_is_not_there_is_refused_with_the_remedy(monkeypatch, asked, said):
    monkeypatch.setenv(device.VARIABLE, asked)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match=said):
        device.device()


def test_double_precision_is_refused_where_there_is_none():
    mps = torch.device("mps")
    assert precision.widest(mps) == torch.float32
    assert precision.widest(torch.device("cuda")) == torch.float64
    precision.check(torch.float32, mps)
    with pytest.raises(InputError, match="mps has no float64.*model.cpu.*UNLEARNLIB_DEVICE=cpu"):
        precision.check(torch.float64, mps)


def test_draws_are_those_of_the_generator_whatever_the_device(rng):
    like = torch.zeros(2, dtype=torch.float64)
    drawn = draws.normal(3, like, rng(1))
    assert torch.equal(drawn, torch.randn(3, generator=rng(1)).double())
    assert torch.equal(draws.order(9, rng(2)), torch.randperm(9, generator=rng(2)))
    assert draws.uniform((2, 3), rng(1)).dtype == torch.float64
    assert math.isclose(float(draws.uniform(4000, rng(1)).mean()), 0.5, abs_tol=0.02)
