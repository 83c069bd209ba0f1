"""What the number of rows that k-means saw still moves: intervals reach as far.

k-means of half of the rows finds wide groups less well than k-means of many rows would, so that
excess and score come out low, by more than their sampling error where a prototype has some hundred
rows. So k-means is fitted once more, to half as many rows, and clouds are drawn from the same
held-out rows as before: what the second half of its rows changed is as much as all further rows
would change, or more, where it falls as 1 over their number or faster (measured: as its 1.6th
power). The value stays as it is; its interval is stretched by the change, on that side alone.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float

from nemd_toolkit.measures.clouds import draw_clouds
from nemd_toolkit.measures.held_out import Members, TooFewSamples
from nemd_toolkit.measures.intervals import Interval
from nemd_toolkit.measures.pair_table import PairTable, measure_pairs

__all__ = ["Column", "change", "measure_thinned", "stretched"]

Column = Callable[[PairTable], Float[np.ndarray, " _"]]


def measure_thinned(
    thinned: Sequence[Members], n: int, seed: int, max_pairs: int
) -> list[PairTable]:
    """Measure the runs of fewer rows; none of them where one has too few members for n."""
    try:
        return [measure_pairs(draw_clouds(run, n, seed=seed), max_pairs, seed) for run in thinned]
    except TooFewSamples:
        return []


def change(tables: Sequence[PairTable], thinned: Sequence[PairTable], column: Column) -> float:
    """Change of a column's mean from fewer rows to all; 0 where fewer were not tried."""
    if not thinned:
        return 0.0
    now, before = (np.mean([column(t).mean() for t in runs]) for runs in (tables, thinned))
    return float(now - before)


def stretched(interval: Interval, by: float) -> Interval:
    """Move the end that lies in the direction of `by` that far out.

    >>> stretched(Interval(value=0.5, low=0.4, high=0.6), 0.1)
    Interval(value=0.5, low=0.4, high=0.7)
    >>> stretched(Interval(value=0.5, low=0.4, high=0.6), -0.1)
    Interval(value=0.5, low=0.3, high=0.6)
    """
    low, high = interval.low + min(by, 0.0), interval.high + max(by, 0.0)
    return Interval(value=interval.value, low=low, high=high)
