"""Learned positions of a ViT's tokens, on the grid of trained images or on another one.

Every family of models has its own way to another grid, and they differ by some per cent.
"""

from math import isqrt
from typing import Literal

import torch.nn.functional as F
from torch import Tensor

from nemd_toolkit.errors import InputError

__all__ = ["Positions", "placed"]

Positions = Literal["dino", "timm", "transformers"]  # whose way it is
_SHIFT = 0.1  # patches, by which DINO enlarges the grid against rounding


def placed(
    table: Tensor, grid: tuple[int, int], *, tokens: int, registers: int, way: Positions
) -> tuple[Tensor | None, Tensor]:
    """Positions of the first tokens, where they have some, and of the patches on this grid.

    `table` (1, n, d) is for a square grid behind none, one or all of the `tokens` (class and
    registers). Bicubic: DINO and DINOv2 scale by a grid that is a little too large, timm smooths,
    transformers does neither; DINOv2 with registers smooths in its own code and in transformers.
    Raises InputError for a table of no square grid.

    >>> import torch
    >>> first, patches = placed(torch.ones(1, 5, 3), (4, 4), tokens=1, registers=0, way="timm")
    >>> tuple(first.shape), tuple(patches.shape)
    ((1, 1, 3), (1, 16, 3))
    """
    count = int(table.shape[1])
    with_place = (tokens, 1, 0) if tokens else (0,)
    places = next((n for n in with_place if isqrt(max(count - n, 0)) ** 2 == count - n), None)
    if places is None or count == places:
        raise InputError(
            f"ViT: expected positions on a square grid, got {count}; this variant is not known"
        )
    side = isqrt(count - places)
    first = table[:, :places] if places else None
    patches = table[:, places:]
    if (side, side) == grid:
        return first, patches
    square = patches.unflatten(1, (side, side)).permute(0, 3, 1, 2)
    smooth = way == "timm" or registers > 0
    if way == "dino" and not smooth:
        factors = [(length + _SHIFT) / side for length in grid]
        scaled = F.interpolate(square, scale_factor=factors, mode="bicubic")
    else:
        scaled = F.interpolate(square, size=grid, mode="bicubic", antialias=smooth)
    return first, scaled.flatten(2).transpose(1, 2)
