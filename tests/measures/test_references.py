"""Every number of one `measure` against its formula, within 1e-6, on random and degenerate rows."""

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.clouds import draw_clouds
from nemd_toolkit.measures.held_out import members_of
from nemd_toolkit.measures.lidar import measure_lidar
from nemd_toolkit.measures.null import uniform_null
from nemd_toolkit.measures.summary import measure
from nemd_toolkit.prototypes import prototypes_from_labels, prototypes_from_vectors
from nemd_toolkit.report.tables import prototype_table
from tests import worlds
from tests.measures import references
from tests.measures.test_label_free import literal_lidar
from tests.test_neural_collapse import by_loops

RANDOM = {
    "noise": worlds.noise(60, 6),
    "clusters": worlds.clusters(80, 12, 5, 0.5)[0],
    "cone": worlds.cone(1.5, 60, 16),
    "d = 2": worlds.noise(40, 2),
    "N below d": worlds.noise(12, 40),
    "float16": worlds.noise(60, 6).half(),
}
DEGENERATE = {
    "equal": worlds.equal(40, 6),
    "nearly equal": worlds.equal(60, 6, 1e-4),
    "two rows": worlds.noise(2, 6),
    "two points": worlds.points(2, 40, 6),
    "antipodal": torch.tensor([[0.6, 0.8, 0.0], [-0.6, -0.8, 0.0]]).repeat(20, 1),
    "rank 1": worlds.rank(1, 40, 6),
    "rank 2": worlds.rank(2, 60, 12),
    "half repeated": worlds.noise(30, 6).repeat(2, 1),
    "one group and singles": torch.cat([worlds.equal(40, 6, 0.01), worlds.noise(6, 6)]),
    "basis": torch.eye(12).repeat(3, 1),
    "tiny": worlds.noise(40, 6) * 1e-30,
    "huge": worlds.noise(40, 6) * 1e30,
}
NEURAL_COLLAPSE = (
    "nc1",
    "nc1_quotient",
    "nc2_norms",
    "nc2_angles_std",
    "nc2_angles_offset",
    "cdnv",
    "cdnv_largest",
)
CLOSE = {"rel": 1e-6, "abs": 1e-12}


@pytest.fixture(scope="module", params=[*RANDOM, *DEGENERATE])
def found(request):
    """Measures of rows in pairs of views, under labels and under own prototypes; and the rows."""
    points = (RANDOM | DEGENERATE)[request.param]
    n = len(points)
    labels = np.minimum(np.arange(n) % 5, 3) if n > 2 else np.arange(2)
    e = Embeddings(points, labels=labels)
    own = torch.cat([e.vectors[:: max(1, n // 7)], -e.vectors.mean(0, keepdim=True) + 1e-3])
    m = measure(e, [prototypes_from_labels(e), prototypes_from_vectors(e, own)])
    return m, e.vectors.double().numpy()


def test_instance_measures(found):
    m, rows = found
    i = m.instance
    assert i.uniform == pytest.approx(references.uniformity(rows), **CLOSE)
    assert i.corr == pytest.approx(references.correlation(rows), **CLOSE)
    assert i.koleo == pytest.approx(references.koleo(rows), **CLOSE)
    assert i.mean_cosine == pytest.approx(references.mean_cosine(rows), **CLOSE)
    assert i.resultant == pytest.approx(references.resultant(rows), **CLOSE)
    assert i.align is None


def test_alignment_of_views(found):
    _, rows = found
    n = len(rows) // 2
    e = Embeddings(rows, groups=np.arange(len(rows)) % n)
    m = measure(e, [prototypes_from_vectors(e, e.vectors[:1])])
    rows = e.vectors.double().numpy()
    want = references.alignment(rows, [(i, i + n) for i in range(n)])
    assert m.instance.align == pytest.approx(want, **CLOSE)


def test_spectrum_measures(found):
    m, rows = found
    s = m.spectrum
    assert s.rankme == pytest.approx(references.rankme(rows), **CLOSE)
    plain, centred = (references.effective_rank(rows, centred=c) for c in (False, True))
    assert (s.effective_rank, s.effective_rank_centred) == pytest.approx((plain, centred), **CLOSE)
    assert s.participation_ratio == pytest.approx(references.participation_ratio(rows), **CLOSE)
    assert s.variance == pytest.approx(references.variance(rows), **CLOSE)
    want = references.w2_uniformity(rows)
    assert s.w2_uniformity == pytest.approx(want, rel=1e-6, abs=1e-7)  # a root of rounding
    values = references.singular(rows, centred=True)
    want = 2 * np.log10(values[values > 0])
    np.testing.assert_allclose(s.log10_covariance, want, rtol=1e-6)
    law = references.power_law(rows)
    assert (s.power_law.alpha is None) == (law is None)
    if law is not None:
        assert (s.power_law.alpha, s.power_law.r_squared) == pytest.approx(law, **CLOSE)


def test_intrinsic_dimension(found):
    m, rows = found
    want = references.two_nn(rows)
    if m.intrinsic.dimension is None:
        assert m.intrinsic.missing
    else:
        assert m.intrinsic.dimension.value == pytest.approx(want, rel=1e-6)


def test_usage_measures(found):
    for c in found[0].clusterings:
        u = c.usage
        got = (u.entropy, u.perplexity, u.gini, u.null.dead)
        assert got == pytest.approx(references.usage(u.sizes.tolist()), **CLOSE)
        assert u.dead == (u.sizes == 0).sum()
        assert u.largest_share == pytest.approx(u.sizes.max() / u.sizes.sum(), rel=1e-12)


def test_spread_measures(found):
    m, rows = found
    for c in m.clusterings:
        own = c.prototypes.assignment.numpy()
        np.testing.assert_allclose(c.spread.resultants, references.resultants(rows, own), rtol=1e-6)
        want = references.concentrations(rows, own)
        np.testing.assert_allclose(c.spread.concentrations, want, rtol=1e-6, atol=1e-12)
        if c.spread.phi is None:
            assert want.min() < 1e-12
            assert c.spread.phi_missing
        else:
            np.testing.assert_allclose(c.spread.phi, 0.2 * want / want.mean(), rtol=1e-6)
        centres = references.directions(rows, own)
        if len(centres) > 1:
            want = references.nearest_distances(centres)
            np.testing.assert_allclose(c.spread.nearest_distance, want, rtol=1e-6, atol=1e-14)


def test_prototype_measures(found):
    m, rows = found
    for c in m.clusterings:
        own, g = c.prototypes.assignment.numpy(), c.geometry
        assert g.align == pytest.approx(references.members_align(rows, own), **CLOSE)
        assert g.align_positives == "members"
        centres = references.directions(rows, own)
        if len(centres) > 1:
            assert g.uniform == pytest.approx(references.p_uniform(centres), **CLOSE)
            assert g.corr == pytest.approx(references.correlation(centres), **CLOSE)
            assert g.koleo == pytest.approx(references.koleo(centres), rel=1e-6)
        else:
            assert g.uniform is g.corr is g.koleo is None


def test_neural_collapse(found):
    m, rows = found
    c = m.neural_collapse
    defined = [name for name in NEURAL_COLLAPSE if getattr(c, name) is not None]
    assert len(defined) == len(NEURAL_COLLAPSE) or c.missing
    if defined:
        labels = m.clusterings[0].prototypes.assignment.numpy()
        with np.errstate(divide="ignore", invalid="ignore"):  # where ours is None
            want = by_loops(Embeddings(rows, labels=labels))
        for name in defined:
            # a cosine or length is a difference of rows: it knows 1e-16 of 1
            assert getattr(c, name) == pytest.approx(want[name], rel=1e-6, abs=1e-8), name


def test_lidar_of_views(found):
    _, rows = found
    n = len(rows) // 2
    sample = np.arange(len(rows)) % n
    lidar = measure_lidar(Embeddings(rows, groups=sample))
    if n < 2:
        assert "expected at least 2 samples" in lidar.missing
    elif lidar.rank == 0:  # all samples at one point
        means = (rows[:n] + rows[n:]) / 2
        assert references.variance(means) == 0
    else:
        assert lidar.rank == pytest.approx(literal_lidar(torch.from_numpy(rows), sample), rel=1e-6)


def w1(x, y):
    costs = cdist(x, y)
    return costs[linear_sum_assignment(costs)].mean()


def nemd_by_loops(clouds):
    """Raw, excess, energy and chord of each pair: rows in `combinations`' order."""
    first, second = clouds.first.double().numpy(), clouds.second.double().numpy()
    both, u = np.concatenate([first, second], axis=1), len(first)
    s = both.shape[1]
    within = [w1(x, y) for x, y in zip(first, second, strict=True)]
    around = [cdist(x, x).sum() / (s * (s - 1)) for x in both]
    rows = []
    for p in range(u):
        for q in range(p + 1, u):
            raw = w1(first[p], first[q])
            energy = cdist(both[p], both[q]).mean() - (around[p] + around[q]) / 2
            chord = np.linalg.norm(clouds.directions[p] - clouds.directions[q])
            rows.append((raw, raw - (within[p] + within[q]) / 2, energy, chord))
    return np.array(rows).T


@pytest.mark.parametrize(
    "rows",
    [
        worlds.clusters(200, 8, 5, 0.6)[0],
        worlds.noise(200, 8),
        worlds.points(4, 200, 8),
        torch.tensor([[1.0, 0.0], [-1.0, 0.0]]).repeat(100, 1),
        worlds.noise(50, 8).repeat(4, 1),
        worlds.equal(200, 8, 1e-4),
        worlds.equal(200, 8),
    ],
    ids=["clusters", "noise", "points", "antipodal", "repeated", "nearly equal", "equal"],
)
def test_nemd_of_pairs_prototypes_clusterings_and_all(rows):
    e = Embeddings(rows, labels=np.arange(200) * 7 // 100 % 5)
    by_label = prototypes_from_labels(e)
    by_own = prototypes_from_vectors(e, by_label.vectors + 0.01 * worlds.noise(5, e.dim))
    m = measure(e, [by_label, by_own], seed=3)
    measured = [c for c in m.clusterings if c.nemd is not None]
    for c in measured:
        raw, excess, energy, chord = nemd_by_loops(
            draw_clouds(members_of(c.prototypes), c.nemd.n, seed=3)
        )
        far = {"rtol": 1e-6, "atol": 1e-6 * max(raw.max(), 1e-8)}  # differences of such lengths
        np.testing.assert_allclose(c.nemd.table.raw, raw, **far)
        np.testing.assert_allclose(c.nemd.table.excess, excess, **far)
        np.testing.assert_allclose(c.nemd.table.energy, energy, **far)
        assert c.nemd.excess.value == pytest.approx(excess.mean(), rel=1e-6, abs=far["atol"])
        ends = prototype_table(c).set_index("prototype")["mean_excess"]
        for p in np.unique(c.nemd.table.pairs):
            of_p = excess[(c.nemd.table.pairs == p).any(axis=1)]
            assert ends[p] == pytest.approx(of_p.mean(), rel=1e-6, abs=far["atol"])
        _score_is_between_its_anchors(c, excess, chord)
    if measured:
        for column in ("raw", "excess", "energy"):
            for end in ("value", "low", "high"):
                parts = [getattr(getattr(c.nemd, column), end) for c in measured]
                got = getattr(getattr(m.nemd, column), end)
                assert got == pytest.approx(np.mean(parts), rel=1e-6, abs=1e-15)
    else:
        assert "expected at least 3 prototypes" in m.nemd_missing


def _score_is_between_its_anchors(c, excess, chord):
    (null,) = uniform_null(c.prototypes, seed=3)
    low = nemd_by_loops(draw_clouds(null, c.nemd.n, seed=3))[1].mean()
    assert c.nemd.excess_uniform == pytest.approx(low, rel=1e-6)
    assert c.nemd.excess_collapsed == pytest.approx(chord.mean(), rel=1e-6, abs=1e-15)
    if c.nemd.score is None:
        assert chord.mean() < 2 * low
        assert "too close together" in c.nemd.score_missing
    else:
        want = (excess.mean() - low) / (chord.mean() - low)
        assert c.nemd.score.value == pytest.approx(want, rel=1e-6)
        assert c.nemd.score.low <= want <= c.nemd.score.high
