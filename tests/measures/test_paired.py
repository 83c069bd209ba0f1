"""Differences between two encoders on the same rows: their intervals, and what pairing gains."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import nemd_toolkit as nt
from nemd_toolkit.formulas import uniform
from nemd_toolkit.measures.paired import change_of_nemd, change_of_rows, independent_change
from nemd_toolkit.measures.row_influence import row_influence, uniformity_error
from nemd_toolkit.measures.spectrum import measure_spectrum


def two_encoders(seed, spreads=(0.9, 0.7), count=480, dim=16, groups=8):
    g = torch.Generator().manual_seed(seed)
    centres = F.normalize(torch.randn(groups, dim, generator=g), dim=1)
    group = torch.arange(count) % groups
    noise = torch.randn(count, dim, generator=g) / dim**0.5
    rows = [centres[group] + spread * noise for spread in spreads]
    return [nt.Embeddings(points, labels=group.numpy()) for points in rows]


def by_labels(seed, **options):
    both = two_encoders(seed, **options)
    return [nt.nemd(nt.prototypes_from_labels(e), n=8) for e in both]


def half(change):
    return (change.high - change.low) / 2


def test_paired_intervals_hold_the_difference_and_are_far_narrower():
    found = [by_labels(seed) for seed in range(40)]
    changes = [change_of_nemd([a], [b], "score", same_rows=True) for a, b in found]
    alone = [independent_change(a.score, b.score) for a, b in found]
    truth = np.mean([change.value for change in changes])
    held = np.mean([change.low <= truth <= change.high for change in changes])
    assert 0.85 <= held <= 1.0  # 40 repeats; benchmarks/compare_coverage.py has 200
    assert all(change.paired and change.beyond for change in changes)
    assert np.mean([half(c) for c in changes]) < 0.4 * np.mean([half(c) for c in alone])


def test_an_encoder_does_not_differ_from_itself():
    a, _ = by_labels(0)
    for column in ("score", "excess", "raw"):
        change = change_of_nemd([a], [a], column, same_rows=True)
        assert (change.value, change.low, change.high) == (0.0, 0.0, 0.0)
        assert not change.beyond


def test_prototypes_are_matched_by_their_rows_whatever_their_numbers():
    one, other = two_encoders(3)
    renamed = nt.Embeddings(other.vectors, labels=7 - other.labels)
    a = nt.nemd(nt.prototypes_from_labels(one), n=8)
    b, c = (nt.nemd(nt.prototypes_from_labels(e), n=8) for e in (other, renamed))
    same, turned = (change_of_nemd([a], [x], "excess", same_rows=True) for x in (b, c))
    alone = half(independent_change(a.excess, c.excess))
    assert half(same) < half(turned) < 0.8 * alone  # other rows are drawn, for all that


def test_prototypes_matched_at_random_gain_nothing():
    one, other = two_encoders(3)
    a, b = (
        nt.nemd(nt.prototypes_from_labels(nt.Embeddings(x, labels=one.labels)), n=8)
        for x in (one.vectors, torch.roll(other.vectors, 1, 0))
    )
    turned = change_of_nemd([a], [b], "excess", same_rows=True)
    assert half(turned) > 0.5 * half(independent_change(a.excess, b.excess))


def test_rows_of_different_samples_are_not_paired():
    a, b = by_labels(0)
    change = change_of_nemd([a], [b], "score", same_rows=False)
    assert not change.paired
    expected = independent_change(a.score, b.score)
    assert change.low == pytest.approx(expected.low)


def test_kmeans_runs_are_paired_by_the_rows_of_their_prototypes():
    both = two_encoders(1, spreads=(0.5, 0.4))
    a, b = (nt.nemd(nt.fit_prototypes(e, 8), n=8) for e in both)
    change = change_of_nemd([a], [b], "score", same_rows=True)
    assert change.paired
    assert half(change) < half(independent_change(a.score, b.score))


def test_influences_are_those_of_leaving_a_row_out():
    (e, _), n = two_encoders(2, count=1600), 1600
    found = row_influence(e)
    for row in (0, 17, 100):
        left = torch.cat([e.vectors[:row], e.vectors[row + 1 :]])
        for values, read in (
            (found.rank, lambda x: measure_spectrum(x).effective_rank_centred),
            (found.mean_share, lambda x: float(x.double().mean(0).square().sum())),
        ):
            jackknife = (n - 1) * (read(e.vectors) - read(left))
            assert values[row] == pytest.approx(jackknife, rel=0.1, abs=0.02)


def test_views_of_a_sample_count_as_one():
    e, _ = two_encoders(0)
    twice = nt.Embeddings(e.vectors.repeat_interleave(2, 0), groups=np.repeat(np.arange(len(e)), 2))
    one, two = row_influence(e), row_influence(twice)
    assert (one.samples, two.samples) == (480, 480)
    np.testing.assert_allclose(one.rank, two.rank, atol=1e-6)
    assert uniformity_error(twice, len(twice)) == pytest.approx(uniformity_error(e, 480), rel=0.1)


def test_the_error_of_uniformity_is_that_of_fresh_rows():
    values, errors = [], []
    for seed in range(30):
        rows = torch.randn(400, 8, generator=torch.Generator().manual_seed(seed))
        e = nt.Embeddings(rows + 0.5)
        values.append(float(uniform(e.vectors.double())))
        errors.append(uniformity_error(e, 400))
    assert np.mean(errors) == pytest.approx(np.std(values, ddof=1), rel=0.35)


def test_a_change_of_rows_without_pairing_adds_variances():
    part = np.array([1.0, -1.0] * 50)
    paired = change_of_rows((1.0, 1.5), (part, part), (100, 100), same_rows=True)
    alone = change_of_rows((1.0, 1.5), (part, part), (100, 100), same_rows=False)
    assert (paired.low, paired.high) == (0.5, 0.5)
    assert half(alone) == pytest.approx(1.972 * (2 * (100 / 99) / 100) ** 0.5, rel=1e-3)
