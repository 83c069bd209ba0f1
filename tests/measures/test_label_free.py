"""α-ReQ, W2 uniformity, KoLeo and LiDAR against other libraries and literal formulas."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import fractional_matrix_power, sqrtm
from sklearn.linear_model import LinearRegression
from sklearn.metrics import r2_score

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.formulas import align, batch_prototypes, p_align, p_uniform
from nemd_toolkit.measures.instance import (
    instance_corr,
    koleo,
    measure_instance,
    measure_prototypes,
)
from nemd_toolkit.measures.lidar import lidar, measure_lidar
from nemd_toolkit.measures.power_law import fit_power_law
from nemd_toolkit.measures.spectrum import measure_spectrum
from nemd_toolkit.prototypes import fit_prototypes, prototypes_from_labels
from tests import worlds

seeds = st.integers(0, 2**31)


@given(seed=seeds, count=st.integers(10, 140))
def test_alpha_is_scikit_learns_weighted_regression(seed, count):
    eigenvalues = np.sort(np.random.default_rng(seed).exponential(size=count))[::-1]
    first, last = 6, min(100, count)
    i = np.arange(first, last + 1)
    x, y, weights = np.log(i)[:, None], np.log(eigenvalues[first - 1 : last]), 1 / i
    line = LinearRegression().fit(x, y, sample_weight=weights)
    found = fit_power_law(eigenvalues)
    assert found.alpha == pytest.approx(-line.coef_[0], rel=1e-6)
    want = r2_score(y, line.predict(x), sample_weight=weights)
    assert found.r_squared == pytest.approx(want, rel=1e-6)
    assert (found.first, found.last, found.missing) == (first, last, None)


def test_alpha_of_embeddings_is_that_of_the_centred_covariance():
    g = torch.Generator().manual_seed(0)
    scales = torch.arange(1, 81, dtype=torch.float64) ** -0.7
    x = Embeddings(torch.randn(3000, 80, generator=g, dtype=torch.float64) * scales).vectors
    variances = np.linalg.eigvalsh(np.cov(x.double().numpy().T, bias=True))[::-1]
    want = fit_power_law(np.ascontiguousarray(variances))
    found = measure_spectrum(x).power_law
    assert found.alpha == pytest.approx(want.alpha, rel=1e-6)
    assert found.alpha == pytest.approx(1.4, abs=0.1)  # twice the exponent of the scales
    assert found.r_squared > 0.98


def test_alpha_stops_before_what_is_rounding():
    found = measure_spectrum(worlds.rank(20, 500, 64)).power_law
    assert (found.first, found.last) == (6, 20)


@pytest.mark.parametrize(
    ("points", "count"),
    [(worlds.noise(200, 9), 9), (worlds.rank(2), 2), (worlds.noise(5, 64), 4)],
)
def test_alpha_needs_a_handful_of_eigenvalues(points, count):
    found = measure_spectrum(points).power_law
    assert found.alpha is None
    assert found.missing == f"expected at least 10 eigenvalues above rounding, got {count}"


def test_a_flat_spectrum_has_exponent_0_and_explains_nothing():
    found = fit_power_law(np.full(50, 0.02))
    assert found.alpha == pytest.approx(0, abs=1e-12)
    assert found.r_squared == 0.0


def test_directclr_spectrum_is_that_of_numpys_covariance():
    x = worlds.clusters(400, 16, 5, 0.5)[0]
    covariance = np.cov(x.double().numpy().T, bias=True)
    want = np.log10(np.linalg.svd(covariance, compute_uv=False))
    np.testing.assert_allclose(measure_spectrum(x).log10_covariance, want, rtol=1e-6)
    assert len(measure_spectrum(worlds.rank(3)).log10_covariance) == 3  # it ends


@pytest.mark.parametrize(
    "points",
    [
        worlds.clusters(300, 12, 5, 0.5)[0],
        worlds.noise(2000, 32),
        worlds.noise(10, 32),
        worlds.cone(1.5, 300, 16),
    ],
    ids=["clusters", "noise", "fewer rows than dimensions", "cone"],
)
def test_w2_uniformity_is_the_papers_formula(points):
    x = points.double().numpy()
    mean, covariance = x.mean(0), np.cov(x.T, bias=True)
    root = np.trace(sqrtm(covariance)).real
    want = math.sqrt(mean @ mean + 1 + np.trace(covariance) - 2 / math.sqrt(x.shape[1]) * root)
    assert measure_spectrum(points).w2_uniformity == pytest.approx(want, rel=1e-6)


def test_w2_uniformity_of_known_cases():
    assert measure_spectrum(worlds.equal(100, 8)).w2_uniformity == pytest.approx(math.sqrt(2))
    poles = torch.cat([torch.eye(5), -torch.eye(5)])  # mean 0, covariance I/d
    assert measure_spectrum(poles).w2_uniformity == pytest.approx(0, abs=1e-7)
    one = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])  # tr Σ^½ = 1
    assert measure_spectrum(one).w2_uniformity == pytest.approx(math.sqrt(2 - math.sqrt(2)))


def loop_koleo(points):
    rows = points.double().tolist()
    total = 0.0
    for i, x in enumerate(rows):
        total -= math.log(min(math.dist(x, y) for j, y in enumerate(rows) if j != i) + 1e-8)
    return total / len(rows)


@given(seed=seeds, n=st.integers(2, 30), d=st.integers(2, 7))
def test_koleo_is_that_of_a_double_loop(seed, n, d):
    x = worlds.noise(n, d, seed=seed)
    assert koleo(x) == pytest.approx(loop_koleo(x), rel=1e-6, abs=1e-9)


def loop_corr(points, temperature=0.1):
    """−E KL over ordered pairs of distinct rows, pair by pair and coordinate by coordinate."""
    rows = []
    for row in points.double().tolist():
        parts = [math.exp(v / temperature) for v in row]
        rows.append([part / sum(parts) for part in parts])
    total = 0.0
    for i, a in enumerate(rows):
        for j, b in enumerate(rows):
            if i != j:
                total += sum(x * math.log(y / x) for x, y in zip(a, b, strict=True))
    return total / (len(rows) * (len(rows) - 1))


@given(seed=seeds, n=st.integers(2, 30), d=st.integers(2, 7), temperature=st.floats(0.05, 2))
def test_instance_corr_is_that_of_a_double_loop(seed, n, d, temperature):
    x = worlds.noise(n, d, seed=seed)
    found = instance_corr(x, temperature=temperature)
    assert found == pytest.approx(loop_corr(x, temperature), rel=1e-6)
    assert -2 * math.sqrt(2) / temperature <= found <= 0


@pytest.mark.parametrize(
    "points",
    [
        worlds.points(2, 40, 6),
        worlds.points(3, 40, 2),
        worlds.rank(1, 40, 6),
        worlds.noise(5, 30),
        torch.cat([worlds.noise(20, 4)] * 2),
        worlds.equal(40, 6, 1e-2),
    ],
    ids=["two points", "on a circle", "antipodal", "N below d", "repeated", "nearly equal"],
)
def test_instance_corr_of_degenerate_rows_is_that_of_a_double_loop(points, monkeypatch):
    want = loop_corr(points)
    assert measure_instance(Embeddings(points)).corr == pytest.approx(want, rel=1e-6)
    monkeypatch.setattr("nemd_toolkit.scratch._ROWS", 7)
    assert instance_corr(points) == pytest.approx(want, rel=1e-6)


def test_instance_corr_of_equal_rows_is_0_of_one_row_nothing_and_of_noise_known():
    assert measure_instance(Embeddings(worlds.equal(50, 8))).corr == 0
    assert measure_instance(Embeddings([[1.0, 0.0]])).corr is None
    with pytest.raises(InputError, match="at least 2 rows"):
        instance_corr(torch.ones(1, 3))
    assert instance_corr(worlds.noise(4000, 512)) == pytest.approx(-100 / 512, rel=0.05)


def test_koleo_of_embeddings_and_of_prototypes():
    x, group = worlds.clusters(200, 6, 5, 0.5)
    e = Embeddings(x, labels=group)
    found = measure_instance(e)
    assert found.koleo == pytest.approx(loop_koleo(x), rel=1e-6)
    assert found.koleo_rows == 200
    views = Embeddings(torch.cat([x, x]), groups=np.arange(400) % 200)
    assert koleo(views.vectors) > 18  # the trap: the nearest is the other view
    twice = measure_instance(views)
    assert (twice.koleo, twice.koleo_rows) == (pytest.approx(found.koleo, rel=1e-6), 200)
    prototypes = prototypes_from_labels(e)
    want = loop_koleo(prototypes.mean_directions())
    assert measure_prototypes(prototypes).koleo == pytest.approx(want, rel=1e-6)


def test_koleo_of_repeated_rows_is_its_greatest_and_of_one_row_nothing():
    assert koleo(worlds.equal(50, 8)) == pytest.approx(-math.log(1e-8))
    assert measure_instance(Embeddings([[1.0, 0.0]])).koleo is None
    one = fit_prototypes(Embeddings(worlds.noise(5, 3)), 1)
    assert measure_prototypes(one).koleo is None
    with pytest.raises(InputError, match="neighbours"):
        koleo(torch.ones(1, 3))


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5), (5, 7), (128, 1_024)])
def test_p_uniform_in_blocks_is_that_of_the_formula(rows, columns, monkeypatch):
    monkeypatch.setattr("nemd_toolkit.measures.instance._ROWS", rows)
    monkeypatch.setattr("nemd_toolkit.measures.instance._COLUMNS", columns)
    prototypes = fit_prototypes(Embeddings(worlds.noise(100, 6)), 12)
    want = float(p_uniform(prototypes.mean_directions()))
    assert measure_prototypes(prototypes).uniform == pytest.approx(want, rel=1e-12)


@pytest.mark.parametrize("block", [7, 10_000])
def test_p_align_in_blocks_is_that_of_the_formula(block, monkeypatch):
    monkeypatch.setattr("nemd_toolkit.scratch._ROWS", block)
    x, group = worlds.clusters(100, 6, 5, 0.5)
    views = torch.cat([x, x.flip(0)])
    e = Embeddings(views, labels=group.repeat(2), groups=np.arange(200) % 100)
    first, _ = batch_prototypes(e.vectors[:100].double(), group)
    second, _ = batch_prototypes(e.vectors[100:].double(), group)
    found = measure_prototypes(prototypes_from_labels(e))
    assert found.align == pytest.approx(float(p_align(first, second)), rel=1e-9)
    alone = prototypes_from_labels(Embeddings(views, labels=group.repeat(2)))
    own = alone.mean_directions()[group.repeat(2)]
    want = float(align(alone.embeddings.vectors.double(), own))
    assert measure_prototypes(alone).align == pytest.approx(want, rel=1e-9)


def literal_lidar(points, group):
    """Thilak et al. with matrix roots and loops over samples."""
    x = points.double().numpy()
    names = sorted(set(group.tolist()))
    n, q, d = len(names), len(x) // len(names), x.shape[1]
    means = [x[group == g].mean(0) for g in names]
    overall = sum(means) / n
    between = sum(np.outer(m - overall, m - overall) for m in means) / (n - 1)
    within = 1e-4 * np.eye(d)
    for g, m in zip(names, means, strict=True):
        for row in x[group == g]:
            within += np.outer(row - m, row - m) / (n * (q - 1))
    root = fractional_matrix_power(within, -0.5).real
    eigenvalues = np.linalg.svd(root @ between @ root, compute_uv=False)
    p = eigenvalues / np.abs(eigenvalues).sum() + 1e-8
    return float(np.exp(-(p * np.log(p)).sum()))


@given(seed=seeds, n=st.integers(2, 20), q=st.integers(2, 5), d=st.integers(2, 12))
def test_lidar_is_the_literal_formula(seed, n, q, d):
    rng = np.random.default_rng(seed)
    samples = rng.permutation(np.repeat(np.arange(n), q))
    centres = rng.normal(size=(n, d))
    x = Embeddings(centres[samples] + 0.3 * rng.normal(size=(n * q, d)), groups=samples)
    found = measure_lidar(x)
    assert found.rank == pytest.approx(literal_lidar(x.vectors, samples), rel=1e-6)
    assert 1 - 1e-6 <= found.rank <= found.cap * (1 + 1e-5)  # ε adds a little
    assert (found.samples, found.views, found.cap) == (n, q, min(d, n - 1))


def test_lidar_counts_directions_of_samples_and_not_of_views():
    g = torch.Generator().manual_seed(0)
    sample = torch.arange(200).repeat(10)
    three = torch.zeros(200, 30)
    three[:, :3] = torch.randn(200, 3, generator=g)
    views = 0.3 * torch.randn(2000, 30, generator=g)
    x = Embeddings(three[sample] + views).vectors
    assert measure_spectrum(x).effective_rank_centred > 20  # what views add, too
    assert lidar(x, sample) < 5


@pytest.mark.parametrize(
    ("groups", "reason"),
    [
        (None, "expected groups of views, got none"),
        ([0, 0, 0, 1, 1, 1, 2, 2], "expected groups of equal size, got 2 to 3 views"),
        ([0, 1, 2, 3, 4, 5, 6, 7], "expected at least 2 samples of 2 views, got 8 of 1"),
        ([0] * 8, "expected at least 2 samples of 2 views, got 1 of 8"),
    ],
)
def test_lidar_needs_true_views(groups, reason):
    found = measure_lidar(Embeddings(worlds.noise(8, 4), groups=groups))
    assert (found.rank, found.cap, found.missing) == (None, None, reason)


def test_lidar_of_one_point_is_0():
    same = Embeddings(worlds.equal(100, 8), groups=np.arange(100) // 2)
    assert measure_lidar(same).rank == 0.0
