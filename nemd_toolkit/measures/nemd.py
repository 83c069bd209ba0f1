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
from nemd_toolkit.measures.intervals import Interval, pair_means, percentile_interval, resample
from nemd_toolkit.measures.null import uniform_null
from nemd_toolkit.prototypes import Prototypes
from nemd_toolkit.transport import pairwise_wasserstein1

__all__ = ["Nemd", "PairTable", "nemd"]

MAX_PAIRS = 5_000  # all pairs up to 100 prototypes; beyond that a sample, said in Nemd.pairs
RESAMPLES = 2_000
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

    n: points per half cloud; by default what nine in ten prototypes afford, here and in
    noise, within 8…64.
    Intervals resample prototypes; they hold sampling error, not the transport's, which is exact.

    Raises InputError if fewer than two prototypes hold 2n members.

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
    rng = np.random.default_rng(seed)
    clouds = draw_clouds(prototypes, n, seed=seed)
    measured = _measure(clouds, max_pairs, rng)
    counts = resample(measured.prototypes, RESAMPLES, rng)
    uniform, uniform_draws = _anchor(null, n, seed, max_pairs)
    local = np.searchsorted(clouds.which, measured.table.pairs)  # pairs of resampled prototypes
    draws = {
        name: pair_means(getattr(measured.table, name), local, counts)
        for name in ("raw", "excess", "chord")
    }
    measured = replace(
        measured,
        raw=percentile_interval(measured.raw.value, draws["raw"]),
        excess=percentile_interval(measured.excess.value, draws["excess"]),
        raw_uniform=uniform.raw.value if uniform.n == n else None,
        excess_uniform=uniform.excess.value,
    )
    return _with_score(measured, draws["excess"], draws["chord"], uniform_draws)


def _measure(clouds: Clouds, max_pairs: int, rng: np.random.Generator) -> Nemd:
    """Transport costs between and within prototypes; intervals and anchors still to come."""
    u = len(clouds.which)
    pairs = np.stack(np.triu_indices(u, 1), axis=1)
    total = len(pairs)
    if total > max_pairs:
        pairs = pairs[np.sort(rng.choice(total, max_pairs, replace=False))]
    between = pairwise_wasserstein1(list(clouds.first), pairs)
    halves = np.stack([np.arange(u), np.arange(u) + u], axis=1)
    within = pairwise_wasserstein1([*clouds.first, *clouds.second], halves).cost
    p, q = pairs.T
    excess = between.cost - 0.5 * (within[p] + within[q])
    chords = (clouds.directions[p] - clouds.directions[q]).norm(dim=1).numpy()
    table = PairTable(pairs=clouds.which[pairs], raw=between.cost, excess=excess, chord=chords)
    return Nemd(
        raw=_point(between.cost),
        excess=_point(excess),
        score=None,
        score_missing=None,
        n=clouds.n,
        pairs=len(pairs),
        pairs_total=total,
        prototypes=u,
        skipped=clouds.skipped,
        exact=between.exact,
        certified_width=between.certified_width,
        raw_uniform=None,
        excess_uniform=0.0,
        excess_collapsed=float(chords.mean()),
        table=table,
    )


def _with_score(
    measured: Nemd,
    excess: Float[np.ndarray, " b"],
    collapsed: Float[np.ndarray, " b"],
    uniform: Float[np.ndarray, " b"],
) -> Nemd:
    if measured.excess_collapsed < LEAST_ANCHOR_RATIO * measured.excess_uniform:
        reason = (
            f"prototypes lie too close together for a scale: clouds shrunk to their mean "
            f"directions would be {measured.excess_collapsed:.3g} apart, those of uniform noise "
            f"are {measured.excess_uniform:.3g}"
        )
        return replace(measured, score=None, score_missing=reason)
    span = measured.excess_collapsed - measured.excess_uniform
    value = (measured.excess.value - measured.excess_uniform) / span
    with np.errstate(invalid="ignore", divide="ignore"):
        draws = (excess - uniform) / (collapsed - uniform)
    return replace(measured, score=percentile_interval(value, draws))


def _point(values: Float[np.ndarray, " p"]) -> Interval:
    mean = float(values.mean())
    return Interval(value=mean, low=mean, high=mean)


def _anchor(
    null: Prototypes, n: int, seed: int, max_pairs: int
) -> tuple[Nemd, Float[np.ndarray, " b"]]:
    """Measure the uniform anchor, and its excess under each resample.

    Where half of its prototypes cannot hold 2n members, fewer points are taken: the excess hardly
    depends on n (the raw anchor does, and is then left out).
    """
    rng = np.random.default_rng(seed + 1)
    afforded = max(1, int(null.sizes[null.used].median()) // 2)
    clouds = draw_clouds(null, min(n, afforded), seed=seed)
    measured = _measure(clouds, max_pairs, rng)
    local = np.searchsorted(clouds.which, measured.table.pairs)
    counts = resample(measured.prototypes, RESAMPLES, rng)
    return measured, pair_means(measured.table.excess, local, counts)
