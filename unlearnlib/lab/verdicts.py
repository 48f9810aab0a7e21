"""When a claim of the paper counts as reproduced: rules on tables, fixed before the numbers.

Each returns (verdict, why) for `Results.claim`. A method that does no better than doing nothing
gets no credit, however close to retraining both are.
"""

from __future__ import annotations

import pandas as pd

OURS = "certified (CG)"
PAPER_SIZE = (60_000, 26_506)  # samples and weights of the paper's MLP on MNIST
Verdict = tuple[str, str]


def closest(gaps: pd.DataFrame, methods: list[str]) -> Verdict:
    """Closest F1 to retraining on the forgotten set, in most configurations.

    gaps   mean |F1 - F1 of retraining|: a row for each pair, a column for each of `methods`,
           "trained" and "elsewhere". A pair is won by the smallest gap of all methods, if it is
           also smaller than that of the trained model by more than two retrainings differ.
    """
    ours = gaps[OURS]
    smallest = ours <= gaps[methods].min(axis=1)
    won = int((smallest & (ours < gaps["trained"] - gaps["elsewhere"])).sum())
    said = (
        f"won {won} of {len(gaps)} pairs, where winning takes the smallest gap of all methods and "
        "one below doing nothing by more than two retrainings differ"
    )
    return _graded(won, len(gaps)), said


def competitive(auc: pd.DataFrame) -> Verdict:
    """Competitive under membership inference: as strong an attack as on the retrained model.

    auc    loss-threshold AUC by (pair, method), with columns value, low, high. A pair is won
           inside the retrained model's interval, and nearer to its value than the trained model
           is, by more than two retrainings differ. Inside alone is "partly".
    """
    inside, nearer, pairs = 0, 0, list(auc.index.get_level_values("pair").unique())
    for pair in pairs:
        own = auc.loc[pair]
        reference, away = own.loc["retrained"], (own.value - own.value["retrained"]).abs()
        within = bool(reference.low <= own.value[OURS] <= reference.high)
        inside += within
        nearer += bool(within and away[OURS] < away["trained"] - away["elsewhere"])
    said = (
        f"inside the retrained model's interval in {inside} of {len(pairs)} pairs, and there also "
        f"nearer to retraining than doing nothing, by more than two retrainings differ, in {nearer}"
    )
    if nearer == 0 and 2 * inside > len(pairs):
        return "partly", said
    return _graded(nearer, len(pairs)), said


def faster(factors: pd.Series, claimed: float) -> Verdict:
    """More than `claimed` times faster: on every pair, on some, on none."""
    met = int((factors > claimed).sum())
    said = f"more than {claimed:g}x on {met} of {len(factors)} pairs"
    return "reproduced" if met == len(factors) else "partly" if met else "not reproduced", said


def faster_than_exact(factor: float, n: int, p: int, claimed: float = 470.0) -> Verdict:
    """At least `claimed` times faster than the exact Hessian: judged at the paper's size alone."""
    at_size = n >= PAPER_SIZE[0] and p >= PAPER_SIZE[1]
    where = "at the paper's size" if at_size else "at another size than the paper's, so not judged"
    if factor < claimed:
        return "not reproduced" if at_size else "partly", where
    return "reproduced" if at_size else "partly", where


def approximates(share: float) -> Verdict:
    """The update approximates the retrained model: at least half of the way is covered."""
    verdict = "reproduced" if share >= 0.5 else "partly" if share >= 0.1 else "not reproduced"
    return verdict, "share of the distance to a warm-started retraining that the step removes"


def _graded(won: int, of: int) -> str:
    return "reproduced" if 2 * won > of else "partly" if won else "not reproduced"
