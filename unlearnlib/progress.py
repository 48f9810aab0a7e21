"""One progress bar for the whole package."""

from __future__ import annotations

import os
from collections.abc import Iterable

from tqdm.auto import tqdm


def bar(things: Iterable, what: str, done: int = 0) -> tqdm:
    """Iterate over `things`, with a progress bar if it takes more than two seconds.

    done   how many were done before, by an earlier run

    UNLEARNLIB_PROGRESS=0 silences it, for runs whose outputs are kept.
    """
    silent = os.environ.get("UNLEARNLIB_PROGRESS") == "0"
    total = done + len(things) if done else None  # else tqdm asks for the length, if there is one
    look = {"delay": 2, "leave": False, "disable": silent}
    return tqdm(things, desc=what, total=total, initial=done, **look)


def note(steps: tqdm, values: dict) -> None:
    """Say beside the progress bar what was reached so far: numbers by name."""
    numbers = {name: value for name, value in values.items() if isinstance(value, float)}
    steps.set_postfix_str(", ".join(f"{name} {value:.3f}" for name, value in numbers.items()))
