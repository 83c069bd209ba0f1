"""NEMD: Wasserstein-1 between the clouds of prototypes, in three named columns.

raw     mean W1 at n points per cloud (the poster's number; depends on n and d)
excess  W1(p,q) − ½(W1(p,p′)+W1(q,q′)) with disjoint halves of n points: 0 for identical laws
score   (excess − excess_uniform) / (excess_collapsed − excess_uniform): 0 for the same pipeline on
        the uniform sphere, 1 for clouds shrunk to their mean directions

High is collapsed (coagulated), low is spread. The columns excess and score are ours. Beside them
stands half the energy distance (Székely & Rizzo 2004), which follows excess without transport.

k-means is run with several seeds; values are means over them, and their spread is part of the
interval, for where k-means ends is luck.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.clouds import TooFewSamples, common_size, draw_clouds
from nemd_toolkit.measures.intervals import Interval, interval_around, standard_error
from nemd_toolkit.measures.null import spectrum_null, uniform_null
from nemd_toolkit.measures.pair_table import PairTable, measure_pairs
from nemd_toolkit.measures.permutation import permutation_p_value
from nemd_toolkit.prototypes import Prototypes, fit_prototypes

__all__ = ["Nemd", "nemd"]

MAX_PAIRS = 5_000  # all pairs up to 100 prototypes; beyond that a sample, said in Nemd.pairs
REPEATS = 3  # runs of k-means, with a seed each
# Beyond this many samples times prototypes times dimensions a run takes minutes: then there is one,
# and no spectrum null.
REPEATED_WORK = 5e9
# The anchors must lie apart for a score to mean anything: below this ratio of collapsed to uniform
# excess, the prototypes' directions are as close as those that k-means finds in noise.
LEAST_ANCHOR_RATIO = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Nemd:
    """NEMD of one clustering, with 95 % intervals, its anchors, and what it rests on."""

    raw: Interval
    excess: Interval
    energy: Interval
    score: Interval | None  # None where the anchors coincide; `score_missing` says why
    score_missing: str | None
    n: int  # points in each half cloud
    repeats: int  # runs of k-means that the values are means of; 1 for other prototypes
    seed_deviation: float | None  # standard deviation of the excess over them; None for one
    raw_uniform: float | None  # None where the anchor could not hold n points a half
    excess_uniform: float
    excess_collapsed: float
    # of k-means on points without groups, but with these axes; None for other prototypes, for equal
    # points, and where a run would take minutes
    excess_spectrum: float | None
    permutation_p: float | None  # see permutation_p_value; None for k-means
    table: PairTable  # of the first run

    @property
    def pairs(self) -> int:
        """Measured pairs."""
        return len(self.table.pairs)

    @property
    def pairs_total(self) -> int:
        """Pairs that exist; more than `pairs` means a sample."""
        return self.table.total

    @property
    def prototypes(self) -> int:
        """Prototypes that hold 2n members."""
        return self.table.prototypes

    @property
    def skipped(self) -> int:
        """Prototypes with members, but fewer than 2n."""
        return self.table.skipped

    @property
    def exact(self) -> bool:
        """Whether every transport cost is the optimum."""
        return self.table.exact

    @property
    def certified_width(self) -> float:
        """Transport error, apart from the sampling error of the intervals."""
        return self.table.certified_width


def nemd(
    prototypes: Prototypes,
    seed: int = 0,
    *,
    n: int | None = None,
    max_pairs: int = MAX_PAIRS,
    repeats: int = REPEATS,
) -> Nemd:
    """Measure NEMD of one clustering.

    n: points per half cloud; by default what nine in ten prototypes afford, here and in noise,
    within 8…64. max_pairs: beyond it a sample of the pairs is measured, see `Nemd.pairs_total`.
    repeats: runs of k-means, where it made the prototypes; one where a run would take minutes.
    Intervals leave out prototypes in turn and add the spread over k-means' seeds; they hold
    sampling error, not the transport's, which is exact.

    Raises InputError if fewer than three prototypes hold 2n members.

    >>> from nemd_toolkit.embeddings import Embeddings
    >>> from nemd_toolkit.prototypes import prototypes_from_labels
    >>> points = [[1.0, 0.0, 0.0]] * 16 + [[0.0, 1.0, 0.0]] * 16 + [[0.0, 0.0, 1.0]] * 16
    >>> e = Embeddings(points, labels=[0] * 16 + [1] * 16 + [2] * 16)
    >>> result = nemd(prototypes_from_labels(e))
    >>> result.raw.value, result.excess.value, result.score.value, result.n
    (1.4142, 1.4142, 1.0000, 8)
    """
    null = uniform_null(prototypes, seed=seed)
    n = common_size([prototypes, null]) if n is None else n
    if min(n, max_pairs, repeats) < 1:
        raise InputError(
            f"NEMD: expected n, max_pairs and repeats of at least 1, got {n}, {max_pairs} and "
            f"{repeats}"
        )
    tables = [measure_pairs(draw_clouds(prototypes, n, seed=seed), max_pairs, seed)]
    tables += _again(prototypes, n, max_pairs, seed, repeats)
    uniform = _anchor(null, n, seed, max_pairs)
    excess = np.array([table.excess.mean() for table in tables])
    low, high = float(uniform.excess.mean()), float(np.mean([t.chord.mean() for t in tables]))
    score, missing = _score(tables, uniform, low, high)
    return Nemd(
        raw=_mean(tables, lambda table: table.raw),
        excess=_mean(tables, lambda table: table.excess),
        energy=_mean(tables, lambda table: table.energy),
        score=score,
        score_missing=missing,
        n=n,
        repeats=len(tables),
        seed_deviation=float(excess.std(ddof=1)) if len(tables) > 1 else None,
        raw_uniform=float(uniform.raw.mean()) if _afforded(null) >= n else None,
        excess_uniform=low,
        excess_collapsed=high,
        excess_spectrum=_excess_of_spectrum(prototypes, n, seed, max_pairs),
        permutation_p=permutation_p_value(prototypes, seed=seed),
        table=tables[0],
    )


def _again(
    prototypes: Prototypes, n: int, max_pairs: int, seed: int, repeats: int
) -> list[PairTable]:
    """Measure further runs of k-means; those with too few large prototypes are left out."""
    if prototypes.source != "k-means" or _takes_minutes(prototypes):
        return []
    found = []
    for run in range(1, repeats):
        other = fit_prototypes(prototypes.embeddings, prototypes.k, seed=seed + 104_729 * run)
        try:
            found.append(measure_pairs(draw_clouds(other, n, seed=seed), max_pairs, seed))
        except TooFewSamples:
            continue
    return found


def _takes_minutes(prototypes: Prototypes) -> bool:
    return prototypes.embeddings.vectors.numel() * prototypes.k > REPEATED_WORK


def _mean(
    tables: Sequence[PairTable], column: Callable[[PairTable], Float[np.ndarray, " _"]]
) -> Interval:
    """Mean over runs. Error: that of one run, by prototypes, and that of the mean over runs."""
    values = [float(column(table).mean()) for table in tables]
    error = _error([column(table) for table in tables], tables)
    return interval_around(float(np.mean(values)), error, tables[0].prototypes)


def _error(columns: Sequence[Float[np.ndarray, " _"]], tables: Sequence[PairTable]) -> float:
    own = [standard_error(c, t.pairs) for c, t in zip(columns, tables, strict=True)]
    runs = len(columns)
    luck = float(np.std([c.mean() for c in columns], ddof=1)) if runs > 1 else 0.0
    return float(np.hypot(np.sqrt(np.mean(np.square(own))), luck / runs**0.5))


def _score(
    tables: Sequence[PairTable], uniform: PairTable, low: float, high: float
) -> tuple[Interval | None, str | None]:
    """Place the excess between its anchors, or say why not.

    Score v solves excess − v·collapsed − (1 − v)·uniform = 0; its error is that of this difference
    over the span (delta method: a ratio resampled as such runs away where prototypes form few
    groups).
    """
    if high < LEAST_ANCHOR_RATIO * low:
        return None, (
            f"prototypes lie too close together for a scale: clouds shrunk to their mean "
            f"directions would be {high:.3g} apart, those of uniform noise are {low:.3g}"
        )
    value = (float(np.mean([t.excess.mean() for t in tables])) - low) / (high - low)
    own = _error([table.excess - value * table.chord for table in tables], tables)
    anchor = (1 - value) * standard_error(uniform.excess, uniform.pairs)
    error = float(np.hypot(own, anchor)) / (high - low)
    return interval_around(value, error, tables[0].prototypes), None


def _excess_of_spectrum(prototypes: Prototypes, n: int, seed: int, max_pairs: int) -> float | None:
    null = None if _takes_minutes(prototypes) else spectrum_null(prototypes, seed=seed)
    try:
        return None if null is None else float(_anchor(null, n, seed, max_pairs).excess.mean())
    except TooFewSamples:  # no spread to draw from, so that all points fall together
        return None


def _afforded(null: Prototypes) -> int:
    """Points a half that half of the anchor's prototypes can hold."""
    return max(1, int(null.sizes[null.used].median()) // 2)


def _anchor(null: Prototypes, n: int, seed: int, max_pairs: int) -> PairTable:
    """Measure an anchor.

    Where half of its prototypes cannot hold 2n members, fewer points are taken: the excess hardly
    depends on n (the raw anchor does, and is then left out).
    """
    clouds = draw_clouds(null, min(n, _afforded(null)), seed=seed)
    return measure_pairs(clouds, max_pairs, seed + 1)
