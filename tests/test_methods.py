"""What each method may spend, and what it may see."""

from dataclasses import replace

import pytest

from unlearnlib.lab import methods, profiles
from unlearnlib.lab.experiments import Experiment
from unlearnlib.lab.methods import METHODS
from unlearnlib.lab.settings import BATCH, CHAINS
from unlearnlib.linearised import Linearised
from unlearnlib.projected_sgd import Run
from unlearnlib.trainees import Single

SMALL = replace(profiles.load("smoke").mlp_mnist, epochs=3)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("UNLEARNLIB_CACHE", str(tmp_path))


def test_every_knob_has_four_settings():
    for name in profiles.names():
        for pair in profiles.load(name).pairs.values():
            for method in METHODS.values():
                settings = method.settings(pair)
                assert len(settings) == len(set(settings)) == 4 ** len(method.knobs)


def test_the_mildest_setting_has_the_largest_damping_and_the_least_noise():
    first, *_, last = METHODS["certified (CG)"].settings(SMALL)
    assert first == (max(SMALL.dampings), min(methods.SIGMAS))
    assert last == (min(SMALL.dampings), max(methods.SIGMAS))


class Counter:
    """Counts the samples that gradients and Hessian products are taken of."""

    def __init__(self, monkeypatch):
        self.total = 0
        sizes = {"__call__": lambda H, v: H.F.n, "backward": self.gradients}
        for owner, name in ((Linearised, "__call__"), (Single, "backward")):
            monkeypatch.setattr(owner, name, self.counting(getattr(owner, name), sizes[name]))

    @staticmethod
    def gradients(model, positions):
        """Of a batch; NegGrad+ sets as many forgotten samples beside those at the positions."""
        return len(positions) * (2 if model.F.paired else 1)

    def counting(self, method, size):
        def counted(this, *arguments):
            self.total += size(this, *arguments)
            return method(this, *arguments)

        return counted


@pytest.mark.parametrize("name", [m for m in METHODS if m != "certified (LiSSA)"])
@pytest.mark.parametrize("pair", ["mlp_mnist", "allcnn_cifar10"])
def test_no_method_spends_more_than_its_allowance(name, pair, monkeypatch):
    d, method = Experiment(replace(profiles.load("smoke").pairs[pair], epochs=12), 0), METHODS[name]
    vars(d)["trained"] = Run(d.F.initial(), {}, [], None, 0.0)  # as good as trained, for counting
    spent = Counter(monkeypatch)
    steps = method.settings(d.pair)[0][: -1 if method.noisy else None]
    method.run(d, *steps)
    assert spent.total <= methods.allowance(d) == d.pair.epochs * d.F_r.n // 10


@pytest.mark.parametrize("name", ["smoke", "quick"])
def test_lissa_keeps_to_its_allowance(name):
    d = Experiment(profiles.load(name).mlp_mnist, 0)
    solved = methods.solve_by_lissa(d, d.F_r, d.w, d.F_r.gradient(d.w), lam=d.pair.lam)
    assert solved.steps * CHAINS * BATCH <= methods.allowance(d)


def test_the_hessian_sample_holds_retained_images_alone():
    d = Experiment(SMALL, 0)
    assert not set(methods.allowed_sample(d).rows.tolist()) & set(d.forget.tolist())
