"""How many directions repeat an earlier one, at several distances, a block of rows at a time."""

import numpy as np
from jaxtyping import Bool, Float, Int

__all__ = ["EPSILONS", "NEAR", "DuplicateCurve"]

EPSILONS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1)  # cosine distances at which duplicates count
_ROUNDING = 1e-9  # far above that of cosines in float64
NEAR = 1 - EPSILONS[-1] - _ROUNDING  # cosine below which two directions are no duplicates at all


class DuplicateCurve:
    """Greedy, in order: a direction is kept if its cosine distance to all kept ones exceeds ε.

    After Govindarajan et al. 2024, from memory; one ε says little, so there are several.

    >>> curve = DuplicateCurve(3)
    >>> curve.add(np.array([[1.0], [0.999]])), curve.add(np.array([[1.0, 0.999, 1.0]]))
    (None, None)
    >>> curve.shares()[:2]
    ((0.001, 0.3333), (0.005, 0.6667))
    """

    def __init__(self, count: int) -> None:
        self._kept: Bool[np.ndarray, "e u"] = np.zeros((len(EPSILONS), count), dtype=np.bool_)
        self._done = 0

    def add(self, cosines: Float[np.ndarray, "b _"]) -> None:
        """Decide on the next rows, given their cosines with all rows before them at least.

        Later columns, those of the rows themselves and what stands there, do not count.
        """
        start, stop = self._done, self._done + len(cosines)
        cosines = cosines[:, :stop]
        near = cosines >= NEAR
        near[:, start:] = np.tril(near[:, start:], -1)  # earlier rows of the block itself
        rows = np.flatnonzero(near.any(axis=1))  # few, so what follows is quick
        self.decide(len(cosines), rows, cosines[rows])

    def decide(
        self, count: int, rows: Int[np.ndarray, " r"], cosines: Float[np.ndarray, "r stop"]
    ) -> None:
        """As `add` for the next `count` rows, given only those that have an earlier one near."""
        start, stop = self._done, self._done + count
        self._kept[:, start:stop] = True
        self._done = stop
        if len(rows) == 0:
            return
        distances = 1 - cosines
        for epsilon, kept in zip(EPSILONS, self._kept, strict=True):
            close = distances <= epsilon
            before = (close[:, :start] & kept[:start]).any(axis=1)
            for row, repeats, others in zip(rows, before, close[:, start:], strict=True):
                inside = others[:row] & kept[start : start + row]
                kept[start + row] = not (repeats or inside.any())

    def shares(self) -> tuple[tuple[float, float], ...]:
        """Give each ε with the share of all directions that repeat an earlier one, in [0, 1)."""
        shares = 1 - self._kept.sum(1) / self._kept.shape[1]
        return tuple(zip(EPSILONS, shares.tolist(), strict=True))
