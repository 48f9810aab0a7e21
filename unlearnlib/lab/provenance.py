"""Record how a run was made: time, profile, packages, machine and commit."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import asdict
from datetime import datetime, timezone
from functools import cache
from importlib import metadata
from typing import Any

import torch

from .device import device
from .files import repository_root
from .profiles import Profile

PACKAGES = ("unlearnlib", "torch", "torchvision", "numpy", "scipy", "pandas", "scikit-learn")


def provenance(profile: Profile, seconds: float) -> dict[str, Any]:
    """Return how a run was made: time, profile, packages, machine and commit."""
    return {
        "finished": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "seconds": round(seconds, 1),
        "profile": asdict(profile),
        "python": platform.python_version(),
        "packages": versions(),
        "machine": machine(),
        "git": git_state(),
    }


def versions() -> dict[str, str]:
    """The version of each package that decides a number."""
    return {name: _version(name) for name in PACKAGES}


def machine() -> dict[str, Any]:
    """What torch computes on here; no host name and no path, since results are published."""
    return {
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if device().type == "cuda" else device().type,
    }


@cache
def maker() -> str:
    """The device and the torch version that a stored model was made with."""
    return f"{machine()['device']}, torch {torch.__version__}"


def git_state() -> dict[str, Any]:
    """The commit, and whether package or notebooks differ from it; "unknown" outside of git."""
    commit = _git("rev-parse", "HEAD")
    # Figures are left out: a run rewrites them, and would then count as dirty.
    changes = _git("status", "--porcelain", "--", "unlearnlib", "notebooks")
    return {
        "commit": commit or "unknown",
        "dirty": "unknown" if commit is None or changes is None else changes != "",
    }


@cache
def commit() -> str:
    """The commit as text, read only once: a kernel keeps running the code that it imported."""
    state = git_state()
    return state["commit"] + (" with changes" if state["dirty"] is True else "")


def _git(*arguments: str) -> str | None:
    """What git prints about the repository, None where there is no git or no repository."""
    if shutil.which("git") is None:
        return None
    command = ["git", "-C", str(repository_root()), *arguments]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
