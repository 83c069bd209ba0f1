from dataclasses import replace

import numpy as np
import pytest
import torch

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.measures.clouds import draw_clouds
from nemd_toolkit.measures.errors_of_runs import error_over_runs
from nemd_toolkit.measures.held_out import Members, cross_fitted, members_of
from nemd_toolkit.measures.intervals import error_of_mean
from nemd_toolkit.measures.matching import matched
from nemd_toolkit.measures.pair_table import measure_pairs
from nemd_toolkit.prototypes import prototypes_from_labels
from nemd_toolkit.sphere import mean_direction
from tests import worlds


@pytest.fixture(scope="module")
def table():
    x, groups = worlds.clusters(600, 16, 6, 0.5)
    members = members_of(prototypes_from_labels(Embeddings(x, labels=groups)))
    return measure_pairs(draw_clouds(members, 8, seed=0), 99, 0)


def all_pairs(count):
    return np.stack(np.triu_indices(count, 1), axis=1)


def tables_of(table, pairs, excess=None, runs=4):
    columns = dict.fromkeys(("raw", "energy", "chord"), np.zeros(len(pairs)))
    columns["excess"] = np.zeros(len(pairs)) if excess is None else excess
    return [replace(table, pairs=pairs, total=len(pairs), **columns)] * runs


@pytest.mark.parametrize(("common", "own"), [(1.0, 0.1), (0.1, 1.0), (0.5, 0.5)])
def test_error_of_runs_keeps_what_they_share_and_averages_what_they_do_not(table, common, own):
    rng = np.random.default_rng(0)
    pairs = all_pairs(30)
    tables = tables_of(table, pairs)
    estimates, values = [], []
    for _ in range(400):
        shared = common * rng.normal(size=30)
        columns = [(shared + own * rng.normal(size=30))[pairs].mean(1) for _ in range(4)]
        estimates.append(error_over_runs(columns, tables).variance)
        values.append(np.mean(columns))
    assert 0.85 < np.mean(estimates) / np.var(values) < 1.15


def test_runs_that_share_few_pairs_are_compared_as_wholes(table):
    rng = np.random.default_rng(0)
    pairs = all_pairs(40)
    some = [pairs[np.sort(rng.permutation(780)[:300])] for _ in range(4)]  # 2 % in all
    tables = [tables_of(table, mine)[0] for mine in some]
    columns = [rng.normal(size=40)[mine].mean(1) for mine in some]
    own = np.mean([error_of_mean(c, p).variance for c, p in zip(columns, some, strict=True)])
    between = np.var([c.mean() for c in columns], ddof=1)
    wanted = max(own - between * 3 / 4, max(own, between) / 4)
    assert error_over_runs(columns, tables).variance == pytest.approx(wanted)


def test_runs_whose_numbers_mean_nothing_are_compared_as_wholes(table):
    """The same levels in another order: shared luck, which matching by number would average out."""
    rng = np.random.default_rng(0)
    pairs = all_pairs(30)
    tables = tables_of(table, pairs)
    estimates, values = [], []
    for _ in range(300):
        levels = rng.normal(size=30)
        columns = [levels[rng.permutation(30)][pairs].mean(1) for _ in range(4)]
        estimates.append(error_over_runs(columns, tables, matched=False).variance)
        values.append(np.mean(columns))
    assert np.mean(estimates) / np.var(values) == pytest.approx(1, abs=0.2)
    assert error_over_runs(columns, tables).variance < 0.5 * np.var(values)


def test_numbers_of_pairs_may_stand_in_any_order(table):
    rng = np.random.default_rng(0)
    pairs = all_pairs(12)
    tables = tables_of(table, pairs)
    columns = [rng.normal(size=66) for _ in range(4)]
    order = rng.permutation(66)
    turned = replace(tables[1], pairs=pairs[order, ::-1])
    found = error_over_runs(
        [columns[0], columns[1][order], *columns[2:]], [tables[0], turned, *tables[2:]]
    )
    assert found == error_over_runs(columns, tables)
    assert found.variance == pytest.approx(error_of_mean(np.mean(columns, 0), pairs).variance)


def test_pieces_of_one_group_are_no_independent_prototypes(table):
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(10), 4)
    pairs = all_pairs(40)
    same = groups[pairs[:, 0]] == groups[pairs[:, 1]]
    tables = tables_of(table, pairs, np.where(same, 0.1, 1.0), runs=1)
    estimates, alone, values = [], [], []
    for _ in range(400):
        levels = rng.normal(size=10)[groups]
        column = levels[pairs].mean(1)
        estimates.append(error_over_runs([column], tables))
        alone.append(error_of_mean(column, pairs).variance)
        values.append(column.mean())
    assert estimates[0].freedom == pytest.approx(40 * 40 / 160 - 1, rel=0.1)
    assert 0.8 < np.mean([e.variance for e in estimates]) / np.var(values) < 1.2
    assert np.mean(alone) / np.var(values) < 0.35


def test_clouds_that_are_all_alike_count_as_many(table):
    rng = np.random.default_rng(0)
    pairs = all_pairs(20)
    column = rng.normal(size=20)[pairs].mean(1)
    noise = tables_of(table, pairs, 1e-3 * rng.normal(size=190), runs=1)
    assert error_over_runs([column], noise) == error_of_mean(column, pairs)


def test_runs_are_numbered_alike():
    x, _ = worlds.clusters(2000, 16, 10, 0.3)
    runs = cross_fitted(Embeddings(x), 10, seed=0, splits=2)
    found = matched(runs)
    first = torch.stack([mean_direction(found[0].points[rows]) for rows in found[0].rows])
    for before, after in zip(runs, found, strict=True):
        means = torch.stack([mean_direction(after.points[rows]) for rows in after.rows])
        assert ((first * means).sum(1) > 0.99).all()
        assert sorted(map(len, before.rows)) == sorted(map(len, after.rows))
        assert after.directions is not None  # are not computed twice
        assert torch.equal(replace(after, directions=None).mean_directions(), after.directions)
    nothing = replace(runs[1], rows=(*runs[1].rows[:-1], torch.tensor([], dtype=torch.long)))
    assert [len(rows) for rows in matched([runs[0], nothing])[1].rows].count(0) == 1


def test_large_prototypes_find_each_other_first():
    """By directions alone run 2's first, which is small, would be run 1's first."""
    points = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
    rows = [torch.tensor([0, 0]), torch.tensor([2])], [torch.tensor([1]), torch.tensor([3, 3])]
    runs = [Members(points=points, rows=tuple(own)) for own in rows]
    assert [len(found) for found in matched(runs)[1].rows] == [1, 2]
    assert [len(found) for found in matched(runs, least=2)[1].rows] == [2, 1]
