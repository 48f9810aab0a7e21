"""One progress bar for the whole package."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable
from pathlib import Path

from tqdm import std
from tqdm.auto import tqdm

PROGRESS = "UNLEARNLIB_PROGRESS"  # 0: no bars
FOLDER = "UNLEARNLIB_PROGRESS_FOLDER"  # with 0: bars are files in it instead


def bar(things: Iterable, what: str, done: int = 0) -> std.tqdm:
    """Iterate over `things`, with a progress bar if it takes more than two seconds.

    done   how many were done before, by an earlier run

    UNLEARNLIB_PROGRESS=0 silences it, for runs whose outputs are kept. UNLEARNLIB_PROGRESS_FOLDER
    then names a folder in which each bar keeps its line in a file, for another process to show.
    """
    silent = os.environ.get(PROGRESS) == "0"
    kind = Line if silent and FOLDER in os.environ else tqdm
    total = done + len(things) if done else None  # else tqdm asks for the length, if there is one
    look = {"delay": 2, "leave": False, "disable": silent and kind is tqdm}
    return kind(things, desc=what, total=total, initial=done, **look)


def note(steps: std.tqdm, values: dict) -> None:
    """Say beside a progress bar what was reached so far: numbers by name."""
    numbers = {name: value for name, value in values.items() if isinstance(value, float)}
    text = ", ".join(f"{name} {value:.3f}" for name, value in numbers.items())
    steps.set_postfix_str(text, refresh=False)  # the next step shows it, if the bar is due


def lines(folder: Path) -> list[str]:
    """What the bars in a folder say, those of each process from the outermost to the innermost."""
    return [text for path in sorted(folder.glob("*.bar")) if (text := path.read_text())]


class Line(std.tqdm):
    """A bar that keeps its line in a file as long as it runs: how many, and the time left."""

    def __init__(self, things: Iterable, **look):
        form = "{desc} {n_fmt}/{total_fmt} [{elapsed}<{remaining}{postfix}]"
        super().__init__(things, file=io.StringIO(), bar_format=form, mininterval=1, **look)

    @property
    def path(self) -> Path:
        return Path(os.environ[FOLDER]) / f"{os.getpid()}.{abs(self.pos):02d}.bar"

    def display(self, msg: str | None = None, pos: int | None = None) -> None:
        text = str(self) if msg is None else msg
        if text and self.path.parent.is_dir():
            self.path.write_text(text)

    def close(self) -> None:
        if not self.disable:
            self.path.unlink(missing_ok=True)
        super().close()
