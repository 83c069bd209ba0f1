"""A bound that passes over centroids changes no answer, and is taken where it pays."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nemd_toolkit import clustering, nearest_centroid, placing, pruning
from nemd_toolkit.clustering import kmeans
from tests import worlds


def flat(n, d, rank, seed=0, noise=0.05):
    """Rows near a subspace of `rank` dimensions."""
    g = torch.Generator().manual_seed(seed)
    low = torch.randn(n, rank, generator=g) @ torch.randn(rank, d, generator=g)
    return torch.nn.functional.normalize(low + noise * torch.randn(n, d, generator=g), dim=1)


def scores(x, centroids):
    return 0.5 * centroids.double().square().sum(1) - x.double() @ centroids.double().T


def found(search, x, blocks=(slice(None),)):
    out = torch.empty(len(x), dtype=torch.long)
    for number, block in enumerate(blocks):
        rows = x[block]
        search.find(number, rows, torch.empty(len(rows) * search.width), out[block])
    return out


@pytest.fixture
def small(monkeypatch):
    """Tiles of 7 centroids, and a bound wherever one can be had."""
    monkeypatch.setattr(pruning, "TILE", 7)
    monkeypatch.setattr(nearest_centroid, "TILE", 7)
    monkeypatch.setattr(placing, "_WORTH_PRUNING", 0)
    monkeypatch.setattr(pruning, "may_pay", lambda *_: True)
    monkeypatch.setattr(pruning, "_WORTH", float("inf"))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6), rank=st.integers(1, 30), width=st.sampled_from([1, 4, 16]),
    scale=st.sampled_from([1e-3, 1.0, 1e4]), k=st.integers(1, 40),
)  # fmt: skip
def test_the_bound_lies_below_every_score(seed, rank, width, scale, k):
    x, c = scale * flat(50, 32, rank, seed), scale * flat(k, 32, rank, seed + 1)
    bound = pruning.Bound(pruning._principal(x, width))
    low = bound.shortened(x) @ bound.shortened(c).T
    low = 0.5 * c.square().sum(1) - low
    assert bool((low <= scores(x, c) + bound.room(x, c)[:, None]).all())
    assert bool((bound.room(x, c) <= 1e-5 * scale**2).all())


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6), rank=st.integers(1, 30), width=st.sampled_from([1, 4, 16]),
    start=st.sampled_from(["none", "right", "wrong"]), kept=st.booleans(),
)  # fmt: skip
def test_the_answer_is_the_lowest_score(seed, rank, width, start, kept):
    x, c = flat(60, 32, rank, seed, noise=0.3), flat(33, 32, rank, seed + 1)
    bound = pruning.Bound(pruning._principal(x, width))
    exact = scores(x, c)
    blocks = (slice(0, 40), slice(40, 60))
    before = {"none": None, "right": exact.argmin(1), "wrong": exact.argmax(1)}[start]
    search = pruning.PrunedSearch(
        bound, c,
        [bound.shortened(x[block]) for block in blocks] if kept else None,
        None if before is None else [before[block] for block in blocks],
    )  # fmt: skip
    nearest = found(search, x, blocks)
    lowest = exact.gather(1, nearest[:, None])[:, 0]
    assert bool((lowest <= exact.amin(1) + 1e-6).all())
    assert float((nearest == exact.argmin(1)).double().mean()) > 0.99


def test_equal_centroids_and_rows_of_nothing_go_to_the_first(small):
    c = flat(20, 32, 3)
    c[11] = c[4]
    x = torch.cat([c[[4, 11]], torch.zeros(2, 32)])
    bound = pruning.Bound(pruning._principal(flat(90, 32, 3), 4))
    assert found(pruning.PrunedSearch(bound, c, None, None), x)[:2].tolist() == [4, 4]
    centred = torch.cat([c, torch.zeros(1, 32)])
    nearest = found(pruning.PrunedSearch(bound, centred, None, None), x)
    assert nearest.tolist()[2:] == [20, 20]


def test_few_directions_are_taken_where_rows_lie_in_few_and_none_in_noise():
    rows = flat(1_500, 128, 5, noise=0.0)
    bound = pruning.bound_for(rows, rows[-400:])
    assert bound is not None
    assert bound.basis.shape == (128, 8)
    assert pruning.bound_for(worlds.noise(1_500, 128), worlds.noise(400, 128, seed=9)) is None
    assert pruning.bound_for(flat(1_500, 15, 3), flat(400, 15, 3)) is None
    assert pruning.bound_for(rows[:300], rows[-400:]) is None
    assert pruning.bound_for(float("inf") * rows, rows[:400]) is None


def test_it_pays_by_the_work():
    assert pruning.may_pay(60_000, 500, 128)
    assert not pruning.may_pay(2_000, 20, 128)
    assert not pruning.may_pay(60_000, 20, 2_048)
    assert pruning.may_pay(60_000, 400, 2_048)


@pytest.mark.parametrize("spherical", [True, False])
@pytest.mark.parametrize("fitted", [None, 900])
def test_k_means_is_the_same_with_and_without(small, monkeypatch, spherical, fitted):
    x = flat(2_000, 48, 6, noise=0.1) * (1.0 if spherical else 30.0)
    options = {"spherical": spherical, "seed": 3, "most_rows": fitted}
    taken = []
    monkeypatch.setattr(clustering.Rows, "_search", _noting(clustering.Rows._search, taken))
    quick = kmeans(x, 100, **options)
    assert taken.count("PrunedSearch") >= 3
    assert taken.count("Search") == 1  # around seeds
    monkeypatch.setattr(placing, "_WORTH_PRUNING", float("inf"))
    plain = kmeans(x, 100, **options)
    assert taken[-1] == "Search"
    assert torch.equal(quick.assignment, plain.assignment)
    assert torch.equal(quick.centroids, plain.centroids)
    assert torch.equal(quick.squared_distances, plain.squared_distances)


def _noting(search, taken):
    def noted(*args):
        chosen = search(*args)
        taken.append(type(chosen).__name__)
        return chosen

    return noted


def test_double_precision_is_searched_the_plain_way(small):
    x = flat(300, 48, 6).double()
    assert kmeans(x, 20).centroids.dtype == torch.float64
    np.testing.assert_allclose(kmeans(x, 20).objective, kmeans(x.float(), 20).objective, rtol=1e-4)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("some", [False, True])
def test_rows_go_to_the_direction_of_highest_cosine(small, monkeypatch, threads, some):
    monkeypatch.setattr(placing, "_GATHERED", 64)
    monkeypatch.setattr(placing, "_rows_at_a_time", lambda *_: 64)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    made = []
    search = pruning.PrunedSearch
    monkeypatch.setattr(
        pruning, "PrunedSearch", lambda *words: made.append(words) or search(*words)
    )
    x, directions = flat(1_500, 32, 5, noise=0.3), flat(200, 32, 5, seed=1)
    rows = torch.randperm(1_500)[:700] if some else None
    found = placing.nearest_directions(x, directions, rows)
    cosines = (x if rows is None else x[rows]).double() @ directions.double().T
    assert len(made) == 1  # the bound was used
    best = cosines.max(1).values
    reached = cosines.gather(1, found[:, None])[:, 0]
    torch.testing.assert_close(reached, best, rtol=0, atol=1e-6)
    assert float((found == cosines.argmax(1)).double().mean()) > 0.999
    doubled = torch.cat([directions, directions])  # of equal ones the first
    assert torch.equal(placing.nearest_directions(x, doubled, rows), found)
