"""2NN on spheres of known dimension, against a double loop, and where it has no answer."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.intrinsic import measure_intrinsic_dimension, two_nn
from nemd_toolkit.measures.neighbours import nearest_others
from tests import worlds


def measured(points, seed=0, groups=None):
    return measure_intrinsic_dimension(Embeddings(points, groups=groups), seed=seed)


def alone(count):
    """No neighbours: every row for itself."""
    return np.empty((count, 0), dtype=np.int64)


def loop_ratios(points):
    """r₂/r₁ of each row, by comparing coordinate differences one pair at a time."""
    rows = points.double().tolist()
    ratios = []
    for i, x in enumerate(rows):
        distances = sorted(math.dist(x, y) for j, y in enumerate(rows) if j != i)
        ratios.append(distances[1] / distances[0])
    return np.array(ratios)


@given(seed=st.integers(0, 2**31), n=st.integers(20, 60), d=st.integers(2, 9))
def test_dimension_is_that_of_a_double_loop(seed, n, d):
    x = worlds.noise(n, d, seed=seed)
    logs = np.sort(np.log(loop_ratios(x)))
    kept = n - n // 10
    # the likelihood d^kept exp(−d Σ log μ) of those kept, times P(ratio > largest)^rest
    want = kept / (logs[:kept].sum() + (n - kept) * logs[kept - 1])
    found = measured(x)
    assert found.dimension.value == pytest.approx(want, rel=1e-6)
    assert found.dimension.low < want < found.dimension.high
    assert (found.rows, found.among, found.repeats) == (n, n, 0)


def test_without_discarding_it_is_the_papers_ratio():
    ratios = loop_ratios(worlds.noise(50, 4))
    want = len(ratios) / np.log(ratios).sum()
    assert two_nn(ratios, alone(50), discard=0.0).value == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("dimension", [1, 2, 4, 7])
def test_uniform_spheres_have_their_dimension_whatever_space_they_lie_in(dimension):
    x = worlds.noise(4000, dimension + 1, seed=5)
    turned = (
        x.double()
        @ torch.linalg.qr(
            torch.randn(40, dimension + 1, generator=torch.Generator().manual_seed(1)).double()
        ).Q.T
    )
    found = measured(turned)
    assert found.dimension.value == pytest.approx(dimension, rel=0.1)
    assert found.dimension.low < found.dimension.value < found.dimension.high


def test_the_interval_covers_a_known_dimension_as_often_as_it_says():
    found = [measured(worlds.noise(300, 3, seed=s)).dimension for s in range(300)]
    covered = sum(f.low <= 2 <= f.high for f in found)
    assert 0.92 * 300 <= covered <= 0.98 * 300  # the trap: 0.89 with rows taken as independent


def test_the_interval_is_that_of_a_double_loop_over_linked_rows():
    ratios = loop_ratios(worlds.noise(40, 4))
    neighbours = np.random.default_rng(0).integers(0, 60, (40, 2))  # some outside
    logs = np.log(ratios)
    largest = np.sort(logs)[35]
    value = 36 / np.minimum(logs, largest).sum()
    scores = [(log <= largest) - value * min(log, largest) for log in logs]
    variance = 0.0
    for i in range(40):
        for j in range(40):
            if i == j or j in neighbours[i] or i in neighbours[j]:
                variance += scores[i] * scores[j]
    variance = max(variance, sum(s * s for s in scores))
    found = two_nn(ratios, neighbours)
    assert found.value == pytest.approx(value, rel=1e-9)
    reach = 1.959964 * math.sqrt(variance) / 36
    assert found.high == pytest.approx(value * math.exp(reach), rel=1e-6)
    assert found.low == pytest.approx(value * math.exp(-reach), rel=1e-6)


def test_views_of_one_sample_are_not_taken_for_neighbours():
    x = worlds.noise(800, 4)
    views = torch.cat([x, x + 0.001 * worlds.noise(800, 4, seed=1)])
    assert measured(views).dimension.value < 1  # the trap: the scale of augmentation
    found = measured(views, groups=np.arange(1600) % 800)
    assert found.among == 800
    assert found.dimension.value == pytest.approx(measured(x).dimension.value, rel=1e-6)


def test_leaving_out_the_largest_ratios_does_not_bias_as_plain_trimming_does():
    rng = np.random.default_rng(0)
    ratios = np.exp(rng.exponential(1 / 6, 20_000))  # Pareto of exponent 6
    kept = np.sort(np.log(ratios))[:18_000]
    assert len(kept) / kept.sum() > 7.5  # the trap: trimmed, and not said so
    assert two_nn(ratios, alone(20_000)).value == pytest.approx(6, rel=0.03)


def test_repeated_rows_are_left_out_and_counted():
    x = worlds.noise(400, 4)
    once, thrice = measured(x), measured(x.repeat(3, 1))
    assert (thrice.repeats, thrice.among) == (800, 400)
    assert thrice.dimension.value == pytest.approx(once.dimension.value, rel=1e-9)


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        (worlds.noise(19, 5), "expected at least 20 distinct rows, got 19"),
        (worlds.points(8, 500, 5), "expected at least 20 distinct rows, got 8"),
        (worlds.equal(100, 5), "expected at least 20 distinct rows, got 1"),
        (worlds.noise(1, 5), "expected at least 20 distinct rows, got 1"),
        (torch.eye(30), "only ties"),
        (worlds.equal(500, 64, 1e-7), "farther apart than float32 rounding"),
        (worlds.rank(1, 100, 9), "farther apart than float32 rounding"),
    ],
)
def test_where_there_is_no_dimension_a_reason_stands_in(points, reason):
    found = measured(points)
    assert found.dimension is None
    assert reason in found.missing


def test_rows_used_are_capped_and_told(monkeypatch):
    monkeypatch.setattr("nemd_toolkit.measures.intrinsic.ROWS", 50)
    monkeypatch.setattr("nemd_toolkit.measures.intrinsic.AMONG", 200)
    x = worlds.noise(900, 3)
    found = measured(x, seed=3)
    assert (found.rows, found.among) == (50, 200)
    assert found == measured(x, seed=3)
    assert found != measured(x, seed=4)
    monkeypatch.setattr("nemd_toolkit.measures.intrinsic.ENTRIES", 300)
    assert measured(x).among == 100  # of 3 numbers each


@pytest.mark.parametrize("jitter", [1.0, 1e-3, 1e-7, 1e-9, 0.0])
@pytest.mark.parametrize("columns", [2, 50, 8_192])  # fewer than neighbours, and a part left over
def test_neighbours_are_right_at_any_distance(jitter, columns, monkeypatch):
    monkeypatch.setattr("nemd_toolkit.measures.neighbours._BLOCK", 900)  # several blocks
    monkeypatch.setattr("nemd_toolkit.measures.neighbours._COLUMNS", columns)
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(6, 9, generator=g, dtype=torch.float64)
    x = centres.repeat(20, 1) + jitter * torch.randn(120, 9, generator=g, dtype=torch.float64)
    rows = torch.tensor([7, 0, 119, 50, 51, 52, 53, 54, 55, 56])
    differences = (x[rows, None] - x).square().sum(2)
    differences[torch.arange(10), rows] = torch.inf
    want = differences.sort(dim=1).values[:, :3]
    found = nearest_others(x, rows, k=3)
    np.testing.assert_allclose(found.squares, want, rtol=1e-6, atol=0)


def test_more_neighbours_than_rows_are_refused():
    with pytest.raises(InputError, match="between 1 and 2 of them .* got 3"):
        nearest_others(torch.eye(3), torch.arange(3), k=3)
