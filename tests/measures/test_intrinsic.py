"""2NN on spheres of known dimension, against a double loop, and where it has no answer."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.intrinsic import measure_intrinsic_dimension, two_nn
from nemd_toolkit.measures.neighbours import nearest_squares
from tests import worlds


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
    found = measure_intrinsic_dimension(x)
    assert found.dimension.value == pytest.approx(want, rel=1e-6)
    assert found.dimension.low < want < found.dimension.high
    assert (found.rows, found.among, found.repeats) == (n, n, 0)


def test_without_discarding_it_is_the_papers_ratio():
    ratios = loop_ratios(worlds.noise(50, 4))
    want = len(ratios) / np.log(ratios).sum()
    assert two_nn(ratios, discard=0.0).value == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("dimension", [1, 2, 4, 7])
def test_uniform_spheres_have_their_dimension_whatever_space_they_lie_in(dimension):
    x = worlds.noise(4000, dimension + 1, seed=5)
    turned = (
        x.double()
        @ torch.linalg.qr(
            torch.randn(40, dimension + 1, generator=torch.Generator().manual_seed(1)).double()
        ).Q.T
    )
    found = measure_intrinsic_dimension(turned.float())
    assert found.dimension.value == pytest.approx(dimension, rel=0.1)
    assert found.dimension.low < found.dimension.value < found.dimension.high


def test_the_interval_covers_a_known_dimension_about_as_often_as_it_says():
    found = [measure_intrinsic_dimension(worlds.noise(300, 3, seed=s)) for s in range(100)]
    covered = sum(f.dimension.low <= 2 <= f.dimension.high for f in found)
    assert 85 <= covered <= 100


def test_leaving_out_the_largest_ratios_does_not_bias_as_plain_trimming_does():
    rng = np.random.default_rng(0)
    ratios = np.exp(rng.exponential(1 / 6, 20_000))  # Pareto of exponent 6
    kept = np.sort(np.log(ratios))[:18_000]
    assert len(kept) / kept.sum() > 7.5  # the trap: trimmed, and not said so
    assert two_nn(ratios).value == pytest.approx(6, rel=0.03)


def test_repeated_rows_are_left_out_and_counted():
    x = worlds.noise(400, 4)
    once, thrice = measure_intrinsic_dimension(x), measure_intrinsic_dimension(x.repeat(3, 1))
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
    ],
)
def test_where_there_is_no_dimension_a_reason_stands_in(points, reason):
    found = measure_intrinsic_dimension(points)
    assert found.dimension is None
    assert reason in found.missing


def test_rows_used_are_capped_and_told(monkeypatch):
    monkeypatch.setattr("nemd_toolkit.measures.intrinsic.ROWS", 50)
    monkeypatch.setattr("nemd_toolkit.measures.intrinsic.AMONG", 200)
    x = worlds.noise(900, 3)
    found = measure_intrinsic_dimension(x, seed=3)
    assert (found.rows, found.among) == (50, 200)
    assert found == measure_intrinsic_dimension(x, seed=3)
    assert found != measure_intrinsic_dimension(x, seed=4)


@pytest.mark.parametrize("jitter", [1.0, 1e-3, 1e-7, 1e-9, 0.0])
def test_neighbours_are_right_at_any_distance(jitter, monkeypatch):
    monkeypatch.setattr("nemd_toolkit.measures.neighbours._BLOCK", 900)  # several blocks
    g = torch.Generator().manual_seed(0)
    centres = torch.randn(6, 9, generator=g, dtype=torch.float64)
    x = centres.repeat(20, 1) + jitter * torch.randn(120, 9, generator=g, dtype=torch.float64)
    rows = torch.tensor([7, 0, 119, 50, 51, 52, 53, 54, 55, 56])
    differences = (x[rows, None] - x).square().sum(2)
    differences[torch.arange(10), rows] = torch.inf
    want = differences.sort(dim=1).values[:, :3]
    np.testing.assert_allclose(nearest_squares(x, rows, k=3), want, rtol=1e-6, atol=0)


def test_more_neighbours_than_rows_are_refused():
    with pytest.raises(InputError, match="between 1 and 2 of them .* got 3"):
        nearest_squares(torch.eye(3), torch.arange(3), k=3)
