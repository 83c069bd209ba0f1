"""Edges that an optimal plan is likely to use, and a feasible plan over them.

Flows are whole numbers: with g = gcd(n, m) every row supplies m/g and every column takes n/g, so
that feasibility is exact and a flow of zero is zero.
"""

from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel, loose_kernel

__all__ = [
    "STRIPE",
    "count_below",
    "distance",
    "edge_distances",
    "greedy_plan",
    "likely_edges",
    "plan_cost",
]

_BUCKETS = 256
STRIPE = 64  # columns looked at together: most stripes hold no edge and are skipped


@loose_kernel
@no_type_check
def distance(x, y, i, j):
    """Give |x_i − y_j| in float64, from coordinate differences: equal points are at 0 exactly."""
    total = 0.0
    for k in range(x.shape[1]):
        difference = x[i, k] - y[j, k]
        total += difference * difference
    return np.sqrt(total)


@kernel
@no_type_check
def edge_distances(x, y, rows, columns, start, stop, cost):
    """Set cost[start:stop] to the distances of those edges."""
    for e in range(start, stop):
        cost[e] = distance(x, y, rows[e], columns[e])


@loose_kernel
@no_type_check
def count_below(row, g, start, stop, limit):
    """How many j of start…stop−1 have row_j − g_j < limit."""
    count = 0
    for j in range(start, stop):
        count += np.int32(row[j] - g[j] < limit)
    return count


@kernel
@no_type_check
def likely_edges(costs, f, g, width, quota, rows, columns, slack):
    """Collect edges with reduced cost below width, at most `quota` a row, until the lists are full.

    A row starts at a column of its own, so that ties do not crowd into the first columns.
    """
    n, m = costs.shape
    found = 0
    for i in range(n):
        row, limit, taken = costs[i], f[i] + width, 0
        first = (i * m // n) // STRIPE * STRIPE
        for turn in range(2):
            start, stop = (first, m) if turn == 0 else (0, first)
            while start < stop and taken < quota:
                end = min(start + STRIPE, stop)
                if count_below(row, g, start, end, limit) > 0:
                    for j in range(start, end):
                        if row[j] - g[j] < limit and taken < quota:
                            if found == len(rows):
                                return found
                            rows[found], columns[found] = i, j
                            slack[found] = row[j] - g[j] - f[i]
                            found += 1
                            taken += 1
                start = end
    return found


@kernel
@no_type_check
def _cheapest_first(slack, count, width):
    """Order of the edges by reduced cost, in 256 buckets."""
    order = np.empty(count, np.int32)
    ends = np.zeros(_BUCKETS + 1, np.int32)
    bucket = np.empty(count, np.int32)
    scale = _BUCKETS / width
    for e in range(count):
        bucket[e] = min(_BUCKETS - 1, max(0, int(slack[e] * scale)))
        ends[bucket[e] + 1] += 1
    for b in range(_BUCKETS):
        ends[b + 1] += ends[b]
    for e in range(count):
        order[ends[bucket[e]]] = e
        ends[bucket[e]] += 1
    return order


@kernel
@no_type_check
def greedy_plan(costs, x, y, g, width, units, rows, columns, slack, flow, count):
    """Ship along the cheapest edges first; give the number of edges, new ones appended.

    `units` are shipped in all. What the likely edges cannot ship goes over the cheapest edge that
    is still open, row by row; costs (n, m), or with no rows where they are at x and y only.
    """
    n, m = len(x), len(y)
    supply, demand = np.full(n, units // n, np.int64), np.full(m, units // m, np.int64)
    flow[:count] = 0
    for e in _cheapest_first(slack, count, width):
        shipped = min(supply[rows[e]], demand[columns[e]])
        if shipped > 0:
            flow[e] = shipped
            supply[rows[e]] -= shipped
            demand[columns[e]] -= shipped
    open_columns = np.flatnonzero(demand)
    left = len(open_columns)
    for i in np.flatnonzero(supply):
        while supply[i] > 0:
            best, place = np.float32(3e38), 0
            for k in range(left):
                j = open_columns[k]
                here = (costs[i, j] if len(costs) else np.float32(distance(x, y, i, j))) - g[j]
                if here < best:
                    best, place = here, k
            j = open_columns[place]
            shipped = min(supply[i], demand[j])
            rows[count], columns[count], flow[count] = i, j, shipped
            count += 1
            supply[i] -= shipped
            demand[j] -= shipped
            if demand[j] == 0:
                left -= 1
                open_columns[place] = open_columns[left]
    return count


@kernel
@no_type_check
def plan_cost(cost, flow, count, total):
    """Mean distance that a plan of `total` units moves, summed with compensation (Neumaier)."""
    result, lost = 0.0, 0.0
    for e in range(count):
        if flow[e] > 0:
            term = cost[e] * flow[e]
            new = result + term
            if abs(result) >= abs(term):
                lost += (result - new) + term
            else:
                lost += (term - new) + result
            result = new
    return (result + lost) / total
