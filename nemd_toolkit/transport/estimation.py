"""A mean and quantiles over a fixed population from a simple random sample and a prediction.

Every unit's features are known, the costs only in the sample. The mean is the mean prediction plus
the sample's mean residual (regression estimator). The share of units at or below t is predicted by
Φ((t − prediction)/s), s the residuals' deviation, and corrected by the sample in the same way. A
poor prediction costs precision and adds no bias. Units need not be independent (pairs share
clouds): the population is fixed, only the sample is random.
Sources: Särndal, Swensson & Wretman 1992, ch. 6 (regression estimator); Rao, Kovar & Mantel 1990
(distribution function); Woodruff 1952 (intervals of quantiles).
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int64
from scipy.signal import fftconvolve
from scipy.special import ndtr
from scipy.stats import t as student

__all__ = ["Estimate", "Fit", "Shares", "fit", "grid", "student_95", "unseen_share"]

_LEVEL = 0.95
_BINS = 2**14  # in which the predictions of all pairs are counted; intervals are rounded outwards
_MARGIN = 0.1  # of the sample's range, beyond which predictions count as at the edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A value and its 95 % interval; sampling error only, width 0 where nothing was sampled."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """A linear prediction of cost from features, and what it misses in the sample."""

    intercept: float
    slopes: Float64[np.ndarray, " f"]
    residuals: Float64[np.ndarray, " m"]
    explained: float  # share of the sample's variance, 0…1; 1 where there is none
    freedom: int  # of the residuals

    @property
    def variance(self) -> float:
        """Of the residuals, corrected for the fitted numbers."""
        return float(np.square(self.residuals).sum()) / self.freedom


def fit(features: Float64[np.ndarray, "m f"], cost: Float64[np.ndarray, " m"]) -> Fit:
    """Least squares. What varies by rounding only, or varies with another, gets no say.

    >>> fitted = fit(np.array([[1.0], [2.0], [3.0]]), np.array([1.0, 3.0, 5.0]))
    >>> fitted.slopes, fitted.intercept, fitted.variance
    (array([2.]), -1.0, 0.0)
    """
    centre, width = features.mean(axis=0), features.std(axis=0)
    width[width <= 1e-6 * np.abs(features).max()] = np.inf
    mean = float(cost.mean())
    about = cost - mean
    slopes, _, rank, _ = np.linalg.lstsq((features - centre) / width, about, rcond=1e-6)
    slopes = slopes / width
    residuals = about - (features - centre) @ slopes
    residuals[np.abs(residuals) <= 1e-12 * np.abs(cost).max()] = 0.0  # rounding is no residual
    varies, missed = float(np.square(about).sum()), float(np.square(residuals).sum())
    return Fit(
        intercept=mean - float(centre @ slopes),
        slopes=slopes,
        residuals=residuals,
        explained=1 - missed / varies if missed else 1.0,
        freedom=len(cost) - 1 - int(rank),
    )


def student_95(freedom: int) -> float:
    """How many standard errors a 95 % interval reaches to each side.

    >>> student_95(10**9)
    1.96
    """
    return float(student.ppf(0.5 + _LEVEL / 2, freedom))


def unseen_share(solved: int) -> float:
    """Share of odd units above which a sample of this size would have met one (97.5 % sure).

    >>> unseen_share(200)
    0.018
    """
    return 1 - float((0.5 - _LEVEL / 2) ** (1 / solved))


def grid(cost: Float64[np.ndarray, " m"]) -> Float64[np.ndarray, " e"]:
    """Edges of the bins in which predictions are counted: the sample's range and a margin."""
    low, high = float(cost.min()), float(cost.max())
    margin = _MARGIN * (high - low) or 1e-6 * high or 1e-12
    return np.linspace(max(0.0, low - margin), high + margin, _BINS + 1)


class Shares:
    """Share of all units at or below t, for t on a grid, and what inverting it gives.

    counts (b,): how many predictions of all units lie in each bin; largest: no cost is above.
    """

    def __init__(
        self,
        cost: Float64[np.ndarray, " m"],
        fitted: Fit,
        edges: Float64[np.ndarray, " e"],
        counts: Int64[np.ndarray, " b"],
        largest: float,
    ) -> None:
        step = float(edges[1] - edges[0])
        self._cost, self._edges, self._largest = cost, edges, largest
        self._centres = edges[:-1] + step / 2
        self._width = max(math.sqrt(fitted.variance), 1e-3 * step)
        self._bins = _bins(cost - fitted.residuals, edges)
        self._counts, self._freedom = counts, fitted.freedom
        self.below = self._below(step)

    def _below(self, step: float) -> Float64[np.ndarray, " e"]:
        """Estimated shares at every edge, made monotone, 0 at the first and 1 at the last."""
        bins = len(self._counts)
        own = np.bincount(self._bins, minlength=bins) / len(self._cost)
        gap = self._counts / self._counts.sum() - own
        steps = np.arange(-bins, bins + 1) - 0.5  # from a bin's centre to an edge
        predicted = fftconvolve(gap, ndtr(steps * step / self._width))[bins : 2 * bins + 1]
        seen = np.searchsorted(np.sort(self._cost), self._edges, side="right") / len(self._cost)
        below = np.maximum.accumulate(np.clip(seen + predicted, 0, 1))
        below[0], below[-1] = 0, 1
        return below

    def quantile(self, level: float) -> Estimate:
        """Estimate the least t with this share of units at or below it; Woodruff's interval.

        Where the interval leaves what the sample shows, it ends at 0 or at the largest cost.
        """
        at = self._edge(level)
        value = np.interp(level, self.below[at - 1 : at + 1], self._edges[at - 1 : at + 1])
        reach = student_95(self._freedom) * self._error(at)
        low = self._edges[self._edge(level - reach) - 1] if level > reach else 0.0
        high = self._edges[self._edge(level + reach)] if level + reach < 1 else self._largest
        low, value, high = np.clip([low, value, high], 0.0, self._largest).tolist()
        return Estimate(value=value, low=low, high=high)

    def _edge(self, share: float) -> int:
        return max(1, int(np.searchsorted(self.below, share)))

    def _error(self, at: int) -> float:
        """Estimate the standard error of the share at an edge.

        The sample's variance of what the prediction misses, averaged with the variance that the
        prediction itself expects over all units: far out in a tail the sample holds few units that
        tell, and its variance alone covered 75 % instead of 95 %.
        """
        t, solved, total = self._edges[at], len(self._cost), float(self._counts.sum())
        chance = ndtr((t - self._centres) / self._width)
        missed = (self._cost <= t) - chance[self._bins]
        sampled = float(missed.var(ddof=solved - self._freedom))
        expected = float(self._counts @ (chance * (1 - chance))) / total
        return math.sqrt((sampled + expected) / 2 * (1 / solved - 1 / total))


def _bins(
    predicted: Float64[np.ndarray, " m"], edges: Float64[np.ndarray, " e"]
) -> Int64[np.ndarray, " m"]:
    """Bin of each prediction; the outermost hold what lies beyond."""
    places = np.floor((predicted - edges[0]) / (edges[1] - edges[0])).astype(np.int64)
    inside: Int64[np.ndarray, " m"] = np.clip(places, 0, len(edges) - 2)
    return inside
