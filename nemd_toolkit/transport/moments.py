"""What little each cloud must tell so that all pairs can be predicted in one pass.

A cloud's mean m, root mean squared distance to it s, and size n give, for every pair at once,
    product distance   √(|m_p − m_q|² + s_p² + s_q²),   the root mean squared distance of x and y
    Gelbrich distance  √(|m_p − m_q|² + (s_p − s_q)²),  W2 of two isotropic Gaussian clouds
beside s_p + s_q and s_p/√n_p + s_q/√n_q (a cloud's sampling error). All are lengths; no K × K
matrix is held. Source of the second: Gelbrich 1990, Mathematische Nachrichten 147.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
import torch
from jaxtyping import Float64, Int, Int64
from numpy.typing import ArrayLike
from scipy.sparse import csr_array
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.progress import bar
from nemd_toolkit.sphere import require_finite
from nemd_toolkit.transport.clouds import as_cloud

__all__ = ["MemberClouds", "Moments", "Predictions", "cloud_moments", "predict_all_pairs"]

_ROWS = 2**16  # of points read at a time: 64 MB of float64 at d = 128
_TILE = (512, 2048)  # pairs predicted at a time, 8 MB of float64: fastest of those tried


class MemberClouds(Sequence[np.ndarray]):
    """Clouds as rows of one array: cloud k holds the rows of the k-th prototype that has members.

    points (n, d) may be memory-mapped: a cloud is read when it is asked for. `prototypes` numbers
    the clouds as `assignment` (n,) does; prototypes without members are left out, as everywhere.

    Raises InputError for an assignment that does not fit.

    >>> clouds = MemberClouds(np.eye(4), np.array([7, 2, 7, 2]))
    >>> clouds.prototypes
    array([2, 7])
    >>> clouds[1]
    array([[1., 0., 0., 0.], [0., 0., 1., 0.]])
    """

    def __init__(self, points: np.ndarray, assignment: ArrayLike) -> None:
        assigned = np.asarray(assignment)
        fits = assigned.shape == points.shape[:1] and assigned.dtype.kind in "iu"
        if points.ndim != 2 or 0 in points.shape or not fits or assigned.min() < 0:
            raise InputError(
                f"assignment: expected one number ≥ 0 for each row of an (n, d) array, got shape "
                f"{assigned.shape} of {assigned.dtype} for points of shape {points.shape}; give "
                "each row the number of its prototype"
            )
        self.points = points
        self.prototypes, self.places, self.sizes = np.unique(
            assigned, return_inverse=True, return_counts=True
        )
        self._order = np.argsort(self.places, kind="stable")  # a cloud's rows in the file's order
        self._starts = np.concatenate([[0], np.cumsum(self.sizes)])

    def __len__(self) -> int:
        return len(self.prototypes)

    @overload
    def __getitem__(self, index: int) -> np.ndarray: ...
    @overload
    def __getitem__(self, index: slice) -> list[np.ndarray]: ...
    def __getitem__(self, index: int | slice) -> np.ndarray | list[np.ndarray]:
        """Rows of one cloud, (n_k, d), or those of several."""
        if isinstance(index, slice):
            return [self[k] for k in range(len(self))[index]]
        k = range(len(self))[index]
        return np.asarray(self.points[self._order[self._starts[k] : self._starts[k + 1]]])


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of each cloud: its mean less a common origin, its spread s, its number of points."""

    means: Float64[np.ndarray, "k d"]
    spreads: Float64[np.ndarray, " k"]
    sizes: Int64[np.ndarray, " k"]

    @property
    def pairs(self) -> int:
        """How many unordered pairs of clouds there are."""
        return len(self.sizes) * (len(self.sizes) - 1) // 2

    @property
    def largest(self) -> float:
        """No cost of a pair is above this: W1 ≤ product distance ≤ the two largest reaches."""
        reach = np.sqrt(np.square(self.means).sum(axis=1) + np.square(self.spreads))
        return float(2 * reach.max())

    @property
    def additive(self) -> Float64[np.ndarray, "k 2"]:
        """What a cloud adds to a pair's features whatever its partner: s, and s/√n."""
        return np.stack([self.spreads, self.spreads / np.sqrt(self.sizes)], axis=1)

    def features(self, pairs: Int[np.ndarray, "p 2"]) -> Float64[np.ndarray, "p 4"]:
        """Product distance, Gelbrich distance, sum of s, sum of s/√n, of some pairs."""
        left, right = pairs.T
        squared = np.square(self.means[left] - self.means[right]).sum(axis=1)
        a, b = self.spreads[left], self.spreads[right]
        distances = np.sqrt([squared + a * a + b * b, squared + np.square(a - b)])
        return np.concatenate([distances.T, self.additive[left] + self.additive[right]], axis=1)


def cloud_moments(clouds: Sequence[ArrayLike | Tensor]) -> Moments:
    """Moments of every cloud, (n_i, d) each, in one pass over the points; float64.

    Memory: blocks of 2^16 rows for `MemberClouds`, else one cloud at a time, and K·d numbers.
    Raises InputError for fewer than two clouds and for an unusable one.

    >>> cloud_moments([[[0.0, 0.0], [2.0, 0.0]], [[5.0, 0.0]]]).spreads
    array([1., 0.])
    """
    if len(clouds) < 2:
        raise InputError(f"clouds: expected at least two, got {len(clouds)}; a pair needs two")
    with np.errstate(over="ignore"):
        if isinstance(clouds, MemberClouds):
            means, spreads, sizes = *_member_moments(clouds), clouds.sizes
        else:
            means, spreads, sizes = _separate_moments(clouds)
        largest = np.square(means).sum(axis=1) + np.square(spreads)
    if not np.isfinite(largest).all():
        raise InputError(
            f"cloud {int(np.argmin(np.isfinite(largest)))}: expected numbers whose squares are "
            "finite, got larger ones; rescale"
        )
    return Moments(means=means - means.mean(axis=0), spreads=spreads, sizes=sizes)


def _separate_moments(
    clouds: Sequence[ArrayLike | Tensor],
) -> tuple[Float64[np.ndarray, "k d"], Float64[np.ndarray, " k"], Int64[np.ndarray, " k"]]:
    means, spreads, sizes = [], [], []
    with bar("moments", len(clouds)) as advance:
        for k, points in enumerate(clouds):
            cloud = as_cloud(points, f"cloud {k}").numpy()
            means.append(cloud.mean(axis=0))
            if len(means[k]) != len(means[0]):
                raise InputError(
                    f"clouds: expected points of one dimension, got {len(means[0])} and "
                    f"{len(means[k])}; embed all with the same layer"
                )
            spreads.append(np.sqrt(np.square(cloud - means[k]).sum(axis=1).mean()))
            sizes.append(len(cloud))
            advance(1)
    return np.array(means), np.array(spreads), np.array(sizes)


def _member_moments(
    clouds: MemberClouds,
) -> tuple[Float64[np.ndarray, "k d"], Float64[np.ndarray, " k"]]:
    """Means less the first row, and spreads, reading the points once in the file's order."""
    points, count = clouds.points, len(clouds)
    origin = points[0].astype(np.float64)  # near the rest: squares then lose fewer digits
    sums, squares = np.zeros((count, points.shape[1])), np.zeros(count)
    with bar("moments", len(points)) as advance:
        for start in range(0, len(points), _ROWS):
            block = points[start : start + _ROWS].astype(np.float64)  # (b, d)
            require_finite(torch.from_numpy(block), name=f"points from row {start} on")
            block -= origin
            places = clouds.places[start : start + _ROWS]
            rows = np.arange(len(block))
            members = csr_array((np.ones(len(block)), (places, rows)), shape=(count, len(block)))
            sums += np.asarray(members @ block)
            squares += np.asarray(members @ np.square(block).sum(axis=1))
            advance(len(block))
    means = sums / clouds.sizes[:, None]
    spread = squares / clouds.sizes - np.square(means).sum(axis=1)
    return means, np.sqrt(np.maximum(spread, 0.0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """Of all unordered pairs: the mean of the predictions, and how many fall into each bin."""

    mean: float
    counts: Float64[np.ndarray, " b"]


def predict_all_pairs(
    moments: Moments,
    intercept: float,
    slopes: Float64[np.ndarray, " 4"],
    edges: Float64[np.ndarray, " e"],
) -> Predictions:
    """Predict intercept + slopes · features for every pair, in tiles of 8 MB.

    edges are equally spaced; what lies outside is counted in the outermost bin. Runs on torch's
    threads: some 10 ns a pair at d = 128 on two cores.

    >>> moments = cloud_moments([[[0.0]], [[1.0]], [[5.0]]])
    >>> predict_all_pairs(moments, 0.0, np.array([1.0, 0, 0, 0]), np.array([0, 3.0, 6.0]))
    Predictions(mean=3.33333333, counts=array([1., 2.]))
    """
    low, high, bins = float(edges[0]), float(edges[-1]), len(edges) - 1
    total, counts = 0.0, torch.zeros(bins, dtype=torch.float64)
    with bar("all pairs", moments.pairs) as advance:
        for tile in _tiles(moments, slopes):
            total += float(tile.sum())
            tile = tile.add_(intercept).clamp_(low, high)  # noqa: PLW2901 (in place)
            counts += torch.histc(tile, bins, low, high)
            advance(tile.numel())
    return Predictions(mean=intercept + total / moments.pairs, counts=counts.numpy())


def _tiles(moments: Moments, slopes: Float64[np.ndarray, " 4"]) -> Iterator[Float64[Tensor, "..."]]:
    """Give slopes · features of all pairs, each once, tile by tile."""
    spreads = torch.from_numpy(moments.spreads)
    alone = torch.from_numpy(moments.additive @ slopes[2:])
    height = spreads[:, None] - spreads.mean()
    spots = torch.cat([torch.from_numpy(moments.means), height], dim=1)
    squares, ones = spots.square().sum(1, keepdim=True), torch.ones(len(spots), 1).double()
    left = torch.cat([-2 * spots, squares, ones], dim=1)
    right = torch.cat(
        [spots, ones, squares], dim=1
    ).T.contiguous()  # left @ right: squared Gelbrich
    rows, columns = _TILE
    for start in range(0, len(spots), rows):
        a = slice(start, start + rows)
        for at in range(start, len(spots), columns):
            b = slice(at, at + columns)
            gelbrich = (left[a] @ right[:, b]).clamp_min_(0)
            product = torch.addr(gelbrich, spreads[a], spreads[b], alpha=2).sqrt_()
            tile = product.mul_(float(slopes[0])).add_(gelbrich.sqrt_(), alpha=float(slopes[1]))
            tile.add_(alone[a, None]).add_(alone[None, b])
            if at == start:  # on the diagonal a tile holds pairs twice, and clouds with themselves
                i, j = torch.triu_indices(len(tile), tile.shape[1], offset=1)
                tile = tile[i, j]
            yield tile
