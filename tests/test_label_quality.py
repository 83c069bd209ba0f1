"""Accuracies within one analysis: the split, the counts, Wilson's formula, reasons for None."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures import label_quality
from nemd_toolkit.measures.label_quality import measure_label_quality
from tests import worlds


def labelled(count=400, dim=8, groups=5, spread=1.5, seed=0, **more):
    points, group = worlds.clusters(count, dim, groups, spread, seed=seed)
    return Embeddings(points, labels=group, **more)


@pytest.fixture
def split(monkeypatch):
    """Rows that the accuracies were asked for: train, known, test, wanted of each call."""
    calls = []

    def spy(train, known, test, wanted, **options):
        calls.append((train, known, test, wanted, options))
        return 1.0

    monkeypatch.setattr(label_quality, "knn_accuracy", spy)
    monkeypatch.setattr(label_quality, "linear_probe_accuracy", spy)
    return calls


def wilson(share, n, z=1.959963984540054):
    """Wilson 1927: centre and half-width, written out."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def test_the_split_is_stratified_disjoint_and_counted(split):
    e = labelled(1_000)
    found = measure_label_quality(e, seed=3)
    (train, known, test, wanted, options), probe = split
    assert options == {"k": 20}
    assert (found.train_rows, found.test_rows, found.samples) == (800, 200, 1_000)
    assert found.probe_train_rows == len(probe[0]) == 800
    rows = {tuple(r): int(c) for r, c in zip(e.vectors.tolist(), e.labels, strict=True)}
    assert len(rows) == 1_000
    drawn = [tuple(r) for r in torch.cat([train, test]).tolist()]
    assert sorted(drawn) == sorted(rows)  # each row once, on one side
    assert [rows[r] for r in drawn] == [*known, *wanted]
    for c in range(5):
        assert (wanted == c).sum() == pytest.approx(0.2 * (e.labels == c).sum(), abs=1)


def test_accuracies_are_scikit_learns_on_the_same_split(split, monkeypatch):
    e = labelled(600, spread=1.8)
    measure_label_quality(e, seed=1)
    train, known, test, wanted, _ = split[0]
    monkeypatch.undo()
    found = measure_label_quality(e, seed=1)
    near = KNeighborsClassifier(20, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
    assert found.knn.value == pytest.approx(near.fit(train, known).score(test, wanted), abs=1e-12)
    scaler = StandardScaler().fit(train.double())
    line = LogisticRegression(max_iter=1_000).fit(scaler.transform(train.double()), known)
    expected = line.score(scaler.transform(test.double()), wanted)
    assert found.linear_probe.value == pytest.approx(expected, abs=1e-12)
    assert found.chance == np.bincount(wanted).max() / len(wanted)
    assert found.chance < 0.5 < found.knn.value < 1


def test_intervals_are_wilsons():
    found = measure_label_quality(labelled(600, spread=2.5))
    for accuracy in (found.knn, found.linear_probe):
        low, high = wilson(accuracy.value, 120)
        assert (accuracy.low, accuracy.high) == pytest.approx((low, high), rel=1e-9)
    perfect = measure_label_quality(labelled(600, spread=0.1)).knn
    assert perfect.value == 1.0
    assert (perfect.low, perfect.high) == pytest.approx(wilson(1.0, 120))
    assert perfect.high <= 1


def test_labels_that_tell_nothing_give_chance():
    labels = np.random.default_rng(0).integers(0, 4, 2_000)
    found = measure_label_quality(Embeddings(worlds.noise(2_000, 8), labels=labels))
    for accuracy in (found.knn, found.linear_probe):
        assert accuracy.low < 0.25 < accuracy.high


def test_same_seed_same_numbers_and_another_seed_another_split(split):
    e = labelled()
    for seed in (7, 7, 8, -1):
        measure_label_quality(e, seed=seed)
    first, again, other, negative = (call[2] for call in split[::2])
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(negative) == len(first)


def test_large_sets_are_sampled_and_counted(split, monkeypatch):
    monkeypatch.setattr(label_quality, "TRAIN_ROWS", 300)
    monkeypatch.setattr(label_quality, "TEST_ROWS", 50)
    monkeypatch.setattr(label_quality, "_PROBE_WORK", 100 * 8 * 5)
    found = measure_label_quality(labelled(1_000))
    assert (found.train_rows, found.test_rows, found.probe_train_rows) == (300, 50, 100)
    (train, known, *_), (probe, probe_known, *_) = split
    assert len(train) == 300
    assert len(probe) == 100
    assert np.bincount(known).min() > 40  # of 60: still stratified
    assert np.bincount(probe_known).min() > 5


def test_views_of_one_sample_never_face_each_other():
    """Each sample twice, equal rows and labels drawn at random: with leakage kNN would be right."""
    points = worlds.noise(600, 8)
    labels = np.random.default_rng(1).integers(0, 3, 600)
    twice = Embeddings(
        points.repeat(2, 1), labels=np.tile(labels, 2), groups=np.tile(np.arange(600), 2)
    )
    found = measure_label_quality(twice)
    assert (found.samples, found.train_rows, found.test_rows) == (600, 480, 120)
    assert found.knn == measure_label_quality(Embeddings(points, labels=labels)).knn
    assert found.knn.low < 0.4


def test_small_classes_are_left_out_and_counted(split):
    e = labelled(100)
    labels = np.where(np.arange(100) < 4, 77, e.labels)  # four rows of one class
    labels[4] = -5
    found = measure_label_quality(e.with_labels(labels))
    assert (found.classes, found.small_classes, found.samples) == (5, 2, 95)
    left = {tuple(r) for r in e.vectors[:5].tolist()}
    train, known, test, wanted, _ = split[0]
    assert not left & {tuple(r) for r in torch.cat([train, test]).tolist()}
    assert set(known) == set(wanted) == set(range(5))


@pytest.mark.parametrize("labels", [[0] * 40, range(40), [0] * 36 + [1] * 4])
def test_fewer_than_two_large_classes_are_a_reason(labels):
    found = measure_label_quality(Embeddings(worlds.noise(40, 4), labels=list(labels)))
    assert found.knn is found.linear_probe is found.chance is None
    assert "needs 2 to 5,000 classes of 5 samples or more, got" in found.missing
    assert found.train_rows == found.test_rows == 0


def test_without_labels_there_is_nothing():
    assert measure_label_quality(Embeddings(worlds.noise(40, 4))) is None


def test_one_row_alone_is_a_reason():
    assert measure_label_quality(Embeddings([[1.0, 0.0]], labels=["a"])).missing is not None


def test_too_many_classes_for_the_probe_leave_knn(monkeypatch):
    monkeypatch.setattr(label_quality, "_PROBE_WORK", 8 * 5 * 24)
    found = measure_label_quality(labelled())
    assert found.linear_probe is None
    assert "5 classes leave the probe's limit of work less than 5 rows" in found.probe_missing
    assert found.probe_train_rows == 0
    assert found.knn is not None


def test_the_smallest_classes_allowed_are_measured():
    labels = np.arange(10) < 5
    found = measure_label_quality(Embeddings(worlds.noise(10, 4), labels=labels))
    assert (found.train_rows, found.test_rows, found.probe_train_rows) == (8, 2, 8)
    assert found.missing is found.probe_missing is None
    assert found.linear_probe is not None


def test_a_class_that_misses_the_training_rows_is_a_reason(monkeypatch):
    monkeypatch.setattr(label_quality, "TRAIN_ROWS", 20)
    labels = np.arange(3_000) < 5
    found = measure_label_quality(Embeddings(worlds.noise(3_000, 4), labels=labels))
    assert found.probe_missing == "the training rows hold one class only"
    assert found.knn.value == pytest.approx(found.chance)


def test_equal_rows_score_as_guessing_does():
    labels = [0] * 60 + [1] * 40
    found = measure_label_quality(Embeddings(worlds.equal(100, 4), labels=labels))
    assert found.chance == 0.6
    assert found.knn.value in (0.4, 0.6)
    assert found.linear_probe.value == 0.6
