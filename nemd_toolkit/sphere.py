"""The unit sphere S^{d-1}: putting points on it, measuring chords, averaging directions."""

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.errors import InputError

__all__ = ["chord", "mean_direction", "require_finite", "resultant", "to_sphere"]

# Squared chords below this, relative to the squared norms, lose digits in |x|^2 + |y|^2 - 2xy
# (error about 1e-16 of the norms); they are computed again from coordinate differences.
_NEAR = 1e-5
_ROWS = 65_536  # at a time in float64
_ZERO_NORM = 1e-12  # a mean of unit rows shorter than this is rounding, and no direction


def require_finite(points: Float[Tensor, "n d"], *, name: str = "points") -> None:
    """Raise InputError naming the first row that holds NaN or infinity.

    >>> require_finite(torch.tensor([[1.0, float("nan")]]), name="embeddings")
    Traceback (most recent call last):
    ...
    nemd_toolkit.errors.InputError: embeddings: expected finite numbers, got NaN or infinity in \
1 of 1 rows (first: row 0); remove those rows or mend the encoder
    """
    bad = ~torch.isfinite(points).all(dim=1)
    if bool(bad.any()):
        first = int(bad.nonzero()[0])
        raise InputError(
            f"{name}: expected finite numbers, got NaN or infinity in {int(bad.sum())} of "
            f"{len(points)} rows (first: row {first}); remove those rows or mend the encoder"
        )


def to_sphere(points: Float[Tensor, "n d"], *, name: str = "points") -> Float[Tensor, "n d"]:
    """Scale every row to unit length, keeping the dtype.

    Raises InputError for non-finite rows and for rows without a direction (norm 0).

    >>> to_sphere(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    require_finite(points, name=name)
    zero = points.abs().amax(dim=1) == 0
    if bool(zero.any()):
        raise InputError(
            f"{name}: expected rows with a direction, got {int(zero.sum())} of {len(points)} "
            f"rows of norm 0 (first: row {int(zero.nonzero()[0])}); "
            "remove those rows or mend the encoder"
        )
    return torch.cat([_unit(block) for block in points.split(_ROWS)])


def _unit(points: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    wide = points.double()
    wide = wide / wide.abs().amax(dim=1)[:, None]  # so that no square overflows or vanishes
    unit: Tensor = wide / wide.norm(dim=1, keepdim=True)
    return unit.to(points.dtype)


def chord(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Euclidean distances between rows, in float64; 0…2 for unit rows.

    Near-duplicates are computed from coordinate differences, so equal rows are at distance 0
    exactly and the relative error stays near 1e-11 everywhere.

    >>> chord(torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, 1.0], [0.0, -1.0]]))
    tensor([[0., 2.]], dtype=torch.float64)
    """
    x, y = x.double(), y.double()
    squares = x.square().sum(1)[:, None] + y.square().sum(1)[None, :]  # (n, m)
    squared = squares - 2.0 * (x @ y.T)
    rows, columns = (squared <= _NEAR * squares).nonzero(as_tuple=True)
    block = max(1, 4_000_000 // x.shape[1])  # at most 32 MB of differences at a time
    for start in range(0, len(rows), block):
        i, j = rows[start : start + block], columns[start : start + block]
        squared[i, j] = (x[i] - y[j]).square().sum(1)
    return squared.clamp_min(0.0).sqrt()


def resultant(points: Float[Tensor, "n d"]) -> float:
    """Length of the mean of unit rows, in [0, 1]: 1 when all are equal, about 1/√n when spread.

    >>> resultant(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    0.7071
    """
    return min(1.0, float(points.double().mean(0).norm()))


def mean_direction(points: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """Direction of the mean row, a unit vector in float64.

    Where the rows cancel (mean 0) no direction exists; the first row stands in, so that the
    answer is always on the sphere.

    >>> mean_direction(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor([0.7071, 0.7071], dtype=torch.float64)
    """
    mean = points.double().mean(0)
    length = mean.norm()
    if float(length) <= _ZERO_NORM:
        mean, length = points[0].double(), points[0].double().norm()
    direction: Tensor = mean / length
    return direction
