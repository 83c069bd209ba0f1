"""Values with 95 % intervals, by leaving out prototypes.

Pairs share prototypes, so pairs are not independent: it is the prototypes that are left out, one
at a time (delete-one jackknife of a U-statistic; Arvesen 1969), with Student's quantiles. It needs
no draws, and where prototypes are few it is wide, as it should be; a percentile bootstrap of
prototypes covered 76 % instead of 95 % with five of them.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import t as student

from nemd_toolkit.errors import InputError

__all__ = ["LEAST", "LEVEL", "Interval", "interval_around", "standard_error"]

LEVEL = 0.95
LEAST = 3  # prototypes; with two there is one pair, and leaving one out leaves none


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value and its 95 % interval; sampling error only."""

    value: float
    low: float
    high: float


def standard_error(values: Float[np.ndarray, " p"], pairs: Int[np.ndarray, "p 2"]) -> float:
    """Jackknife standard error of the mean over pairs, leaving out each prototype in turn.

    A sample of the pairs will do. Raises InputError for fewer than three prototypes.

    >>> pairs = np.array([[0, 1], [0, 2], [1, 2]])
    >>> standard_error(np.array([1.0, 1.0, 4.0]), pairs)
    2.0
    """
    _, places = np.unique(pairs, return_inverse=True)
    places = places.reshape(pairs.shape)
    u = int(places.max()) + 1
    if u < LEAST:
        raise InputError(f"interval: expected at least {LEAST} prototypes, got {u}; ask for more")
    held = np.zeros(u)  # sum over the pairs of each prototype
    count = np.zeros(u)
    for side in places.T:
        np.add.at(held, side, values)
        np.add.at(count, side, 1)
    left = (values.sum() - held) / np.maximum(len(values) - count, 1)  # means without each
    return float(np.sqrt((u - 1) / u * np.square(left - left.mean()).sum()))


def interval_around(value: float, error: float, prototypes: int) -> Interval:
    """Student's 95 % interval around a value, for so many prototypes.

    >>> interval_around(1.0, 0.0, 10)
    Interval(value=1.0, low=1.0, high=1.0)
    """
    reach = float(student.ppf(0.5 + LEVEL / 2, prototypes - 1)) * error
    return Interval(value=value, low=value - reach, high=value + reach)
