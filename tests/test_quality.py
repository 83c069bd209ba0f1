"""kNN and linear probe: hand-checked votes, and scikit-learn as a reference."""

import math

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import top_k_accuracy_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures import quality
from nemd_toolkit.measures.quality import (
    knn_accuracy,
    linear_probe_accuracy,
    linear_probe_scores,
)


def at(*degrees):
    """Points of the circle."""
    radians = torch.tensor(degrees, dtype=torch.float64) * math.pi / 180
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def blobs(n, spread, seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 4, n)
    centres = np.random.default_rng(0).normal(size=(4, 6))
    return torch.from_numpy(centres[labels] + spread * rng.normal(size=(n, 6))), labels


@pytest.mark.parametrize(("k", "temperature"), [(1, 0.07), (7, 0.07), (20, 0.5)])
def test_knn_is_scikit_learns_with_the_same_weights(k, temperature):
    (train, known), (test, wanted) = blobs(200, 0.9, 1), blobs(150, 0.9, 2)
    reference = KNeighborsClassifier(
        k, metric="cosine", weights=lambda distance: np.exp((1 - distance) / temperature)
    )
    expected = reference.fit(train.numpy(), known).score(test.numpy(), wanted)
    ours = knn_accuracy(train, known, test, wanted, k=k, temperature=temperature)
    assert 0.5 < expected < 1
    assert ours == pytest.approx(expected, abs=1e-12)


def test_a_near_neighbour_outweighs_two_far_ones_at_low_temperature_only():
    train, known = at(10, 50, -50), np.array([0, 1, 1])
    test, wanted = at(0), np.array([0])
    # cosines .985, .643, .643: exp((.985-.643)/T) > 2 below T = .49
    assert knn_accuracy(train, known, test, wanted, k=3, temperature=0.07) == 1.0
    assert knn_accuracy(train, known, test, wanted, k=3, temperature=0.6) == 0.0


def test_knn_ignores_lengths_and_survives_zero_rows():
    train, known = at(0, 90) * torch.tensor([[1e-3], [1e3]]), np.array([0, 1])
    test = torch.cat([at(10) * 50, torch.zeros(1, 2, dtype=torch.float64)])
    assert knn_accuracy(train, known, test, np.array([0, 1]), k=1) in (0.5, 1.0)


def test_knn_with_fewer_rows_than_k_lets_all_vote():
    assert knn_accuracy(at(0, 5, 180), np.array([1, 1, 0]), at(0), np.array([1]), k=20) == 1.0


def test_linear_probe_separates_what_a_line_separates_and_not_what_it_does_not():
    line = torch.tensor([[-3.0], [-2.0], [2.0], [3.0]])
    assert linear_probe_accuracy(line, np.array([0, 0, 1, 1]), line, np.array([0, 0, 1, 1])) == 1.0
    cross = torch.tensor([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    xor = np.array([0, 0, 1, 1])
    assert linear_probe_accuracy(cross, xor, cross, xor) <= 0.75


def test_linear_probe_is_logistic_regression_by_another_solver():
    (train, known), (test, wanted) = blobs(200, 0.9, 1), blobs(150, 0.9, 2)
    mean, spread = train.numpy().mean(0), train.numpy().std(0)
    newton = LogisticRegression(C=1.0, solver="newton-cg", tol=1e-10, max_iter=1000)
    newton.fit((train.numpy() - mean) / spread, known)
    expected = newton.score((test.numpy() - mean) / spread, wanted)
    assert 0.5 < expected < 1
    assert linear_probe_accuracy(train, known, test, wanted) == pytest.approx(expected, abs=1e-12)


def test_linear_probe_does_not_depend_on_scale():
    (train, known), (test, wanted) = blobs(200, 0.9, 1), blobs(150, 0.9, 2)
    scale = torch.logspace(-3, 3, 6, dtype=torch.float64)
    plain = linear_probe_accuracy(train, known, test, wanted)
    assert linear_probe_accuracy(train * scale, known, test * scale, wanted) == plain


def test_top_of_a_linear_probe_is_scikit_learns():
    (train, known), (test, wanted) = blobs(300, 1.5, 1), blobs(200, 1.5, 2)
    known, wanted = known * 3 + 1, wanted * 3 + 1  # class numbers need not be consecutive
    scaler = StandardScaler().fit(train.numpy())
    line = LogisticRegression(max_iter=1000).fit(scaler.transform(train.numpy()), known)
    scores = line.predict_proba(scaler.transform(test.numpy()))
    for top in (1, 2, 3, 9):
        expected = top_k_accuracy_score(wanted, scores, k=min(top, 3), labels=line.classes_)
        expected = 1.0 if top == 9 else expected
        assert linear_probe_accuracy(train, known, test, wanted, top=top) == pytest.approx(expected)


def test_two_classes_have_two_scores():
    line = torch.tensor([[-3.0], [-2.0], [2.0], [3.0]])
    scores, classes = linear_probe_scores(line, np.array([4, 4, 9, 9]), torch.tensor([[-1.0]]))
    assert (scores.shape, classes.tolist()) == ((1, 2), [4, 9])
    assert scores[0, 0] > scores[0, 1]


def test_many_rows_are_probed_by_sgd_to_the_same_optimum(monkeypatch):
    (train, known), (test, _) = blobs(40_000, 1.5, 1), blobs(300, 1.5, 2)
    exact, _ = linear_probe_scores(train, known, test)
    monkeypatch.setattr(quality, "_MOST_ROWS", 100)
    found, _ = linear_probe_scores(train, known, test)
    a, b = exact.softmax(1), found.softmax(1)
    assert float((a - b).abs().max()) < 0.02
    assert float((a.argmax(1) == b.argmax(1)).double().mean()) > 0.99


def test_labels_of_another_length_are_refused():
    with pytest.raises(InputError, match="labels"):
        knn_accuracy(at(0, 1), np.array([0]), at(0), np.array([0]))
    with pytest.raises(InputError, match="two classes"):
        linear_probe_accuracy(at(0, 1), np.array([1, 1]), at(0), np.array([1]))
