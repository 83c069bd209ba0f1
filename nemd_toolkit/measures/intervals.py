"""Values with 95 % intervals, by resampling prototypes.

Pairs share prototypes, so pairs are not independent. Prototypes are left out one at a time
(delete-one jackknife; Arvesen 1969), which counts what belongs to a pair alone twice, once at each
of its prototypes; that is taken off again, as the variance of dyadic data does (Aronow, Samii &
Assenova 2015, doi 10.1093/pan/mpv018). It matters: directions in many dimensions are nearly
equidistant, so that a pair's own share is nearly all there is, and the jackknife alone was 1.4
times too wide. Quantiles are Student's. It needs no draws; a percentile bootstrap of prototypes
covered 76 % instead of 95 % with five of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.stats import t as student

from nemd_toolkit.errors import InputError

__all__ = ["LEAST", "LEVEL", "Error", "Interval", "error_of_mean", "interval_around", "joined"]

LEVEL = 0.95
LEAST = 3  # prototypes; with two there is one pair, and leaving one out leaves none
_MANY = 1e6  # degrees of freedom: Student's law is the normal one


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A value and its 95 % interval; sampling error only."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Error:
    """Variance of an estimate, and the degrees of freedom with which it is known."""

    variance: float
    freedom: float  # inf where it is known


def error_of_mean(
    values: Float[np.ndarray, " p"],
    pairs: Int[np.ndarray, "p 2"],
    alike: Bool[np.ndarray, " p"] | None = None,
) -> Error:
    """Error of the mean over pairs, all of them or a sample, under new prototypes.

    V = max(V_J − E, E) with the jackknife's V_J over prototypes and E the variance that what
    belongs to a pair alone gives the mean (`_of_pairs_alone`). `alike` names pairs whose two
    prototypes are no independent draws: V_J then holds the products of their influences as well
    (as Conley 1999, doi 10.1016/S0304-4076(98)00084-0, does for neighbours), and u prototypes
    count as u²/(u + 2·alike). What exceeds E is known with one degree of freedom less than these.
    Raises InputError for fewer than three prototypes.

    >>> pairs = np.array([[0, 1], [0, 2], [1, 2]])
    >>> error_of_mean(np.array([1.0, 1.0, 4.0]), pairs)
    Error(variance=4.0, freedom=2.0)
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
    influence = left - left.mean()
    squares, units = float(np.square(influence).sum()), float(u)
    if alike is not None and alike.any():
        p, q = places[alike].T
        squares = max(squares, squares + 2 * float(influence[p] @ influence[q]))
        units = max(u**2 / (u + 2 * len(p)), LEAST)
    alone = _of_pairs_alone(values, places, held)
    shared = max((u - 1) / u * squares - 2 * alone.variance, 0.0)
    return joined([Error(variance=shared, freedom=units - 1.0), alone])


def _of_pairs_alone(
    values: Float[np.ndarray, " p"], places: Int[np.ndarray, "p 2"], held: Float[np.ndarray, " u"]
) -> Error:
    """Variance that the mean has from what is left of pairs when prototypes' levels are taken off.

    Where all pairs are there, levels are those of least squares, y = m + a_p + a_q + e; with three
    prototypes nothing is left. In a sample of pairs, levels are left in: each prototype is in few
    of many pairs, and hardly counts twice.
    """
    count, u = len(values), len(held)
    if count < u * (u - 1) // 2:
        return Error(variance=float(values.var(ddof=1)) / count, freedom=count - 1.0)
    freedom = u * (u - 3) // 2
    if freedom == 0:
        return Error(variance=0.0, freedom=inf)
    mean = values.mean()
    levels = (held - (u - 1) * mean) / (u - 2)
    rest = values - mean - levels[places].sum(axis=1)
    variance = float(np.square(rest).sum()) / freedom / count
    return Error(variance=variance, freedom=float(freedom))


def joined(errors: Sequence[Error]) -> Error:
    """Add independent errors; degrees of freedom by Satterthwaite.

    >>> joined([Error(variance=3.0, freedom=9.0), Error(variance=1.0, freedom=1.0)])
    Error(variance=4.0, freedom=8.0)
    """
    variance = sum((error.variance for error in errors), 0.0)
    spread = sum(error.variance**2 / error.freedom for error in errors)
    return Error(variance=variance, freedom=variance**2 / spread if spread > 0 else inf)


def interval_around(value: float, error: Error) -> Interval:
    """Student's 95 % interval around a value.

    >>> interval_around(1.0, Error(variance=0.0, freedom=9.0))
    Interval(value=1.0, low=1.0, high=1.0)
    """
    quantile = float(student.ppf(0.5 + LEVEL / 2, min(error.freedom, _MANY)))
    reach = quantile * error.variance**0.5
    return Interval(value=value, low=value - reach, high=value + reach)
