"""Megabytes that one job adds to the process at its peak: memory.py MODEL SAMPLES JOB. On Linux."""

import re
import sys
from pathlib import Path

import torch

import unlearnlib as ul
from unlearnlib.lab import models

SHAPES = {"mlp": (1, 28, 28), "allcnn": (3, 32, 32)}


def megabytes(what: str) -> float:
    """ "VmRSS", what the process takes now, or "VmHWM", the most it took since the last reset."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(rf"{what}:\s+(\d+) kB", status).group(1)) / 1024


def main(model: str, samples: int, job: str) -> None:
    g = torch.Generator().manual_seed(0)
    small = {} if model == "mlp" else {"width": 0.25, "norm": "group"}
    net = models.build(model, in_shape=SHAPES[model], seed=0, **small)
    x = torch.randn(samples, *SHAPES[model], generator=g)
    y = torch.randint(10, (samples,), generator=g)
    pass_size = samples if job == "gradient" else 1024 if model == "mlp" else 128
    F = ul.Objective(net, x, y, weight_decay=5e-4, pass_size=pass_size)
    w = F.initial()
    F.only([0, 1]).gradient(w)  # what is loaded by the first step counts for neither
    Path("/proc/self/clear_refs").write_text("5")  # resets VmHWM
    before = megabytes("VmRSS")
    if job == "gradient":
        F.without(range(samples // 60)).gradient(w)
    else:
        ul.newton_update(F, w, range(samples // 60), lam=50.0)
    print(megabytes("VmHWM") - before)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
