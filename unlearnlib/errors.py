"""The errors of this package. Every message gives the value, the limit and the remedy."""

import math
from numbers import Integral


class UnlearnError(ValueError):
    """The base of all errors of this package: catch it to catch all of them."""


class InputError(UnlearnError):
    """An argument outside what the mathematics allows."""


class DataError(UnlearnError):
    """Images that are missing or malformed; the message says what to put where."""


class ProfileError(UnlearnError):
    """A profile with an unknown key, a missing key or a value of the wrong type."""


class DivergenceError(UnlearnError):
    """An iteration that grew instead of shrinking; the message names the scale or rate to use."""


class NegativeCurvatureError(UnlearnError):
    """H + lam I is not positive definite; the message names the smallest lam that would do."""


class RankLostError(UnlearnError):
    """One of several processes was lost, or made a different call than the others."""


def require(holds: bool, message: str, error: type[UnlearnError] = InputError) -> None:
    """Raise `error(message)` unless `holds`."""
    if not holds:
        raise error(message)


def require_counts(least: int = 1, /, **counts: int) -> None:
    """Refuse a named count that is not an int of Python or numpy, or is below `least`."""
    for name, count in counts.items():
        # 3.0 is refused too: a share or a mean, given by mistake, may happen to be whole
        holds = isinstance(count, Integral) and not isinstance(count, bool) and count >= least
        require(holds, f"{name} is {count!r}; it must be at least {least}, a whole number (int).")


def require_at_least(least: float, /, **values: float) -> None:
    """Refuse a named number below `least`, or NaN; infinity passes."""
    for name, value in values.items():
        require(value >= least, f"{name} is {value}; give a number of at least {least:g}.")


def require_positive(**values: float) -> None:
    """Refuse a named number that is not above 0, or is infinite or NaN."""
    for name, value in values.items():
        require(0 < value < math.inf, f"{name} is {value}; it must be > 0 and finite.")


def require_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    """Refuse a value that is not one of the choices."""
    require(value in choices, f"{name} is {value!r}; choose from {', '.join(map(repr, choices))}.")
