"""What is said of all pairs from few: against all pairs, known without a solver."""

import functools
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from nemd_toolkit.errors import InputError
from nemd_toolkit.transport import pairwise_wasserstein1
from nemd_toolkit.transport.all_pairs import (
    _drawn,
    all_pairs_wasserstein1,
    estimate_all_pairs,
)
from nemd_toolkit.transport.moments import MemberClouds, cloud_moments, predict_all_pairs
from nemd_toolkit.transport.results import Pairs, pairs_by_rank

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
seeds = st.integers(0, 10**6)


def clouds_of(seed, count, dimension=3):
    """Clouds of 1…9 points, some spread, some tight."""
    rng = np.random.default_rng(seed)
    return [
        rng.standard_normal(dimension) + rng.random() * rng.standard_normal((n, dimension))
        for n in rng.integers(1, 10, count)
    ]


@functools.cache
def line():
    """Moments of 100 clouds on a line, mixed spreads, and all costs: W1 compares sorted points."""
    rng = np.random.default_rng(3)
    points = np.sort(rng.normal(size=(100, 1)) + rng.gamma(2, size=(100, 1)) * rng.normal(size=12))
    left, right = np.triu_indices(100, 1)
    return cloud_moments(list(points[:, :, None])), np.abs(points[left] - points[right]).mean(
        axis=1
    )


@functools.cache
def useless():
    """The same moments and costs that they cannot predict, skewed as costs may be."""
    moments, cost = line()
    return moments, np.random.default_rng(4).lognormal(sigma=0.5, size=len(cost))


def estimated(family, seed, relative_error=0.5, levels=LEVELS):
    """Estimate with a solver that looks costs up; np.triu_indices gives their order."""
    moments, cost = family()
    table = np.zeros((100, 100))
    table[np.triu_indices(100, 1)] = cost

    def solve(pairs):
        known = table[pairs[:, 0], pairs[:, 1]]
        return Pairs(pairs=pairs, cost=known, lower=known, upper=known)

    return estimate_all_pairs(
        moments, solve, relative_error=relative_error, quantiles=levels, seed=seed
    )


def holds(estimate, truth):
    return estimate.low <= truth <= estimate.high


def test_the_line_is_the_solvers_line():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12, 1))
    want = np.abs(np.sort(x, axis=0) - np.sort(y, axis=0)).mean()
    assert pairwise_wasserstein1([x, y]).cost[0] == pytest.approx(want)


@pytest.mark.parametrize("family", [line, useless])
def test_intervals_cover_what_all_pairs_say_as_often_as_they_claim(family):
    repeats, cost = 300, family()[1]
    truth = [cost.mean(), *np.quantile(cost, LEVELS, method="inverted_cdf")]
    covered = np.zeros(1 + len(LEVELS))
    for seed in range(repeats):
        found = estimated(family, seed)
        covered += [holds(e, t) for e, t in zip((found.mean, *found.quantiles), truth, strict=True)]
    fewest, most = binom.ppf([0.0005, 0.9995], repeats, [0.93, 0.97])
    assert fewest <= covered[0] <= most  # within 95 ± 2 %
    assert (covered[1:] >= fewest).all()
    assert (covered[2:5] <= binom.ppf(0.9995, repeats, 0.98)).all()  # tails may be wider


def test_a_tail_that_the_sample_hardly_shows_is_covered_by_the_prediction():
    truth = np.quantile(line()[1], 0.98, method="inverted_cdf")
    covered = sum(
        holds(estimated(line, seed, levels=(0.98,)).quantiles[0], truth) for seed in range(100)
    )
    assert covered >= binom.ppf(0.0005, 100, 0.95)  # 82 of 100 by the sample's variance alone


@pytest.mark.parametrize("family", [line, useless])
def test_errors_cancel_over_samples(family):
    cost = family()[1]
    found = [estimated(family, seed).mean for seed in range(100)]
    errors = np.array([estimate.value for estimate in found]) - cost.mean()
    assert abs(errors.mean()) <= 4 * errors.std() / 10
    reach = np.mean([estimate.high - estimate.low for estimate in found]) / 2
    assert errors.std() == pytest.approx(reach / 1.96, rel=0.25)  # and are of the size said


def test_prediction_makes_the_interval_narrower_than_the_sample_alone_could():
    cost = line()[1]
    found = estimated(line, 1)
    alone = 1.97 * cost.std() / np.sqrt(found.pairs_solved)
    assert found.mean.high - found.mean.low < 0.5 * 2 * alone
    assert found.explained > 0.8
    assert estimated(useless, 1).explained < 0.1


def test_solves_as_many_pairs_as_the_precision_needs():
    cost = useless()[1]
    found = [estimated(useless, seed, relative_error=0.03) for seed in range(60)]
    reach = np.array([(f.mean.high - f.mean.low) / 2 / f.mean.value for f in found])
    assert np.mean(reach <= 0.03) >= 0.8
    needed = 1 / (0.03**2 / (1.96**2 * cost.var() / cost.mean() ** 2) + 1 / len(cost))
    assert np.mean([f.pairs_solved for f in found]) == pytest.approx(1.14 * needed, rel=0.1)
    assert estimated(useless, 0).pairs_solved == 200


def test_the_histogram_counts_all_pairs():
    cost = line()[1]
    found = estimated(line, 0)
    assert found.counts.sum() == pytest.approx(len(cost))
    want, _ = np.histogram(np.clip(cost, found.edges[0], found.edges[-1]), found.edges)
    assert np.abs(np.cumsum(found.counts - want)).max() < 0.05 * len(cost)


def test_the_same_seed_gives_the_same_numbers_on_any_threads():
    clouds = clouds_of(0, 300)
    first = all_pairs_wasserstein1(clouds, seed=5)
    torch.set_num_threads(2)
    try:
        second = all_pairs_wasserstein1(clouds, seed=5)
    finally:
        torch.set_num_threads(1)
    assert (first.mean, first.quantiles) == (second.mean, second.quantiles)
    assert all_pairs_wasserstein1(clouds, seed=6).mean != first.mean


def test_agrees_with_all_pairs_solved():
    clouds = clouds_of(1, 60)
    cost = pairwise_wasserstein1(clouds).cost
    found = all_pairs_wasserstein1(clouds, seed=1)
    assert found.pairs_solved < found.pairs_total == len(cost)
    assert holds(found.mean, cost.mean())
    for estimate, level in zip(found.quantiles, (0.25, 0.5, 0.75), strict=True):
        assert holds(estimate, np.quantile(cost, level))


@pytest.mark.parametrize(("count", "relative_error"), [(2, 0.01), (3, 1.0), (20, 1.0), (25, 0.0)])
def test_nothing_is_left_to_sampling_where_all_pairs_are_solved(count, relative_error):
    clouds = clouds_of(count, count)
    cost = pairwise_wasserstein1(clouds).cost
    found = all_pairs_wasserstein1(clouds, relative_error=relative_error)
    assert found.exhaustive
    assert found.pairs_solved == len(cost)
    assert found.mean.low == found.mean.value == found.mean.high
    assert found.mean.value == pytest.approx(cost.mean())
    median = found.quantiles[1]
    assert median.low == median.high
    assert median.value in cost
    assert found.counts.sum() == len(cost)


def test_a_certificate_is_no_sampling_error():
    clouds = clouds_of(2, 60)
    exact = all_pairs_wasserstein1(clouds)
    loose = all_pairs_wasserstein1(clouds, rtol=0.05)
    assert exact.certified_width == 0 < loose.certified_width
    assert abs(loose.mean.value - exact.mean.value) <= 2 * loose.certified_width
    widths = [e.mean.high - e.mean.low for e in (exact, loose)]
    assert widths[1] == pytest.approx(widths[0], rel=0.5)


def test_clouds_of_one_point_need_no_sample():
    points = np.random.default_rng(0).standard_normal((50, 1, 4))
    found = all_pairs_wasserstein1(list(points))
    want = [np.linalg.norm(a - b) for a, b in combinations(points, 2)]
    assert found.mean.value == pytest.approx(np.mean(want), rel=1e-9)
    assert found.mean.high - found.mean.low < 1e-9
    for estimate, level in zip(found.quantiles, (0.25, 0.5, 0.75), strict=True):
        truth = np.quantile(want, level, method="inverted_cdf")
        assert estimate.value == pytest.approx(truth, rel=0.03)


@pytest.mark.parametrize(
    "cloud", [np.zeros((1, 2)), np.full((3, 2), 1e8), np.eye(2)], ids=["zero", "far", "spread"]
)
def test_equal_clouds_cost_nothing_and_the_unseen_pairs_are_not_forgotten(cloud):
    found = all_pairs_wasserstein1([cloud] * 40)
    spread = float(np.sqrt(np.square(cloud - cloud.mean(axis=0)).sum(axis=1).mean()))
    assert (found.mean.low, found.mean.value) == (0, 0)
    assert found.mean.high == pytest.approx(2 * spread * (1 - 0.025 ** (1 / 200)))
    assert all(0 <= e.low <= e.value <= e.high < 1e-9 for e in found.quantiles)
    assert np.isfinite(found.counts).all()


def test_one_odd_cloud_among_equal_ones_stays_within_the_interval():
    cloud, other = np.eye(2), np.eye(2) + np.array([3.0, 0.0])
    truth = 40 * 3.0 / (41 * 40 / 2)
    found = [all_pairs_wasserstein1([cloud] * 40 + [other], seed=seed) for seed in range(20)]
    assert all(holds(f.mean, truth) for f in found)


def test_features_that_vary_by_rounding_only_predict_nothing():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(6, 2)) * [3.0, 1.0]
    base -= base.mean(axis=0)
    turns = [np.array([[c, -s], [s, c]]) for c, s in rng.normal(size=(60, 2))]
    clouds = [base @ turn / np.sqrt(np.linalg.det(turn)) + 1e3 for turn in turns]
    truth = pairwise_wasserstein1(clouds).cost.mean()
    found = [all_pairs_wasserstein1(clouds, relative_error=1.0, seed=seed) for seed in range(40)]
    assert max(f.explained for f in found) == 0
    assert sum(holds(f.mean, truth) for f in found) >= binom.ppf(0.0005, 40, 0.95)


def test_twins_and_clouds_of_equal_spread_leave_finite_numbers():
    clouds = [np.array([[0.0, k], [0.0, k + 1.0]]) for k in range(15)] * 2
    found = all_pairs_wasserstein1(clouds)
    cost = pairwise_wasserstein1(clouds).cost
    assert found.pairs_solved < found.pairs_total
    assert found.mean.value == pytest.approx(cost.mean(), rel=1e-6)  # W1 = Gelbrich's here
    assert np.isfinite([e.high for e in found.quantiles]).all()


@given(seed=seeds, scale=st.sampled_from([1e-9, 1e-3, 1.0, 1e6]))
def test_scales_with_the_points(seed, scale):
    clouds = clouds_of(seed, 25)
    moments = cloud_moments(clouds)

    def solve(pairs):
        cost = moments.features(pairs)[:, 0] ** 2
        return Pairs(pairs=pairs, cost=cost, lower=cost, upper=cost)

    def solve_scaled(pairs):
        cost = scale * moments.features(pairs)[:, 0] ** 2
        return Pairs(pairs=pairs, cost=cost, lower=cost, upper=cost)

    scaled = cloud_moments([scale * cloud for cloud in clouds])
    options = {"relative_error": 0.5, "quantiles": (0.5,), "seed": seed}
    a = estimate_all_pairs(moments, solve, **options)
    b = estimate_all_pairs(scaled, solve_scaled, **options)
    assert b.mean.value == pytest.approx(scale * a.mean.value, rel=1e-6)
    assert b.mean.high == pytest.approx(scale * a.mean.high, rel=1e-6)
    assert b.explained == pytest.approx(a.explained, rel=1e-6)


# Moments and predictions


@given(seed=seeds)
def test_moments_are_those_of_the_points(seed):
    clouds = clouds_of(seed, 6)
    moments = cloud_moments(clouds)
    pairs = np.array(list(combinations(range(6), 2)))
    got = moments.features(pairs)
    for (p, q), (product, gelbrich, spreads, errors) in zip(pairs, got, strict=True):
        x, y = clouds[p], clouds[q]
        squared = np.square(x[:, None] - y[None]).sum(axis=2)
        assert product == pytest.approx(np.sqrt(squared.mean()))
        s, t = np.sqrt(x.var(axis=0).sum()), np.sqrt(y.var(axis=0).sum())
        between = np.square(x.mean(axis=0) - y.mean(axis=0)).sum()
        assert gelbrich == pytest.approx(np.sqrt(between + (s - t) ** 2), abs=1e-12)
        assert spreads == pytest.approx(s + t)
        assert errors == pytest.approx(s / np.sqrt(len(x)) + t / np.sqrt(len(y)))
        assert pairwise_wasserstein1([x, y]).cost[0] <= min(product, moments.largest) + 1e-12


@pytest.mark.parametrize("count", [2, 255, 256, 257, 600])  # about the tiles' edges
def test_predicts_every_pair_once(count):
    moments = cloud_moments(clouds_of(count, count))
    slopes, edges = np.array([0.5, -0.25, 0.1, 0.2]), np.linspace(0.5, 2.0, 41)
    got = predict_all_pairs(moments, 0.3, slopes, edges)
    pairs = np.stack(np.triu_indices(count, 1), axis=1)
    want = 0.3 + moments.features(pairs) @ slopes
    assert got.mean == pytest.approx(want.mean())
    inside = np.clip(want, edges[0], edges[-1])
    np.testing.assert_array_equal(got.counts, np.histogram(inside, edges)[0])


@given(seed=seeds, total=st.integers(4, 400), share=st.floats(0, 1))
def test_draws_other_pairs_than_those_taken(seed, total, share):
    random = np.random.default_rng(seed)
    taken = _drawn(random, total, total // 3, np.empty(0, np.int64))
    more = _drawn(random, total, int(share * (total - len(taken))), taken)
    drawn = np.concatenate([taken, more])
    assert len(np.unique(drawn)) == len(drawn)
    assert drawn.size == 0 or (drawn.min() >= 0 and drawn.max() < total)


def test_draws_every_set_equally_often():
    random, counts = np.random.default_rng(0), np.zeros((5, 5))
    for _ in range(6000):
        first = _drawn(random, 5, 1, np.empty(0, np.int64))
        counts[first[0], _drawn(random, 5, 1, first)[0]] += 1
    assert np.abs(counts[~np.eye(5, dtype=bool)] - 300).max() < 4 * np.sqrt(300)


def test_numbers_pairs_in_rows_order():
    for count in (2, 3, 17):
        want = np.stack(np.triu_indices(count, 1), axis=1)
        np.testing.assert_array_equal(pairs_by_rank(np.arange(len(want)), count), want)
    last = 25_000 * 24_999 // 2 - 1
    np.testing.assert_array_equal(pairs_by_rank(np.array([last]), 25_000), [[24_998, 24_999]])


# Members of prototypes in one array


def members(seed=0, rows=400, dimension=5):
    rng = np.random.default_rng(seed)
    assignment = 3 * rng.integers(0, 40, rows)  # two of three prototypes have no members
    return rng.standard_normal((rows, dimension)) + 0.1 * assignment[:, None], assignment


def test_member_clouds_are_the_rows_of_each_used_prototype():
    points, assignment = members()
    clouds = MemberClouds(points, assignment)
    np.testing.assert_array_equal(clouds.prototypes, np.unique(assignment))
    for cloud, prototype in zip(clouds, clouds.prototypes, strict=True):
        np.testing.assert_array_equal(cloud, points[assignment == prototype])
    np.testing.assert_array_equal(clouds[-1], clouds[1:][-1])
    with pytest.raises(IndexError):
        clouds[len(clouds)]


def test_member_clouds_on_disk_give_what_separate_clouds_give(tmp_path):
    points, assignment = members()
    np.save(tmp_path / "points.npy", (points + 50).astype(np.float32))
    stored = np.load(tmp_path / "points.npy", mmap_mode="r")
    clouds = MemberClouds(stored, assignment)
    together, apart = cloud_moments(clouds), cloud_moments(list(clouds))
    np.testing.assert_allclose(together.means, apart.means, atol=1e-10)
    np.testing.assert_allclose(together.spreads, apart.spreads, atol=1e-6)
    a, b = all_pairs_wasserstein1(clouds, seed=2), all_pairs_wasserstein1(list(clouds), seed=2)
    assert a.mean.value == pytest.approx(b.mean.value, rel=1e-9)
    assert a.pairs_solved < a.pairs_total


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_refuses_points_that_are_no_numbers_and_says_where(bad):
    points, assignment = members()
    points[7, 2] = bad
    with pytest.raises(InputError, match="row 7"):
        cloud_moments(MemberClouds(points, assignment))
    with pytest.raises(InputError, match="cloud 1"):
        cloud_moments([points[:3], points[5:9]])


@pytest.mark.parametrize(
    "assignment", [[0, 1], [0.0, 1.0, 2.0], [0, -1, 2], [[0], [1], [2]]], ids=str
)
def test_refuses_an_assignment_that_does_not_fit(assignment):
    with pytest.raises(InputError, match="expected one number ≥ 0 for each row"):
        MemberClouds(np.zeros((3, 2)), assignment)


def test_refuses_what_it_cannot_answer():
    clouds = clouds_of(0, 3)
    for wrong in ({"relative_error": -0.1}, {"relative_error": np.nan}, {"quantiles": (0.5, 1.0)}):
        with pytest.raises(InputError, match="relative_error ≥ 0 and quantiles between"):
            all_pairs_wasserstein1(clouds, **wrong)
    with pytest.raises(InputError, match="at least two"):
        all_pairs_wasserstein1(clouds[:1])
    with pytest.raises(InputError, match="one dimension"):
        all_pairs_wasserstein1([clouds[0], np.zeros((2, 4))])
    with pytest.raises(InputError, match="rescale"):
        all_pairs_wasserstein1([clouds[0], np.array([[1e200, 0, 0], [-1e200, 0, 0]])])
