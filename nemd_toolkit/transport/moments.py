"""What little each cloud must tell so that all pairs can be predicted in one pass.

A cloud's mean m, root mean squared distance to it s, and size n give, for every pair at once,
    product distance   √(|m_p − m_q|² + s_p² + s_q²),   the root mean squared distance of x and y
    Gelbrich distance  √(|m_p − m_q|² + (s_p − s_q)²),  W2 of two isotropic Gaussian clouds
beside s_p + s_q and s_p/√n_p + s_q/√n_q (a cloud's sampling error). All are lengths; no K × K
matrix is held. Source of the second: Gelbrich 1990, Mathematische Nachrichten 147.
"""

from collections.abc import Callable, Sequence
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
from nemd_toolkit.transport.kernels.predictions import predict_rows
from nemd_toolkit.transport.workers import in_threads

__all__ = ["MemberClouds", "Moments", "Predictions", "cloud_moments", "predict_all_pairs"]

_POINTS = 2**16  # read at a time: 64 MB of float64 at d = 128
_ROWS = 256  # clouds whose pairs a thread predicts at a time: fastest of those tried


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
        for start in range(0, len(points), _POINTS):
            block = points[start : start + _POINTS].astype(np.float64)  # (b, d)
            require_finite(torch.from_numpy(block), name=f"points from row {start} on")
            block -= origin
            places = clouds.places[start : start + _POINTS]
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
    counts: Int64[np.ndarray, " b"]


def predict_all_pairs(
    moments: Moments,
    intercept: float,
    slopes: Float64[np.ndarray, " 4"],
    edges: Float64[np.ndarray, " e"],
) -> Predictions:
    """Predict intercept + slopes · features for every pair, holding few at a time.

    edges are equally spaced; what lies outside is counted in the outermost bin. Works on torch's
    number of threads, with the same result on any; 12 ns a pair and thread at d = 128.

    >>> moments = cloud_moments([[[0.0]], [[1.0]], [[5.0]]])
    >>> predict_all_pairs(moments, 0.0, np.array([1.0, 0, 0, 0]), np.array([0, 3.0, 6.0]))
    Predictions(mean=3.33333333, counts=array([1, 2]))
    """
    spots = np.column_stack([moments.means, moments.spreads - moments.spreads.mean()])
    squares = np.square(spots).sum(axis=1)  # of spots: a pair's distance is Gelbrich's
    alone = moments.additive @ slopes[2:] + intercept / 2
    low, step = float(edges[0]), float(edges[1] - edges[0])
    blocks = [slice(i, min(i + _ROWS, len(spots))) for i in range(0, len(spots), _ROWS)]
    totals, counts = np.zeros(len(blocks)), []

    def solver() -> Callable[[slice], None]:
        own = np.zeros(len(edges) - 1, np.int64)
        counts.append(own)

        def predict(block: slice) -> None:
            totals[block.start // _ROWS] = predict_rows(
                spots, squares, moments.spreads, alone, slopes, block.start, block.stop, low, step,
                own,
            )  # fmt: skip

        return predict

    with bar("all pairs", len(spots)) as advance:
        in_threads(blocks, solver, stop=lambda: None, pair=_rows, advance=advance)
    return Predictions(mean=float(totals.sum()) / moments.pairs, counts=np.sum(counts, axis=0))


def _rows(block: slice) -> str:
    return f"clouds {block.start} to {block.stop - 1}"
