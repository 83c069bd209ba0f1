"""Differences between two encoders on the same rows, with 95 % intervals.

NEMD: prototypes of the two are matched by the rows that they hold (the assignment problem of
greatest Jaccard index), and the error is that of the mean of differences, pair of prototypes by
pair of prototypes (intervals.py); the uniform anchors, which are the same points, are paired as
well. This is right whether or not the two find the same groups: prototypes that have nothing to
do with each other show no covariance, and the interval is that of independent runs. Where runs were
not numbered alike, or few pairs have a counterpart, the two intervals are added as independent
errors are, which is too wide where luck is shared; `paired` says which.

Ranks and means: each row's influence on the number (infinitesimal jackknife; Jaeckel 1972, Efron
1982), and the variance of the differences of influences, row by row.

All of it says: another draw of rows (and, for NEMD, of groups), seen by the same two encoders. What
another training seed would change is not in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from typing import Literal

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import linear_sum_assignment

from nemd_toolkit.measures.contributions import Contributions
from nemd_toolkit.measures.errors_of_runs import codes_of
from nemd_toolkit.measures.intervals import (
    LEAST,
    Error,
    Interval,
    error_of_mean,
    interval_around,
    joined,
)
from nemd_toolkit.measures.nemd import Nemd

__all__ = ["Change", "change_of_nemd", "change_of_rows", "independent_change"]

Column = Literal["score", "excess", "raw"]
_LEAST_COMMON = 0.5  # of the pairs of prototypes: fewer do not stand for the others


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """The second number less the first, with its 95 % interval."""

    value: float
    low: float
    high: float
    paired: bool  # whether luck that both share is left out of the interval

    @property
    def beyond(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.low > 0 or self.high < 0


def independent_change(first: Interval, second: Interval) -> Change:
    """Second less first, their errors added in squares, side by side.

    >>> a, b = Interval(value=1.0, low=0.7, high=1.3), Interval(value=2.0, low=1.6, high=2.4)
    >>> independent_change(a, b)
    Change(value=1.0, low=0.5, high=1.5, paired=False)
    """
    value = second.value - first.value
    down = hypot(second.value - second.low, first.high - first.value)
    up = hypot(second.high - second.value, first.value - first.low)
    return Change(value=value, low=value - down, high=value + up, paired=False)


def change_of_nemd(
    first: Sequence[Nemd], second: Sequence[Nemd], column: Column, *, same_rows: bool
) -> Change | None:
    """Second less first in the mean over clusterings; None where one of the two has no such number.

    first, second: NEMD of the same clusterings, in one order. Clusterings share their rows, so that
    ends are averaged like values, as `NemdSummary` does. `same_rows` says that row i is the same
    sample in both; else nothing can be paired.
    """
    found = []
    for a, b in zip(first, second, strict=True):
        before, after = getattr(a, column), getattr(b, column)
        if before is None or after is None:
            return None
        error = _paired_error(a.contributions, b.contributions, column) if same_rows else None
        if error is None:
            found.append(independent_change(before, after))
        else:
            i = interval_around(after.value - before.value, error)
            found.append(Change(value=i.value, low=i.low, high=i.high, paired=True))
    if not found:
        return None
    value, low, high = np.mean([(c.value, c.low, c.high) for c in found], axis=0).tolist()
    return Change(value=value, low=low, high=high, paired=all(c.paired for c in found))


def change_of_rows(
    values: tuple[float, float],
    influences: tuple[Float[np.ndarray, " m"], Float[np.ndarray, " k"]],
    samples: tuple[int, int],
    *,
    same_rows: bool,
) -> Change:
    """Second value less the first, with what the influences of (some of) the samples say of it.

    samples: how many each value was measured on. `same_rows` says that influences are those of the
    same samples in one order.

    >>> part = np.array([1.0, -1.0, 1.0, -1.0])
    >>> change_of_rows((2.0, 3.0), (part, 2 * part), (4, 4), same_rows=True).low
    -0.8374
    """
    first, second = influences
    if same_rows:
        parts = [(second - first, samples[0])]
    else:
        parts = [(first, samples[0]), (second, samples[1])]
    errors = [
        Error(variance=float(part.var(ddof=1)) / count, freedom=len(part) - 1.0)
        for part, count in parts
        if len(part) > 1
    ]
    found = interval_around(values[1] - values[0], joined(errors))
    return Change(value=found.value, low=found.low, high=found.high, paired=same_rows)


def _paired_error(
    first: Contributions | None, second: Contributions | None, column: Column
) -> Error | None:
    """Error of the difference of the means, or None where too little can be paired."""
    if first is None or second is None:
        return None
    counterpart = _counterparts(first, second)
    theirs = counterpart[second.pairs]  # (c, 2); −1 where a prototype has none
    whole = (theirs >= 0).all(axis=1)
    _, ours, others = np.intersect1d(
        codes_of(first.pairs), codes_of(theirs[whole]), return_indices=True
    )
    most = max(len(first.pairs), len(second.pairs))
    pairs = first.pairs[ours]
    if len(pairs) < _LEAST_COMMON * most or len(np.unique(pairs)) < LEAST:
        return None
    places = np.flatnonzero(whole)[others]
    values = getattr(first, column)[ours] - getattr(second, column)[places]
    alike = None
    if first.alike is not None and second.alike is not None:
        alike = first.alike[ours] | second.alike[places]
    error = error_of_mean(values, pairs, alike)
    return error if column != "score" else joined([error, *_anchor_errors(first, second)])


def _anchor_errors(first: Contributions, second: Contributions) -> list[Error]:
    found = [
        (c.anchor_pairs, c.anchor)
        for c in (first, second)
        if c.anchor_pairs is not None and c.anchor is not None
    ]
    if len(found) == 2 and np.array_equal(found[0][0], found[1][0]):
        return [error_of_mean(found[0][1] - found[1][1], found[0][0])]
    return [error_of_mean(values, pairs) for pairs, values in found]


def _counterparts(first: Contributions, second: Contributions) -> Int[np.ndarray, " k"]:
    """For each prototype of the second its counterpart in the first; −1: none."""
    ours, theirs = np.unique(first.pairs), np.unique(second.pairs)
    shared = _shared_rows(first.members, second.members)
    sizes = shared.sum(axis=1)[ours, None] + shared.sum(axis=0)[None, theirs]
    shared = shared[np.ix_(ours, theirs)]
    jaccard = shared / np.maximum(sizes - shared, 1)
    p, q = linear_sum_assignment(jaccard, maximize=True)
    found = np.full(int(theirs.max()) + 1, -1)
    found[theirs[q]] = ours[p]
    return found


def _shared_rows(
    first: Int[np.ndarray, "r n"], second: Int[np.ndarray, "s n"]
) -> Int[np.ndarray, "k l"]:
    """Rows that prototype p of the first and q of the second both hold, over their common runs."""
    k, other = int(first.max()) + 1, int(second.max()) + 1
    found = np.zeros(k * other, dtype=np.int64)
    for one, two in zip(first, second, strict=False):  # one of them may have had more runs
        both = (one >= 0) & (two >= 0)
        found += np.bincount(one[both].astype(np.int64) * other + two[both], minlength=k * other)
    return found.reshape(k, other)
