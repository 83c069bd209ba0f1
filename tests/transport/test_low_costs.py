"""Lower bounds on all costs, and what is read off them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nemd_toolkit.transport.clouds import as_cloud, pack
from nemd_toolkit.transport.kernels import low_costs
from nemd_toolkit.transport.kernels.pair import _hides_structure

UNIT_32, UNIT_64 = 2.0**-24, 2.0**-53
seeds = st.integers(0, 10**6)
sizes = st.integers(1, 14)


def clouds(seed, n, m, d, spread=1.0, offset=0.0):
    """Two clouds, partly near duplicates of each other, as the kernels get them."""
    rng = np.random.default_rng(seed)
    x = spread * rng.standard_normal((n, d))
    y = spread * rng.standard_normal((m, d)) + (rng.random() < 0.5)
    k = min(n, m) // 3
    y[:k] = x[:k] * (1 + 10 ** rng.uniform(-15, -2) * rng.standard_normal((k, d)))
    return pack([as_cloud(x + offset, "x"), as_cloud(y + offset, "y")], ["x", "y"])


def true_distances(x, y):
    """In extended precision."""
    wide = x.astype(np.longdouble)[:, None] - y.astype(np.longdouble)[None]
    return np.sqrt(np.square(wide).sum(-1))


def wide(packed):
    n = packed.starts[1]
    rest = np.empty((n, len(packed.points) - n), np.float32)
    near, squares = packed.near, packed.squares
    return rest, low_costs.wide_costs(near[:n], near[n:], squares[:n], squares[n:], rest)


def tight(packed):
    x, y = packed.cloud(0), packed.cloud(1)
    centre = packed.points.mean(0)
    alpha, beta = np.empty(len(x)), np.empty(len(y))
    rest = np.empty((len(x), len(y)), np.float32)
    full = np.empty(rest.shape)
    found = low_costs.tight_costs(x - centre, y - centre, alpha, beta, rest, full)
    return alpha, beta, rest, found


scales = {"spread": st.sampled_from([1e-9, 1e-4, 1.0, 1e6]), "offset": st.sampled_from([0.0, 3e3])}
dims = st.sampled_from([1, 2, 5, 33, 128, 600])


@given(seed=seeds, n=sizes, m=sizes, d=dims, **scales)
def test_wide_costs_are_below_the_distances_and_close(seed, n, m, d, spread, offset):
    packed = clouds(seed, n, m, d, spread, offset)
    rest, (largest, deviation, _) = wide(packed)
    true = true_distances(packed.cloud(0), packed.cloud(1))
    assert (rest >= 0).all()
    assert (rest <= true).all()
    squares = packed.squares.astype(float)
    lost = 3 * (d + 8) * UNIT_32 * (squares[:n, None] + squares[None, n:])
    least = np.sqrt(np.maximum(true**2 - lost, 0)) - 12 * UNIT_32 * largest
    assert (rest >= least).all()
    assert true.max() <= largest * (1 + 1e-6)
    assert deviation == pytest.approx(rest.astype(float).std(), rel=1e-3, abs=1e-6 * largest)


@given(seed=seeds, n=sizes, m=sizes, d=dims, **scales)
def test_tight_costs_are_below_the_distances_and_close(seed, n, m, d, spread, offset):
    packed = clouds(seed, n, m, d, spread, offset)
    alpha, beta, rest, (largest, deviation) = tight(packed)
    true = true_distances(packed.cloud(0), packed.cloud(1))
    low = alpha.astype(np.longdouble)[:, None] + beta + rest
    assert (rest >= 0).all()
    # `rest` is rounded to the nearest float32: its users allow for that
    rounding = UNIT_32 * rest + 8 * UNIT_64 * true.max()
    assert (low <= true + rounding).all()
    near = packed.points - packed.points.mean(0)
    squares = np.square(near).sum(1)
    lost = 3 * (d + 8) * UNIT_64 * (squares[:n, None] + squares[None, n:])
    slack = 16 * UNIT_64 * np.sqrt(squares.max()) + rounding
    assert (low >= np.sqrt(np.maximum(true**2 - lost, 0)) - slack).all()
    assert largest == pytest.approx(rest.max(), rel=1e-6)
    assert deviation == pytest.approx(rest.astype(float).std(), rel=1e-4, abs=1e-7 * largest)


def test_wide_costs_say_when_float32_is_too_coarse():
    packed = clouds(1, 9, 8, 16, spread=1.0)
    assert wide(packed)[1][2] < 1e-4 * wide(packed)[1][1]
    far = pack([as_cloud(1e-6 * np.eye(4), "x"), as_cloud(1 + 1e-6 * np.eye(4), "y")], ["x", "y"])
    _, (_, deviation, error) = wide(far)
    assert error > deviation


def gaussian_costs(rng, n, m):
    return (5 + rng.standard_normal((n, m))).astype(np.float32)


@pytest.mark.parametrize("seed", range(20))
def test_structure_hides_where_rows_and_columns_explain_the_costs(seed):
    rng = np.random.default_rng(seed)
    n, m = rng.integers(20, 200, 2)
    costs = gaussian_costs(rng, n, m)
    assert not _hides_structure(costs, costs.std())
    effects = 300 * rng.standard_normal((n, 1)) + 300 * rng.standard_normal(m)
    explained = (costs + effects).astype(np.float32)
    assert _hides_structure(explained, explained.std())  # exchanges are what they were
    repeated = costs[rng.integers(0, 4, n)][:, rng.integers(0, 4, m)]
    assert _hides_structure(repeated, repeated.std())
    assert _hides_structure(costs[:1], costs[:1].std())  # a single row: nothing to exchange
