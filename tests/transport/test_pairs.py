"""W1's properties, and what is done when a solver fails silently."""

import math

import numpy as np
import ot
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemd_toolkit.errors import InputError, NotOptimal
from nemd_toolkit.sphere import to_sphere
from nemd_toolkit.transport import pairwise_wasserstein1, wasserstein1
from nemd_toolkit.transport.kernels.settings import GAVE_UP

seeds = st.integers(0, 10**6)
sizes = st.integers(1, 14)
dims = st.integers(2, 12)


def cloud(n, d, seed):
    """Unit rows, sometimes repeated, sometimes tight: degenerate clouds are the usual case here."""
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=g, dtype=torch.float64)
    if seed % 3 == 0:
        x = x[torch.randint(0, n, (n,), generator=g)]
    if seed % 5 == 0:
        x = x[:1] + 1e-6 * x
    return to_sphere(x)


def cost(x, y):
    return wasserstein1(x, y).cost


@given(seed=seeds, n=sizes, m=sizes, d=dims)
def test_equals_pots_simplex_on_any_sizes(seed, n, m, d):
    x, y = cloud(n, d, seed), cloud(m, d, seed + 1)
    want = ot.emd2([], [], ot.dist(x.numpy(), y.numpy(), metric="euclidean"), numItermax=10**7)
    assert cost(x, y) == pytest.approx(want, rel=1e-9, abs=1e-9)


@given(seed=seeds, n=sizes, m=sizes, d=dims)
def test_is_symmetric(seed, n, m, d):
    x, y = cloud(n, d, seed), cloud(m, d, seed + 1)
    assert cost(x, y) == pytest.approx(cost(y, x), rel=1e-9, abs=1e-12)


@given(seed=seeds, n=sizes, d=dims)
def test_is_zero_between_equal_clouds_in_any_order(seed, n, d):
    x = cloud(n, d, seed)
    assert cost(x, x[torch.randperm(n)]) == pytest.approx(0.0, abs=1e-12)


@given(seed=seeds, sizes=st.tuples(sizes, sizes, sizes), d=dims)
def test_keeps_the_triangle_inequality(seed, sizes, d):
    x, y, z = (cloud(n, d, seed + i) for i, n in enumerate(sizes))
    assert cost(x, z) <= cost(x, y) + cost(y, z) + 1e-9


@given(seed=seeds, n=sizes, m=sizes, d=dims)
def test_does_not_change_under_rotation(seed, n, m, d):
    x, y = cloud(n, d, seed), cloud(m, d, seed + 1)
    g = torch.Generator().manual_seed(seed)
    q, _ = torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64))
    assert cost(x @ q, y @ q) == pytest.approx(cost(x, y), rel=1e-7, abs=1e-7)


@given(seed=seeds, n=sizes, m=sizes, times=st.integers(2, 4))
def test_does_not_change_when_a_cloud_is_repeated(seed, n, m, times):
    x, y = cloud(n, 5, seed), cloud(m, 5, seed + 1)
    assert cost(x.repeat(times, 1), y) == pytest.approx(cost(x, y), rel=1e-9, abs=1e-9)


@given(seed=seeds, n=sizes, m=sizes, d=dims)
def test_lies_between_its_bounds(seed, n, m, d):
    x, y = cloud(n, d, seed), cloud(m, d, seed + 1)
    p, q = x.mean(0), y.mean(0)
    assert float((p - q).norm()) - 1e-9 <= cost(x, y) <= math.sqrt(max(0, 2 - 2 * p @ q)) + 1e-9


@pytest.mark.parametrize("k", [2, 3, 5, 9])
def test_mean_over_a_simplex_of_points_reaches_its_upper_bound(k):
    corners = to_sphere(torch.eye(k).double() - 1 / k)
    clouds = [row.repeat(p + 1, 1) for p, row in enumerate(corners)]  # sizes 1…k
    found = pairwise_wasserstein1(clouds)
    assert found.cost == pytest.approx(math.sqrt(2 * k / (k - 1)), rel=1e-12)
    assert found.exact
    assert found.certified_width == 0


@given(seed=seeds, k=st.integers(2, 6))
def test_mean_over_any_prototypes_stays_below_the_simplex(seed, k):
    clouds = [cloud(3 + p, 4, seed + p) for p in range(k)]
    assert pairwise_wasserstein1(clouds).cost.mean() <= math.sqrt(2 * k / (k - 1)) + 1e-9


def test_antipodes_are_two_apart_and_one_point_is_a_mean_distance():
    north, south = torch.tensor([[0.0, 1.0]]), torch.tensor([[0.0, -1.0]])
    assert cost(north, south) == 2.0
    assert cost(north, torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0]])) == pytest.approx(
        2 * math.sqrt(2) / 3
    )


def test_coprime_sizes_by_hand():
    # 2 points at 0 and 1 on a line, 3 points at 0, 0 and 1: a sixth of the mass moves by 1
    x, y = np.array([[0.0, 0], [1, 0]]), np.array([[0.0, 0], [0, 0], [1, 0]])
    assert cost(x, y) == pytest.approx(1 / 6)


def test_numpy_and_float32_come_to_the_same():
    x, y = cloud(7, 5, 1), cloud(9, 5, 2)
    assert cost(x.numpy(), y.numpy()) == cost(x, y)
    assert cost(x.float(), y.float()) == pytest.approx(cost(x, y), rel=1e-6)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("sizes", [(3, 3), (3, 4)])
def test_a_cloud_that_is_not_finite_raises_where_pot_returns_zero(bad, sizes):
    x, y = cloud(sizes[0], 4, 1), cloud(sizes[1], 4, 2).clone()
    y[0, 0] = bad
    with pytest.raises(InputError, match="y: expected finite"):
        wasserstein1(x, y)


@pytest.fixture(autouse=True, scope="module")
def loaded():
    """Kernels are loaded before a test replaces them."""
    wasserstein1(np.eye(2), np.eye(2))


def give_up(*arguments):
    """Stand in for the kernels: hand every pair on to POT's simplex."""
    *_, state, _stop = arguments
    state[:] = GAVE_UP


def test_pairs_that_the_kernels_give_up_are_solved_by_pots_simplex(monkeypatch):
    clouds = [cloud(9 + 4 * i, 4, i) for i in range(4)]
    want = pairwise_wasserstein1(clouds).cost
    monkeypatch.setattr("nemd_toolkit.transport.host.solve_pairs", give_up)
    assert pairwise_wasserstein1(clouds).cost == pytest.approx(want, abs=1e-12)


def test_a_solver_that_stops_early_raises_where_pot_only_warns(monkeypatch):
    monkeypatch.setattr("nemd_toolkit.transport.host.solve_pairs", give_up)
    monkeypatch.setattr("nemd_toolkit.transport.simplex._ITERATIONS", 1)
    with pytest.raises(NotOptimal, match="cloud 1 and cloud 2.*stopped early"):
        pairwise_wasserstein1([cloud(4, 4, 0), cloud(30, 4, 1), cloud(31, 4, 2)], [[1, 2]])


def test_a_worker_that_breaks_off_names_the_pair(monkeypatch):
    def run_out_of_memory(*arguments):
        raise MemoryError("no room")

    monkeypatch.setattr("nemd_toolkit.transport.host.solve_pairs", run_out_of_memory)
    with pytest.raises(NotOptimal, match="cloud 2 and cloud 1.*MemoryError: no room"):
        pairwise_wasserstein1([cloud(4, 4, i) for i in range(4)], [[2, 1]])


@pytest.mark.parametrize("size", [1, 2, 3])
def test_distances_that_overflow_raise_and_others_do_not(size):
    far = np.full((size, 2), 1.5e308)
    with pytest.raises(InputError, match="x and y: expected finite distances"):
        wasserstein1(far, -far[:2])
    far = np.full((size, 2), 1e200)
    assert cost(far, -far[:2]) == pytest.approx(math.sqrt(8) * 1e200)
    near = np.full((size, 2), 1e-300)
    assert cost(near, -near[:2]) == pytest.approx(math.sqrt(8) * 1e-300)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (3,), (2, 2, 2)])
def test_shapes_that_are_no_clouds_are_refused(shape):
    with pytest.raises(InputError, match="expected a real"):
        wasserstein1(np.zeros(shape), np.zeros((2, 3)))


def test_clouds_of_two_dimensions_are_refused():
    with pytest.raises(InputError, match="one dimension, got 3 and 4"):
        wasserstein1(np.ones((2, 3)), np.ones((2, 4)))
    with pytest.raises(InputError, match=r"one dimension, got \[3, 4\]"):
        pairwise_wasserstein1([np.ones((2, 3)), np.ones((2, 4))])


def test_pairs_can_be_chosen_and_are_checked():
    clouds = [cloud(4 + i, 3, i) for i in range(4)]
    every = pairwise_wasserstein1(clouds)
    assert len(every.cost) == 6
    some = pairwise_wasserstein1(clouds, [[2, 0], [1, 1]])
    assert some.cost[0] == pytest.approx(every.cost[1])
    assert some.cost[1] == 0
    assert len(pairwise_wasserstein1(clouds, []).cost) == 0
    for wrong in ([[0, 4]], [[-1, 0]], [[0.5, 1.0]], [0, 1]):
        with pytest.raises(InputError, match="pairs: expected"):
            pairwise_wasserstein1(clouds, wrong)


@pytest.mark.parametrize("rtol", [-1.0, float("nan")])
def test_rtol_is_checked(rtol):
    with pytest.raises(InputError, match="rtol"):
        pairwise_wasserstein1([cloud(2, 3, 0)] * 2, rtol=rtol)
