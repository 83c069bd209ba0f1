"""What transport gives back: a cost, and the interval that certainly holds it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Pairs", "Transport", "pairs_by_rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Transport:
    """A transport cost and the interval that certainly holds it."""

    cost: float
    lower: float
    upper: float

    @property
    def exact(self) -> bool:
        """Whether the cost is the optimum up to float64 rounding."""
        return self.lower == self.upper


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Costs of pairs of clouds, and the intervals that certainly hold them.

    A cost that was not solved exactly is the middle of its interval.
    """

    pairs: Int[np.ndarray, "p 2"]
    cost: Float[np.ndarray, " p"]
    lower: Float[np.ndarray, " p"]
    upper: Float[np.ndarray, " p"]

    @property
    def exact(self) -> bool:
        """Whether every cost is the optimum up to float64 rounding."""
        return bool((self.lower == self.upper).all())

    @property
    def certified_width(self) -> float:
        """Mean width of the intervals; 0 when exact."""
        return float((self.upper - self.lower).mean()) if len(self.cost) else 0.0


def pairs_by_rank(ranks: Int[np.ndarray, " m"], count: int) -> Int[np.ndarray, "m 2"]:
    """Pairs i < j of 0…count − 1 by their places in rows' order, without listing all of them.

    >>> pairs_by_rank(np.array([0, 2, 5]), 4)
    array([[0, 1],
           [0, 3],
           [2, 3]])
    """
    starts = np.concatenate([[0], np.cumsum(np.arange(count - 1, 0, -1))])  # of each first cloud
    first = np.searchsorted(starts, ranks, side="right") - 1
    return np.stack([first, first + 1 + ranks - starts[first]], axis=1)
