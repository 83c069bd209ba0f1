"""Sums that no order changes: numbers rounded to a grid so coarse that sums of them are exact."""

import math
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

__all__ = ["Grid"]

_BITS = 51  # of float64's 53: one for the sign, one so that rounding by addition is exact
_LEAST, _MOST = -900, 900  # powers of two that float64 holds with all their bits, and to spare


@dataclass(frozen=True, slots=True)
class Grid:
    """Multiples of a power of two. Of unit rows it is 2^−35 for 65,536 of them."""

    spacing: float

    @classmethod
    def of(cls, count: int, largest: float) -> "Grid":
        """Give the finest on which a sum of `count` numbers of this magnitude is exact.

        >>> Grid.of(1 << 20, 1.0).spacing == 2**-31
        True
        """
        bits = math.ceil(math.log2(max(count, 1) * largest)) if largest > 0 else _LEAST
        return cls(2.0 ** (min(max(bits, _LEAST), _MOST) - _BITS))

    def rounded(self, x: Float[Tensor, "n d"], out: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
        """Round to the nearest multiples, into `out` of float64.

        >>> import torch
        >>> Grid(0.25).rounded(torch.tensor([[0.3, -1.01]]), torch.empty(1, 2, dtype=torch.float64))
        tensor([[ 0.2500, -1.0000]], dtype=torch.float64)
        """
        shift = 1.5 * 2.0 ** (_BITS + 1) * self.spacing  # beside it float64 has this spacing
        return out.copy_(x).add_(shift).sub_(shift)
