"""The unit sphere S^{d-1}: putting points on it, measuring chords, averaging directions."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nemd_toolkit.errors import InputError
from nemd_toolkit.row_sums import sum_over_rows
from nemd_toolkit.scratch import block_rows

__all__ = [
    "chord",
    "directions_of",
    "mean_direction",
    "mean_directions",
    "mean_row",
    "mean_rows",
    "not_finite",
    "require_finite",
    "resultant",
    "to_sphere",
    "unit_and_length",
    "without_direction",
]

# Squared chords below this, relative to the squared norms, lose digits in |x|^2 + |y|^2 - 2xy
# (error about 1e-16 of the norms); they are computed again from coordinate differences.
_NEAR = 1e-5
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
        raise not_finite(name, int(bad.sum()), len(points), int(bad.nonzero()[0]))


def not_finite(name: str, bad: int, count: int, first: int) -> InputError:
    """Say that so many of `count` rows hold NaN or infinity, and which is the first."""
    return InputError(
        f"{name}: expected finite numbers, got NaN or infinity in {bad} of "
        f"{count} rows (first: row {first}); remove those rows or mend the encoder"
    )


def without_direction(name: str, bad: int, count: int, first: int) -> InputError:
    """Say that so many of `count` rows have norm 0, and which is the first."""
    return InputError(
        f"{name}: expected rows with a direction, got {bad} of {count} "
        f"rows of norm 0 (first: row {first}); "
        "remove those rows or mend the encoder"
    )


def to_sphere(points: Float[Tensor, "n d"], *, name: str = "points") -> Float[Tensor, "n d"]:
    """Scale every row to unit length, keeping the dtype.

    Raises InputError for non-finite rows and for rows without a direction (norm 0).

    >>> to_sphere(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    require_finite(points, name=name)
    largest = points.abs().amax(dim=1)
    zero = largest == 0
    if bool(zero.any()):
        raise without_direction(name, int(zero.sum()), len(points), int(zero.nonzero()[0]))
    step = block_rows(points.shape[1])
    parts = zip(points.split(step), largest.split(step), strict=True)
    return torch.cat([unit_and_length(*part)[0] for part in parts])


def unit_and_length(
    points: Float[Tensor, "n d"], largest: Float[Tensor, " n"]
) -> tuple[Float[Tensor, "n d"], Float[Tensor, " n"]]:
    """Scale finite rows that are not 0 to unit length, and give their lengths in float64.

    largest: the greatest absolute coordinate of each.

    >>> unit_and_length(torch.tensor([[3.0, 4.0]]), torch.tensor([4.0]))
    (tensor([[0.6000, 0.8000]]), tensor([5.], dtype=torch.float64))
    """
    scale = largest.double()
    wide = points.double() / scale[:, None]  # so that no square overflows or vanishes
    lengths = wide.norm(dim=1)
    return (wide / lengths[:, None]).to(points.dtype), scale * lengths


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
    return min(1.0, float(mean_row(points).norm()))


def mean_row(points: Float[Tensor, "n d"]) -> Float[Tensor, " d"]:
    """Mean in float64; processes share the rows.

    >>> mean_row(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    tensor([0.5000, 0.5000], dtype=torch.float64)
    """

    def add(total: Tensor, block: Tensor, _: slice) -> None:
        total += block.double().sum(0)

    return sum_over_rows(points, points.shape[1:], add) / len(points)


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


def mean_directions(
    points: Float[Tensor, "n d"], of: Int[Tensor, " n"], count: int
) -> Float[Tensor, "k d"]:
    """`mean_direction` of the rows of each number in 0…count − 1, in one pass over all rows.

    Rows of the number −1 are left out; numbers without rows get zeros. Processes share the rows.

    >>> mean_directions(torch.eye(2), torch.tensor([1, -1]), 2)
    tensor([[0., 0.], [1., 0.]], dtype=torch.float64)
    """
    return directions_of(mean_rows(points, of, count), points, of)


def mean_rows(
    points: Float[Tensor, "n d"], of: Int[Tensor, " n"], count: int
) -> Float[Tensor, "k d"]:
    """Mean of the rows of each number, in float64, as `mean_directions` takes them."""

    def add(total: Tensor, block: Tensor, rows: slice) -> None:
        kept = (of[rows] >= 0).nonzero().squeeze(1)
        total.index_add_(0, of[rows][kept], block[kept].double())

    sums = sum_over_rows(points, (count, points.shape[1]), add)
    return sums / torch.bincount(of[of >= 0], minlength=count).clamp_min(1)[:, None]


def directions_of(
    means: Float[Tensor, "k d"], points: Float[Tensor, "n d"], of: Int[Tensor, " n"]
) -> Float[Tensor, "k d"]:
    """Directions of the means of the rows of each number, as `mean_directions` gives them."""
    sizes = torch.bincount(of[of >= 0], minlength=len(means))
    means, lengths = means.clone(), means.norm(dim=1)
    for number in ((lengths <= _ZERO_NORM) & (sizes > 0)).nonzero().squeeze(1).tolist():
        means[number] = points[int((of == number).nonzero()[0])].double()
        lengths[number] = means[number].norm()
    return means / torch.where(sizes > 0, lengths, 1.0)[:, None]
