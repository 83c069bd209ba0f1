"""The network simplex over all n·m edges at once, for pairs whose optimal edges are hard to guess.

Where fine structure lies far below the costs' spread, entropic potentials cannot see it. Then all
costs are computed in float64, a greedy plan gives the first tree, and each row's worst edge enters
in turn. Rows are the smaller cloud: few long rows price best. Lists of edges hold the tree's own
only; the slot of an edge that leaves is used again.
"""

import math
from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel, loose_kernel
from nemd_toolkit.transport.kernels.low_costs import centred, squared_norms
from nemd_toolkit.transport.kernels.plan import STRIPE, count_below, distance, plan_cost
from nemd_toolkit.transport.kernels.settings import (
    AGREEMENT,
    CERTIFIED,
    GAVE_UP,
    PIVOTS_OVER_ALL,
    TOLERANCE,
)
from nemd_toolkit.transport.kernels.tree import pivot, plant, settle_potentials

__all__ = ["all_costs", "solve_fully", "verdict"]

_NEAR = 1e-5  # squared distances below this part of the squared norms are computed anew


@loose_kernel
@no_type_check
def all_costs(x, y, near_x, near_y, costs):
    """Fill costs (n, m) with the distances of x (n, d), y (m, d); near_x, near_y: moved near 0."""
    n, m = costs.shape
    xx, yy = squared_norms(near_x), squared_norms(near_y)
    np.dot(near_x, near_y.T, costs)
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


@kernel
@no_type_check
def _own_edges(tree, rows, columns, cost, flow):
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
def _cheapest_rows(costs, least):
    """Give the row of least costs_ij − least_i for each column."""
    n, m = costs.shape
    best, place = np.full(m, np.inf), np.zeros(m, np.int32)
    for i in range(n):
        for j in range(m):
            here = costs[i, j] - least[i]
            if here < best[j]:
                best[j], place[j] = here, i
    return place


@kernel
@no_type_check
def _first_plan(costs, units, rows, columns, flow):
    """Ship column after column from the cheapest row with supply left; give the number of edges."""
    n, m = costs.shape
    least = np.empty(n)
    for i in range(n):
        least[i] = costs[i].min()
    place = _cheapest_rows(costs, least)
    supply, count = np.full(n, units // n, np.int64), 0
    for j in range(m):
        demand, i = units // m, place[j]
        while demand > 0:
            shipped = min(demand, supply[i])
            if shipped > 0:
                rows[count], columns[count], flow[count] = i, j, shipped
                count += 1
                demand -= shipped
                supply[i] -= shipped
            best = np.inf
            for k in range(n if demand > 0 else 0):
                if supply[k] > 0 and costs[k, j] - least[k] < best:
                    best, i = costs[k, j] - least[k], k
    return count


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
def _run(tree, costs, x, y, rows, columns, cost, flow, held, potential, tolerance, limit):
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
            left = pivot(tree, n, rows, columns, cost, flow, potential, np.int64(e))
            pivots += 1
            if left >= 0:
                free[top] = left
                top += 1
        i = 0 if i + 1 == n else i + 1
    return pivots


@kernel
@no_type_check
def solve_fully(x, y, lower, extent, rtol, scratch):
    """Give (lower, upper, state) of W1 as solve_pair does; `lower` may come from elsewhere."""
    if len(x) > len(y):
        x, y = y, x
    n, m = len(x), len(y)
    near_x, near_y = centred(x, y, scratch.near)
    costs = scratch.double[: n * m].reshape(n, m)
    all_costs(x, y, near_x, near_y, costs)
    units, tolerance = n * m // math.gcd(n, m), TOLERANCE * extent
    rows, columns = np.empty(n + m, np.int32), np.empty(n + m, np.int32)
    flow, cost = np.empty(n + m, np.int64), np.empty(n + m)
    count = _first_plan(costs, units, rows, columns, flow)
    for e in range(count):
        cost[e] = distance(x, y, rows[e], columns[e])
    tree = plant(n, m, rows, columns, flow, count)
    potential = np.zeros(n + m + 1)
    settle_potentials(tree, cost, potential)
    upper, limit, pivots = plan_cost(cost, flow, count, units), PIVOTS_OVER_ALL * (n + m), 0
    while pivots <= limit:
        rows, columns, cost, flow, held = _own_edges(tree, rows, columns, cost, flow)
        made = _run(tree, costs, x, y, rows, columns, cost, flow, held, potential, tolerance, n + m)
        pivots += made
        upper = plan_cost(cost, flow, len(flow), units)
        if rtol > 0 and upper - lower <= rtol * lower:
            return min(lower, upper), upper, CERTIFIED
        if made == 0:
            return verdict(potential, n, m, upper, lower, extent)
        if made < n + m:
            settle_potentials(tree, cost, potential)
    return lower, upper, GAVE_UP


@kernel
@no_type_check
def verdict(potential, n, m, upper, lower, extent):
    """Exact, where the plan costs what the potentials are worth."""
    dual = np.mean(potential[:n]) + np.mean(potential[n : n + m])
    if abs(upper - dual) > AGREEMENT * extent:
        return lower, upper, GAVE_UP
    return upper, upper, CERTIFIED
