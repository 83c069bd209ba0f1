"""W1 of one pair of clouds, by column generation, and of a list of pairs.

1. lower bounds on all costs (low_costs);
2. feasible dual potentials: a lower bound (duals);
3. a greedy plan over the edges of small reduced cost: an upper bound (plan);
4. the network simplex over those edges (simplex, tree);
5. a look at all edges for missed ones, and back to 4 while there are few;
6. where the likely edges cannot be guessed, the network simplex over all edges instead (full):
   as soon as 1 shows structure far below the costs' spread, 3 stands far above 2, or 5 finds much.

What ends 5 and 6 is the certificate: all n·m reduced costs are ≥ −tolerance, and plan and
potentials have the same value.
"""

import math
from typing import NamedTuple, no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel, part
from nemd_toolkit.transport.kernels.duals import entropic_duals
from nemd_toolkit.transport.kernels.full import solve_fully, verdict
from nemd_toolkit.transport.kernels.low_costs import (
    centred,
    squared_norms,
    tight_costs,
    wide_costs,
)
from nemd_toolkit.transport.kernels.plan import (
    distance,
    edge_distances,
    greedy_plan,
    likely_edges,
    plan_cost,
)
from nemd_toolkit.transport.kernels.settings import (
    ALIKE,
    CERTIFIED,
    EDGES_A_NODE,
    FIRST,
    GAP,
    HIDDEN,
    LAST,
    LAST_PASSES,
    LISTED,
    PASSES,
    PIVOTS_A_NODE,
    ROUNDS,
    TIGHT,
    TOLERANCE,
    UNIT,
    WIDTH,
)
from nemd_toolkit.transport.kernels.simplex import find_missed, run_simplex
from nemd_toolkit.transport.kernels.tree import plant, settle_potentials

__all__ = ["Scratch", "solve_pair", "solve_pairs"]


class Scratch(NamedTuple):
    """Memory of one thread, for pairs of at most n·m edges and n + m points."""

    single: np.ndarray  # 2·n·m of float32
    double: np.ndarray  # n·m of float64, touched for tight pairs and for hard ones
    near: np.ndarray  # (n + m)·d of float64, likewise


@part
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


@part
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
def _one_of(count, chance):
    """Draw a number below count; always the same ones (Knuth's linear congruence, upper bits)."""
    chance = chance * np.uint64(6364136223846793005) + np.uint64(1442695040888963407)
    return np.int64((chance >> np.uint64(33)) % np.uint64(count)), chance


@kernel
@no_type_check
def _hides_structure(costs, deviation):
    """Whether what a plan can gain by exchanges, c_ij + c_kh − c_ih − c_kj, hides in the spread.

    Looks at 128 pairs of edges: for costs without structure .016 of the exchanges are smaller than
    ALIKE, for von Mises–Fisher clouds .05; for outliers, duplicates and tight groups most are.
    """
    n, m = costs.shape
    alike, chance = 0, np.uint64(1)
    for _ in range(128):
        i, chance = _one_of(n, chance)
        k, chance = _one_of(n, chance)
        j, chance = _one_of(m, chance)
        h, chance = _one_of(m, chance)
        exchange = (costs[i, j] - costs[i, h]) - (costs[k, j] - costs[k, h])
        alike += i == k or j == h or abs(exchange) < 2 * ALIKE * deviation
    return alike > HIDDEN * 128


@part
@no_type_check
def _refine(x, y, costs, alpha, beta, largest, extent, rtol, bounds, scratch):
    """Pivot to the optimum over all edges, or until the plan is within rtol of the lower bound."""
    n, m = costs.shape
    f, g, lower, upper, rows, columns, cost, flow, count = bounds
    units, tolerance = n * m // math.gcd(n, m), TOLERANCE * extent
    for e in range(count):
        costs[rows[e], columns[e]] = LISTED  # find_missed need not look at them again
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
            return verdict(potential, n, m, plan_cost(cost, flow, count, units), lower, extent)
        if found < 0:
            break
        flow[count:found] = 0
        count = found
    return solve_fully(x, y, lower, extent, rtol, scratch)


@part
@no_type_check
def solve_pair(x, y, x32, y32, xx, yy, rtol, scratch):
    """Give (lower, upper, state) of W1; lower = upper when solved.

    x (n, d), y (m, d) float64; x32, y32 float32, the same moved near the origin; xx (n,), yy (m,)
    the squared norms of those; scratch: Scratch for at least n·m and n + m.
    """
    n, m = len(x), len(y)
    if n == 1 or m == 1:
        mean = _mean_distance(x, y)
        return mean, mean, CERTIFIED
    costs = scratch.single[: n * m].reshape(n, m)
    gibbs = scratch.single[n * m : 2 * n * m].reshape(n, m)
    alpha, beta = np.zeros(n), np.zeros(m)
    extent = math.sqrt(xx.max()) + math.sqrt(yy.max())
    largest, deviation, error = wide_costs(x32, y32, xx, yy, costs)
    if error >= TIGHT * deviation:
        near_x, near_y = centred(x, y, scratch.near)
        extent = math.sqrt(squared_norms(near_x).max()) + math.sqrt(squared_norms(near_y).max())
        largest, deviation = tight_costs(
            near_x, near_y, alpha, beta, costs, scratch.double[: n * m].reshape(n, m)
        )
    if rtol == 0 and _hides_structure(costs, deviation):
        return solve_fully(x, y, 0.0, extent, rtol, scratch)
    bounds = _bounds(x, y, costs, gibbs, alpha, beta, largest, deviation)
    lower, upper = bounds[2], bounds[3]
    if rtol > 0 and upper - lower <= rtol * lower:
        return lower, upper, CERTIFIED
    if upper - lower > GAP * deviation:
        return solve_fully(x, y, lower, extent, rtol, scratch)
    return _refine(x, y, costs, alpha, beta, largest, extent, rtol, bounds, scratch)


@kernel
@no_type_check
def solve_pairs(points, points32, squares, starts, pairs, rtol, scratch, lower, upper, state, stop):
    """Solve pairs (p, 2) of clouds one after the other, until done or stop[0] is set.

    Cloud k is rows starts[k]:starts[k+1] of points (N, d) float64 and points32 float32; scratch
    is for the largest pair; lower, upper (p,), state (p,) are filled.
    """
    for k in range(len(pairs)):
        if stop[0] != 0:
            return
        a, b = starts[pairs[k, 0]], starts[pairs[k, 0] + 1]
        c, e = starts[pairs[k, 1]], starts[pairs[k, 1] + 1]
        lower[k], upper[k], state[k] = solve_pair(
            points[a:b],
            points[c:e],
            points32[a:b],
            points32[c:e],
            squares[a:b],
            squares[c:e],
            rtol,
            scratch,
        )
