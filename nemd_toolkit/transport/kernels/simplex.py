"""A network simplex over a few likely edges, and the search for edges that it missed."""

import math
from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel
from nemd_toolkit.transport.kernels.plan import STRIPE, count_below, distance
from nemd_toolkit.transport.kernels.settings import LISTED, LOOKED_UP_A_NODE, MISSED_A_NODE, UNIT
from nemd_toolkit.transport.kernels.tree import pivot

__all__ = ["find_missed", "run_simplex"]


@kernel
@no_type_check
def run_simplex(tree, n, rows, columns, cost, flow, count, potential, tolerance, limit):
    """Pivot until no edge's reduced cost is below −tolerance, or `limit` pivots; give their number.

    Block search (Kovács 2015): the most negative edge of the next 2√count edges enters.
    """
    block = max(20, int(2 * math.sqrt(count)))
    at, pivots = 0, 0
    while pivots < limit:
        entering, least, seen = -1, -tolerance, 0
        while seen < count:
            for _ in range(min(block, count - seen)):
                reduced = cost[at] - potential[rows[at]] - potential[n + columns[at]]
                if reduced < least:
                    entering, least = at, reduced
                at += 1
                if at == count:
                    at = 0
            seen += block
            if entering >= 0:
                break
        if entering < 0:
            return pivots
        pivot(tree, n, rows, columns, cost, flow, potential, np.int64(entering))
        pivots += 1
    return pivots


@kernel
@no_type_check
def find_missed(
    costs, alpha, beta, x, y, potential, largest, tolerance, rows, columns, cost, count
):
    """Look at all n·m edges; append the worst of each stripe that is below −tolerance to the lists.

    The lower bounds (float32, at most `largest`; LISTED for edges in the lists) sort out
    nearly all; what comes within their rounding is computed from x and y in float64. Gives the new
    count, or −1 for too many.
    """
    n, m = costs.shape
    most = min(len(rows), count + int(MISSED_A_NODE * (n + m)))
    f, g = np.empty(n, np.float32), np.empty(m, np.float32)
    for i in range(n):
        f[i] = np.float32(potential[i] - alpha[i])
    for j in range(m):
        g[j] = np.float32(potential[n + j] - beta[j])
    margin = UNIT * (np.float32(largest) + np.abs(f).max() + np.abs(g).max())
    looked_up = 0
    for i in range(n):
        row, limit = costs[i], f[i] + margin
        for start in range(0, m, STRIPE):
            end = min(start + STRIPE, m)
            close = count_below(row, g, start, end, limit)
            if close == 0:
                continue
            looked_up += close
            if count == most or looked_up > LOOKED_UP_A_NODE * (n + m):
                return -1
            worst = -tolerance
            for j in range(start, end):
                if row[j] - g[j] < limit:
                    true = distance(x, y, i, j)
                    reduced = true - potential[i] - potential[n + j]
                    if reduced < worst:
                        rows[count], columns[count], cost[count] = i, j, true
                        worst = reduced
            if worst < -tolerance:
                row[columns[count]] = LISTED
                count += 1
    return count
