from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.clouds import common_size, draw_clouds
from nemd_toolkit.measures.held_out import TooFewSamples, members_of
from nemd_toolkit.measures.matching import matched
from nemd_toolkit.measures.nemd import measure_nemd, nemd, prepare
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
def test_score_follows_the_ladder(row, monkeypatch):
    # intervals are tested elsewhere
    monkeypatch.setattr(import_module("nemd_toolkit.measures.nemd"), "FEW_ROWS_EACH", 0)
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
    clouds = draw_clouds(members_of(prototypes), 20, seed=5)
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
    clouds = draw_clouds(members_of(prototypes), 20, seed=1)
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


def test_more_prototypes_than_half_of_the_rows_cannot_be_compared():
    prototypes = fit_prototypes(Embeddings(worlds.noise(30, 16)), 16)
    with pytest.raises(TooFewSamples, match="at least 32 rows for 16 prototypes"):
        nemd(prototypes)


def test_equal_rows_cannot_be_compared():
    with pytest.raises(TooFewSamples, match=r"1 of 9 prototypes have members"):
        nemd(fit_prototypes(Embeddings(worlds.equal(500, 16)), 9))


def test_a_hair_around_one_point_has_no_score_and_says_why():
    found = nemd(fit_prototypes(Embeddings(worlds.equal(1000, 16, 1e-2)), 9))
    assert found.score is None
    assert "too close together" in found.score_missing
    assert found.raw.value < 0.1


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
    clouds = draw_clouds(members_of(labelled(0.5)), 20, seed=0)
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
    members = members_of(prototypes)
    assert common_size([members]) == min(tenth, 64)
    x, _ = worlds.clusters(90, 16, 6, 0.5)
    assert common_size([members, members_of(fit_prototypes(Embeddings(x), 30))]) == 6
    assert common_size([]) == 6


@pytest.mark.parametrize("options", [{"n": 0}, {"n": -1}, {"max_pairs": 0}, {"splits": 0}])
def test_senseless_sizes_are_refused(options):
    with pytest.raises(InputError, match="at least 1"):
        nemd(labelled(0.5), **options)


def test_score_of_few_groups_keeps_a_sensible_interval():
    # resampling the ratio itself gave [0.821, 6.621] here
    x, _ = worlds.clusters(480, 64, 2, 0.1, seed=2)
    score = nemd(fit_prototypes(Embeddings(x), 8)).score
    assert score.high - score.low < 0.5


@pytest.mark.parametrize("shrink", [1.0, 1e-6], ids=["usual", "nearly one point"])
def test_energy_is_half_of_szekelys_distance(shrink):
    x, group = worlds.clusters(400, 16, 6, 0.7)
    x = torch.nn.functional.normalize(torch.ones(16) + shrink * x.double(), dim=1)
    prototypes = prototypes_from_labels(Embeddings(x, labels=group))
    found = nemd(prototypes, seed=5, n=20)
    clouds = draw_clouds(members_of(prototypes), 20, seed=5)
    points = torch.cat([clouds.first, clouds.second], dim=1).double().numpy()
    for (p, q), energy in zip(found.table.pairs, found.table.energy, strict=True):
        between = cdist(points[p], points[q]).mean()
        within = [cdist(points[i], points[i]).sum() / (40 * 39) for i in (p, q)]
        rounding = 1e-8 * between  # the energy is a difference
        assert energy == pytest.approx(between - np.mean(within), rel=1e-6, abs=rounding)
    assert found.energy.value == pytest.approx(found.table.energy.mean(), rel=1e-12)


def test_energy_follows_the_excess():
    found = nemd(labelled(0.7), seed=5, n=20)
    assert abs(found.energy.value / found.excess.value - 1) < 0.2
    collapsed = nemd(fit_prototypes(Embeddings(worlds.points(6, 600, 32)), 6))
    assert collapsed.energy.value == pytest.approx(collapsed.excess.value, abs=1e-6)


def test_the_luck_of_kmeans_is_part_of_the_value_and_its_interval():
    x, _ = worlds.clusters(1500, 16, 30, 0.6, seed=4)
    trial = prepare(fit_prototypes(Embeddings(x), 12), 0)
    found = measure_nemd(trial, 0, n=16)
    alone = [measure_nemd(replace(trial, runs=(run,)), 0, n=16) for run in matched(trial.runs, 32)]
    values = [one.excess.value for one in alone]
    assert found.runs == len(values) == 4
    assert found.excess.value == pytest.approx(np.mean(values))
    assert found.run_deviation == pytest.approx(np.std(values, ddof=1))
    assert alone[0].run_deviation is None
    assert nemd(labelled(0.5)).runs == 1


def test_long_axes_without_groups_are_told_from_groups():
    generator = torch.Generator().manual_seed(0)
    axes = torch.linspace(2, 0.05, 24) ** 2
    ellipsoid = Embeddings(torch.randn(4000, 24, generator=generator) * axes)
    found = nemd(fit_prototypes(ellipsoid, 16))
    assert found.score.low > 0.1
    assert found.excess.value == pytest.approx(found.excess_spectrum, abs=0.04)
    grouped, _ = worlds.clusters(4000, 24, 16, 0.5)
    found = nemd(fit_prototypes(Embeddings(grouped), 16))
    assert found.excess.low > found.excess_spectrum + 0.3
    assert nemd(labelled(0.5)).excess_spectrum is None


def test_where_runs_take_minutes_the_spectrum_null_is_for_scores_that_are_questioned(monkeypatch):
    tight, wide = (
        fit_prototypes(Embeddings(worlds.clusters(2000, 64, 20, spread)[0]), 20)
        for spread in (0.2, 0.7)
    )
    asked = nemd(tight)
    monkeypatch.setattr(import_module("nemd_toolkit.measures.nemd"), "REPEATED_WORK", 0)
    found = nemd(tight)
    assert found.runs < asked.runs  # one split
    assert found.score.value > 0.7
    assert found.beyond_axes == pytest.approx(asked.beyond_axes, abs=0.02)
    assert nemd(wide).excess_spectrum is nemd(wide).beyond_axes is None


def test_the_spectrum_null_has_mean_and_axes_of_the_embeddings():
    x, _ = worlds.clusters(6000, 8, 5, 2.0, seed=1)
    e = Embeddings(x)
    null = spectrum_null(fit_prototypes(e, 4), seed=0)[0].points.double().numpy()
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


def test_clumping_is_nearest_over_mean_distance_of_sixteen_members():
    prototypes = labelled(0.7)
    found = nemd(prototypes, seed=5, n=20)
    clouds = draw_clouds(members_of(prototypes), 20, seed=5)
    some = torch.cat([clouds.first[:, :8], clouds.second[:, :8]], dim=1).double().numpy()
    values = []
    for cloud in some:
        distances = cdist(cloud, cloud)
        nearest = np.sort(distances, axis=1)[:, 1]
        values.append(np.median(nearest) / (distances.sum() / (16 * 15)))
    np.testing.assert_allclose(found.table.clumping, values, rtol=1e-6)
    assert found.clumping == pytest.approx(np.median(values), rel=1e-6)


def test_clumping_tells_tight_groups_within_prototypes_from_one_law():
    tight, _ = worlds.clusters(2400, 64, 24, 0.1, seed=1)
    assert nemd(fit_prototypes(Embeddings(tight), 8)).clumping < 0.2
    assert nemd(fit_prototypes(Embeddings(tight), 24)).clumping > 0.6
    wide, _ = worlds.clusters(2400, 64, 24, 0.8, seed=1)
    assert nemd(fit_prototypes(Embeddings(wide), 8)).clumping > 0.6
    assert nemd(fit_prototypes(Embeddings(worlds.points(6, 600, 32)), 6)).clumping == 1.0


def test_labels_of_several_far_clumps_have_no_scale():
    # two clumps at opposite poles that labels share unevenly: all mean directions are one pole
    label = np.arange(300) % 3
    here = np.random.default_rng(0).random(300) < np.array([0.6, 0.75, 0.9])[label]
    x = torch.as_tensor(2.0 * here - 1)[:, None] * torch.eye(8)[:1] + 0.01 * worlds.noise(300, 8)
    found = nemd(prototypes_from_labels(Embeddings(x, labels=label)))
    assert found.excess_collapsed < 0.1 < found.excess.value
    assert found.score is None
    assert "around their mean directions" in found.score_missing
