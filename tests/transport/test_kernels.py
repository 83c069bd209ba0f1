"""Each kernel of the transport solver against an independent reference."""

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog
from scipy.spatial.distance import cdist

from nemd_toolkit.transport.kernels import duals, plan, simplex, tree
from nemd_toolkit.transport.kernels.settings import LISTED, LOOKED_UP_A_NODE, MISSED_A_NODE
from tests.transport.test_low_costs import clouds, tight, wide

UNIT_32 = 2.0**-24
seeds = st.integers(0, 10**6)
sizes = st.integers(1, 14)


def test_the_exponential_is_as_good_as_a_float32_argument_allows():
    x = np.linspace(-86.5, 60, 400_000).astype(np.float32)
    zeros, found = np.zeros(1, np.float32), np.empty((1, len(x)), np.float32)
    duals._gibbs(-x[None], zeros, np.zeros(len(x), np.float32), np.float32(1), found)
    want = np.exp(x.astype(float))
    assert (np.abs(found[0] / want - 1) <= 3e-7 + 1.2e-7 * np.abs(x)).all()
    beyond = np.array([[200.0, 1e6, -61, -1e6]], np.float32)  # costs: far below −87, far above 60
    out = np.empty_like(beyond)
    duals._gibbs(beyond, zeros, np.zeros(4, np.float32), np.float32(1), out)
    assert (out[0, :2] < 2e-38).all()
    assert out[0, 2:] == pytest.approx(math.exp(60), rel=1e-5)


@given(seed=seeds, n=st.integers(1, 40), m=st.integers(1, 100))
def test_minima_are_those_of_numpy(seed, n, m):
    rng = np.random.default_rng(seed)
    costs, f, g = (rng.standard_normal(s).astype(np.float32) for s in ((n, m), n, m))
    columns, rows = np.empty(m, np.float32), np.empty(n, np.float32)
    duals.column_minima(costs, f, columns)
    duals.row_minima(costs, g, rows)
    assert (columns == (costs - f[:, None]).min(0)).all()
    assert (rows == (costs - g).min(1)).all()


def entropic(costs, first, last, passes, last_passes):
    f, g = np.empty(len(costs), np.float32), np.empty(costs.shape[1], np.float32)
    duals.entropic_duals(costs, np.empty_like(costs), first, last, passes, last_passes, f, g)
    return f.astype(float), g.astype(float)


@pytest.mark.parametrize(("n", "m", "part"), [(20, 31, 0.2), (40, 17, 0.1), (25, 25, 0.15)])
def test_many_entropic_passes_come_to_pots_potentials(n, m, part):
    costs = wide(clouds(n, n, m, 6))[0]
    near, eps = 2e-4 * float(costs.max()), part * float(costs.std())
    f, g = entropic(costs, 8 * eps, eps, 20, 4000)
    exact = costs.astype(float)
    a, b = np.full(n, 1 / n), np.full(m, 1 / m)
    log = ot.sinkhorn(a, b, exact, eps, "sinkhorn_log", 20_000, 1e-9, log=True)[1]
    want_g = (exact - eps * log["log_u"][:, None]).min(0)
    want_f = (exact - want_g).min(1)
    shift = want_f[0] - f[0]
    assert f + shift == pytest.approx(want_f, abs=near)
    assert g - shift == pytest.approx(want_g, abs=near)
    assert f.mean() + g.mean() == pytest.approx(want_f.mean() + want_g.mean(), rel=1e-5)


def test_passes_give_the_same_wherever_their_arrays_lie_apart():
    gibbs = np.random.default_rng(0).random((72, 18)).astype(np.float32)
    found = set()
    for gap in (256, 257, 300, 500):
        u, memory = np.empty(72, np.float32), np.full(700, 1 / 18, np.float32)
        sums, v = memory[:18], memory[18 + gap : 36 + gap]
        duals._passes(gibbs, u, v, sums, 8)
        found.add(u.tobytes() + v.tobytes())
    assert len(found) == 1


@given(seed=seeds, n=sizes, m=sizes, part=st.sampled_from([1e-6, 0.1, 3.0]), passes=sizes)
def test_potentials_are_feasible_after_any_passes_and_below_the_optimum(seed, n, m, part, passes):
    costs = wide(clouds(seed, n, m, 4))[0]
    scale = max(float(costs.std()), 1e-9)
    f, g = entropic(costs, 8 * part * scale, part * scale, passes, 2 * passes)
    rounding = 4 * UNIT_32 * (costs.max() + np.abs(f).max() + np.abs(g).max())
    assert (f[:, None] + g <= costs + rounding).all()
    assert f.mean() + g.mean() <= ot.emd2([], [], costs.astype(float)) + rounding


class Edges(NamedTuple):
    """Lists as the kernels keep them."""

    rows: np.ndarray
    columns: np.ndarray
    slack: np.ndarray
    cost: np.ndarray
    flow: np.ndarray

    @classmethod
    def with_room(cls, room):
        whole = np.empty(room, np.int32), np.empty(room, np.int32)
        return cls(*whole, np.empty(room, np.float32), np.empty(room), np.empty(room, np.int64))

    def pairs(self, count):
        return list(zip(self.rows[:count].tolist(), self.columns[:count].tolist(), strict=True))


def reduced_world(seed, n, m):
    packed = clouds(seed, n, m, 5)
    costs = wide(packed)[0]
    f, g = np.empty(n, np.float32), np.empty(m, np.float32)
    eps = 0.05 * max(float(costs.std()), 1e-9)
    duals.entropic_duals(costs, np.empty_like(costs), 8 * eps, eps, 4, 8, f, g)
    return packed, costs, f, g, np.float32(5 * eps)


@given(seed=seeds, n=sizes, m=st.integers(1, 300), quota=st.integers(1, 20), room=st.integers(1, 9))
def test_likely_edges_are_numpys(seed, n, m, quota, room):
    _, costs, f, g, width = reduced_world(seed, n, m)
    below = costs - g < (f + width)[:, None]
    want = set(zip(*(index.tolist() for index in np.nonzero(below)), strict=True))
    edges = Edges.with_room(n * m)
    count = plan.likely_edges(costs, f, g, width, m, edges.rows, edges.columns, edges.slack)
    assert count == len(want)
    assert set(edges.pairs(count)) == want
    i, j = edges.rows[:count], edges.columns[:count]
    assert (edges.slack[:count] == costs[i, j] - g[j] - f[i]).all()
    count = plan.likely_edges(costs, f, g, width, quota, edges.rows, edges.columns, edges.slack)
    assert set(edges.pairs(count)) <= want
    assert len(set(edges.pairs(count))) == count
    assert (
        np.bincount(edges.rows[:count], minlength=n).tolist()
        == np.minimum(below.sum(1), quota).tolist()
    )
    lists = edges.rows[:room], edges.columns[:room], edges.slack[:room]
    assert plan.likely_edges(costs, f, g, width, m, *lists) == min(room, len(want))
    assert set(edges.pairs(min(room, len(want)))) <= want


def test_ties_do_not_crowd_into_the_first_columns():
    costs, n, m = np.ones((8, 512), np.float32), 8, 512
    f, g = np.ones(n, np.float32), np.zeros(m, np.float32)
    edges = Edges.with_room(n)
    lists = edges.rows, edges.columns, edges.slack
    assert plan.likely_edges(costs, f, g, np.float32(0.1), 1, *lists) == n
    assert len(set(edges.columns.tolist())) == n


def greedy(seed, n, m, *, with_costs=True, share=1.0):
    """Clouds and a greedy plan over a part of their likely edges."""
    packed, costs, f, g, width = reduced_world(seed, n, m)
    edges = Edges.with_room(n * m + n + m)
    count = plan.likely_edges(costs, f, g, width, m, edges.rows, edges.columns, edges.slack)
    count = int(count * share)
    units = n * m // math.gcd(n, m)
    x, y = packed.cloud(0), packed.cloud(1)
    costs = costs if with_costs else np.empty((0, 0), np.float32)
    lists = edges.rows, edges.columns, edges.slack, edges.flow
    count = plan.greedy_plan(costs, x, y, g, width, units, *lists, count)
    plan.edge_distances(x, y, edges.rows, edges.columns, 0, count, edges.cost)
    return x, y, edges, count, units


def marginals(edges, count, n, m):
    rows = np.bincount(edges.rows[:count], edges.flow[:count], n)
    return rows, np.bincount(edges.columns[:count], edges.flow[:count], m)


@given(seed=seeds, n=sizes, m=sizes, with_costs=st.booleans(), share=st.sampled_from([0, 0.5, 1]))
def test_a_greedy_plan_ships_all_and_names_no_edge_twice(seed, n, m, with_costs, share):
    x, y, edges, count, units = greedy(seed, n, m, with_costs=with_costs, share=share)
    rows, columns = marginals(edges, count, n, m)
    assert (edges.flow[:count] >= 0).all()
    assert (rows == units // n).all()
    assert (columns == units // m).all()
    assert len(set(edges.pairs(count))) == count
    true = cdist(x, y)
    want = true[edges.rows[:count], edges.columns[:count]]
    assert edges.cost[:count] == pytest.approx(want, rel=1e-13)
    cost = plan.plan_cost(edges.cost, edges.flow, count, units)
    terms = (edges.cost[:count] * edges.flow[:count]).tolist()
    assert cost == pytest.approx(math.fsum(terms) / units, rel=1e-15)
    assert cost >= ot.emd2([], [], true) - 1e-12


def test_distances_between_equal_points_are_zero_whatever_the_offset():
    x = np.random.default_rng(0).standard_normal((5, 37)) + 1e9
    assert all(plan.distance(x, x, i, i) == 0 for i in range(5))


def require_tree(grown, n, m, edges, count, potential, units):
    """Spanning, feasible, strongly feasible, and tight."""
    root = n + m
    parent, edge, order = grown.parent, grown.edge, [root]
    while (node := int(grown.after[order[-1]])) != root and len(order) <= root:
        order.append(node)
    assert sorted(order) == list(range(root + 1))
    assert all(grown.before[grown.after[v]] == v for v in order)
    above = [set() for _ in order]  # each node and its ancestors
    for v in order:
        above[v] = {v} | (above[parent[v]] if v != root else set())
    for place, v in enumerate(order):
        part = order[place : place + grown.size[v]]
        assert set(part) == {w for w in order if v in above[w]}
        assert grown.last[v] == part[-1]
    held = edge[:root][edge[:root] >= 0]
    assert len(set(held.tolist())) == len(held)
    for v in range(root):
        e = edge[v]
        assert (e < 0) == (parent[v] == root)
        if e < 0:
            assert v < n
            continue
        ends = int(edges.rows[e]), n + int(edges.columns[e])
        assert sorted((v, int(parent[v]))) == list(ends)
        assert v < n or edges.flow[e] > 0  # an edge without flow points up
        assert edges.cost[e] == pytest.approx(potential[ends[0]] + potential[ends[1]], abs=1e-12)
    outside = np.setdiff1d(np.arange(count), held)
    assert (edges.flow[outside] == 0).all()
    assert (edges.flow[:count] >= 0).all()
    rows, columns = marginals(edges, count, n, m)
    assert (rows == units // n).all()
    assert (columns == units // m).all()


def planted(seed, n, m, share):
    """A tree of a greedy plan, over that plan's edges and all others, in random order."""
    x, y, edges, count, units = greedy(seed, n, m, share=share)
    rng = np.random.default_rng(seed)
    others = sorted({(i, j) for i in range(n) for j in range(m)} - set(edges.pairs(count)))
    for i, j in rng.permutation(np.array(others, int).reshape(-1, 2)):
        if share == 1.0 or rng.random() < 0.5:
            edges.rows[count], edges.columns[count], edges.flow[count] = i, j, 0
            count += 1
    plan.edge_distances(x, y, edges.rows, edges.columns, 0, count, edges.cost)
    grown = tree.plant(n, m, edges.rows, edges.columns, edges.flow, count)
    potential = np.concatenate([rng.standard_normal(n + m), [0.0]])
    tree.settle_potentials(grown, edges.cost, potential)
    return x, y, edges, count, units, grown, potential


@settings(max_examples=30)
@given(seed=seeds, n=st.integers(1, 8), m=st.integers(1, 9), share=st.sampled_from([0.5, 1.0]))
def test_every_pivot_keeps_a_strongly_feasible_tree(seed, n, m, share):
    x, y, edges, count, units, grown, potential = planted(seed, n, m, share)
    require_tree(grown, n, m, edges, count, potential, units)
    rows, columns, cost = edges.rows[:count], n + edges.columns[:count], edges.cost[:count]
    for _ in range(500):
        reduced = cost - potential[rows] - potential[columns]
        entering = int(np.random.default_rng(seed).choice(np.argsort(reduced)[:2]))
        entering = entering if reduced[entering] < -1e-12 else int(np.argmin(reduced))
        if reduced[entering] >= -1e-12:
            break
        flow = edges.flow[:count].copy()
        tree.pivot(grown, n, edges.rows, edges.columns, edges.cost, edges.flow, potential, entering)
        amount = edges.flow[entering] - flow[entering]
        change = float(((edges.flow[:count] - flow) * cost).sum())
        assert change == pytest.approx(amount * reduced[entering], abs=1e-10)
        require_tree(grown, n, m, edges, count, potential, units)
    else:
        pytest.fail("the pivots did not come to an end")
    if share == 1.0:
        found = plan.plan_cost(edges.cost, edges.flow, count, units)
        assert found == pytest.approx(ot.emd2([], [], cdist(x, y)), abs=1e-12)


@settings(max_examples=30)
@given(seed=seeds, n=sizes, m=sizes)
def test_the_simplex_finds_the_optimum_over_its_edges(seed, n, m):
    _, _, edges, count, units, grown, potential = planted(seed, n, m, 0.5)
    lists = edges.rows, edges.columns, edges.cost, edges.flow, count, potential
    for most in (1, 2, 10**6):  # in three goes: a limit only interrupts
        assert simplex.run_simplex(grown, n, *lists, 1e-13, most) <= most
    assert simplex.run_simplex(grown, n, *lists, 1e-13, 10**6) == 0
    tree.settle_potentials(grown, edges.cost, potential)
    require_tree(grown, n, m, edges, count, potential, units)
    incidence = np.zeros((n + m, count))
    incidence[edges.rows[:count], np.arange(count)] = 1
    incidence[n + edges.columns[:count], np.arange(count)] = 1
    masses = np.concatenate([np.full(n, 1 / n), np.full(m, 1 / m)])
    want = linprog(edges.cost[:count], A_eq=incidence, b_eq=masses, method="highs")
    assert want.status == 0
    assert plan.plan_cost(edges.cost, edges.flow, count, units) == pytest.approx(want.fun, abs=1e-9)
    dual = potential[:n].mean() + potential[n : n + m].mean()
    assert dual == pytest.approx(want.fun, abs=1e-9)


@given(
    seed=seeds,
    n=sizes,
    m=st.integers(1, 200),
    noise=st.sampled_from([0.0, 1e-11, 1e-7, 0.1]),
    kind=st.sampled_from(["wide", "tight"]),
)
def test_missed_edges_are_found_if_and_only_if_there_are_any(seed, n, m, noise, kind):
    packed = clouds(seed, n, m, 4)
    x, y = packed.cloud(0), packed.cloud(1)
    alpha, beta = np.zeros(n), np.zeros(m)
    if kind == "wide":
        rest, (largest, *_) = wide(packed)
    else:
        alpha, beta, rest, (largest, _) = tight(packed)
    true = np.array([[plan.distance(x, y, i, j) for j in range(m)] for i in range(n)])
    rng = np.random.default_rng(seed)
    f = rng.standard_normal(n)
    g = (true - f[:, None]).min(0)
    f = (true - g).min(1) + noise * rng.standard_normal(n)
    potential, tolerance = np.concatenate([f, g, [0.0]]), 1e-12
    edges = Edges.with_room(n * m + 1)
    lists = edges.rows, edges.columns, edges.cost
    world = alpha, beta, x, y, potential, largest, tolerance
    searched = rest.copy()
    count = simplex.find_missed(searched, *world, *lists, 0)
    reduced = true - f[:, None] - g
    want = set()
    for i in range(n):
        for start, stop in pairwise([*range(0, m, plan.STRIPE), m]):
            j = start + int(reduced[i, start:stop].argmin())
            if reduced[i, j] < -tolerance:
                want.add((i, j))
    if count < 0:
        near = (reduced < 1e-5 * (1 + np.abs(potential).max())).sum()
        assert len(want) > MISSED_A_NODE * (n + m) or near > (LOOKED_UP_A_NODE * (n + m))
        return
    assert set(edges.pairs(count)) == want
    assert count == len(want)
    assert set(zip(*np.nonzero(searched == LISTED), strict=True)) == want
    if count:
        short = (column[: count - 1] for column in lists)
        assert simplex.find_missed(rest, *world, *short, 0) == -1
