"""One progress bar for the whole package."""

import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm.auto import tqdm

T = TypeVar("T")


def bar(things: Iterable[T], what: str) -> Iterator[T]:
    """Iterate over `things`, with a progress bar if it takes more than two seconds.

    UNLEARNLIB_PROGRESS=0 silences it, for runs whose outputs are kept.
    """
    silent = os.environ.get("UNLEARNLIB_PROGRESS") == "0"
    return tqdm(things, desc=what, delay=2, leave=False, disable=silent)
