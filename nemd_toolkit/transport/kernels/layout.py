"""Clouds copied and moved near the origin, in one pass each and without temporary arrays."""

from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel, loose_kernel

__all__ = ["add_up", "move"]


@kernel
@no_type_check
def add_up(points, total):
    """Add the rows of points (n, d) to total (d,)."""
    n, d = points.shape
    for i in range(n):
        for k in range(d):
            total[k] += points[i, k]


@loose_kernel
@no_type_check
def move(points, centre, near, squares):
    """Set near (n, d) float32 to points (n, d) − centre (d,), squares (n,) to its squared norms."""
    n, d = points.shape
    for i in range(n):
        total = 0.0
        for k in range(d):
            moved = np.float32(points[i, k] - centre[k])
            near[i, k] = moved
            total += np.float64(moved) * np.float64(moved)
        squares[i] = np.float32(total)
