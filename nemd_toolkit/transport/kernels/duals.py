"""Near-optimal dual potentials from a few entropic (Sinkhorn) passes, made feasible.

The dual of W1 is  max mean(f) + mean(g)  over  f_i + g_j ≤ c_ij;  any feasible pair is a lower
bound. Sinkhorn scaling (Cuturi 2013) in float32 with a falling regularisation comes close, and two
c-transforms, g_j = min_i(c_ij − f_i) and f_i = min_j(c_ij − g_j), make the pair feasible whatever
was lost in rounding before. Each pass reads the matrix once: a row is used for the row's scaling
and at once for the columns' sums.
"""

import math
from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel, loose_kernel

__all__ = ["column_minima", "entropic_duals", "row_minima"]

_LANES = 32
_APART = 256
_HUGE = np.float32(3e38)
_TINY = np.float32(1e-30)


@loose_kernel
@no_type_check
def _exp(x):
    """e^x in float32, x in [−87, 87], to 3e-7 + 1.2e-7·|x| of itself; unlike math's, vectorises."""
    t = max(x, np.float32(-87.0)) * np.float32(1.4426950408889634)
    whole = math.floor(t)
    r = t - np.float32(whole)  # 2^r on [0, 1): minimax polynomial of degree 5
    p = np.float32(0.0018775767)
    p = p * r + np.float32(0.0089893397)
    p = p * r + np.float32(0.055826318)
    p = p * r + np.float32(0.24015361)
    p = p * r + np.float32(0.69315308)
    p = p * r + np.float32(0.99999994)
    bits = (np.int32(whole) + np.int32(127)) << np.int32(23)
    return p * np.int32(bits).view(np.float32)


@loose_kernel
@no_type_check
def column_minima(costs, f, g):
    """Set g_j = min_i(costs_ij − f_i)."""
    n, m = costs.shape
    g[:] = _HUGE
    for i in range(n):
        for j in range(m):
            g[j] = min(g[j], costs[i, j] - f[i])


@loose_kernel
@no_type_check
def row_minima(costs, g, f):
    """Set f_i = min_j(costs_ij − g_j); in lanes, because a plain minimum does not vectorise."""
    n, m = costs.shape
    lanes = np.empty(_LANES, np.float32)
    for i in range(n):
        row = costs[i]
        lanes[:] = _HUGE
        start = 0
        while start + _LANES <= m:
            for k in range(_LANES):
                lanes[k] = min(lanes[k], row[start + k] - g[start + k])
            start += _LANES
        least = _HUGE
        for j in range(start, m):
            least = min(least, row[j] - g[j])
        for k in range(_LANES):
            least = min(least, lanes[k])
        f[i] = least


@loose_kernel
@no_type_check
def _gibbs(costs, f, g, inverse, gibbs):
    n, m = costs.shape
    for i in range(n):
        for j in range(m):
            gibbs[i, j] = _exp(min((f[i] + g[j] - costs[i, j]) * inverse, np.float32(60.0)))


@loose_kernel
@no_type_check
def _passes(gibbs, u, v, sums, count):
    """Scale rows and columns of the kernel towards uniform marginals, `count` times."""
    n, m = gibbs.shape
    a, b = np.float32(1.0 / n), np.float32(1.0 / m)
    for _ in range(count):
        sums[:] = np.float32(0)
        for i in range(n):
            total = np.float32(0)
            for j in range(m):
                total += gibbs[i, j] * v[j]
            scale = a / max(total, _TINY)
            u[i] = scale
            for j in range(m):
                sums[j] += scale * gibbs[i, j]
        for j in range(m):
            v[j] = b / max(sums[j], _TINY)


@kernel
@no_type_check
def entropic_duals(costs, gibbs, first, last, passes, last_passes, f, g):
    """Fill f (n,), g (m,) float32, feasible up to rounding; gibbs (n, m) float32 is scratch.

    first, last: regularisation, in units of cost, halved from one to the other.
    """
    n, m = costs.shape
    # Far apart: where two meet in memory, compiled code falls back on a loop that rounds otherwise
    space = np.empty(n + 2 * m + 4 * _APART, np.float32)
    u = space[_APART : _APART + n]
    v = space[2 * _APART + n : 2 * _APART + n + m]
    sums = space[3 * _APART + n + m : 3 * _APART + n + 2 * m]
    f[:] = np.float32(0)
    column_minima(costs, f, g)
    eps = first
    while True:
        final = eps <= last * 1.001
        _gibbs(costs, f, g, np.float32(1.0 / eps), gibbs)
        v[:] = np.float32(1.0 / m)
        _passes(gibbs, u, v, sums, last_passes if final else passes)
        for i in range(n):
            f[i] += np.float32(eps * math.log(u[i] * n))
        for j in range(m):
            g[j] += np.float32(eps * math.log(v[j] * m))
        if final:
            break
        eps = max(eps * 0.5, last)
    column_minima(costs, f, g)
    row_minima(costs, g, f)
