import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import KMeans as Reference

from nemd_toolkit import clustering, seeding
from nemd_toolkit.clustering import kmeans
from nemd_toolkit.errors import InputError
from nemd_toolkit.sphere import to_sphere
from tests import worlds


@pytest.mark.parametrize("spherical", [True, False])
@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), k=st.integers(1, 8))
def test_result_is_a_fixed_point_of_lloyds_steps(spherical, seed, n, k):
    g = torch.Generator().manual_seed(seed)
    x = to_sphere(torch.randn(n, 4, generator=g))
    found = kmeans(x, min(k, n), seed=seed, spherical=spherical, iterations=200)
    assert found.converged
    distances = torch.cdist(x.double(), found.centroids.double()).square()
    own = distances.gather(1, found.assignment[:, None]).squeeze(1)
    assert (own <= distances.min(1).values + 1e-5).all()  # each row with its nearest centroid
    torch.testing.assert_close(found.squared_distances.double(), own, atol=1e-5, rtol=1e-4)
    for c in found.assignment.unique().tolist():  # each centroid the mean of its rows
        mean = x[found.assignment == c].mean(0)
        want = mean / mean.norm() if spherical else mean
        torch.testing.assert_close(found.centroids[c], want, atol=1e-4, rtol=1e-3)


def test_objective_is_as_good_as_scikit_learns_over_seeds():
    x, _ = worlds.clusters(2000, 32, 30, 0.9)
    ours = [kmeans(x, 30, seed=s, spherical=False, iterations=100).objective for s in range(8)]
    theirs = [Reference(30, n_init=1, random_state=s).fit(x.numpy()).inertia_ for s in range(8)]
    assert np.mean(ours) <= 1.01 * np.mean(theirs) / len(x)


def test_well_separated_groups_are_found():
    x, group = worlds.clusters(1000, 32, 8, 0.1)
    found = kmeans(x, 8, seed=0, restarts=3)
    table = np.zeros((8, 8), int)
    np.add.at(table, (group.numpy(), found.assignment.numpy()), 1)
    assert ((table > 0).sum(0) == 1).all()
    assert ((table > 0).sum(1) == 1).all()


def test_identical_points_use_one_prototype_and_nothing_is_nan():
    found = kmeans(torch.ones(50, 4) / 2, 7)
    assert found.used == 1
    assert found.objective == 0
    assert torch.isfinite(found.centroids).all()


def test_fewer_distinct_points_than_prototypes_leave_some_unused():
    x = worlds.points(distinct=5, count=200)
    found = kmeans(x, 12)
    assert found.used == 5
    assert found.objective < 1e-12


def test_as_many_prototypes_as_distinct_points_are_all_used():
    x = worlds.points(distinct=9, count=9 * 40)
    assert kmeans(x, len(x.unique(dim=0)), restarts=5).used == len(x.unique(dim=0))


def test_same_seed_same_bytes_and_another_seed_differs():
    x = worlds.noise(500, 16)
    first, second, other = (kmeans(x, 20, seed=s) for s in (3, 3, 4))
    assert torch.equal(first.centroids, second.centroids)
    assert torch.equal(first.assignment, second.assignment)
    assert not torch.equal(first.assignment, other.assignment)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_deterministic_algorithms_suffice_on_cuda(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True)
    try:
        assert kmeans(worlds.noise(100, 4).cuda(), 5).used == 5
    finally:
        torch.use_deterministic_algorithms(False)


def test_seeding_sums_on_the_cpu(monkeypatch):
    places, cpu = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda x: places.append(x.dtype) or cpu(x))
    kmeans(worlds.noise(20, 4), 3)
    assert places.count(torch.float64) == 2  # cumsum in float64 has no deterministic kernel on CUDA


def test_more_restarts_are_never_worse():
    x, _ = worlds.clusters(600, 16, 15, 0.5)
    assert kmeans(x, 15, restarts=6).objective <= kmeans(x, 15).objective


def test_members_that_cancel_leave_a_unit_centroid():
    found = kmeans(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]), 1)
    assert found.centroids.norm(dim=1).tolist() == [1.0]


@pytest.mark.parametrize("k", [0, -1, 11])
def test_a_number_of_prototypes_outside_the_samples_is_refused(k):
    with pytest.raises(InputError, match=f"between 1 and 10 .* got {k}"):
        kmeans(worlds.noise(10, 4), k)


def test_many_rows_are_assigned_to_centroids_of_a_sample(monkeypatch):
    monkeypatch.setattr("nemd_toolkit.clustering._ENOUGH_ROWS", 300)
    monkeypatch.setattr("nemd_toolkit.clustering._ENOUGH_ROWS_EACH", 20)
    monkeypatch.setattr("nemd_toolkit.clustering._SEED_ROWS", 100)
    x, group = worlds.clusters(3000, 16, 6, 0.3, seed=2)
    order = group.argsort()  # sorted by group: the first rows know one group only
    found = kmeans(x[order], 6)
    assert found.fitted_rows == 300
    assert len(found.assignment) == len(found.squared_distances) == 3000
    nearest = torch.cdist(x[order].double(), found.centroids.double()).argmin(1)
    assert (found.assignment == nearest).float().mean() > 0.999
    assert len({(int(a), int(b)) for a, b in zip(found.assignment, group[order], strict=True)}) == 6
    assert kmeans(x[:300], 6).fitted_rows == 300


def _seeds_potential(x, k, *, ahead):
    seeds = seeding.plus_plus(x, k, torch.Generator().manual_seed(5), ahead=ahead)
    return float(torch.cdist(x, seeds).square().min(1).values.mean())


@pytest.mark.parametrize("world", [worlds.noise(3000, 32), worlds.clusters(3000, 32, 150, 0.5)[0]])
def test_seeds_drawn_several_at_a_time_are_as_good_as_one_by_one(world):
    several = _seeds_potential(world, 320, ahead=True)  # 5 at a time
    assert several <= 1.03 * _seeds_potential(world, 320, ahead=False)


def greedy_seeds(x, k, generator):
    """Greedy k-means++ as Arthur & Vassilvitskii's 2007 §3 has it, in float64."""
    x, trials = x.double(), 2 + int(math.log(k))
    chosen = [int(torch.randint(len(x), (1,), generator=generator))]
    for draws in torch.rand(k - 1, trials, generator=generator, dtype=torch.float64):
        closest = (x[:, None] - x[chosen]).square().sum(2).amin(1)
        mass = closest.cumsum(0)
        candidates = torch.searchsorted(mass, draws * mass[-1], right=True)
        left = closest[:, None].minimum((x[:, None] - x[candidates]).square().sum(2)).sum(0)
        chosen.append(int(candidates[left.argmin()]))
    return chosen


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block", [1, 1 << 24])  # ahead of one seed, and of that where k is small
@pytest.mark.parametrize("count", [400, 1100])  # less than a run of rows, and two with a part
def test_seeds_are_those_of_the_definition(monkeypatch, count, block, dtype):
    monkeypatch.setattr(seeding, "_BLOCK", block)
    monkeypatch.setattr(seeding, "_ROWS", 1024)
    x = 3 * worlds.clusters(count, 16, 12, 0.6)[0].to(dtype)  # not on the unit sphere
    expected = x[greedy_seeds(x, 30, torch.Generator().manual_seed(1))]
    for ahead in (False, True):
        found = seeding.plus_plus(x, 30, torch.Generator().manual_seed(1), ahead=ahead)
        assert torch.equal(found, expected)


def test_seeds_of_equal_points_are_that_point_and_threads_are_given_back():
    threads = torch.get_num_threads()
    for ahead in (False, True):
        found = seeding.plus_plus(torch.ones(9, 4) / 2, 5, torch.Generator(), ahead=ahead)
        assert found.tolist() == [[0.5] * 4] * 5
    assert torch.get_num_threads() == threads


def test_what_a_seed_would_leave_is_the_same_without_the_kernel():
    """As it is computed on a GPU."""
    x = worlds.clusters(700, 12, 9, 0.5)[0]
    share = seeding._Share(x, shared=False)
    share.compare(torch.arange(0, 60, 5))
    share.take(0)
    found = share.totals(2, 7)
    apart = share._squared_distances(2, 7).minimum(share._closest[:, None])
    expected = (
        (x[:, None] - x[0]).square().sum(2).minimum((x[:, None] - x[10:45:5]).square().sum(2))
    )
    torch.testing.assert_close(found, expected.double().sum(0), rtol=1e-5, atol=0)
    torch.testing.assert_close(found, apart.double().sum((0, 2)), rtol=1e-6, atol=0)


@pytest.mark.parametrize("world", [worlds.noise(4000, 16), worlds.clusters(4000, 16, 90, 0.9)[0]])
def test_very_many_rows_are_fitted_to_within_half_a_percent_of_the_long_run(world, monkeypatch):
    k = 90
    long = kmeans(world, k, iterations=200)
    monkeypatch.setattr(clustering, "_ENOUGH_ROWS", 1000)
    monkeypatch.setattr(clustering, "_ENOUGH_ROWS_EACH", 100)
    short = kmeans(world, k, iterations=200)
    assert short.converged
    assert short.iterations < long.iterations
    assert short.objective <= 1.005 * long.objective
