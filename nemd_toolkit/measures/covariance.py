"""Second moments of many rows."""

import torch
from jaxtyping import Float
from torch import Tensor

from nemd_toolkit.scratch import blocks

__all__ = ["covariance_around"]


def covariance_around(points: Float[Tensor, "n d"], centre: Float[Tensor, " d"]) -> Tensor:
    """Mean of (x − centre)(x − centre)ᵀ over rows, (d, d) in float64; blocks bound the memory.

    >>> covariance_around(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), torch.zeros(2)).tolist()
    [[1.0, 0.0], [0.0, 0.0]]
    """
    n, d = points.shape
    covariance = torch.zeros(d, d, dtype=torch.float64)
    for block in blocks(points):
        rows = block.double() - centre
        covariance += rows.T @ rows / n
    return covariance
