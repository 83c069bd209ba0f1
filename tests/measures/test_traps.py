"""Traps of measuring collapse (DESIGN §7): what the naive number says, and what ours says."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.formulas import concentration
from nemd_toolkit.measures.spectrum import measure_spectrum
from nemd_toolkit.measures.spread import measure_spread
from nemd_toolkit.prototypes import fit_prototypes, prototypes_from_labels
from tests import worlds


def entropy_rank(values, epsilon=0.0):
    p = values / values.sum() + epsilon
    p = p[p > 0]
    return float(np.exp(-(p * np.log(p)).sum()))


def test_rankme_is_the_papers_and_other_definitions_differ_tenfold():
    g = torch.Generator().manual_seed(0)
    scales = torch.arange(1, 257) ** -1.0
    x = F.normalize(torch.randn(4000, 256, generator=g) * scales, dim=1)
    singular = np.linalg.svd(x.double().numpy(), compute_uv=False)
    found = measure_spectrum(x)
    assert found.rankme == pytest.approx(entropy_rank(singular, 1e-7), rel=1e-6)
    assert found.rankme > 80
    assert entropy_rank(singular**2) < found.rankme / 10  # naive: eigenvalues in their place
    assert found.participation_ratio < found.rankme / 10


def test_uncentred_rank_hides_in_a_cone_what_the_centred_one_finds():
    x = F.normalize(worlds.noise(2000, 128) * 0.003 + torch.eye(128)[:1], dim=1)
    singular = np.linalg.svd(x.double().numpy(), compute_uv=False)
    found = measure_spectrum(x)
    assert entropy_rank(singular) < 1.5  # naive: one direction
    assert found.effective_rank_centred > 10 * entropy_rank(singular)
    assert found.variance < 1e-4  # and what says that hardly anything is left around the mean


def test_centred_rank_calls_total_collapse_healthy_and_the_variance_does_not():
    x = worlds.equal(2000, 64, 1e-5)
    wide = x.double().numpy()
    naive = entropy_rank(np.linalg.svd(wide - wide.mean(0), compute_uv=False))
    assert naive > 0.9 * 64  # healthier than most healthy encoders
    found = measure_spectrum(x)
    assert found.variance < 1e-9
    assert found.effective_rank == pytest.approx(1.0, abs=0.1)
    assert found.w2_uniformity == pytest.approx(np.sqrt(2), rel=1e-4)


def test_standard_deviation_of_normalised_outputs_cannot_see_rank_2():
    collapsed, healthy = worlds.rank(2), worlds.noise(2000, 64)
    naive = float(collapsed.std(0).mean() / healthy.std(0).mean())
    assert naive > 0.8  # 1 is healthy, 0 is collapsed
    low, high = measure_spectrum(collapsed), measure_spectrum(healthy)
    assert low.effective_rank_centred < 2.01 < 60 < high.effective_rank_centred
    assert low.participation_ratio < 2.01
    assert low.w2_uniformity > 1 > 0.2 > high.w2_uniformity


def naive_phi(prototypes, temperature=0.2):
    """What PCL's loss divides by: its own code's last two lines."""
    x, rows = prototypes.embeddings.vectors.double(), prototypes.used_assignment()
    means = torch.stack([x[rows == c].mean(0) for c in range(int(rows.max()) + 1)])
    density = concentration((x - means[rows]).square().sum(1), rows, len(means))
    return (temperature * density / density.mean()).numpy()


def test_phi_looks_normal_under_total_collapse_and_the_concentration_does_not():
    x, group = worlds.clusters(600, 16, 8, 0.9)
    healthy = prototypes_from_labels(Embeddings(x, labels=group))
    point = Embeddings(worlds.equal(600, 16, 1e-6), labels=np.arange(600) % 8)
    collapsed = prototypes_from_labels(point)
    naive = naive_phi(collapsed)
    assert naive.mean() == pytest.approx(0.2)  # as in any healthy run
    assert 0.15 < naive.min() < naive.max() < 0.25
    low, high = measure_spread(collapsed), measure_spread(healthy)
    np.testing.assert_allclose(low.phi, naive, rtol=1e-6)
    assert low.phi.mean() == pytest.approx(high.phi.mean())
    assert low.concentrations.max() < 1e-5 < 0.1 < high.concentrations.min()


def test_phi_of_exactly_equal_rows_has_a_reason_where_pcls_is_not_a_number():
    same = prototypes_from_labels(Embeddings(worlds.equal(80, 4), labels=np.arange(80) % 4))
    with np.errstate(invalid="ignore"):
        assert not np.isfinite(naive_phi(same)).all()
    found = measure_spread(same)
    assert found.concentrations.tolist() == [0, 0, 0, 0]
    assert found.phi is None
    assert "total collapse" in found.phi_missing


def test_kmeans_succeeds_on_one_point_and_the_spread_tells():
    prototypes = fit_prototypes(Embeddings(worlds.equal(300, 8)), 10)
    assert len(prototypes.vectors) == 10  # naive: ten prototypes were found
    found = measure_spread(prototypes)
    assert len(found.which) == 1
    assert found.nearest_pair is None
    assert found.resultants == pytest.approx([1.0])
