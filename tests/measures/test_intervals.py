import numpy as np
import pytest
from scipy.stats import t as student

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.intervals import Error, error_of_mean, interval_around, joined
from nemd_toolkit.sphere import chord
from tests import worlds


def all_pairs(count):
    return np.stack(np.triu_indices(count, 1), axis=1)


def by_double_loop(values, pairs):
    """Aronow, Samii & Assenova's sum over pairs of pairs that share a prototype, with theirs."""
    away = values - values.mean()
    total = 0.0
    for i, one in enumerate(pairs):
        for j, other in enumerate(pairs):
            if set(one) & set(other):
                total += away[i] * away[j]
    return total / len(pairs) ** 2


def test_error_is_the_dyadic_variance_where_prototypes_matter():
    rng = np.random.default_rng(0)
    pairs = all_pairs(60)
    values = rng.normal(size=60)[pairs].mean(1) + 0.1 * rng.normal(size=len(pairs))
    # the jackknife divides by the pairs that are left, and not by all: 1/K apart
    assert error_of_mean(values, pairs).variance == pytest.approx(
        by_double_loop(values, pairs), rel=6 / 60
    )


def test_error_of_a_sample_follows_its_formula_one_prototype_left_out_at_a_time():
    rng = np.random.default_rng(0)
    pairs = all_pairs(7)[rng.permutation(21)[:15]]
    values = rng.normal(size=7)[pairs].mean(1)
    left = np.array([values[(pairs != p).all(1)].mean() for p in range(7)])
    jackknife = 6 / 7 * ((left - left.mean()) ** 2).sum()
    alone = values.var(ddof=1) / 15
    found = error_of_mean(values, 3 * pairs + 1)  # whatever their numbers
    assert jackknife > 2 * alone
    assert found.variance == pytest.approx(jackknife - alone)
    assert 6 < found.freedom < 6 + 14


def test_levels_alone_have_the_error_of_their_mean():
    rng = np.random.default_rng(0)
    for count in (4, 9):
        levels = rng.normal(size=count)
        pairs = all_pairs(count)[rng.permutation(count * (count - 1) // 2)]
        found = error_of_mean(levels[pairs].mean(1), pairs)
        assert found.variance == pytest.approx(levels.var(ddof=1) / count)
        assert found.freedom == pytest.approx(count - 1)


def test_what_belongs_to_pairs_alone_is_the_residual_of_least_squares():
    rng = np.random.default_rng(2)
    pairs = all_pairs(6)
    design = np.zeros((15, 6))
    design[np.arange(15)[:, None], pairs] = 1.0
    values = rng.normal(size=15)
    rest = np.linalg.lstsq(design, values)[1][0] / 9 / 15
    left = np.array([values[(pairs != p).all(1)].mean() for p in range(6)])
    jackknife = 5 / 6 * ((left - left.mean()) ** 2).sum()
    assert error_of_mean(values, pairs).variance == pytest.approx(max(jackknife - rest, rest))


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_independent_pairs_have_the_error_of_a_plain_mean(share):
    rng = np.random.default_rng(1)
    pairs = all_pairs(40)
    pairs = pairs[rng.permutation(780)[: int(780 * share)]]
    ratios = []
    for _ in range(200):
        values = rng.normal(size=len(pairs))
        ratios.append(error_of_mean(values, pairs).variance * len(pairs))
    assert 0.98 < np.mean(ratios) < 1.25  # never below the pairs' own, so a little above it


def test_two_prototypes_have_no_interval():
    with pytest.raises(InputError, match="at least 3 prototypes, got 2"):
        error_of_mean(np.ones(1), np.array([[0, 1]]))


def test_intervals_are_students():
    found = interval_around(2.0, Error(variance=0.25, freedom=7.0))
    assert found.high - 2.0 == pytest.approx(0.5 * student.ppf(0.975, 7))
    assert 2.0 - found.low == pytest.approx(0.5 * student.ppf(0.975, 7))
    normal = interval_around(0.0, joined([Error(variance=1.0, freedom=float("inf"))]))
    assert normal.high == pytest.approx(1.959964, rel=1e-5)
    assert joined([Error(variance=0.0, freedom=3.0)]).variance == 0


@pytest.mark.parametrize("count", [4, 6, 12, 40])
@pytest.mark.parametrize("noise", [0.0, 1.0, 100.0])
def test_interval_covers_the_truth_about_as_often_as_it_says(count, noise):
    # prototypes with a level each; a pair's value is the mean of its levels and noise of its own
    rng = np.random.default_rng(count)
    pairs = all_pairs(count)
    hits = 0
    for _ in range(1000):
        values = rng.normal(size=count)[pairs].mean(1) + noise * rng.normal(size=len(pairs))
        found = interval_around(float(values.mean()), error_of_mean(values, pairs))
        hits += found.low <= 0 <= found.high
    # few prototypes do not tell levels from pairs, and their intervals are the wider ones
    assert 0.93 <= hits / 1000 <= (0.985 if count > 6 else 0.999)


@pytest.mark.parametrize("count", [5, 12, 40])
def test_interval_of_the_mean_chord_of_random_directions_is_no_wider_than_it_says(count):
    # all distances of a direction are alike in the mean: the jackknife alone covers 99 %
    pairs = all_pairs(count)
    draws = [worlds.noise(count, 32, seed=seed) for seed in range(600)]
    values = [chord(x, x).numpy()[*pairs.T] for x in draws]
    truth = np.mean(values)
    found = [interval_around(float(v.mean()), error_of_mean(v, pairs)) for v in values]
    held = np.mean([f.low <= truth <= f.high for f in found])
    assert 0.93 <= held <= (0.985 if count > 6 else 0.995)
