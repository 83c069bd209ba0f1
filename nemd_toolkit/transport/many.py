"""Wasserstein-1 for many pairs of clouds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from numpy.typing import ArrayLike
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.progress import bar
from nemd_toolkit.sphere import chord
from nemd_toolkit.transport.exact import as_cloud, solve

__all__ = ["Pairs", "pairwise_wasserstein1"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Costs of pairs of clouds, and the intervals that certainly hold them."""

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


def pairwise_wasserstein1(
    clouds: Sequence[ArrayLike | Tensor],
    pairs: ArrayLike | None = None,
    rtol: float = 0.0,
) -> Pairs:
    """Wasserstein-1 between clouds (each (n_i, d)), for all unordered pairs or those in `pairs`.

    `rtol` is the relative width that a caller would put up with; 0 asks for exact costs. All costs
    are exact at present, which satisfies every `rtol`. Memory: one cost matrix at a time.

    Raises InputError for an unusable cloud or pair, NotOptimal naming the pair.

    >>> points = [[[1.0, 0.0]], [[-1.0, 0.0]], [[0.0, 1.0], [0.0, -1.0]]]
    >>> pairwise_wasserstein1(points).cost
    array([2. , 1.41421356, 1.41421356])
    """
    if not rtol >= 0:
        raise InputError(f"rtol: expected a number ≥ 0, got {rtol}; 0 asks for exact costs")
    tensors = [as_cloud(cloud, f"cloud {i}") for i, cloud in enumerate(clouds)]
    if len({cloud.shape[1] for cloud in tensors}) > 1:
        raise InputError(
            "clouds: expected points of one dimension, got "
            f"{sorted({cloud.shape[1] for cloud in tensors})}; embed all with the same layer"
        )
    index = _pair_index(pairs, len(tensors))
    cost = np.empty(len(index))
    with bar("transport", len(index)) as advance:
        for place, (p, q) in enumerate(index.tolist()):
            cost[place] = solve(chord(tensors[p], tensors[q]), f"clouds {p} and {q}")
            advance(1)
    return Pairs(pairs=index, cost=cost, lower=cost, upper=cost)


def _pair_index(pairs: ArrayLike | None, count: int) -> Int[np.ndarray, "p 2"]:
    if pairs is None:
        return np.stack(np.triu_indices(count, 1), axis=1)
    index = np.asarray(pairs)
    if index.size == 0:
        index = index.astype(np.int64).reshape(0, 2)
    inside = index.ndim == 2 and index.shape[1] == 2 and index.dtype.kind in "iu"
    if not inside or (index.size and not (index.min() >= 0 and index.max() < count)):
        raise InputError(
            f"pairs: expected a (p, 2) array of integers in 0…{count - 1}, got shape {index.shape} "
            f"of {index.dtype}; number the clouds from 0"
        )
    return index
