"""NEMD: Wasserstein-1 between the clouds of prototypes, in three named columns.

raw     mean W1 at n points per cloud (the poster's number; depends on n and d)
excess  W1(p,q) − ½(W1(p,p′)+W1(q,q′)) with disjoint halves of n points: 0 for identical laws
score   (excess − excess_uniform) / (excess_collapsed − excess_uniform): 0 for the same pipeline on
        the uniform sphere, 1 for clouds shrunk to their mean directions

High is collapsed (coagulated), low is spread. The columns excess and score are ours. Beside them
stands half the energy distance (Székely & Rizzo 2004), which follows excess without transport.

Where k-means makes the prototypes, clouds are drawn from rows that it did not see (held_out.py),
over several splits and seeds. Values are means over these runs, and intervals follow prototypes
through all of them (errors_of_runs.py), for where k-means ends is luck. Of few rows k-means finds
wide groups less well than of many; intervals are stretched for that (fewer_rows.py).
"""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.clouds import common_size, draw_clouds
from nemd_toolkit.measures.contributions import Contributions, contributions_of
from nemd_toolkit.measures.errors_of_runs import error_over_runs, mean_over_runs
from nemd_toolkit.measures.fewer_rows import Column, change, measure_thinned, stretched
from nemd_toolkit.measures.held_out import Members, TooFewSamples, cross_fitted, members_of
from nemd_toolkit.measures.intervals import Error, Interval, interval_around, joined
from nemd_toolkit.measures.matching import MOST_MATCHED, matched
from nemd_toolkit.measures.null import spectrum_null, uniform_null
from nemd_toolkit.measures.pair_table import PairTable, measure_pairs
from nemd_toolkit.measures.permutation import permutation_p_value
from nemd_toolkit.prototypes import Prototypes

__all__ = ["Nemd", "Trial", "measure_nemd", "nemd", "prepare"]

MAX_PAIRS = 5_000  # all pairs up to 100 prototypes; beyond that a sample, said in Nemd.pairs
SPLITS = 2  # of the rows into halves; two runs of k-means each
# Beyond this many samples times prototypes times dimensions a run takes minutes: then there is one
# split, and the spectrum null only for scores from which on NEMD002 asks for it.
REPEATED_WORK = 5e9
QUESTIONED = 0.70
# The anchors must lie apart for a score to mean anything: below this ratio of collapsed to uniform
# excess, the prototypes' directions are as close as those that k-means finds in noise.
LEAST_ANCHOR_RATIO = 2.0
# Rows a prototype below which k-means of more rows may find other prototypes: at 100 the excess of
# wide groups was 1 % too low (reports/validity), and what is missing falls faster than 1 over them.
FEW_ROWS_EACH = 400
MOST_OF_ANCHOR = 1.05  # what excess exceeds the collapsed one by, at most, by chance


@dataclass(frozen=True, slots=True, kw_only=True)
class Nemd:
    """NEMD of one clustering, with 95 % intervals, its anchors, and what it rests on."""

    raw: Interval
    excess: Interval
    energy: Interval
    score: Interval | None  # None where the anchors coincide; `score_missing` says why
    score_missing: str | None
    n: int  # points in each half cloud
    prototypes: int  # that hold 2n members and were compared; the fewest over the runs
    skipped: int  # with members, but fewer than 2n; the most over the runs
    runs: int  # of k-means, that the values are means of; 1 for other prototypes
    run_deviation: float | None  # standard deviation of the excess over them; None for one
    raw_uniform: float | None  # None where the anchor could not hold n points a half
    excess_uniform: float
    excess_collapsed: float
    # of k-means on points without groups, but with these axes; None for other prototypes, for equal
    # points, and where a run would take minutes and the score is below `QUESTIONED`
    excess_spectrum: float | None
    clumping: float  # of the prototypes, median and mean over runs: see `clumping_of`
    permutation_p: float | None  # see permutation_p_value; None for k-means
    table: PairTable  # of the prototypes themselves, with the members that k-means saw
    contributions: Contributions | None  # None where runs have hardly a pair in common

    @property
    def pairs(self) -> int:
        """Measured pairs."""
        return len(self.table.pairs)

    @property
    def pairs_total(self) -> int:
        """Pairs that exist; more than `pairs` means a sample."""
        return self.table.total

    @property
    def exact(self) -> bool:
        """Whether every transport cost is the optimum."""
        return self.table.exact

    @property
    def beyond_axes(self) -> float | None:
        """Place of the excess between points with these axes but no groups, 0, and collapse, 1.

        Few axes bring points near each other without any group. None where the first is unknown.
        """
        if self.excess_spectrum is None or self.excess_spectrum >= self.excess_collapsed:
            return None
        span = self.excess_collapsed - self.excess_spectrum
        return (self.excess.value - self.excess_spectrum) / span

    @property
    def certified_width(self) -> float:
        """Transport error, apart from the sampling error of the intervals."""
        return self.table.certified_width


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trial:
    """What NEMD of one clustering is measured on: runs of it, and of its uniform null.

    `thinned`: the runs again, with k-means of half as many rows; none where rows are many.
    """

    prototypes: Prototypes
    runs: tuple[Members, ...]
    null: tuple[Members, ...]
    thinned: tuple[Members, ...] = ()


def prepare(prototypes: Prototypes, seed: int, *, splits: int = SPLITS) -> Trial:
    """Cross-fit where k-means made the prototypes, else take them as they are; the null alike.

    Raises TooFewSamples for more prototypes than half of the rows.
    """
    null = uniform_null(prototypes, seed=seed)
    if prototypes.source != "k-means":
        return Trial(prototypes=prototypes, runs=(members_of(prototypes),), null=null)
    e, k = prototypes.embeddings, prototypes.k
    splits = 1 if _takes_minutes(prototypes) else splits
    runs = cross_fitted(e, k, seed=seed, splits=splits)
    thinned: tuple[Members, ...] = ()
    if len(e) < FEW_ROWS_EACH * k and not _takes_minutes(prototypes):
        with suppress(TooFewSamples):  # a quarter of the rows: the half is what is judged by
            thinned = cross_fitted(e, k, seed=seed, splits=splits, thinned=True)
    return Trial(prototypes=prototypes, runs=runs, null=null, thinned=thinned)


def nemd(
    prototypes: Prototypes,
    seed: int = 0,
    *,
    n: int | None = None,
    max_pairs: int = MAX_PAIRS,
    splits: int = SPLITS,
) -> Nemd:
    """Measure NEMD of one clustering.

    n: points per half cloud; by default what nine in ten prototypes afford, here and in noise,
    within 6…64. max_pairs: beyond it a sample of the pairs is measured, see `Nemd.pairs_total`.
    splits: of the rows into halves for k-means, where it made the prototypes, with two runs each;
    one where a run would take minutes. Intervals speak of new prototypes and new rows, and add the
    spread over the runs; they hold sampling error, not the transport's, which is exact.

    Raises InputError if fewer than three prototypes hold 2n members.

    >>> from nemd_toolkit.embeddings import Embeddings
    >>> from nemd_toolkit.prototypes import prototypes_from_labels
    >>> points = [[1.0, 0.0, 0.0]] * 16 + [[0.0, 1.0, 0.0]] * 16 + [[0.0, 0.0, 1.0]] * 16
    >>> e = Embeddings(points, labels=[0] * 16 + [1] * 16 + [2] * 16)
    >>> result = nemd(prototypes_from_labels(e))
    >>> result.raw.value, result.excess.value, result.score.value, result.n
    (1.4142, 1.4142, 1.0000, 8)
    """
    if splits < 1:
        raise InputError(f"NEMD: expected at least 1 split, got {splits}")
    trial = prepare(prototypes, seed, splits=splits)
    n = common_size([*trial.runs, *trial.null]) if n is None else n
    return measure_nemd(trial, seed, n=n, max_pairs=max_pairs)


def measure_nemd(trial: Trial, seed: int, *, n: int, max_pairs: int = MAX_PAIRS) -> Nemd:
    """Measure NEMD of what was prepared, with n points per half cloud, as `nemd` does."""
    if min(n, max_pairs) < 1:
        raise InputError(f"NEMD: expected n and max_pairs of at least 1, got {n} and {max_pairs}")
    runs = matched(trial.runs, 2 * n)
    tables = [measure_pairs(draw_clouds(run, n, seed=seed), max_pairs, seed) for run in runs]
    shown = tables[0]
    if trial.prototypes.source == "k-means":
        clouds = draw_clouds(members_of(trial.prototypes), n, seed=seed)
        shown = measure_pairs(clouds, max_pairs, seed)
    uniform = _anchor(trial.null, n, seed, max_pairs)
    excess = np.array([table.excess.mean() for table in tables])
    low = float(np.mean([table.excess.mean() for table in uniform]))
    high = float(np.mean([table.chord.mean() for table in tables]))
    alike = trial.prototypes.k <= MOST_MATCHED  # numbers in the runs
    thinned = measure_thinned(trial.thinned, n, seed, max_pairs)
    score, missing = _score(tables, uniform, low, high, alike, thinned)
    held = _afforded(trial.null) >= n
    questioned = score is not None and score.value > QUESTIONED
    axes = questioned or not _takes_minutes(trial.prototypes)
    return Nemd(
        raw=_interval(tables, thinned, lambda table: table.raw, alike),
        excess=_interval(tables, thinned, lambda table: table.excess, alike),
        energy=_interval(tables, thinned, lambda table: table.energy, alike),
        score=score,
        score_missing=missing,
        n=n,
        prototypes=min(table.prototypes for table in tables),
        skipped=max(table.skipped for table in tables),
        runs=len(tables),
        run_deviation=float(excess.std(ddof=1)) if len(tables) > 1 else None,
        raw_uniform=float(np.mean([table.raw.mean() for table in uniform])) if held else None,
        excess_uniform=low,
        excess_collapsed=high,
        excess_spectrum=_excess_of_spectrum(trial.prototypes, n, seed, max_pairs) if axes else None,
        clumping=float(np.mean([np.median(table.clumping) for table in tables])),
        permutation_p=permutation_p_value(trial.prototypes, seed=seed),
        table=shown,
        contributions=contributions_of(runs, tables, uniform, score, (low, high))
        if alike
        else None,
    )


def _interval(
    tables: Sequence[PairTable], thinned: Sequence[PairTable], column: Column, alike: bool
) -> Interval:
    """Mean over runs and pairs, with an interval of new prototypes, new runs and more rows."""
    found = mean_over_runs(tables, column, matched=alike)
    return stretched(found, change(tables, thinned, column))


def _takes_minutes(prototypes: Prototypes) -> bool:
    return prototypes.embeddings.vectors.numel() * prototypes.k > REPEATED_WORK


def _score(
    tables: Sequence[PairTable],
    uniform: Sequence[PairTable],
    low: float,
    high: float,
    alike: bool,
    thinned: Sequence[PairTable],
) -> tuple[Interval | None, str | None]:
    """Place the excess between its anchors, or say why not.

    Score v solves excess − v·collapsed − (1 − v)·uniform = 0; its error is that of this difference
    over the span (delta method: a ratio resampled as such runs away where prototypes form few
    groups).
    """
    measured = float(np.mean([table.excess.mean() for table in tables]))
    if high < LEAST_ANCHOR_RATIO * low:
        return None, (
            f"prototypes lie too close together for a scale: clouds shrunk to their mean "
            f"directions would be {high:.3g} apart, those of uniform noise are {low:.3g}"
        )
    if measured > MOST_OF_ANCHOR * high:
        return None, (
            f"clouds do not lie around their mean directions, as those of several far clumps do "
            f"not: they are {measured:.3g} apart, and the directions {high:.3g}"
        )
    value = (measured - low) / (high - low)
    columns = [table.excess - value * table.chord for table in tables]
    own = error_over_runs(columns, tables, matched=alike)
    columns = [(1 - value) * table.excess for table in uniform]
    anchor = error_over_runs(columns, uniform, matched=alike)
    both = joined([own, anchor])
    error = Error(variance=both.variance / (high - low) ** 2, freedom=both.freedom)
    moved = change(tables, thinned, lambda table: table.excess - value * table.chord)
    return stretched(interval_around(value, error), moved / (high - low)), None


def _excess_of_spectrum(prototypes: Prototypes, n: int, seed: int, max_pairs: int) -> float | None:
    null = spectrum_null(prototypes, seed=seed)
    try:
        found = [table.excess.mean() for table in _anchor(null, n, seed, max_pairs)]
    except TooFewSamples:  # no spread to draw from, so that all points fall together
        return None
    return float(np.mean(found)) if found else None


def _afforded(null: Sequence[Members]) -> int:
    """Points a half that half of the anchor's prototypes can hold."""
    return max(1, min((int(np.median(run.sizes)) // 2 for run in null), default=1))


def _anchor(null: Sequence[Members], n: int, seed: int, max_pairs: int) -> list[PairTable]:
    """Measure an anchor.

    Where half of its prototypes cannot hold 2n members, fewer points are taken: the excess hardly
    depends on n (the raw anchor does, and is then left out).
    """
    n = min(n, _afforded(null))
    runs = matched(null, 2 * n)
    return [measure_pairs(draw_clouds(run, n, seed=seed), max_pairs, seed + 1) for run in runs]
