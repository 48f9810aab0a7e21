"""How long things take: the median of a few runs, and what is run."""

from dataclasses import replace

import torch

from unlearnlib.lab import clock, profiles
from unlearnlib.lab.experiments import Experiment


def test_the_median_of_the_clock_ignores_one_slow_run(monkeypatch):
    times = iter([0, 1, 10, 110, 200, 202])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    assert clock.seconds_of(lambda: None, times=3) == 2


def test_a_gpu_is_waited_for_before_the_clock_is_read(monkeypatch):
    seen = []
    monkeypatch.setattr(clock, "device", lambda: torch.device("cuda", 0))
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: seen.append("waited"))
    monkeypatch.setattr("time.perf_counter", lambda: seen.append("read") or 0.0)
    clock.seconds_of(lambda: seen.append("job"), times=1)
    assert seen == ["waited", "read", "job", "waited", "read"]


def test_an_epoch_is_one_of_retraining_from_the_first_start(monkeypatch):
    """On the retained images, as often as asked; whatever the pair's number of epochs."""
    d, ran = Experiment(replace(profiles.load("smoke").mlp_mnist, epochs=9), 0), []
    monkeypatch.setattr(Experiment, "train", lambda *a, **changed: ran.append((a, changed)))
    assert clock.epoch_seconds(d, times=2) >= 0
    assert len(ran) == 2
    for (_, F, start), changed in ran:
        assert F is d.F_r and start.equal(d.F.initial()) and changed == {"epochs": 1}
