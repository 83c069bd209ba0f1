"""What transport gives back: a cost, and the interval that certainly holds it."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

__all__ = ["Pairs", "Transport"]


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
