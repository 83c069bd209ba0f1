"""Neural collapse: exact simplices, and the papers' equations written as loops."""

import itertools
import math

import numpy as np
import pytest
import torch

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.neural_collapse import LinearHead, measure_neural_collapse
from tests import worlds

DEFINED = ("nc1", "nc1_quotient", "nc2_norms", "nc2_angles_std", "nc2_angles_offset", "cdnv")


def simplex(k, dim):
    """k unit rows with cosines −1/(k−1)."""
    centred = np.eye(k) - 1 / k
    rows = np.zeros((k, dim))
    rows[:, :k] = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    return rows


def labelled(count=150, dim=6, groups=4, spread=0.9, seed=0):
    points, group = worlds.clusters(count, dim, groups, spread, seed=seed)
    return Embeddings(points, labels=group)


def by_loops(e):
    """Equations of Papyan et al. (Figs. 2, 3, 4, 6) and Galanti et al., classes counting alike."""
    rows, labels = e.vectors.double().numpy(), e.labels
    members = [rows[labels == c] for c in np.unique(labels)]
    k, d = len(members), rows.shape[1]
    means = [sum(m) / len(m) for m in members]
    centre = sum(means) / k
    within, between = np.zeros((d, d)), np.zeros((d, d))
    for m, mean in zip(members, means, strict=True):
        for x in m:
            within += np.outer(x - mean, x - mean) / len(m) / k
        between += np.outer(mean - centre, mean - centre) / k
    norms = [np.linalg.norm(mean - centre) for mean in means]
    cosines, cdnv = [], []
    for p, q in itertools.permutations(range(k), 2):
        cosines.append((means[p] - centre) @ (means[q] - centre) / norms[p] / norms[q])
        spreads = [np.mean([np.sum((x - means[c]) ** 2) for x in members[c]]) for c in (p, q)]
        cdnv.append(sum(spreads) / 2 / np.sum((means[p] - means[q]) ** 2))
    return {
        "nc1": np.trace(np.linalg.pinv(between, rcond=1e-12, hermitian=True) @ within) / k,
        "nc1_quotient": np.trace(within) / np.trace(between),
        "nc2_norms": np.std(norms) / np.mean(norms),
        "nc2_angles_std": np.std(cosines),
        "nc2_angles_offset": np.mean([abs(c + 1 / (k - 1)) for c in cosines]),
        "cdnv": np.mean(cdnv),
        "cdnv_largest": max(cdnv),
    }


@pytest.mark.parametrize(
    ("count", "dim", "groups", "spread"),
    [(150, 6, 4, 0.9), (60, 12, 3, 0.2), (90, 4, 9, 1.5), (14, 30, 2, 0.5), (40, 50, 8, 0.9)],
    ids=["usual", "tight", "more classes than d + 1", "two classes", "N below d"],
)
def test_every_number_is_that_of_the_equations(count, dim, groups, spread):
    e = labelled(count, dim, groups, spread)
    found, expected = measure_neural_collapse(e), by_loops(e)
    assert found.rows == count
    assert found.missing is None
    for name, value in expected.items():
        assert getattr(found, name) == pytest.approx(value, rel=1e-6, abs=1e-9), name


def test_blocks_of_pairs_change_nothing(monkeypatch):
    e = labelled(200, 8, 30)
    whole = measure_neural_collapse(e)
    monkeypatch.setattr("nemd_toolkit.measures.neural_collapse._ENTRIES", 70)
    parts = measure_neural_collapse(e)
    for name in (*DEFINED, "cdnv_largest"):
        assert getattr(parts, name) == pytest.approx(getattr(whole, name), rel=1e-12)


@pytest.mark.parametrize("k", [2, 3, 10])
def test_a_simplex_of_points_has_collapsed_whatever_the_class_sizes(k):
    labels = np.repeat(np.arange(k), np.arange(2, k + 2))
    e = Embeddings(simplex(k, 12)[labels], labels=labels)
    head = LinearHead(weights=7.0 * torch.from_numpy(simplex(k, 12)))
    found = measure_neural_collapse(e, head)
    for name in (*DEFINED, "cdnv_largest", "nc3"):
        assert getattr(found, name) == pytest.approx(0, abs=1e-7), name
    assert found.nc4 == 1.0


def test_points_that_are_no_simplex_have_nc1_zero_and_nc2_not():
    """Cosines of e1, e2, −e1, −e2: −1 twice, 0 four times; all norms 1."""
    square = np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]])
    found = measure_neural_collapse(Embeddings(np.tile(square, (3, 1)), labels=[0, 1, 2, 3] * 3))
    assert found.nc1 == found.cdnv == found.nc2_norms == 0
    assert found.nc2_angles_std == pytest.approx(math.sqrt(2) / 3)
    assert found.nc2_angles_offset == pytest.approx((2 * 2 / 3 + 4 * 1 / 3) / 6)


def test_shares_of_the_squared_length_add_up():
    """tr Σ_W + tr Σ_B + ‖μ_G‖² = 1 for unit rows."""
    e = labelled(300, 10, 5)
    means = np.stack([e.vectors[e.labels == c].double().mean(0).numpy() for c in range(5)])
    between = np.square(means - means.mean(0)).sum() / 5
    rest = 1 - between - np.square(means.mean(0)).sum()
    assert measure_neural_collapse(e).nc1_quotient == pytest.approx(rest / between, rel=1e-6)


def test_rotation_and_names_of_classes_do_not_matter():
    e = labelled()
    turn = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(3)))[0]
    other = Embeddings(e.vectors @ turn, labels=[f"class {9 - c}" for c in e.labels])
    first, second = measure_neural_collapse(e), measure_neural_collapse(other)
    for name in (*DEFINED, "cdnv_largest"):
        assert getattr(second, name) == pytest.approx(getattr(first, name), rel=1e-5)


def test_numbers_fall_as_classes_tighten():
    found = [measure_neural_collapse(labelled(spread=s)) for s in (0.1, 0.4, 0.9, 2.0)]
    for name in ("nc1", "nc1_quotient", "cdnv", "cdnv_largest"):
        values = [getattr(f, name) for f in found]
        assert values == sorted(values)
        assert values[0] < values[-1] / 10


def test_labels_that_tell_nothing_have_cdnv_of_half_the_rows_per_class():
    e = Embeddings(worlds.noise(4_000, 64), labels=np.arange(4_000) % 8)
    assert measure_neural_collapse(e).cdnv == pytest.approx(250, rel=0.1)


def test_a_direction_without_class_means_is_left_out_of_the_pseudo_inverse():
    """Means on the first axis, spread on the second: Σ_B† sees nothing of Σ_W."""
    across = [[0.6, 0.8], [0.6, -0.8], [-0.6, 0.8], [-0.6, -0.8]]
    found = measure_neural_collapse(Embeddings(across, labels=[0, 0, 1, 1]))
    assert found.nc1 == pytest.approx(0, abs=1e-12)
    assert found.nc1_quotient == pytest.approx(0.64 / 0.36, rel=1e-6)
    assert found.cdnv == pytest.approx(0.64 / 1.44, rel=1e-6)


@pytest.mark.parametrize("with_bias", [False, True])
def test_head_by_loops(with_bias):
    e = labelled(120, 5, 4, 1.5)
    rng = np.random.default_rng(1)
    w, b = rng.normal(size=(4, 5)), rng.normal(size=4) * with_bias
    rows = e.vectors.double().numpy()
    means = np.stack([rows[e.labels == c].mean(0) for c in range(4)])
    m = means - means.mean(0)
    gap = sum(
        (w[c, j] / np.sqrt((w**2).sum()) - m[c, j] / np.sqrt((m**2).sum())) ** 2
        for c in range(4)
        for j in range(5)
    )
    agreed = 0
    for x in rows:
        told = max(range(4), key=lambda c: w[c] @ x + b[c])
        nearest = min(range(4), key=lambda c: np.linalg.norm(x - means[c]))
        agreed += told == nearest
    head = LinearHead(weights=torch.from_numpy(w), bias=torch.from_numpy(b) if with_bias else None)
    found = measure_neural_collapse(e, head)
    assert found.nc3 == pytest.approx(gap, rel=1e-6)
    assert found.nc4 == agreed / 120
    assert 0 < found.nc4 < 1
    assert found.head_missing is None


@pytest.mark.parametrize("scale", [1.0, 1e-200, 1e200])
def test_a_head_reads_rows_as_they_came(scale):
    """Lengths from 0.1 to 10 change the means, and what the bias decides."""
    rng = np.random.default_rng(2)
    unit = labelled(120, 5, 4, 1.5)
    rows = unit.vectors.double().numpy() * 10 ** rng.uniform(-1, 1, (120, 1))
    w, b = rng.normal(size=(4, 5)), rng.normal(size=4)
    e = Embeddings(rows * scale, labels=unit.labels)
    found = measure_neural_collapse(
        e, LinearHead(weights=torch.from_numpy(w), bias=torch.from_numpy(b * scale))
    )
    means = np.stack([rows[unit.labels == c].mean(0) for c in range(4)])
    m = means - means.mean(0)
    gap = np.square(w / np.linalg.norm(w) - m / np.linalg.norm(m)).sum()
    nearest = [min(range(4), key=lambda c: math.dist(x, means[c])) for x in rows]
    told = [max(range(4), key=lambda c: w[c] @ x + b[c]) for x in rows]
    assert found.nc3 == pytest.approx(gap, rel=1e-6)
    assert found.nc4 == np.mean(np.equal(told, nearest))
    on_unit_rows = measure_neural_collapse(
        unit, LinearHead(weights=torch.from_numpy(w), bias=torch.from_numpy(b))
    )
    assert found.nc4 != on_unit_rows.nc4  # the trap
    assert found.nc1 == pytest.approx(on_unit_rows.nc1, rel=1e-6)


def test_class_means_that_coincide_only_as_they_came_leave_the_head_a_reason():
    rows = [[3.0, 0.0], [0.0, 1.0], [1.5, 0.5], [1.5, 0.5]]  # both means are (1.5, 0.5)
    found = measure_neural_collapse(
        Embeddings(rows, labels=[0, 0, 1, 1]), LinearHead(weights=torch.eye(2))
    )
    assert found.nc1 > 0
    assert found.nc3 is found.nc4 is None
    assert "coincide before rows are set to length 1" in found.head_missing


def test_a_head_against_the_means_has_the_largest_nc3():
    labels = [0, 1, 2] * 2
    e = Embeddings(np.tile(simplex(3, 4), (2, 1)), labels=labels)
    found = measure_neural_collapse(e, LinearHead(weights=-torch.from_numpy(simplex(3, 4))))
    assert found.nc3 == pytest.approx(4, rel=1e-6)
    assert found.nc4 == 0


def test_without_labels_there_is_nothing_and_without_head_a_reason():
    assert measure_neural_collapse(Embeddings(worlds.noise(10, 4))) is None
    found = measure_neural_collapse(labelled())
    assert found.nc3 is found.nc4 is None
    assert "no linear classifier" in found.head_missing


@pytest.mark.parametrize("labels", [[0] * 6, range(6), [0, 0, 0, 1, 2, 3]])
def test_fewer_than_two_classes_of_two_rows_are_a_reason(labels):
    found = measure_neural_collapse(Embeddings(worlds.noise(6, 4), labels=list(labels)))
    assert [getattr(found, name) for name in DEFINED] == [None] * len(DEFINED)
    assert "needs 2 to 10,000 classes of two rows or more, got" in found.missing


def test_one_row_alone_is_a_reason():
    found = measure_neural_collapse(Embeddings([[1.0, 0.0]], labels=["a"]))
    assert (found.nc1, found.classes, found.lone_classes) == (None, 0, 1)


def test_classes_of_one_row_are_left_out_and_counted():
    e = labelled()
    more = Embeddings(
        torch.cat([worlds.noise(2, 6), e.vectors]), labels=[-1, 1_000, *e.labels.tolist()]
    )
    head = LinearHead(weights=torch.randn(4, 6))
    wider = LinearHead(weights=torch.cat([torch.ones(1, 6), head.weights, torch.ones(1, 6)]))
    plain, found = measure_neural_collapse(e, head), measure_neural_collapse(more, wider)
    assert (found.classes, found.rows, found.lone_classes) == (4, 150, 2)
    for name in (*DEFINED, "cdnv_largest", "nc3", "nc4"):
        assert getattr(found, name) == pytest.approx(getattr(plain, name), rel=1e-6)


def test_total_collapse_has_no_variance_between_classes():
    found = measure_neural_collapse(Embeddings(worlds.equal(12, 4), labels=[0, 1, 2] * 4))
    assert [getattr(found, name) for name in DEFINED] == [None] * len(DEFINED)
    assert "all class means coincide" in found.missing


def test_two_classes_that_coincide_have_no_cdnv_but_the_rest():
    rows = np.concatenate([worlds.noise(5, 4).numpy()] * 2 + [worlds.noise(5, 4, seed=1).numpy()])
    found = measure_neural_collapse(Embeddings(rows, labels=np.repeat([0, 1, 2], 5)))
    assert found.cdnv is found.cdnv_largest is None
    assert found.missing == "class means coincide in 1 of 3 pairs, where CDNV is infinite"
    assert found.nc1 > 0


def test_a_class_at_the_centre_has_no_angle():
    rows = [[1.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    found = measure_neural_collapse(Embeddings(rows, labels=[0, 0, 1, 1, 2, 2]))
    assert found.nc2_angles_std is found.nc2_angles_offset is None
    assert "no angle" in found.missing
    assert found.nc2_norms == pytest.approx(math.sqrt(0.5))  # of 1, 1, 0


@pytest.mark.parametrize(
    "head",
    [
        LinearHead(weights=torch.ones(3, 6)),
        LinearHead(weights=torch.ones(4, 5)),
        LinearHead(weights=torch.ones(4, 6), bias=torch.ones(3)),
    ],
)
def test_a_head_of_another_shape_is_refused(head):
    with pytest.raises(InputError, match="head: expected weights .4, 6."):
        measure_neural_collapse(labelled(), head)


@pytest.mark.parametrize("value", [0.0, math.nan, math.inf])
def test_a_head_without_direction_is_refused(value):
    with pytest.raises(InputError, match="finite weights that are not all 0"):
        measure_neural_collapse(labelled(), LinearHead(weights=torch.full((4, 6), value)))
