"""The nearest clouds are those of the full matrix, and what is not proven says so."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemd_toolkit.errors import InputError
from nemd_toolkit.transport import nearest as module
from nemd_toolkit.transport import pairwise_wasserstein1
from nemd_toolkit.transport.lower_bounds import (
    Frame,
    Near,
    centroid_bounds,
    quick_lower_bounds,
    squared_distances,
)
from nemd_toolkit.transport.moments import MemberClouds, cloud_moments
from nemd_toolkit.transport.nearest import nearest_clouds


def unit(points):
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


def groups(seed, count=40, dim=16, sizes=(20, 40), spreads=(0.7, 0.7)):
    """Normalised Gaussian clouds about random directions."""
    rng = np.random.default_rng(seed)
    clouds = []
    for _ in range(count):
        n, spread = rng.integers(sizes[0], sizes[1] + 1), rng.uniform(*spreads)
        noise = rng.standard_normal((n, dim)) / np.sqrt(dim)
        clouds.append(unit(unit(rng.standard_normal(dim)) + spread * noise))
    return clouds


def collapsed(seed):
    rng = np.random.default_rng(seed)
    return [unit(np.eye(8)[0] + 1e-7 * rng.standard_normal((9, 8))) for _ in range(15)]


def full_matrix(clouds):
    """Return exact costs between all clouds; infinity on the diagonal."""
    found = pairwise_wasserstein1(clouds)
    matrix = np.full((len(clouds), len(clouds)), np.inf)
    matrix[tuple(found.pairs.T)] = found.cost
    return np.minimum(matrix, matrix.T)


def answer(matrix, clouds):
    """Return the lowest index within the tie of each row's minimum, and the minimum."""
    spread = [np.sqrt(np.square(c - c.mean(0)).sum(1).mean()) for c in clouds]
    least = matrix.min(axis=1)
    tie = 1e-10 * (np.array(spread) + least)
    return np.argmax(matrix <= (least + tie)[:, None], axis=1), least


FAMILIES = {
    "equal spreads": groups(1),
    "mixed spreads": groups(2, spreads=(0.05, 2.0)),
    "sizes 1…40": groups(3, sizes=(1, 40)),
    "single points": groups(4, sizes=(1, 1)),
    "low dimension": groups(5, dim=2),
    "high dimension": groups(6, count=25, dim=300),
    "no structure": groups(7, spreads=(50, 50)),
    "two clouds": groups(8, count=2),
    "duplicated": (lambda c: [*c, *c[::-1], c[0]])(groups(9, count=12)),
    "repeated points": [np.repeat(c, 1 + k % 3, axis=0) for k, c in enumerate(groups(10)[:5] * 3)],
    "identical": [groups(11, count=1)[0]] * 12,
    "identical points": [np.full((k + 1, 3), 0.3) for k in range(8)],
    "collapsed": collapsed(12),
    "far from the origin": [c + 1e6 for c in groups(13, count=15)],
    "tiny": [c * 1e-30 for c in groups(14, count=15)],
    "huge": [c * 1e60 for c in groups(15, count=15)],
    "same centre": [s * np.concatenate([c, -c]) for s, c in enumerate(groups(16)[:6], 1)],
}


@pytest.mark.parametrize("name", FAMILIES)
def test_equals_the_full_matrix(name):
    clouds = FAMILIES[name]
    index, cost = answer(full_matrix(clouds), clouds)
    found = nearest_clouds(clouds)
    assert found.certified.all()
    assert found.index.tolist() == index.tolist()
    assert found.cost == pytest.approx(cost, rel=1e-9, abs=1e-9 * cost.max())
    assert (found.lower == found.cost).all()


@given(seed=st.integers(0, 10**6), count=st.integers(2, 12), dim=st.integers(1, 6))
def test_equals_the_full_matrix_on_clouds_with_many_ties(seed, count, dim):
    rng = np.random.default_rng(seed)
    corners = [rng.integers(0, 2, (rng.integers(1, 5), dim)) * 1.0 for _ in range(count)]
    index, cost = answer(full_matrix(corners), corners)
    found = nearest_clouds(corners)
    assert found.certified.all()
    assert found.index.tolist() == index.tolist()
    assert found.cost == pytest.approx(cost, abs=1e-12)


@given(
    seed=st.integers(0, 10**6),
    spread=st.sampled_from([1e-9, 1e-4, 0.3, 1.0, 10.0]),
    offset=st.sampled_from([0.0, 1.0, 1e5]),
    scale=st.sampled_from([1.0, 1e-20, 1e20]),
    dim=st.integers(1, 40),
)
def test_no_bound_is_above_the_cost(seed, spread, offset, scale, dim):
    made = groups(seed, count=6, dim=dim, sizes=(1, 15), spreads=(spread, spread))
    clouds = [scale * (c + offset) for c in [*made, made[0]]]
    exact = full_matrix(clouds)
    moments, every = cloud_moments(clouds), np.arange(len(clouds))
    frame = Frame.of(moments, clouds[0])
    centroids = centroid_bounds(squared_distances(moments.means, every), moments, every, frame)
    near = Near.read(clouds, every, frame)
    quick = quick_lower_bounds(near, near, np.isfinite(exact), frame)
    room = 1e-12 * scale * (1 + spread)  # of the exact costs
    assert (centroids <= exact + room).all()
    assert (quick <= exact + room)[np.isfinite(exact)].all()


@pytest.mark.parametrize("height", [0.3, 0.5, 0.7])
@pytest.mark.parametrize("size", [3, 300, 1500])
def test_sums_of_many_equal_potentials_do_not_lift_a_bound(size, height):
    # two heaps, moved up: the bound is tight, and sums in float32 would be above it
    heaps = np.repeat(np.eye(3)[:2], size, axis=0)
    clouds = [heaps, heaps + height * np.eye(3)[2]]
    frame, every = Frame.of(cloud_moments(clouds), heaps), np.arange(2)
    near = Near.read(clouds, every, frame)
    quick = quick_lower_bounds(near, near, np.eye(2, k=1, dtype=bool), frame)[0, 1]
    assert 0.999 * height < quick <= height


def test_the_quick_bound_is_near_and_far_above_relaxed_transport():
    clouds = groups(21, count=8, dim=64)
    exact, every = full_matrix(clouds), np.arange(8)
    frame = Frame.of(cloud_moments(clouds), clouds[0])
    near = Near.read(clouds, every, frame)
    quick = quick_lower_bounds(near, near, np.isfinite(exact), frame)
    pairs = np.triu_indices(8, 1)
    missing = 1 - quick[pairs] / exact[pairs]
    points = [torch.from_numpy(cloud) for cloud in clouds]
    distances = [torch.cdist(points[p], points[q]) for p, q in np.stack(pairs, axis=1)]
    relaxed = np.array([max(c.amin(0).mean(), c.amin(1).mean()) for c in distances])
    assert missing.max() < 0.01
    assert (missing < 0.5 * (1 - relaxed / exact[pairs])).all()


def test_what_is_not_wanted_is_not_bounded():
    clouds = groups(22, count=4)
    frame = Frame.of(cloud_moments(clouds), clouds[0])
    near = Near.read(clouds, np.arange(4), frame)
    wanted = np.eye(4, k=1, dtype=bool)
    assert ((quick_lower_bounds(near, near, wanted, frame) > 0) == wanted).all()


def test_few_pairs_are_solved():
    clouds = groups(23, count=150, dim=64)
    found = nearest_clouds(clouds)
    assert found.certified.all()
    assert found.candidates == 150 * 149 >= found.after_centroids >= found.after_points
    assert found.after_points < 0.1 * found.candidates
    assert found.solved <= 1.5 * 150


def test_separate_groups_are_left_to_the_centroids():
    centres = 100 * np.eye(8)
    clouds = [c + centres[k // 2] for k, c in enumerate(groups(24, count=16, dim=8))]
    found = nearest_clouds(clouds, most=1)
    assert found.certified.all()
    assert found.index.tolist() == [k + 1 - 2 * (k % 2) for k in range(16)]
    assert found.after_centroids <= 16
    assert found.solved <= 8


def test_identical_clouds_do_not_cost_a_solve_for_every_pair():
    assert nearest_clouds([groups(25, count=1)[0]] * 60).solved <= 60


def wide_and_points(seed):
    """Return a cloud, six single points that moments predict to be nearer to it, and its twin."""
    wide = groups(seed, count=1, spreads=(20, 20))[0]
    rng = np.random.default_rng(seed)
    points = [wide.mean(0) + 0.01 * rng.standard_normal((1, 16)) for _ in range(6)]
    return [wide, *points, np.roll(wide, 3, axis=0)]


def test_a_budget_that_misses_the_nearest_does_not_certify():
    clouds = wide_and_points(31)
    found = nearest_clouds(clouds, of=[0], most=6)
    assert not found.certified[0]
    assert found.index[0] in range(1, 7)
    assert found.lower[0] <= 1e-12  # the twin is at distance 0
    assert found.cost[0] > 0.5
    whole = nearest_clouds(clouds, of=[0], most=7)
    assert whole.certified[0]
    assert whole.index[0] == 7


@given(
    seed=st.integers(0, 10**6),
    most=st.integers(1, 6),
    spreads=st.sampled_from([(0.01, 0.01), (0.2, 0.2), (0.01, 3.0)]),
    dim=st.integers(2, 5),
)
def test_a_budget_never_certifies_a_wrong_answer(seed, most, spreads, dim):
    clouds = groups(seed, count=9, dim=dim, sizes=(1, 6), spreads=spreads)
    clouds.append(clouds[0])
    matrix = full_matrix(clouds)
    index, cost = answer(matrix, clouds)
    found = nearest_clouds(clouds, most=most)
    sure = found.certified
    assert (found.index == index)[sure].all()
    assert found.cost == pytest.approx(matrix[np.arange(10), found.index], abs=1e-12)
    assert (found.lower == found.cost)[sure].all()
    assert (found.lower <= cost + 1e-12).all()
    assert (found.cost >= cost - 1e-12).all()


def test_a_tie_beyond_the_budget_is_not_certified():
    # both neighbours of cloud 2 are at distance 1; the budget looks at the later one only
    clouds = [np.array([[-1.0, 0]]), np.array([[50.0, 0]]), np.zeros((1, 2)), np.array([[1.0, 0]])]
    clouds[0] = np.repeat(clouds[0], 2, axis=0) + np.array([[0, 1e-3], [0, -1e-3]])
    found = nearest_clouds(clouds, of=[2], most=1)
    assert found.index[0] == 3
    assert not found.certified[0]


def test_chosen_queries_are_rows_of_the_whole():
    clouds = groups(41)
    whole, some = nearest_clouds(clouds), nearest_clouds(clouds, of=[31, 2, 17])
    assert some.queries.tolist() == [31, 2, 17]
    assert some.index.tolist() == whole.index[[31, 2, 17]].tolist()
    assert some.cost == pytest.approx(whole.cost[[31, 2, 17]], rel=1e-12)


@pytest.mark.parametrize("most", [None, 3])
def test_cutting_the_work_changes_nothing(monkeypatch, most):
    clouds = groups(42)
    whole = nearest_clouds(clouds, most=most)
    monkeypatch.setattr(module, "_ENTRIES", 300)
    monkeypatch.setattr(module, "_HELD", 2000)
    monkeypatch.setattr(module, "_CHUNK", 1000)
    cut = nearest_clouds(clouds, most=most)
    assert cut.index.tolist() == whole.index.tolist()
    assert cut.cost == pytest.approx(whole.cost, rel=1e-12)
    assert cut.candidates == whole.candidates


def test_the_number_of_threads_changes_nothing():
    clouds, before = groups(43), torch.get_num_threads()
    one = nearest_clouds(clouds)
    try:
        torch.set_num_threads(3)
        three = nearest_clouds(clouds)
    finally:
        torch.set_num_threads(before)
    for name in ("index", "cost", "lower"):
        assert getattr(one, name).tolist() == getattr(three, name).tolist()


def test_clouds_may_lie_in_a_memory_mapped_array(tmp_path):
    clouds = [c.astype(np.float32) for c in groups(44)]
    numbers = np.repeat(np.arange(len(clouds)), [len(c) for c in clouds])
    order = np.random.default_rng(0).permutation(len(numbers))
    np.save(tmp_path / "points.npy", np.concatenate(clouds)[order])
    points = np.load(tmp_path / "points.npy", mmap_mode="r")
    mapped = nearest_clouds(MemberClouds(points, numbers[order]))
    assert mapped.index.tolist() == nearest_clouds(clouds).index.tolist()


@pytest.mark.parametrize("of", [[0, 0], [-1], [40], [0.0], [[1]], []])
def test_queries_are_checked(of):
    with pytest.raises(InputError, match="of: expected distinct integers in 0…39"):
        nearest_clouds(groups(1), of=of)


def test_unusable_clouds_and_budgets_are_refused():
    clouds = groups(51, count=4)
    with pytest.raises(InputError, match="most: expected at least 1, got 0"):
        nearest_clouds(clouds, most=0)
    with pytest.raises(InputError, match="at least two"):
        nearest_clouds(clouds[:1])
    with pytest.raises(InputError, match="cloud 1: expected finite"):
        nearest_clouds([clouds[0], clouds[1] * np.nan])
    with pytest.raises(InputError, match="rescale"):
        nearest_clouds([clouds[0] * 1e200, clouds[1] * -1e200])
