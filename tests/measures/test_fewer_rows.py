"""Intervals know that k-means of more rows would find other prototypes."""

import dataclasses
from importlib import import_module

import numpy as np
import pytest

from nemd_toolkit.clustering import kmeans
from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.held_out import TooFewSamples, cross_fitted
from nemd_toolkit.measures.nemd import FEW_ROWS_EACH, measure_nemd, prepare
from nemd_toolkit.measures.null import uniform_points
from nemd_toolkit.prototypes import fit_prototypes, prototypes_from_labels
from tests import worlds

COLUMNS = ("raw", "excess", "energy", "score")
fewer_rows, nemd = (import_module(f"nemd_toolkit.measures.{n}") for n in ("fewer_rows", "nemd"))


def wide(count=1500):
    return Embeddings(worlds.clusters(count, 32, 15, 1.4)[0])


def test_thinned_runs_keep_the_held_out_rows_and_see_half_of_the_others(monkeypatch):
    seen = []

    def spy(points, k, **options):
        seen.append(points)
        return kmeans(points, k, **options)

    monkeypatch.setattr("nemd_toolkit.measures.held_out.kmeans", spy)
    e = wide(401)
    usual = cross_fitted(e, 10, seed=3, splits=2)
    thinned = cross_fitted(e, 10, seed=3, splits=2, thinned=True)
    for one, other in zip(usual, thinned, strict=True):
        held = [np.sort(np.concatenate([r.numpy() for r in run.rows])) for run in (one, other)]
        np.testing.assert_array_equal(*held)
    for whole, part in zip(seen[:4], seen[4:], strict=True):
        assert len(part) == len(whole) // 2
        assert {tuple(r) for r in part.tolist()} < {tuple(r) for r in whole.tolist()}


def test_thinned_runs_need_k_rows_in_a_quarter():
    e = Embeddings(uniform_points(39, 8, seed=0))
    cross_fitted(e, 10, seed=0)
    with pytest.raises(TooFewSamples):
        cross_fitted(e, 10, seed=0, thinned=True)
    assert prepare(fit_prototypes(e, 10), 0).thinned == ()


@pytest.fixture
def unmatched(monkeypatch):
    """Runs as they are, so that the same rows are drawn wherever they stand."""
    monkeypatch.setattr(nemd, "matched", lambda runs, _: runs)


@pytest.mark.usefixtures("unmatched")
def test_intervals_are_stretched_by_the_change_on_its_side_alone():
    trial = prepare(fit_prototypes(wide(), 15), 0)
    found = measure_nemd(trial, 0, n=12)
    base = measure_nemd(dataclasses.replace(trial, thinned=()), 0, n=12)
    tables, thinned = (
        fewer_rows.measure_thinned(runs, 12, 0, 5000) for runs in (trial.runs, trial.thinned)
    )
    for name in ("raw", "excess", "energy"):
        now, before = (
            np.mean([getattr(t, name).mean() for t in runs]) for runs in (tables, thinned)
        )
        one, other = getattr(found, name), getattr(base, name)
        assert one.value == other.value
        assert one.high - other.high == pytest.approx(max(now - before, 0), abs=1e-12)
        assert one.low - other.low == pytest.approx(min(now - before, 0), abs=1e-12)


@pytest.mark.usefixtures("unmatched")
def test_the_scores_stretch_is_its_change_with_the_anchors_held():
    trial = prepare(fit_prototypes(wide(), 15), 0)
    found = measure_nemd(trial, 0, n=12)
    base = measure_nemd(dataclasses.replace(trial, thinned=()), 0, n=12)
    thinned = measure_nemd(dataclasses.replace(trial, runs=trial.thinned, thinned=()), 0, n=12)
    change = base.score.value - thinned.score.value
    assert found.score.value == base.score.value
    moved = (found.score.high - base.score.high) + (found.score.low - base.score.low)
    assert moved == pytest.approx(change, rel=0.02)  # linear in a small change


def test_many_rows_and_prototypes_given_are_not_tried_with_fewer():
    e = Embeddings(worlds.clusters(FEW_ROWS_EACH * 3, 16, 3, 0.5)[0], labels=[0, 1, 2] * 400)
    assert prepare(fit_prototypes(e, 3), 0).thinned == ()
    assert len(prepare(fit_prototypes(e, 4), 0).thinned) == 4
    assert prepare(prototypes_from_labels(e), 0).thinned == ()


def test_where_fewer_rows_leave_too_few_members_nothing_is_stretched():
    trial = prepare(fit_prototypes(wide(), 15), 0)
    few = tuple(dataclasses.replace(run, rows=run.rows[:2]) for run in trial.thinned)
    found = measure_nemd(dataclasses.replace(trial, thinned=few), 0, n=12)
    base = measure_nemd(dataclasses.replace(trial, thinned=()), 0, n=12)
    assert all(getattr(found, name) == getattr(base, name) for name in COLUMNS)
