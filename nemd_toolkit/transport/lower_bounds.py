"""Lower bounds of W1 between some clouds and many others, from centroids or from all points."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64
from numpy.typing import ArrayLike
from torch import Tensor

from nemd_toolkit.transport.clouds import as_cloud
from nemd_toolkit.transport.kernels.quick import TILE, quick_bounds
from nemd_toolkit.transport.moments import Moments
from nemd_toolkit.transport.workers import in_threads

__all__ = ["Frame", "Near", "centroid_bounds", "quick_lower_bounds", "squared_distances"]

_UNIT = 2.0**-53
_ROWS = 8  # row clouds that a thread takes at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """Where float32 copies of points live: near the origin, no longer than 1."""

    origin: Float64[np.ndarray, " d"]
    exponent: int
    slack: Float64[np.ndarray, " k"]  # rounding of each cloud's mean

    @classmethod
    def of(cls, moments: Moments, first: Float64[np.ndarray, "n d"]) -> "Frame":
        """Frame whose origin is the moments', found again from the first cloud."""
        origin = first.mean(axis=0) - moments.means[0]
        length = np.linalg.norm(moments.means, axis=1)
        longest = (length + np.sqrt(moments.sizes) * moments.spreads).max()
        summed = moments.sizes + first.shape[1] + 8
        slack = summed * _UNIT * (np.linalg.norm(origin) + length + moments.spreads)
        return cls(origin=origin, exponent=math.frexp(float(longest))[1], slack=slack)


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """Clouds in a frame, one after the other; cloud k is rows starts[k]:starts[k+1]."""

    points: Float32[np.ndarray, "N d"]
    squares: Float32[np.ndarray, " N"]
    starts: Int64[np.ndarray, " c"]

    @classmethod
    def read(
        cls,
        clouds: Sequence[ArrayLike | Tensor],
        which: Int64[np.ndarray, " k"],
        frame: Frame,
    ) -> "Near":
        """Read the clouds `which`."""
        read = [as_cloud(clouds[k], f"cloud {k}").numpy() for k in which.tolist()]
        starts = np.cumsum([0, *(len(points) for points in read)], dtype=np.int64)
        points = np.concatenate(read)
        points -= frame.origin
        np.ldexp(points, -frame.exponent, out=points)
        squares = np.einsum("nd,nd->n", points, points).astype(np.float32)
        return cls(points=points.astype(np.float32), squares=squares, starts=starts)

    @property
    def largest(self) -> int:
        """Points of the largest cloud."""
        return int(np.diff(self.starts).max())


def squared_distances(
    means: Float64[np.ndarray, "k d"], queries: Int64[np.ndarray, " q"]
) -> Float64[np.ndarray, "q k"]:
    """Squared distances between the means of queries and all means."""
    squares = np.square(means).sum(axis=1)
    squared: Float64[np.ndarray, "q k"] = means[queries] @ means.T  # (q, d) @ (d, k)
    squared *= -2
    squared += squares
    squared += squares[queries, None]
    np.maximum(squared, 0, out=squared)
    return squared


def centroid_bounds(
    squared: Float64[np.ndarray, "q k"],
    moments: Moments,
    queries: Int64[np.ndarray, " q"],
    frame: Frame,
) -> Float64[np.ndarray, "q k"]:
    """Distances between means less their rounding: W1 ≥ |m_p − m_q|.

    Rounding of a product: (d + 8)·unit·(|x|² + |y|²) (Higham 2002, §3.1).
    """
    means = moments.means
    lost = (means.shape[1] + 8) * 2 * _UNIT * np.square(means).sum(axis=1)
    bounds: Float64[np.ndarray, "q k"] = squared - lost
    bounds -= lost[queries, None]
    np.sqrt(np.maximum(bounds, 0, out=bounds), out=bounds)
    bounds -= frame.slack
    bounds -= frame.slack[queries, None]
    np.maximum(bounds, 0, out=bounds)
    return bounds


def quick_lower_bounds(
    rows: Near, columns: Near, wanted: Bool[np.ndarray, "r c"], frame: Frame
) -> Float64[np.ndarray, "r c"]:
    """Bounds from all points of the wanted pairs of clouds, 0 elsewhere; on torch's threads.

    Each thread holds some 8 bytes times the largest n·m.
    """
    lower, stop = np.zeros(wanted.shape), np.zeros(1, np.int64)
    right = (columns.points, columns.squares, columns.starts)

    def solver() -> Callable[[slice], None]:
        scratch = np.empty(rows.largest * max(columns.largest, TILE), np.float32)

        def solve(block: slice) -> None:
            left = (rows.points, rows.squares, rows.starts[block.start : block.stop + 1])
            quick_bounds(*left, *right, wanted[block], scratch, lower[block], stop)

        return solve

    in_threads(
        [slice(r, r + _ROWS) for r in range(0, len(wanted), _ROWS)],
        solver,
        stop=lambda: stop.fill(1),
        pair=lambda block: f"a quick bound (rows {block.start}…)",
        advance=lambda _: None,
    )
    return np.ldexp(lower, frame.exponent)
