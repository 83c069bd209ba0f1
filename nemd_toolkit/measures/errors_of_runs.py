"""Sampling error of a mean over runs of k-means and over pairs of prototypes."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from nemd_toolkit.measures.intervals import (
    LEAST,
    Error,
    Interval,
    error_of_mean,
    interval_around,
)
from nemd_toolkit.measures.pair_table import PairTable

__all__ = [
    "alike_pairs",
    "averaged",
    "codes_of",
    "common_pairs",
    "error_over_runs",
    "mean_over_runs",
]

Columns = Sequence[Float[np.ndarray, " _"]]
_LEAST_COMMON = 0.1  # of a run's pairs; with fewer the runs are compared as wholes
_ALIKE = 0.5  # of the mean excess: nearer pairs are pieces of one group


def mean_over_runs(
    tables: Sequence[PairTable],
    column: Callable[[PairTable], Float[np.ndarray, " _"]],
    *,
    matched: bool = True,
) -> Interval:
    """Mean over runs and pairs, with its 95 % interval; `matched` as in `error_over_runs`."""
    columns = [column(table) for table in tables]
    value = float(np.mean([c.mean() for c in columns]))
    return interval_around(value, error_over_runs(columns, tables, matched=matched))


def error_over_runs(
    columns: Columns, tables: Sequence[PairTable], *, matched: bool = True
) -> Error:
    """Error of the mean over runs, under new prototypes and new runs.

    Where prototypes are numbered alike in all runs (`matched`, see matching.py), the means over
    runs of the pairs that all of them measured are taken as one table, and its prototypes are
    resampled: where runs find the same groups, that is the variance of one run, and where each
    finds others, a part of it. A mean of more pairs than the common ones is known no less well.
    Where hardly any are common, or numbers mean nothing, see `_of_whole_runs`.
    """
    if len(tables) > 1 and not matched:
        return _of_whole_runs(columns, tables)
    common = common_pairs(tables)
    if common is None:
        return _of_whole_runs(columns, tables)
    values = averaged(columns, tables, common)
    return error_of_mean(values, common, alike_pairs(tables, common))


def codes_of(pairs: Int[np.ndarray, "p 2"]) -> Int[np.ndarray, " p"]:
    """Give a number to each pair, whichever prototype of the two stands first.

    >>> codes_of(np.array([[0, 3], [3, 0]])).tolist()
    [3, 3]
    """
    low, high = np.sort(pairs, axis=1).T
    codes: Int[np.ndarray, " p"] = low.astype(np.int64) * (1 << 32) + high
    return codes


def common_pairs(tables: Sequence[PairTable]) -> Int[np.ndarray, "c 2"] | None:
    """Pairs that every run measured, in order; None where they are too few to stand for all."""
    codes = codes_of(tables[0].pairs)
    for table in tables[1:]:
        codes = np.intersect1d(codes, codes_of(table.pairs))
    codes = np.sort(codes)
    common = np.stack([codes >> 32, codes & ((1 << 32) - 1)], axis=1)
    few = _LEAST_COMMON * max(len(table.pairs) for table in tables)
    return None if len(common) < few or len(np.unique(common)) < LEAST else common


def averaged(
    columns: Columns, tables: Sequence[PairTable], common: Int[np.ndarray, "c 2"]
) -> Float[np.ndarray, " c"]:
    """Mean over runs, of common pairs."""
    wanted = codes_of(common)
    found = np.zeros(len(wanted))
    for column, table in zip(columns, tables, strict=True):
        codes = codes_of(table.pairs)
        order = codes.argsort()
        found += column[order[np.searchsorted(codes[order], wanted)]]
    return found / len(tables)


def alike_pairs(
    tables: Sequence[PairTable], common: Int[np.ndarray, "c 2"]
) -> Bool[np.ndarray, " c"] | None:
    """Tell pairs that are pieces of one group, where prototypes outnumber the groups.

    Those are pairs less than half as far apart as pairs are in the mean, if that mean exceeds the
    deviation between pairs (in noise it need not). None where pairs are a sample: then most
    pairs of a prototype are unknown.
    """
    if any(len(table.pairs) < table.total for table in tables):
        return None
    excess = averaged([table.excess for table in tables], tables, common)
    mean, deviation = float(excess.mean()), float(excess.std())
    alike: Bool[np.ndarray, " c"] = (excess < _ALIKE * mean) & (mean > deviation)
    return alike


def _of_whole_runs(columns: Columns, tables: Sequence[PairTable]) -> Error:
    """V − s² + s²/R of R runs, with V the variance of one by its prototypes, s² that between them.

    But no less than if runs were independent, max(V, s²)/R.
    """
    own = [error_of_mean(c, t.pairs) for c, t in zip(columns, tables, strict=True)]
    variance = float(np.mean([error.variance for error in own]))
    runs = len(columns)
    between = float(np.var([c.mean() for c in columns], ddof=1))
    return Error(
        variance=max(variance - between + between / runs, max(variance, between) / runs),
        freedom=min(error.freedom for error in own),
    )
