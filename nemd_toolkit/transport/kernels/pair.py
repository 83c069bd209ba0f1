"""W1 of one pair of clouds, by column generation, and of a list of pairs.

1. lower bounds on all costs (low_costs);
2. feasible dual potentials: a lower bound (duals);
3. a greedy plan over the edges of small reduced cost: an upper bound (plan);
4. the network simplex over those edges (simplex, tree);
5. a look at all edges for missed ones, and back to 4 while there are few;
6. the network simplex over all edges, where there are many (full).

What ends 5 and 6 is the certificate: all n·m reduced costs are ≥ −tolerance, and plan and
potentials have the same value.
"""

import math
from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel
from nemd_toolkit.transport.kernels.duals import entropic_duals
from nemd_toolkit.transport.kernels.full import all_costs, run_full_simplex, tree_edges
from nemd_toolkit.transport.kernels.low_costs import squared_norms, tight_costs, wide_costs
from nemd_toolkit.transport.kernels.plan import (
    distance,
    edge_distances,
    greedy_plan,
    likely_edges,
    plan_cost,
)
from nemd_toolkit.transport.kernels.settings import (
    AGREEMENT,
    CERTIFIED,
    EDGES_A_NODE,
    FIRST,
    GAVE_UP,
    LAST,
    LAST_PASSES,
    PASSES,
    PIVOTS_A_NODE,
    PIVOTS_OVER_ALL,
    ROUNDS,
    TIGHT,
    TOLERANCE,
    UNIT,
    WIDTH,
)
from nemd_toolkit.transport.kernels.simplex import find_missed, run_simplex
from nemd_toolkit.transport.kernels.tree import plant, settle_potentials

__all__ = ["solve_pair", "solve_pairs"]


@kernel
@no_type_check
def _edges(costs, f, g, deviation, rows, columns, slack):
    """Likely edges, narrowing their width until they fit; gives (number, width)."""
    n, m = costs.shape
    room = EDGES_A_NODE * (n + m)
    width = np.float32(max(WIDTH * deviation, 1e-30))
    for _ in range(4):
        count = likely_edges(costs, f, g, width, m, rows[:room], columns, slack)
        if count < room:
            return count, width
        width *= np.float32(0.3)
    return likely_edges(costs, f, g, width, max(1, room // n), rows, columns, slack), width


@kernel
@no_type_check
def _mean_distance(x, y):
    total = 0.0
    for i in range(len(x)):
        for j in range(len(y)):
            total += distance(x, y, i, j)
    return total / (len(x) * len(y))


@kernel
@no_type_check
def _bounds(x, y, costs, gibbs, alpha, beta, largest, deviation):
    """Potentials, likely edges and a greedy plan: (f, g, lower, upper, edge lists, number)."""
    n, m = costs.shape
    f, g = np.empty(n, np.float32), np.empty(m, np.float32)
    scale = max(deviation, 1e-9 * largest, 1e-25)
    entropic_duals(costs, gibbs, FIRST * scale, LAST * scale, PASSES, LAST_PASSES, f, g)
    rounding = UNIT * (largest + np.abs(g).max())
    lower = np.mean(alpha + f) + np.mean(beta + g) - rounding  # in float64
    room = (EDGES_A_NODE + 4) * (n + m)
    rows, columns = np.empty(room, np.int32), np.empty(room, np.int32)
    flow, cost = np.empty(room, np.int64), np.empty(room)
    slack = np.empty(room, np.float32)
    count, width = _edges(costs, f, g, scale, rows, columns, slack)
    units = n * m // math.gcd(n, m)
    count = greedy_plan(costs, x, y, g, width, units, rows, columns, slack, flow, count)
    edge_distances(x, y, rows, columns, 0, count, cost)
    upper = plan_cost(cost, flow, count, units)
    return f, g, max(min(lower, upper), 0.0), upper, rows, columns, cost, flow, count


@kernel
@no_type_check
def _refine(x, y, costs, alpha, beta, largest, extent, rtol, bounds):
    """Pivot to the optimum over all edges, or until the plan is within rtol of the lower bound."""
    n, m = costs.shape
    f, g, lower, upper, rows, columns, cost, flow, count = bounds
    units, tolerance = n * m // math.gcd(n, m), TOLERANCE * extent
    tree = plant(n, m, rows, columns, flow, count)
    potential = np.zeros(n + m + 1)
    potential[:n] = alpha + f
    potential[n : n + m] = beta + g
    settle_potentials(tree, cost, potential)
    most = n + m if rtol > 0 else PIVOTS_A_NODE * (n + m)
    pivots, rounds = 0, 0
    while rounds < ROUNDS and pivots < PIVOTS_A_NODE * (n + m):
        made = run_simplex(tree, n, rows, columns, cost, flow, count, potential, tolerance, most)
        pivots += made
        if rtol > 0:
            upper = plan_cost(cost, flow, count, units)
            if upper - lower <= rtol * lower:
                return min(lower, upper), upper, CERTIFIED
        if made == most:
            continue
        settle_potentials(tree, cost, potential)
        rounds += 1
        found = find_missed(
            costs, alpha, beta, x, y, potential, largest, tolerance, rows, columns, cost, count
        )
        if found == count:
            return _verdict(potential, n, m, plan_cost(cost, flow, count, units), lower, extent)
        if found < 0:
            break
        flow[count:found] = 0
        count = found
    return _refine_fully(
        x, y, tree, rows, columns, cost, flow, potential, lower, extent, rtol, units
    )


@kernel
@no_type_check
def _refine_fully(x, y, tree, rows, columns, cost, flow, potential, lower, extent, rtol, units):
    """Do as _refine, from the tree that it reached, with all edges' costs."""
    n, m = len(x), len(y)
    near_x, near_y = _centred(x, y)
    costs = all_costs(x, y, near_x, near_y)
    rows, columns, cost, flow, held = tree_edges(tree, rows, columns, cost, flow)
    tolerance, limit, pivots = TOLERANCE * extent, PIVOTS_OVER_ALL * (n + m), 0
    while pivots <= limit:
        made = run_full_simplex(
            tree, costs, x, y, rows, columns, cost, flow, held, potential, tolerance, n + m
        )
        pivots += made
        rows, columns, cost, flow, held = tree_edges(tree, rows, columns, cost, flow)
        upper = plan_cost(cost, flow, held, units)
        if rtol > 0 and upper - lower <= rtol * lower:
            return min(lower, upper), upper, CERTIFIED
        if made == 0:
            return _verdict(potential, n, m, upper, lower, extent)
        if made < n + m:
            settle_potentials(tree, cost, potential)
    return lower, upper, GAVE_UP


@kernel
@no_type_check
def _verdict(potential, n, m, upper, lower, extent):
    """Exact, where the plan costs what the potentials are worth."""
    dual = np.mean(potential[:n]) + np.mean(potential[n : n + m])
    if abs(upper - dual) > AGREEMENT * extent:
        return lower, upper, GAVE_UP
    return upper, upper, CERTIFIED


@kernel
@no_type_check
def _centred(x, y):
    centre = np.zeros(x.shape[1])
    for i in range(len(x)):
        centre += x[i]
    for j in range(len(y)):
        centre += y[j]
    centre /= len(x) + len(y)
    return x - centre, y - centre


@kernel
@no_type_check
def solve_pair(x, y, x32, y32, xx, yy, rtol, costs, gibbs):
    """Give (lower, upper, state) of W1; lower = upper when solved.

    x (n, d), y (m, d) float64; x32, y32 float32, the same moved near the origin; xx (n,), yy (m,)
    the squared norms of those; costs, gibbs (n, m) float32 scratch.
    """
    n, m = costs.shape
    if n == 1 or m == 1:
        mean = _mean_distance(x, y)
        return mean, mean, CERTIFIED
    alpha, beta = np.zeros(n), np.zeros(m)
    extent = math.sqrt(xx.max()) + math.sqrt(yy.max())
    largest, deviation, error = wide_costs(x32, y32, xx, yy, costs)
    if error >= TIGHT * deviation:
        near_x, near_y = _centred(x, y)
        extent = math.sqrt(squared_norms(near_x).max()) + math.sqrt(squared_norms(near_y).max())
        largest, deviation = tight_costs(near_x, near_y, alpha, beta, costs)
    bounds = _bounds(x, y, costs, gibbs, alpha, beta, largest, deviation)
    lower, upper = bounds[2], bounds[3]
    if rtol > 0 and upper - lower <= rtol * lower:
        return lower, upper, CERTIFIED
    return _refine(x, y, costs, alpha, beta, largest, extent, rtol, bounds)


@kernel
@no_type_check
def solve_pairs(points, points32, squares, starts, pairs, rtol, scratch, lower, upper, state, stop):
    """Solve pairs (p, 2) of clouds one after the other, until done or stop[0] is set.

    Cloud k is rows starts[k]:starts[k+1] of points (N, d) float64 and points32 float32; scratch
    holds twice the largest n·m of float32; lower, upper (p,), state (p,) are filled.
    """
    half = len(scratch) // 2
    for k in range(len(pairs)):
        if stop[0] != 0:
            return
        a, b = starts[pairs[k, 0]], starts[pairs[k, 0] + 1]
        c, e = starts[pairs[k, 1]], starts[pairs[k, 1] + 1]
        n, m = b - a, e - c
        costs = scratch[: n * m].reshape(n, m)
        gibbs = scratch[half : half + n * m].reshape(n, m)
        lower[k], upper[k], state[k] = solve_pair(
            points[a:b],
            points[c:e],
            points32[a:b],
            points32[c:e],
            squares[a:b],
            squares[c:e],
            rtol,
            costs,
            gibbs,
        )
