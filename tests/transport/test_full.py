"""The simplex over all edges, from any tree."""

import math

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from nemd_toolkit.transport.kernels import full, plan, tree

seeds = st.integers(0, 10**6)


def points(rng, n, d, kind):
    x = rng.standard_normal((n, d))
    if kind == "repeats":
        return x[rng.integers(0, n, n)]
    if kind == "near":
        return x[:1] + 1e-9 * x
    return np.round(x) if kind == "lattice" else x


@given(seed=seeds, kind=st.sampled_from(["usual", "repeats", "near", "lattice"]))
def test_all_costs_are_the_distances(seed, kind):
    rng = np.random.default_rng(seed)
    x, y = points(rng, 9, 5, kind), points(rng, 14, 5, kind)
    y[:3] = x[:3]  # duplicates, where a Gram formula errs by 1e-8
    centre = x.mean(axis=0)
    found = full.all_costs(x, y, x - centre, y - centre)
    assert found == pytest.approx(cdist(x, y), rel=1e-9, abs=1e-13)
    assert (np.diag(found)[:3] == 0).all()


def corner_plan(n, m):
    """Edges and flows of the plan that fills from the first row and column on."""
    units = n * m // math.gcd(n, m)
    supply, demand = np.full(n, units // n), np.full(m, units // m)
    edges, i, j = [], 0, 0
    while i < n and j < m:
        shipped = min(supply[i], demand[j])
        if shipped:
            edges.append((i, j, shipped))
        supply[i] -= shipped
        demand[j] -= shipped
        i, j = i + (supply[i] == 0), j + (demand[j] == 0)
    rows, columns, flow = (np.array(part) for part in zip(*edges, strict=True))
    return rows.astype(np.int32), columns.astype(np.int32), flow.astype(np.int64), units


@settings(max_examples=40)
@given(
    seed=seeds,
    n=st.integers(1, 20),
    m=st.integers(1, 20),
    kind=st.sampled_from(["usual", "repeats", "near", "lattice"]),
)
def test_it_comes_to_the_optimum_from_a_poor_plan(seed, n, m, kind):
    rng = np.random.default_rng(seed)
    x, y = points(rng, n, 4, kind), points(rng, m, 4, kind)
    costs = full.all_costs(x, y, x - x.mean(axis=0), y - x.mean(axis=0))
    rows, columns, flow, units = corner_plan(n, m)
    cost = costs[rows, columns]
    grown = tree.plant(n, m, rows, columns, flow, len(rows))
    potential = np.zeros(n + m + 1)
    tree.settle_potentials(grown, cost, potential)
    rows, columns, cost, flow, held = full.tree_edges(grown, rows, columns, cost, flow)
    tolerance = 1e-13 * max(float(costs.max()), 1e-300)
    for most in (1, 3, 10**6):  # a limit only interrupts
        lists = rows, columns, cost, flow, held, potential
        assert full.run_full_simplex(grown, costs, x, y, *lists, tolerance, most) <= most
        rows, columns, cost, flow, held = full.tree_edges(grown, rows, columns, cost, flow)
    true = cdist(x, y)
    shipped = np.zeros((n, m), np.int64)
    np.add.at(shipped, (rows[:held], columns[:held]), flow[:held])
    assert (shipped.sum(axis=1) == units // n).all()
    assert (shipped.sum(axis=0) == units // m).all()
    reduced = costs - potential[:n, None] - potential[None, n : n + m]
    assert reduced.min() >= -2 * tolerance
    scale = float(true.max()) or 1.0
    want = scale * ot.emd2([], [], true / scale)
    assert plan.plan_cost(cost, flow, held, units) == pytest.approx(want, rel=1e-9, abs=1e-15)
