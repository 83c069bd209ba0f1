import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.clouds import TooFewSamples, common_size, draw_clouds
from nemd_toolkit.measures.intervals import interval_around, standard_error
from nemd_toolkit.measures.nemd import nemd
from nemd_toolkit.measures.null import spectrum_null
from nemd_toolkit.measures.pair_table import _pairs, measure_pairs
from nemd_toolkit.measures.permutation import permutation_p_value
from nemd_toolkit.prototypes import (
    fit_prototypes,
    prototypes_from_labels,
    prototypes_from_vectors,
)
from nemd_toolkit.sphere import chord
from nemd_toolkit.transport import pairwise_wasserstein1
from tests import worlds

LADDER = {  # DESIGN §3: (d, K, N, K_true) → score at each spread
    (48, 12, 3000, 12): (0.98, 0.81, 0.56, 0.33, 0.12, 0.02, 0.01),
    (256, 40, 6000, 40): (0.98, 0.79, 0.56, 0.33, 0.14, 0.04, 0.00),
    (64, 48, 12000, 12): (1.0, 0.81, 0.56, 0.32, 0.13, 0.02, 0.00),
}
SPREADS = (0, 0.2, 0.5, 0.9, 1.6, 3, 6)


@pytest.mark.parametrize("row", LADDER)
def test_score_follows_the_ladder(row):
    dim, k, count, groups = row
    scores = []
    for spread in SPREADS:
        x, _ = worlds.clusters(count, dim, groups, spread, seed=11)
        found = nemd(fit_prototypes(Embeddings(x), k))
        scores.append(found.score.value)
        assert 0 <= found.score.high - found.score.low < 0.1
    np.testing.assert_allclose(scores, LADDER[row], atol=0.05)
    assert scores == sorted(scores, reverse=True)


def labelled(spread, *, seed=0):
    x, group = worlds.clusters(400, 16, 6, spread, seed=seed)
    return prototypes_from_labels(Embeddings(x, labels=group))


def test_raw_and_excess_are_means_of_what_scipy_computes():
    prototypes = labelled(0.7)
    found = nemd(prototypes, seed=5, n=20)
    clouds = draw_clouds(prototypes, 20, seed=5)
    first, second = clouds.first.double().numpy(), clouds.second.double().numpy()

    def w1(a, b):
        costs = cdist(a, b)
        return costs[linear_sum_assignment(costs)].mean()

    within = [w1(a, b) for a, b in zip(first, second, strict=True)]
    raw, excess = [], []
    for p in range(6):
        for q in range(p + 1, 6):
            raw.append(w1(first[p], first[q]))
            excess.append(raw[-1] - (within[p] + within[q]) / 2)
    assert found.raw.value == pytest.approx(np.mean(raw), rel=1e-9)
    assert found.excess.value == pytest.approx(np.mean(excess), rel=1e-9)
    np.testing.assert_allclose(found.table.excess, excess, rtol=1e-9)
    assert (found.pairs, found.pairs_total, found.n) == (15, 15, 20)
    assert found.exact
    assert found.certified_width == 0


def test_halves_are_disjoint_members_of_their_own_prototype():
    prototypes = labelled(0.7)
    clouds = draw_clouds(prototypes, 20, seed=1)
    points = prototypes.embeddings.vectors
    for p, rows in enumerate(prototypes.members()):
        drawn = torch.cat([clouds.first[p], clouds.second[p]])
        assert len(drawn.unique(dim=0)) == 40
        assert (chord(drawn, points[rows]).min(1).values == 0).all()


def test_excess_hardly_depends_on_n_while_raw_does():
    x, group = worlds.clusters(6000, 64, 6, 0.9, seed=2)
    prototypes = prototypes_from_labels(Embeddings(x, labels=group))
    few, many = nemd(prototypes, n=16), nemd(prototypes, n=256)
    assert abs(few.excess.value - many.excess.value) < 0.03
    assert few.raw.value - many.raw.value > 0.04


def test_points_score_one_and_excess_is_their_chord():
    x = worlds.points(6, 600, 32)
    found = nemd(fit_prototypes(Embeddings(x), 6))
    assert found.score.value == pytest.approx(1.0, abs=1e-6)
    assert found.raw.value == pytest.approx(found.excess.value, abs=1e-6)
    assert found.raw.value == pytest.approx(found.excess_collapsed, abs=1e-6)


def test_noise_scores_zero_under_every_kind_of_prototypes():
    e = Embeddings(worlds.noise(3000, 32, seed=7), labels=np.arange(3000) % 12)
    own = prototypes_from_vectors(e, worlds.noise(12, 32, seed=9))
    for prototypes in (fit_prototypes(e, 12), own):
        score = nemd(prototypes).score
        assert score.low <= 0.01
        assert abs(score.value) < 0.02
    labelled_noise = nemd(prototypes_from_labels(e))
    assert labelled_noise.excess.low <= 0 <= labelled_noise.excess.high


def test_equal_rows_cannot_be_compared():
    with pytest.raises(TooFewSamples, match=r"1 of 9 prototypes have members"):
        nemd(fit_prototypes(Embeddings(worlds.equal(500, 16)), 9))


def test_a_hair_around_one_point_has_no_score_and_says_why():
    found = nemd(fit_prototypes(Embeddings(worlds.equal(1000, 16, 1e-4)), 9))
    assert found.score is None
    assert "too close together" in found.score_missing
    assert found.raw.value < 1e-3


def test_same_seed_gives_the_same_numbers():
    first, second = (nemd(labelled(0.5), seed=3) for _ in range(2))
    assert (first.raw, first.excess, first.score) == (second.raw, second.excess, second.score)
    assert nemd(labelled(0.5), seed=4).excess != first.excess


def test_pairs_beyond_the_limit_are_sampled_and_said():
    found = nemd(labelled(0.5), max_pairs=7)
    assert (found.pairs, found.pairs_total) == (7, 15)
    assert len(np.unique(found.table.pairs, axis=0)) == 7
    full = nemd(labelled(0.5))
    assert abs(found.excess.value - full.excess.value) < 0.2
    of = {tuple(pair): place for place, pair in enumerate(full.table.pairs.tolist())}
    places = [of[tuple(pair)] for pair in found.table.pairs.tolist()]
    for column in ("raw", "excess", "energy", "chord"):  # of each pair as among all
        some, all_ = (getattr(n.table, column) for n in (found, full))
        np.testing.assert_allclose(some, all_[places], rtol=1e-12)


def test_of_many_prototypes_those_outside_the_sample_of_pairs_are_not_solved(monkeypatch):
    solved = []
    monkeypatch.setattr(
        "nemd_toolkit.measures.pair_table.pairwise_wasserstein1",
        lambda clouds, pairs: solved.append(len(pairs)) or pairwise_wasserstein1(clouds, pairs),
    )
    clouds = draw_clouds(labelled(0.5), 20, seed=0)
    assert len(measure_pairs(clouds, 1, 0).pairs) == 1
    assert solved == [1, 2]  # the pair, and the halves of both


def test_pairs_are_all_distinct_unordered_ones_and_a_sample_is_some_of_them():
    for u in (2, 3, 7):
        np.testing.assert_array_equal(_pairs(u, 100, 0), np.stack(np.triu_indices(u, 1), axis=1))
    some = _pairs(30_000, 500, 0)  # listing all 450 million would take gigabytes
    assert len(np.unique(some, axis=0)) == 500
    assert (some[:, 0] < some[:, 1]).all()
    assert some.max() < 30_000


def test_small_prototypes_are_skipped_and_counted():
    x, group = worlds.clusters(400, 16, 6, 0.5)
    group = group.clone()
    group[group == 5] = 4
    group[:3] = 5  # a prototype of three members
    found = nemd(prototypes_from_labels(Embeddings(x, labels=group)), n=10)
    assert (found.prototypes, found.skipped) == (5, 1)
    assert 5 not in found.table.pairs


def test_common_size_is_one_for_all_and_bounded():
    prototypes = labelled(0.5)
    tenth = np.quantile(prototypes.sizes.numpy(), 0.1, method="lower") // 2
    assert common_size([prototypes]) == min(tenth, 64)
    x, _ = worlds.clusters(90, 16, 6, 0.5)
    assert common_size([prototypes, fit_prototypes(Embeddings(x), 30)]) == 8


@pytest.mark.parametrize("options", [{"n": 0}, {"n": -1}, {"max_pairs": 0}])
def test_senseless_sizes_are_refused(options):
    with pytest.raises(InputError, match="at least 1"):
        nemd(labelled(0.5), **options)


def test_standard_error_agrees_with_leaving_prototypes_out_one_by_one():
    rng = np.random.default_rng(0)
    pairs = np.stack(np.triu_indices(7, 1), axis=1)[rng.permutation(21)[:15]]  # a sample of them
    values = rng.random(15)
    left = np.array([values[(pairs != p).all(1)].mean() for p in range(7)])
    want = np.sqrt(6 / 7 * ((left - left.mean()) ** 2).sum())
    assert standard_error(values, 3 * pairs + 1) == pytest.approx(want)  # whatever their numbers


def test_two_prototypes_have_no_interval():
    with pytest.raises(InputError, match="at least 3 prototypes, got 2"):
        standard_error(np.ones(1), np.array([[0, 1]]))


@pytest.mark.parametrize("count", [4, 6, 12, 40])
@pytest.mark.parametrize("noise", [0.0, 1.0])
def test_interval_covers_the_truth_about_as_often_as_it_says(count, noise):
    # prototypes with a level each; a pair's value is the mean of its levels and noise of its own
    rng = np.random.default_rng(count)
    pairs = np.stack(np.triu_indices(count, 1), axis=1)
    hits = 0
    for _ in range(1000):
        values = rng.normal(size=count)[pairs].mean(1) + noise * rng.normal(size=len(pairs))
        found = interval_around(float(values.mean()), standard_error(values, pairs), count)
        hits += found.low <= 0 <= found.high
    assert 0.93 <= hits / 1000 <= 0.995


def test_score_of_few_groups_keeps_a_sensible_interval():
    # resampling the ratio itself gave [0.821, 6.621] here
    x, _ = worlds.clusters(480, 64, 2, 0.1, seed=2)
    score = nemd(fit_prototypes(Embeddings(x), 8)).score
    assert score.high - score.low < 0.5


def test_energy_is_half_of_szekelys_distance():
    prototypes = labelled(0.7)
    found = nemd(prototypes, seed=5, n=20)
    clouds = draw_clouds(prototypes, 20, seed=5)
    points = torch.cat([clouds.first, clouds.second], dim=1).double().numpy()
    for (p, q), energy in zip(found.table.pairs, found.table.energy, strict=True):
        between = cdist(points[p], points[q]).mean()
        within = [cdist(points[i], points[i]).sum() / (40 * 39) for i in (p, q)]
        assert energy == pytest.approx(between - np.mean(within), rel=1e-9)
    assert found.energy.value == pytest.approx(found.table.energy.mean())
    assert abs(found.energy.value / found.excess.value - 1) < 0.2
    collapsed = nemd(fit_prototypes(Embeddings(worlds.points(6, 600, 32)), 6))
    assert collapsed.energy.value == pytest.approx(collapsed.excess.value, abs=1e-6)


def test_the_luck_of_kmeans_is_part_of_the_value_and_its_interval():
    x, _ = worlds.clusters(1500, 16, 30, 0.6, seed=4)
    prototypes = fit_prototypes(Embeddings(x), 12)
    alone = [
        nemd(fit_prototypes(prototypes.embeddings, 12, seed=104_729 * run), n=16, repeats=1)
        for run in range(3)
    ]
    found = nemd(prototypes, n=16, repeats=3)
    values = [run.excess.value for run in alone]
    assert found.repeats == 3
    assert found.excess.value == pytest.approx(np.mean(values))
    assert found.seed_deviation == pytest.approx(np.std(values, ddof=1))
    own = [(run.excess.high - run.excess.low) / 2 for run in alone]
    reach = (found.excess.high - found.excess.low) / 2
    quantile = own[0] / standard_error(alone[0].table.excess, alone[0].table.pairs)
    luck = quantile * found.seed_deviation / 3**0.5
    assert reach == pytest.approx(np.hypot(np.sqrt(np.mean(np.square(own))), luck))
    assert alone[0].seed_deviation is None
    assert nemd(labelled(0.5)).repeats == 1


def test_long_axes_without_groups_are_told_from_groups():
    generator = torch.Generator().manual_seed(0)
    axes = torch.linspace(2, 0.05, 24) ** 2
    ellipsoid = Embeddings(torch.randn(4000, 24, generator=generator) * axes)
    found = nemd(fit_prototypes(ellipsoid, 16))
    assert found.score.low > 0.1
    assert found.excess.value == pytest.approx(found.excess_spectrum, abs=0.03)
    grouped, _ = worlds.clusters(4000, 24, 16, 0.5)
    found = nemd(fit_prototypes(Embeddings(grouped), 16))
    assert found.excess.low > found.excess_spectrum + 0.3
    assert nemd(labelled(0.5)).excess_spectrum is None


def test_the_spectrum_null_has_mean_and_axes_of_the_embeddings():
    x, _ = worlds.clusters(6000, 8, 5, 2.0, seed=1)
    e = Embeddings(x)
    null = spectrum_null(fit_prototypes(e, 4), seed=0).embeddings.vectors.double().numpy()
    given = x.double().numpy()
    assert np.abs(null.mean(0) - given.mean(0)).max() < 0.05
    assert np.abs(np.cov(null.T) - np.cov(given.T)).max() < 0.03


def test_permutation_tells_labels_that_know_something_from_those_that_do_not():
    rng = np.random.default_rng(0)
    x, group = worlds.clusters(600, 16, 6, 1.0, seed=3)
    knowing = prototypes_from_labels(Embeddings(x, labels=group))
    assert permutation_p_value(knowing) == 1 / 200
    values = [
        permutation_p_value(
            prototypes_from_labels(Embeddings(x, labels=rng.permutation(group.numpy()))), seed=trial
        )
        for trial in range(60)
    ]
    assert 0.35 < np.mean(values) < 0.65  # uniform under the null: mean .5, error .04
    assert permutation_p_value(fit_prototypes(Embeddings(x), 6)) is None
    equal = Embeddings(worlds.equal(50, 4), labels=np.arange(50) % 2)
    assert permutation_p_value(prototypes_from_labels(equal)) == 1.0
