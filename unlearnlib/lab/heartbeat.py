"""Report progress while a notebook runs: its cell, the time so far, and the time left."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .. import progress
from .processes import first


def say(text: str, *, everyone: bool = False) -> None:
    """Print a line on stderr at once; under torchrun in the first process only, or `everyone`."""
    if everyone or first():
        print(text, file=sys.stderr, flush=True)


def since(began: float) -> float:
    """Minutes since `began`, a value of time.monotonic()."""
    return (time.monotonic() - began) / 60


def duration(minutes: float) -> str:
    """Return minutes as text, such as "42 s" or "1.3 min"."""
    return f"{minutes:.1f} min" if minutes >= 1 else f"{60 * minutes:.0f} s"


class Heartbeat:
    """Prints where a notebook is: each second on a terminal that is its own, else every 20 seconds.

    expected   minutes that it should take, None if unknown
    later      minutes that the notebooks after it should take together
    """

    def __init__(self, head: str, cells: int, expected: float | None, later: float = 0.0):
        self.head, self.cells, self.expected, self.later = head, cells, expected, later
        self.cell = 0
        self.bars: Path | None = None  # where the kernel and its workers keep theirs
        self.began = time.monotonic()

    def next_cell(self, **_: Any) -> None:
        """Called by nbclient as a code cell starts."""
        self.cell += 1

    def line(self) -> str:
        """Return the progress so far as one line of text.

        Such as "[2/3] 01: cell 7 of 20, 1.3 min so far, about 2.0 min left (all: 9.0 min)", and
        then what the progress bars inside the notebook say: "training 7/15 [05:10<05:54, test
        0.710]".
        """
        bars = progress.lines(self.bars) if self.bars else []
        return "; ".join([self._of_the_notebook(), *bars])

    def _of_the_notebook(self) -> str:
        spent = since(self.began)
        text = f"{self.head}: cell {self.cell} of {self.cells}, {duration(spent)} so far"
        if self.expected is None:
            return text
        left = max(0.0, self.expected - spent)
        if left:
            text += f", about {duration(left)} left"
        else:
            text += f", longer than the {duration(self.expected)} expected"
        return f"{text} (all: {duration(left + self.later)})" if self.later else text

    @contextmanager
    def beating(self) -> Iterator[None]:
        stop = threading.Event()
        thread = threading.Thread(target=self._beat, args=[stop], daemon=True)
        expected = f", about {duration(self.expected)}" if self.expected else ""
        say(f"{self.head}: starts, {self.cells} cells{expected}")
        with tempfile.TemporaryDirectory() as folder:
            self.bars = Path(folder)
            os.environ[progress.FOLDER] = folder  # of the kernel, which inherits it
            thread.start()
            try:
                yield
            finally:
                stop.set()
                thread.join()
                del os.environ[progress.FOLDER]

    def _beat(self, stop: threading.Event) -> None:
        beside_others = multiprocessing.parent_process() is not None
        on_terminal = sys.stderr.isatty() and not beside_others
        while not stop.wait(1 if on_terminal else 20):
            if on_terminal:
                # Cut to the width of the terminal, since a line that wraps cannot be overwritten.
                line = self.line()[: shutil.get_terminal_size().columns - 1]
                print(f"\r{line}\033[K", end="", file=sys.stderr, flush=True)
            else:
                say(self.line())
        if on_terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
