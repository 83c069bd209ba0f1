"""Quick lower bounds of W1: little more than the product of the points of two clouds.

Sinkhorn's potentials at infinite regularisation are the mean distances of each point. Two
c-transforms make them feasible and a bound some 0.2…0.4 % below W1 on von Mises–Fisher clouds; from
potentials of zero (relaxed transport, Kusner et al. 2015) it would be 2…3 %. Rounding is
subtracted, as in low_costs.
"""

import math
from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel, loose_kernel
from nemd_toolkit.transport.kernels.low_costs import UNIT_32
from nemd_toolkit.transport.kernels.settings import UNIT

__all__ = ["TILE", "quick_bounds"]

TILE = 512  # points of column clouds in one product: its result stays in the cache
_HUGE = np.float32(3e38)


@loose_kernel
@no_type_check
def _means_transformed(costs, keep, rounded, xx, yy, f):
    """Turn products (m, n) into lower bounds on distances; f_i = min_j(c_ji − mean_i(c_ji))."""
    m, n = costs.shape
    two, zero = np.float32(2), np.float32(0)
    f[:] = _HUGE
    for j in range(m):
        row, own = costs[j], yy[j]
        total = zero
        for i in range(n):
            c = max(math.sqrt(max((own + xx[i]) * keep - two * row[i], zero)) - rounded, zero)
            row[i] = c
            total += c
        mean = total / np.float32(n)
        for i in range(n):
            f[i] = min(f[i], row[i] - mean)


@loose_kernel
@no_type_check
def _transformed(costs, f, g):
    """Set g_j = min_i(c_ji − f_i): four minima a row, because one waits for itself."""
    m, n = costs.shape
    fours = n // 4 * 4
    for j in range(m):
        row = costs[j]
        a = b = c = d = _HUGE
        for i in range(0, fours, 4):
            a = min(a, row[i] - f[i])
            b = min(b, row[i + 1] - f[i + 1])
            c = min(c, row[i + 2] - f[i + 2])
            d = min(d, row[i + 3] - f[i + 3])
        for i in range(fours, n):
            a = min(a, row[i] - f[i])
        g[j] = min(a, b, c, d)


@kernel
@no_type_check
def _mean(values):
    total = 0.0  # float64: sums of float32 would lose more than `rounding` covers
    for k in range(len(values)):
        total += values[k]
    return total / len(values)


@kernel
@no_type_check
def _bound(costs, xx, yy, dim, f, g):
    largest = math.sqrt(xx.max()) + math.sqrt(yy.max())  # no distance is longer
    keep = np.float32(1 - (dim + 8) * UNIT_32)
    _means_transformed(costs, keep, np.float32(4 * UNIT_32 * largest), xx, yy, f)
    _transformed(costs, f, g)
    rounding = UNIT * (largest + np.abs(f).max())
    return max(_mean(f) + _mean(g) - rounding, 0.0)


@kernel
@no_type_check
def quick_bounds(x, xx, x_starts, y, yy, y_starts, wanted, scratch, lower, stop):
    """Fill lower[r, c] with a lower bound of W1 wherever wanted[r, c], until stop[0] is set.

    Row cloud r is rows x_starts[r]:x_starts[r+1] of x (N, d) float32 near the origin, xx (N,) the
    squared norms; column clouds alike in y, yy. scratch, float32, holds a largest row cloud times
    a largest column cloud or TILE points, whichever are more.
    """
    rows, columns = wanted.shape
    f, g = np.empty(len(scratch), np.float32), np.empty(len(scratch), np.float32)
    for r in range(rows):
        a, b = x_starts[r], x_starts[r + 1]
        c = 0
        while c < columns:
            if not wanted[r, c]:
                c += 1
                continue
            if stop[0] != 0:
                return
            first, s = c, y_starts[c]
            c += 1
            while c < columns and wanted[r, c] and y_starts[c + 1] - s <= TILE:
                c += 1
            e = y_starts[c]
            products = scratch[: (e - s) * (b - a)].reshape(e - s, b - a)
            np.dot(y[s:e], x[a:b].T, products)
            for k in range(first, c):
                u, v = y_starts[k], y_starts[k + 1]
                lower[r, k] = _bound(
                    products[u - s : v - s], xx[a:b], yy[u:v], x.shape[1], f[: b - a], g[: v - u]
                )
