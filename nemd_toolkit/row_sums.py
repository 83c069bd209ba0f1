"""One pass over all rows, in blocks that processes share, for a sum that is the same for any."""

from collections.abc import Callable, Sequence

from jaxtyping import Float, Float64
from torch import Tensor

from nemd_toolkit import ranks
from nemd_toolkit.scratch import block_rows, release

__all__ = ["sum_over_rows"]


def sum_over_rows(
    points: Float[Tensor, "n d"],
    shape: Sequence[int],
    add: Callable[[Tensor, Tensor, slice], None],
) -> Float64[Tensor, "..."]:
    """Sum terms of rows: `add` is given a sum of this shape, a block of rows, and their places.

    It adds the block's terms in place. In float64, on the device of the rows; see `ranks.summed`.

    >>> import torch
    >>> sum_over_rows(torch.eye(3), (3,), lambda total, block, _: total.add_(block.sum(0)))
    tensor([1., 1., 1.], dtype=torch.float64)
    """

    def add_block(total: Tensor, rows: slice) -> None:
        block = points[rows]
        add(total, block, rows)
        release(block)

    return ranks.summed(len(points), block_rows(points.shape[1]), shape, add_block, points.device)
