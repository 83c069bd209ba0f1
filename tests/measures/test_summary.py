"""Usage, spread, spectrum and instance measures against references and known answers."""

import numpy as np
import pytest
import torch

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.formulas import concentration
from nemd_toolkit.measures.instance import measure_instance, measure_prototypes
from nemd_toolkit.measures.projection import project
from nemd_toolkit.measures.spectrum import effective_rank, measure_spectrum
from nemd_toolkit.measures.spread import measure_spread
from nemd_toolkit.measures.summary import measure
from nemd_toolkit.measures.usage import measure_usage
from nemd_toolkit.prototypes import fit_prototypes, prototypes_from_labels
from tests import worlds


def test_spectrum_is_that_of_numpys_svd():
    x, _ = worlds.clusters(300, 24, 7, 0.6)
    spectrum = measure_spectrum(x)
    wide = x.double().numpy()
    raw = np.linalg.svd(wide, compute_uv=False) / np.sqrt(300)
    centred = np.linalg.svd(wide - wide.mean(0), compute_uv=False) / np.sqrt(300)
    np.testing.assert_allclose(spectrum.singular, raw, rtol=1e-9)
    np.testing.assert_allclose(spectrum.singular_centred, centred, rtol=1e-9)
    assert spectrum.variance == pytest.approx(1 - np.square(wide.mean(0)).sum())
    p = raw / raw.sum()
    assert spectrum.effective_rank == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    p = p + 1e-7
    assert spectrum.rankme == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    variances = centred**2
    assert spectrum.participation_ratio == pytest.approx(
        variances.sum() ** 2 / (variances**2).sum()
    )


@pytest.mark.parametrize("dimensions", [2, 5])
def test_low_rank_is_seen_where_the_standard_deviation_is_blind(dimensions):
    x = worlds.rank(dimensions)
    spectrum = measure_spectrum(x)
    assert spectrum.effective_rank_centred == pytest.approx(dimensions, rel=0.05)
    healthy = 1 / np.sqrt(64)
    assert x.std(0).mean() > 0.7 * healthy  # the naive number sees nothing


def test_centred_rank_of_a_collapsed_encoder_is_not_called_healthy():
    jittered = measure_spectrum(worlds.equal(2000, 64, 1e-5))
    assert jittered.effective_rank_centred > 50  # the trap: rounding noise has full rank
    assert jittered.variance < 1e-9  # what tells it
    assert jittered.effective_rank == pytest.approx(1.0, abs=0.1)
    exact = measure_spectrum(worlds.equal(2000, 64))
    assert exact.variance == pytest.approx(0, abs=1e-12)
    assert exact.effective_rank_centred in (0.0, pytest.approx(1.0, abs=0.1))


def test_uniform_points_have_the_rank_of_their_null():
    spectrum = measure_spectrum(worlds.noise(2000, 64, seed=3))
    assert spectrum.effective_rank_centred == pytest.approx(spectrum.null_effective_rank, rel=0.01)
    assert effective_rank(np.zeros(4)) == 0.0


def test_usage_by_hand():
    e = Embeddings(np.eye(4)[[0, 0, 0, 1]] + 0.01, labels=["a", "a", "a", "b"])
    usage = measure_usage(prototypes_from_labels(e))
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert usage.entropy == pytest.approx(entropy / np.log(2))
    assert usage.perplexity == pytest.approx(np.exp(entropy))
    assert usage.gini == pytest.approx(0.25)  # mean absolute difference / (2 · mean)
    assert usage.largest_share == 0.75


def test_spread_by_slow_reference():
    x, group = worlds.clusters(300, 12, 5, 0.5)
    prototypes = prototypes_from_labels(Embeddings(x, labels=group))
    spread = measure_spread(prototypes)
    means = torch.stack([x[group == c].double().mean(0) for c in range(5)])
    np.testing.assert_allclose(spread.resultants, means.norm(dim=1), rtol=1e-6)
    squared = (x.double() - means[group]).square().sum(1)
    np.testing.assert_allclose(spread.concentrations, concentration(squared, group, 5), rtol=1e-6)
    unit = means / means.norm(dim=1, keepdim=True)
    cosines = (unit @ unit.T).fill_diagonal_(-2)
    np.testing.assert_array_equal(spread.nearest, cosines.argmax(1))
    np.testing.assert_allclose(spread.nearest_distance, 1 - cosines.max(1).values, rtol=1e-6)


def test_duplicates_are_counted_along_a_curve():
    angles = np.deg2rad([0, 1, 90, 91, 180])  # 1 − cos 1° = 0.00015
    rows = np.repeat(np.stack([np.cos(angles), np.sin(angles)], axis=1), 3, axis=0)
    prototypes = prototypes_from_labels(Embeddings(rows, labels=np.repeat(np.arange(5), 3)))
    assert dict(measure_spread(prototypes).duplicates)[0.001] == pytest.approx(2 / 5)


def test_concentration_before_rescaling_tells_total_collapse():
    spread = measure_spread(fit_prototypes(Embeddings(worlds.equal(500, 16, 1e-5)), 9))
    assert spread.concentrations.max() < 1e-4
    assert np.isfinite(spread.concentrations).all()


def test_uniformity_is_low_for_noise_and_zero_for_one_point():
    assert measure_instance(Embeddings(worlds.noise(2000, 128))).uniform == pytest.approx(
        -4, abs=0.1
    )
    assert measure_instance(Embeddings(worlds.equal(100, 8))).uniform == pytest.approx(0, abs=1e-6)


def test_mean_cosine_is_over_distinct_pairs():
    e = Embeddings(worlds.cone(1.0, 200, 16))
    cosines = e.vectors.double() @ e.vectors.double().T
    want = (cosines.sum() - cosines.diagonal().sum()) / (200 * 199)
    assert measure_instance(e).mean_cosine == pytest.approx(float(want), rel=1e-6)


def test_alignment_needs_groups_and_takes_two_views_of_each():
    x = worlds.noise(6, 8)
    assert measure_instance(Embeddings(x)).align is None
    assert measure_instance(Embeddings(x, groups=[0, 1, 2, 3, 4, 5])).align is None
    e = Embeddings(x, groups=["b", "a", "b", "c", "a", "d"])
    x = e.vectors.double()
    want = ((x[1] - x[4]).square().sum() + (x[0] - x[2]).square().sum()) / 2
    assert measure_instance(e).align == pytest.approx(float(want), rel=1e-6)


def test_prototype_alignment_names_what_it_compared():
    x, group = worlds.clusters(300, 12, 5, 0.5)
    members = measure_prototypes(prototypes_from_labels(Embeddings(x, labels=group)))
    assert members.align_positives == "members"
    means = torch.stack([x[group == c].double().mean(0) for c in range(5)])
    own = (means / means.norm(dim=1, keepdim=True))[group]
    want = (x.double() - own).square().sum(1).mean()
    assert members.align == pytest.approx(float(want), rel=1e-6)
    twice = Embeddings(torch.cat([x, x]), labels=group.repeat(2), groups=np.arange(300).repeat(2))
    assert measure_prototypes(prototypes_from_labels(twice)).align_positives == "views"


@pytest.mark.parametrize("count", [300, 70_000])  # the latter in two blocks
def test_projection_is_pca_with_fixed_signs(count):
    x, _ = worlds.clusters(count, 12, 5, 0.5)
    found = project(Embeddings(x))
    wide = x.double().numpy()
    _, singular, axes = np.linalg.svd(wide - wide.mean(0), full_matrices=False)
    want = (wide - wide.mean(0)) @ axes.T  # all 12 of at most 16
    np.testing.assert_allclose(np.abs(found.points), np.abs(want[found.rows]), atol=1e-6)
    shares = singular**2 / (singular**2).sum()
    np.testing.assert_allclose(found.explained, shares, rtol=1e-6)


def test_measures_share_one_cloud_size_and_keep_what_cannot_be_measured():
    e = Embeddings(worlds.clusters(600, 16, 6, 0.5)[0])
    found = measure(e, [fit_prototypes(e, k) for k in (3, 6, 12)])
    assert len({c.nemd.n for c in found.clusterings}) == 1
    values = [c.nemd.score.value for c in found.clusterings]
    assert found.nemd.score.value == pytest.approx(np.mean(values))
    one = measure(
        Embeddings(worlds.equal(100, 8)), [fit_prototypes(Embeddings(worlds.equal(100, 8)), 4)]
    )
    assert one.nemd is None
    assert "NEMD: expected at least 3 prototypes" in one.nemd_missing
    assert one.rows.duplicates == pytest.approx(0.99)
