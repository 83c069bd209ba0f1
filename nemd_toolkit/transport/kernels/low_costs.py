"""Lower bounds on all distances of a pair of clouds, from one matrix product.

A distance is split as  c_ij ≥ alpha_i + beta_j + rest_ij,  rest_ij ≥ 0 in float32, so that clouds
which are tight beside their distance keep their digits. Wide clouds use a float32 product and
alpha = beta = 0, tight ones a float64 product. The rounding of the product, at most
(d + 8)·unit·(|x|² + |y|²) (Higham 2002, §3.1), is subtracted: the bound is rigorous.
"""

import math
from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel, loose_kernel

__all__ = ["centred", "squared_norms", "tight_costs", "wide_costs"]

UNIT_32 = 2.0**-24
UNIT_64 = 2.0**-53


@loose_kernel
@no_type_check
def wide_costs(x, y, xx, yy, rest):
    """Fill rest (n, m) float32 with lower bounds; give (largest, standard deviation, error).

    x (n, d), y (m, d) float32 near the origin; xx (n,), yy (m,) their squared norms, float32.
    """
    n, m = rest.shape
    np.dot(x, y.T, rest)
    unit = np.float32(UNIT_32)
    keep = np.float32(1) - np.float32(x.shape[1] + 8) * unit
    two, zero = np.float32(2), np.float32(0)
    largest = math.sqrt(xx.max()) + math.sqrt(yy.max())  # no distance is longer
    rounded = np.float32(4) * unit * largest
    usual = math.sqrt(max(xx[0] + yy[0] - two * rest[0, 0], zero))  # keeps the digits of the spread
    total, squares = 0.0, 0.0
    for i in range(n):
        row, xi = rest[i], xx[i]
        row_total, row_squares = zero, zero
        for j in range(m):
            c = math.sqrt(max((xi + yy[j]) * keep - two * row[j], zero))
            row[j] = max(c - rounded, zero)
            row_total += c - usual
            row_squares += (c - usual) * (c - usual)
        total += row_total
        squares += row_squares
    mean = total / (n * m)
    deviation = math.sqrt(max(squares / (n * m) - mean * mean, 0.0))
    mean += usual
    norms = float(xx.mean()) + float(yy.mean())
    error = (x.shape[1] + 8) * UNIT_32 * norms / max(2.0 * mean, 1e-30)
    return largest, deviation, error


@kernel
@no_type_check
def centred(x, y, space):
    """Give x (n, d), y (m, d) moved so that their mean point is 0: products keep the digits.

    space: at least (n + m)·d of float64, which holds them.
    """
    centre = np.zeros(x.shape[1])
    for i in range(len(x)):
        centre += x[i]
    for j in range(len(y)):
        centre += y[j]
    centre /= len(x) + len(y)
    n, m, d = len(x), len(y), x.shape[1]
    near_x, near_y = space[: n * d].reshape(n, d), space[n * d : (n + m) * d].reshape(m, d)
    for i in range(n):
        near_x[i] = x[i] - centre
    for j in range(m):
        near_y[j] = y[j] - centre
    return near_x, near_y


@loose_kernel
@no_type_check
def squared_norms(x):
    """Squared norms (n,) of the rows of x (n, d) float64."""
    squares = np.empty(len(x))
    for i in range(len(x)):
        squares[i] = np.sum(x[i] * x[i])
    return squares


@loose_kernel
@no_type_check
def tight_costs(x, y, alpha, beta, rest, full):
    """Do as wide_costs for x (n, d), y (m, d) float64, filling alpha (n,) and beta (m,) as well.

    full (n, m) float64 is scratch.
    """
    n, m = rest.shape
    xx, yy = squared_norms(x), squared_norms(y)
    np.dot(x, y.T, full)
    keep = 1.0 - (x.shape[1] + 8) * UNIT_64
    rounded = 4.0 * UNIT_64 * (math.sqrt(xx.max()) + math.sqrt(yy.max()))
    for i in range(n):
        row = full[i]
        for j in range(m):
            row[j] = max(math.sqrt(max((xx[i] + yy[j]) * keep - 2.0 * row[j], 0.0)) - rounded, 0.0)
        alpha[i] = row.min()
    beta[:] = full[0] - alpha[0]
    for i in range(1, n):
        for j in range(m):
            beta[j] = min(beta[j], full[i, j] - alpha[i])
    total, squares, largest = 0.0, 0.0, 0.0
    for i in range(n):
        for j in range(m):
            r = max(full[i, j] - alpha[i] - beta[j], 0.0)
            rest[i, j] = np.float32(r)
            total += r
            squares += r * r
            largest = max(largest, r)
    mean = total / (n * m)
    return largest, math.sqrt(max(squares / (n * m) - mean * mean, 0.0))
