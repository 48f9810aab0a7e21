"""Text that ships with a dependency: in which language is something called so?

names = load()                      8,900 to train, 2,300 to test, in 20 languages
problem = proved.softmax(names, DECAY, pieces())

What places, languages and currencies are called, from Unicode's CLDR, as babel carries it. A name
of two things, or in two languages, is left out; what the test names name, no training name does in
any language. A name is its UTF-8 bytes, filled up with zeros: an image one pixel high.
"""

from __future__ import annotations

import zlib
from collections import Counter
from functools import cache

import numpy as np
import torch
from babel import Locale
from sklearn.feature_extraction.text import HashingVectorizer
from torch import Tensor

from ..errors import DataError, require
from .data import Images
from .features import Features

LANGUAGES = tuple("cs da de en es fi fr hr hu id it lt nl pl pt ro sl sv tr vi".split())
KINDS = ("territories", "languages", "currencies")
BYTES = 96  # that the longest name takes, and some more
FIFTH = 5  # one thing in five is named to test
LONGEST = 3  # letters of a piece; ours
DECAY = 1e-6  # of softmax regression on them, chosen once on held-out training names; ours


def load(train: int = 0) -> Images:
    """The names, in a fixed order, or this many of those to train on; 0 means all.

    Raises DataError if there are not enough.
    """
    everything = _distinct()
    tests = [zlib.crc32(thing.encode()) % FIFTH == 0 for thing, _, _ in everything]
    to_train, to_test = (
        [named for named, is_test in zip(everything, tests, strict=True) if is_test == wanted]
        for wanted in (False, True)
    )
    enough = 0 <= train <= len(to_train)
    remedy = f"ask for at most {len(to_train):,}, or for 0 to have all"
    require(enough, f"{train:,} names were asked for; {remedy}", DataError)
    some = f", {train:,} of {len(to_train):,}" if train else ""
    title = f"names in {len(LANGUAGES)} languages{some} (CLDR)"
    splits = (*_tensors(to_train[: train or None]), *_tensors(to_test))
    return Images("names", title, *splits, classes=LANGUAGES)


def pieces(count: int = 2048) -> Features:
    """How often each piece of up to LONGEST letters is in a name, hashed into `count` numbers.

    A formula: nothing is learnt from any name.
    """
    hashing = HashingVectorizer(
        analyzer="char_wb", ngram_range=(1, LONGEST), n_features=count, norm="l2"
    )

    def counts(names: Tensor) -> Tensor:
        found = hashing.transform(map(text, names)).toarray()
        return torch.from_numpy(found).to(names.device)

    source = f"a formula: pieces of up to {LONGEST} letters, hashed to {count}"
    return Features("letters", source, counts, {"count": count, "longest": LONGEST})


def text(name: Tensor) -> str:
    """The letters of a name (1, 1, BYTES), uint8."""
    return bytes(name.flatten().tolist()).rstrip(b"\0").decode()


@cache
def _distinct() -> list[tuple[str, int, str]]:
    """What is named, the language's number and the name, shuffled; no name is there twice."""
    found = [
        (kind + code, label, name)
        for label, language in enumerate(LANGUAGES)
        for kind in KINDS
        for code, name in sorted(getattr(Locale(language), kind).items())
        if not code.isdigit()  # regions of the world: long, and few
    ]
    times = Counter(name.lower() for _, _, name in found)
    once = [named for named in found if times[named[2].lower()] == 1]
    order = np.random.RandomState(0).permutation(len(once))  # numpy never changes what it draws
    return [once[k] for k in order]


def _tensors(named: list[tuple[str, int, str]]) -> tuple[Tensor, Tensor]:
    rows = [name.encode().ljust(BYTES, b"\0") for _, _, name in named]
    x = torch.frombuffer(bytearray(b"".join(rows)), dtype=torch.uint8).view(-1, 1, 1, BYTES)
    return x, torch.tensor([label for _, label, _ in named], device="cpu")
