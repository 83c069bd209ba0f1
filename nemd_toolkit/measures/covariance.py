"""Second moments of many rows."""

from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.row_sums import sum_over_rows

__all__ = ["covariance_around"]


def covariance_around(points: Float[Tensor, "n d"], centre: Float[Tensor, " d"]) -> Tensor:
    """Mean of (x − centre)(x − centre)ᵀ over rows, (d, d) in float64; processes share the rows.

    >>> import torch
    >>> covariance_around(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.zeros(2)).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """

    def add(total: Tensor, block: Tensor, _: slice) -> None:
        rows = block.double() - centre
        total.addmm_(rows.T, rows)

    n, d = points.shape
    return sum_over_rows(points, (d, d), add) / n
