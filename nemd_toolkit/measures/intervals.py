"""Values with intervals, by resampling prototypes.

Pairs share prototypes, so pairs are not independent: it is the prototypes that are resampled. A
pair then weighs by how often both its prototypes were drawn.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

__all__ = ["LEVEL", "Interval", "pair_means", "percentile_interval", "resample"]

LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value and its 95 % interval; sampling error only."""

    value: float
    low: float
    high: float


def resample(count: int, draws: int, rng: np.random.Generator) -> Int[np.ndarray, "b k"]:
    """How often each of `count` prototypes is drawn, in `draws` draws of `count` each."""
    return rng.multinomial(count, np.full(count, 1.0 / count), size=draws)


def pair_means(
    values: Float[np.ndarray, " p"],
    pairs: Int[np.ndarray, "p 2"],
    counts: Int[np.ndarray, "b k"],
) -> Float[np.ndarray, " b"]:
    """Mean over pairs of distinct prototypes under each resample; NaN where it holds no pair."""
    weights = counts[:, pairs[:, 0]] * counts[:, pairs[:, 1]]  # (b, p)
    total = weights.sum(1)
    with np.errstate(invalid="ignore"):
        return np.where(total > 0, (weights @ values) / total, np.nan)


def percentile_interval(value: float, draws: Float[np.ndarray, " b"]) -> Interval:
    """Percentile interval of the draws that are defined, around a value.

    >>> percentile_interval(2.0, np.array([1.0, 2.0, 3.0, np.nan]))
    Interval(value=2.0, low=1.05, high=2.95)
    """
    tail = (1 - LEVEL) / 2
    low, high = np.nanquantile(draws, [tail, 1 - tail])
    return Interval(value=value, low=float(low), high=float(high))
