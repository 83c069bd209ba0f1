"""Plans of many pairs whose bounds were computed elsewhere (on a device).

The edges of pair k are held[k] entries from first[k] on in flat lists, with room up to first[k+1];
its n + m potentials start at node[k]. All lists are flat arrays; pairs (p, 2) number the clouds,
cloud c being rows starts[c]:starts[c+1] of points.
"""

import math
from typing import no_type_check

import numpy as np

from nemd_toolkit.transport.kernels.compiling import kernel
from nemd_toolkit.transport.kernels.plan import distance, edge_distances, greedy_plan, plan_cost
from nemd_toolkit.transport.kernels.settings import (
    AGREEMENT,
    CERTIFIED,
    GAVE_UP,
    PIVOTS_A_NODE,
    TOLERANCE,
)
from nemd_toolkit.transport.kernels.simplex import run_simplex
from nemd_toolkit.transport.kernels.tree import plant, settle_potentials

__all__ = ["improve_plans", "reduced_costs", "start_plans"]


@kernel
@no_type_check
def _clouds(points, starts, pair):
    x = points[starts[pair[0]] : starts[pair[0] + 1]]
    y = points[starts[pair[1]] : starts[pair[1] + 1]]
    return x, y, len(x) * len(y) // math.gcd(len(x), len(y))


@kernel
@no_type_check
def start_plans(
    points,
    starts,
    pairs,
    first,
    held,
    node,
    potential,
    width,
    rows,
    columns,
    slack,
    cost,
    flow,
    upper,
):
    """Find a greedy plan for each pair and its cost; held grows by the edges that it had to add."""
    no_costs = np.empty((0, 0), np.float32)
    for k in range(len(pairs)):
        x, y, units = _clouds(points, starts, pairs[k])
        n, m = len(x), len(y)
        own = slice(first[k], first[k + 1])
        g = potential[node[k] + n : node[k] + n + m].astype(np.float32)
        held[k] = greedy_plan(
            no_costs,
            x,
            y,
            g,
            width[k],
            units,
            rows[own],
            columns[own],
            slack[own],
            flow[own],
            held[k],
        )
        edge_distances(x, y, rows[own], columns[own], 0, held[k], cost[own])
        upper[k] = plan_cost(cost[own], flow[own], held[k], units)


@kernel
@no_type_check
def improve_plans(
    points,
    starts,
    pairs,
    first,
    held,
    node,
    potential,
    extent,
    rows,
    columns,
    cost,
    flow,
    upper,
    state,
):
    """Pivot each plan to the optimum over its edges; potentials follow, upper is its cost.

    state becomes GAVE_UP where pivots run out or plan and potentials differ in value, CERTIFIED
    elsewhere: what is left to show is that no other edge has negative reduced cost.
    """
    for k in range(len(pairs)):
        x, y, units = _clouds(points, starts, pairs[k])
        n, m = len(x), len(y)
        own = slice(first[k], first[k + 1])
        edges = rows[own], columns[own], cost[own], flow[own]
        tree = plant(n, m, edges[0], edges[1], edges[3], held[k])
        tight = np.zeros(n + m + 1)
        tight[: n + m] = potential[node[k] : node[k] + n + m]
        settle_potentials(tree, edges[2], tight)
        limit = PIVOTS_A_NODE * (n + m)
        made = run_simplex(
            tree, n, edges[0], edges[1], edges[2], edges[3], held[k], tight,
            TOLERANCE * extent[k], limit,
        )  # fmt: skip
        settle_potentials(tree, edges[2], tight)
        potential[node[k] : node[k] + n + m] = tight[: n + m]
        upper[k] = plan_cost(edges[2], edges[3], held[k], units)
        dual = np.mean(tight[:n]) + np.mean(tight[n : n + m])
        agreed = abs(upper[k] - dual) <= AGREEMENT * extent[k]
        state[k] = CERTIFIED if agreed and made < limit else GAVE_UP


@kernel
@no_type_check
def reduced_costs(points, starts, pairs, node, potential, which, rows, columns, cost, reduced):
    """Fill cost and reduced cost, float64, of edges rows → columns of the pairs `which`."""
    for e in range(len(which)):
        k = which[e]
        x, y, _ = _clouds(points, starts, pairs[k])
        cost[e] = distance(x, y, rows[e], columns[e])
        row, column = node[k] + rows[e], node[k] + len(x) + columns[e]
        reduced[e] = cost[e] - potential[row] - potential[column]
