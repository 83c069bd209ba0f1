"""Purity and mutual information of prototypes and labels, against literal loops."""

import math

import numpy as np
import pytest
import torch

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.label_agreement import measure_label_agreement
from nemd_toolkit.prototypes import (
    fit_prototypes,
    prototypes_from_labels,
    prototypes_from_vectors,
)
from tests import worlds


def labelled(labels, count=300, groups=5):
    points, group = worlds.clusters(count, 8, groups, 1.2)
    return Embeddings(points, labels=group.numpy() if labels is None else labels)


def entropy(column):
    shares = [sum(v == x for v in column) / len(column) for x in set(column)]
    return -sum(s * math.log(s) for s in shares)


@pytest.mark.parametrize("k", [2, 5, 17])
def test_numbers_are_those_of_loops(k):
    prototypes = fit_prototypes(labelled(None), k)
    found = measure_label_agreement(prototypes)
    labels, members = prototypes.embeddings.labels.tolist(), prototypes.assignment.tolist()
    right = 0
    for u, p in enumerate(sorted(set(members))):
        inside = [c for c, m in zip(labels, members, strict=True) if m == p]
        most = max(inside.count(c) for c in set(inside))
        right += most
        assert found.purities[u] == pytest.approx(most / len(inside), rel=1e-12)
    assert found.purity == pytest.approx(right / 300, rel=1e-12)
    assert found.chance == max(labels.count(c) for c in set(labels)) / 300
    joint = entropy(list(zip(labels, members, strict=True)))
    shared = entropy(labels) + entropy(members) - joint
    expected = shared / ((entropy(labels) + entropy(members)) / 2)
    assert found.nmi == pytest.approx(expected, rel=1e-6)
    assert 0.1 < found.nmi < 1


def test_the_same_partition_under_other_names_is_perfect():
    points = worlds.points(6, 200, 16)
    prototypes = fit_prototypes(Embeddings(points, labels=[str(r) for r in points.tolist()]), 6)
    found = measure_label_agreement(prototypes)
    assert found.purity == 1.0
    assert found.nmi == pytest.approx(1.0, rel=1e-12)


def test_unrelated_labels_have_hardly_any_information():
    labels = np.random.default_rng(0).integers(0, 2, 4_000)
    found = measure_label_agreement(fit_prototypes(Embeddings(worlds.noise(4_000), labels), 4))
    assert found.nmi < 0.01
    assert found.purity < 0.6


def test_unused_prototypes_have_no_purity():
    e = Embeddings([[1.0, 0.0], [1.0, 0.1], [0.0, 1.0]], labels=["a", "b", "b"])
    vectors = torch.tensor([[1.0, 0.0], [-1.0, -1.0], [0.0, 1.0]])
    found = measure_label_agreement(prototypes_from_vectors(e, vectors))
    assert found.purities.tolist() == [0.5, 1.0]


def test_a_single_prototype_has_no_information_and_the_purity_of_chance():
    found = measure_label_agreement(fit_prototypes(labelled([0] * 200 + [1] * 100), 1))
    assert found.nmi == 0
    assert found.purity == found.chance == pytest.approx(2 / 3)


def test_nothing_to_compare_is_none():
    assert measure_label_agreement(fit_prototypes(Embeddings(worlds.noise(50)), 4)) is None
    assert measure_label_agreement(fit_prototypes(labelled(["one"] * 300), 4)) is None
    assert measure_label_agreement(prototypes_from_labels(labelled(None))) is None
