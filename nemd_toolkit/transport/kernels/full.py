"""The network simplex over all n·m edges at once, for pairs whose optimal edges are hard to guess.

Where column generation finds many missed edges (fine structure far below the costs' spread), all
costs are computed in float64 and each row's worst edge enters in turn, from the tree reached so
far. Lists of edges hold the tree's own only; the slot of an edge that leaves is used again.
"""

import math
from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel, loose_kernel
from nemd_toolkit.transport.kernels.low_costs import squared_norms
from nemd_toolkit.transport.kernels.plan import STRIPE, count_below, distance
from nemd_toolkit.transport.kernels.tree import pivot

__all__ = ["all_costs", "run_full_simplex", "tree_edges"]

_NEAR = 1e-5  # squared distances below this part of the squared norms are computed anew


@loose_kernel
@no_type_check
def all_costs(x, y, near_x, near_y):
    """All distances between x (n, d) and y (m, d) in float64; near_x, near_y: moved near 0."""
    n, m = len(x), len(y)
    xx, yy = squared_norms(near_x), squared_norms(near_y)
    costs = np.dot(near_x, near_y.T)
    for i in range(n):
        row = costs[i]
        least = 2.0
        for j in range(m):
            squares = xx[i] + yy[j]
            squared = max(squares - 2.0 * row[j], 0.0)
            least = min(least, squared - _NEAR * squares)
            row[j] = math.sqrt(squared)
        if least <= 0.0:
            for j in range(m):
                if row[j] * row[j] <= 2.0 * _NEAR * (xx[i] + yy[j]):
                    row[j] = distance(x, y, i, j)
    return costs


@kernel
@no_type_check
def tree_edges(tree, rows, columns, cost, flow):
    """Give lists (rows, columns, cost, flow, held) of the tree's edges only, numbered anew."""
    room = len(tree.parent)
    own_rows, own_columns = np.empty(room, np.int32), np.empty(room, np.int32)
    own_cost, own_flow = np.empty(room), np.zeros(room, np.int64)
    held = 0
    for v in range(room):
        e = tree.edge[v]
        if e >= 0:
            own_rows[held], own_columns[held] = rows[e], columns[e]
            own_cost[held], own_flow[held] = cost[e], flow[e]
            tree.edge[v] = held
            held += 1
    return own_rows, own_columns, own_cost, own_flow, held


@kernel
@no_type_check
def _worst_of_row(row, g, limit):
    """Column of the least row_j − g_j below limit, or −1."""
    column, m = -1, len(row)
    for start in range(0, m, STRIPE):
        stop = min(start + STRIPE, m)
        if count_below(row, g, start, stop, limit) > 0:
            for j in range(start, stop):
                if row[j] - g[j] < limit:
                    column, limit = j, row[j] - g[j]
    return column


@kernel
@no_type_check
def run_full_simplex(
    tree, costs, x, y, rows, columns, cost, flow, held, potential, tolerance, limit
):
    """Pivot until no edge's reduced cost is below −tolerance, or `limit` pivots; give their number.

    rows, columns, cost, flow: lists of the tree's edges, in the first `held` of n + m + 1 slots;
    afterwards in any of them, those not in use without flow.
    """
    n, m = costs.shape
    g = potential[n : n + m]
    free = np.arange(held, len(rows)).astype(np.int32)
    top, pivots, idle, i = len(free), 0, 0, 0
    while idle < n and pivots < limit:
        column = _worst_of_row(costs[i], g, potential[i] - tolerance)
        idle += 1
        if column >= 0:
            idle = 0
            top -= 1
            e = free[top]
            rows[e], columns[e], cost[e], flow[e] = i, column, distance(x, y, i, column), 0
            left = pivot(tree, n, rows, columns, cost, flow, potential, e)
            pivots += 1
            if left >= 0:
                free[top] = left
                top += 1
        i = 0 if i + 1 == n else i + 1
    return pivots
