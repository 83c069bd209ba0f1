"""NEMD: Wasserstein-1 between the clouds of prototypes, in three named columns.

raw     mean W1 at n points per cloud (the poster's number; depends on n and d)
excess  W1(p,q) − ½(W1(p,p′)+W1(q,q′)) with disjoint halves of n points: 0 for identical laws
score   (excess − excess_uniform) / (excess_collapsed − excess_uniform): 0 for the same pipeline on
        the uniform sphere, 1 for clouds shrunk to their mean directions

High is collapsed (coagulated), low is spread. The columns excess and score are ours.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, Int

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.clouds import Clouds, common_size, draw_clouds
from nemd_toolkit.measures.intervals import Interval, interval_around, standard_error
from nemd_toolkit.measures.null import uniform_null
from nemd_toolkit.prototypes import Prototypes
from nemd_toolkit.transport import pairs_by_rank, pairwise_wasserstein1

__all__ = ["Nemd", "PairTable", "nemd"]

MAX_PAIRS = 5_000  # all pairs up to 100 prototypes; beyond that a sample, said in Nemd.pairs
# The anchors must lie apart for a score to mean anything: below this ratio of collapsed to uniform
# excess, the prototypes' directions are as close as those that k-means finds in noise.
LEAST_ANCHOR_RATIO = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PairTable:
    """What was measured of each pair of prototypes."""

    pairs: Int[np.ndarray, "p 2"]  # indices of prototypes
    raw: Float[np.ndarray, " p"]
    excess: Float[np.ndarray, " p"]
    chord: Float[np.ndarray, " p"]  # between mean directions: the excess of collapsed clouds


@dataclass(frozen=True, slots=True, kw_only=True)
class Nemd:
    """NEMD of one clustering, with 95 % intervals, its anchors, and what it rests on."""

    raw: Interval
    excess: Interval
    score: Interval | None  # None where the anchors coincide; `score_missing` says why
    score_missing: str | None
    n: int  # points in each half cloud
    pairs: int  # measured
    pairs_total: int  # that exist; more than `pairs` means a sample
    prototypes: int  # that hold 2n members
    skipped: int  # with members, but fewer than 2n
    exact: bool
    certified_width: float  # transport error, apart from the sampling error of the intervals
    raw_uniform: float | None  # None where the anchor could not hold n points a half
    excess_uniform: float
    excess_collapsed: float
    table: PairTable


def nemd(
    prototypes: Prototypes,
    seed: int = 0,
    *,
    n: int | None = None,
    max_pairs: int = MAX_PAIRS,
) -> Nemd:
    """Measure NEMD of one clustering.

    n: points per half cloud; by default what nine in ten prototypes afford, here and in noise,
    within 8…64. max_pairs: beyond it a sample of the pairs is measured, see `Nemd.pairs_total`.
    Intervals leave out prototypes in turn; they hold sampling error, not the transport's, which is
    exact.

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
    if n < 1 or max_pairs < 1:
        raise InputError(f"NEMD: expected n and max_pairs of at least 1, got {n} and {max_pairs}")
    measured = _measure(draw_clouds(prototypes, n, seed=seed), max_pairs, seed)
    uniform = _anchor(null, n, seed, max_pairs)
    measured = replace(
        measured,
        raw_uniform=uniform.raw.value if uniform.n == n else None,
        excess_uniform=uniform.excess.value,
    )
    return _with_score(measured, uniform)


def _measure(clouds: Clouds, max_pairs: int, seed: int) -> Nemd:
    """Transport costs between and within prototypes; the uniform anchor is still to come."""
    u = len(clouds.which)
    pairs = _pairs(u, max_pairs, seed)
    between = pairwise_wasserstein1(list(clouds.first), pairs)
    halves = np.stack([np.arange(u), np.arange(u) + u], axis=1)
    within = pairwise_wasserstein1([*clouds.first, *clouds.second], halves).cost
    p, q = pairs.T
    excess = between.cost - 0.5 * (within[p] + within[q])
    chords = (clouds.directions[p] - clouds.directions[q]).norm(dim=1).numpy()
    return Nemd(
        raw=_mean(between.cost, pairs),
        excess=_mean(excess, pairs),
        score=None,
        score_missing=None,
        n=clouds.n,
        pairs=len(pairs),
        pairs_total=u * (u - 1) // 2,
        prototypes=u,
        skipped=clouds.skipped,
        exact=between.exact,
        certified_width=between.certified_width,
        raw_uniform=None,
        excess_uniform=0.0,
        excess_collapsed=float(chords.mean()),
        table=PairTable(pairs=clouds.which[pairs], raw=between.cost, excess=excess, chord=chords),
    )


def _pairs(u: int, most: int, seed: int) -> Int[np.ndarray, "p 2"]:
    """All unordered pairs of u prototypes in rows' order, or a sample, never listing them all."""
    total = u * (u - 1) // 2
    if total <= most:
        return pairs_by_rank(np.arange(total), u)
    places = np.random.default_rng(seed).choice(total, most, replace=False)
    return pairs_by_rank(np.sort(places), u)


def _mean(values: Float[np.ndarray, " p"], pairs: Int[np.ndarray, "p 2"]) -> Interval:
    count = len(np.unique(pairs))
    return interval_around(float(values.mean()), standard_error(values, pairs), count)


def _with_score(measured: Nemd, uniform: Nemd) -> Nemd:
    """Place the excess between its anchors.

    Score v solves excess − v·collapsed − (1 − v)·uniform = 0; its error is that of this difference
    over the span (delta method: a ratio resampled as such runs away where prototypes form few
    groups).
    """
    low, high = measured.excess_uniform, measured.excess_collapsed
    if high < LEAST_ANCHOR_RATIO * low:
        reason = (
            f"prototypes lie too close together for a scale: clouds shrunk to their mean "
            f"directions would be {high:.3g} apart, those of uniform noise are {low:.3g}"
        )
        return replace(measured, score=None, score_missing=reason)
    value = (measured.excess.value - low) / (high - low)
    table = measured.table
    own = standard_error(table.excess - value * table.chord, table.pairs)
    anchor = (1 - value) * standard_error(uniform.table.excess, uniform.table.pairs)
    error = float(np.hypot(own, anchor)) / (high - low)
    return replace(measured, score=interval_around(value, error, measured.prototypes))


def _anchor(null: Prototypes, n: int, seed: int, max_pairs: int) -> Nemd:
    """Measure the uniform anchor.

    Where half of its prototypes cannot hold 2n members, fewer points are taken: the excess hardly
    depends on n (the raw anchor does, and is then left out).
    """
    afforded = max(1, int(null.sizes[null.used].median()) // 2)
    return _measure(draw_clouds(null, min(n, afforded), seed=seed), max_pairs, seed + 1)
