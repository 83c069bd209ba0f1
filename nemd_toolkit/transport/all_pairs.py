"""Wasserstein-1 over all pairs of clouds, from few solved pairs: mean, quantiles, histogram.

A simple random sample of the pairs is solved; the moments of the clouds predict all of them in one
pass; `estimation` joins the two. Sampling error and what the solver leaves open are kept apart.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from numpy.typing import ArrayLike
from scipy.stats import chi2
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.transport.estimation import (
    Estimate,
    Fit,
    Shares,
    fit,
    grid,
    student_95,
    unseen_share,
)
from nemd_toolkit.transport.many import pairwise_wasserstein1
from nemd_toolkit.transport.moments import Moments, cloud_moments, predict_all_pairs
from nemd_toolkit.transport.results import Pairs, pairs_by_rank

__all__ = ["AllPairs", "all_pairs_wasserstein1", "estimate_all_pairs"]

_FIRST = 200  # pairs solved at first: enough for Student's t and four slopes
_SPARE = 0.1  # chance that the first sample understates what the precision needs (ours)
_NEARLY_ALL = 0.9  # of the pairs; a larger sample is made complete
_DRAWN = 64  # bins of the histogram
_HELD = 2**25  # coordinates of clouds held at a time: 400 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class AllPairs:
    """Wasserstein-1 over all unordered pairs of clouds.

    The intervals of `mean` and `quantiles` hold sampling error only; `certified_width` is what the
    solver left open, the mean width of the solved pairs' certain intervals: 0 for rtol 0.
    """

    mean: Estimate
    levels: tuple[float, ...]
    quantiles: tuple[Estimate, ...]  # least cost with this share of the pairs at or below it
    edges: Float64[np.ndarray, " e"]
    counts: Float64[np.ndarray, " b"]  # of pairs in each bin; estimates unless exhaustive
    pairs_total: int
    pairs_solved: int
    explained: float  # share of the sampled costs' variance that the moments predict, 0…1
    certified_width: float
    seed: int

    @property
    def exhaustive(self) -> bool:
        """Whether every pair was solved, so that nothing is left to sampling."""
        return self.pairs_solved == self.pairs_total


def all_pairs_wasserstein1(
    clouds: Sequence[ArrayLike | Tensor],
    *,
    relative_error: float = 0.01,
    quantiles: Sequence[float] = (0.25, 0.5, 0.75),
    rtol: float = 0.0,
    seed: int = 0,
) -> AllPairs:
    """Mean, quantiles and histogram of Wasserstein-1 over all pairs of clouds (each (n_i, d)).

    relative_error: half the width of the mean's 95 % interval aimed at, over the mean; a first
    sample of 200 pairs tells how many more are solved. All are, and every interval has width 0, for
    relative_error 0, for at most 200 pairs, and where nearly all would be needed. rtol: as in
    `pairwise_wasserstein1`. Give `MemberClouds` for points that should stay on disk: of the clouds,
    only those sampled are held, at most 400 MB at a time.

    Raises InputError for unusable clouds, fewer than two, and options out of range; NotOptimal
    naming the pair.

    >>> points = [[[1.0, 0.0]], [[-1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]]
    >>> all_pairs_wasserstein1(points).mean
    Estimate(value=1.60947571, low=1.60947571, high=1.60947571)
    """
    moments = cloud_moments(clouds)

    def solve(pairs: Int64[np.ndarray, "p 2"]) -> Pairs:
        coordinates = moments.sizes[pairs].sum(axis=1) * moments.means.shape[1]
        cuts = np.flatnonzero(np.diff(np.cumsum(coordinates) // _HELD)) + 1
        return _joined([pairwise_wasserstein1(clouds, p, rtol) for p in np.split(pairs, cuts)])

    return estimate_all_pairs(
        moments, solve, relative_error=relative_error, quantiles=quantiles, seed=seed
    )


def estimate_all_pairs(
    moments: Moments,
    solve: Callable[[Int64[np.ndarray, "p 2"]], Pairs],
    *,
    relative_error: float,
    quantiles: Sequence[float],
    seed: int,
) -> AllPairs:
    """As `all_pairs_wasserstein1`, for clouds known by their moments and any way to solve pairs."""
    levels = tuple(float(level) for level in quantiles)
    if not relative_error >= 0 or not all(0 < level < 1 for level in levels):
        raise InputError(
            "all pairs: expected relative_error ≥ 0 and quantiles between 0 and 1, got "
            f"{relative_error} and {levels}; give 0.01 for ±1 %, and 0.5 for the median"
        )
    count, total = len(moments.sizes), moments.pairs
    random = np.random.default_rng(seed)
    ranks = _drawn(random, total, min(_FIRST, total), np.empty(0, np.int64))
    solved = solve(pairs_by_rank(ranks, count))
    if len(ranks) < total:
        first = fit(moments.features(solved.pairs), solved.cost)
        wanted = _wanted(first, relative_error * float(solved.cost.mean()), total)
        if relative_error == 0 or wanted > _NEARLY_ALL * total:
            wanted = total
        more = _drawn(random, total, wanted - len(ranks), ranks)
        solved = _joined([solved, solve(pairs_by_rank(more, count))])
    if len(solved.cost) == total:
        return _census(solved, levels, seed)
    return _sampled(moments, solved, levels, seed)


def _joined(parts: Sequence[Pairs]) -> Pairs:
    return Pairs(
        pairs=np.concatenate([part.pairs for part in parts]),
        cost=np.concatenate([part.cost for part in parts]),
        lower=np.concatenate([part.lower for part in parts]),
        upper=np.concatenate([part.upper for part in parts]),
    )


def _drawn(
    random: np.random.Generator, total: int, more: int, taken: Int64[np.ndarray, " t"]
) -> Int64[np.ndarray, " m"]:
    """Draw `more` of the ranks 0…total − 1 beside those taken, any set as likely, in order."""
    free = np.sort(random.choice(total - len(taken), more, replace=False, shuffle=False))
    below = np.sort(taken) - np.arange(len(taken))  # free ranks below each that is taken
    return free + np.searchsorted(below, free, side="right")


def _wanted(first: Fit, reach: float, total: int) -> int:
    """Pairs needed for an interval that reaches so far, by a cautious reading of the first sample.

    Decided once, from the residuals' variance alone (Stein 1945, two stages): over fixed pairs the
    first sample is large enough that the interval's coverage does not suffer.
    """
    solved = len(first.residuals)
    if first.variance == 0 or reach == 0:
        return solved
    variance = first.variance * first.freedom / float(chi2.ppf(_SPARE, first.freedom))
    unlimited = variance * (student_95(first.freedom) / reach) ** 2  # if pairs were without end
    return max(solved, math.ceil(1 / (1 / unlimited + 1 / total)))


def _census(solved: Pairs, levels: tuple[float, ...], seed: int) -> AllPairs:
    """Describe all pairs, every one of them solved."""
    cost = solved.cost
    counts, edges = np.histogram(cost, bins=_DRAWN)
    known = [float(cost.mean()), *np.quantile(cost, levels, method="inverted_cdf").tolist()]
    mean, *quantiles = [Estimate(value=value, low=value, high=value) for value in known]
    return AllPairs(
        mean=mean,
        levels=levels,
        quantiles=tuple(quantiles),
        edges=edges,
        counts=counts.astype(np.float64),
        pairs_total=len(cost),
        pairs_solved=len(cost),
        explained=1.0,
        certified_width=solved.certified_width,
        seed=seed,
    )


def _sampled(moments: Moments, solved: Pairs, levels: tuple[float, ...], seed: int) -> AllPairs:
    """Describe all pairs by a simple random sample of them."""
    fitted = fit(moments.features(solved.pairs), solved.cost)
    edges = grid(solved.cost)
    predicted = predict_all_pairs(moments, fitted.intercept, fitted.slopes, edges)
    shares = Shares(solved.cost, fitted, edges, predicted.counts, moments.largest)
    step = len(predicted.counts) // _DRAWN
    return AllPairs(
        mean=_mean(fitted, predicted.mean, moments),
        levels=levels,
        quantiles=tuple(shares.quantile(level) for level in levels),
        edges=edges[::step],
        counts=moments.pairs * np.diff(shares.below[::step]),
        pairs_total=moments.pairs,
        pairs_solved=len(solved.cost),
        explained=fitted.explained,
        certified_width=solved.certified_width,
        seed=seed,
    )


def _mean(fitted: Fit, predicted: float, moments: Moments) -> Estimate:
    """Regression estimator of the mean over all pairs, and Student's interval."""
    solved = len(fitted.residuals)
    value = predicted + float(fitted.residuals.mean())
    error = math.sqrt(fitted.variance * (1 / solved - 1 / moments.pairs))
    reach = student_95(fitted.freedom) * error
    if fitted.variance == 0:
        # No residual tells how far an unseen pair may be off. Every W1 lies within the sum of two
        # spreads of the distance of the means: for clouds of one point the prediction is exact.
        reach = unseen_share(solved) * 2 * float(moments.spreads.max())
    low, value, high = np.clip([value - reach, value, value + reach], 0.0, moments.largest).tolist()
    return Estimate(value=value, low=low, high=high)
