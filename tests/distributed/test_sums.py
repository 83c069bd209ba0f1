"""Sums over rows that several processes share have every bit of those of one."""

import math
import os

import pytest
import torch

from nemd_toolkit import processes, ranks, row_sums, scratch
from nemd_toolkit.measures import instance, neighbours, spread
from nemd_toolkit.measures.covariance import covariance_around
from nemd_toolkit.sphere import mean_directions, mean_row
from tests.distributed.running import Started

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts copies of this process")
POINTS = torch.randn(700, 6, generator=torch.Generator().manual_seed(4)).exp()
OF = torch.arange(700) % 9 - 1


def sums():
    """Over 44 blocks of sixteen rows, the last one not full."""
    return [
        mean_row(POINTS),
        covariance_around(POINTS, mean_row(POINTS)),
        mean_directions(POINTS, OF, 8),
        ranks.by_blocks(700, 16, lambda rows: POINTS[rows].double().sum(1), torch.float64),
        ranks.by_blocks(700, 16, within, torch.float64, (2, 3)),
        *of_pairs(),
    ]


def of_pairs():
    """Numbers of all pairs of 90 directions, in blocks of a few."""
    directions = torch.nn.functional.normalize(POINTS[:90].double(), dim=1)
    nearest, _ = spread._neighbours(directions)
    others = neighbours.nearest_others(POINTS, torch.arange(0, 700, 9), k=2)
    return torch.tensor(instance.all_pairs_p_uniform(directions)), nearest, others.squares


def within(rows):
    """What a block asks for is divided no further."""
    assert ranks.workers() == 1
    return POINTS[rows].double().mul(ranks.by_blocks(1, 1, lambda _: torch.ones(1))).view(-1, 2, 3)


def work(path):
    torch.set_num_threads(1)
    with processes.joined():
        together = sums()
        alone = ranks.first("alone", sums)  # where the others only wait, nothing is divided
        torch.save([together, alone], path)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(scratch, "_ROWS", 16)
    monkeypatch.setattr(neighbours, "_BLOCK", 7_000)
    for module in (instance, spread):
        monkeypatch.setattr(module, "_ROWS", 8)
        monkeypatch.setattr(module, "_COLUMNS", 32)


@pytest.mark.parametrize(("count", "runs"), [(2, 64), (3, 64), (3, 2), (4, 7)])
def test_sums_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch, count, runs):
    monkeypatch.setattr(ranks, "_RUNS", runs)
    running = Started(count, lambda rank: work(tmp_path / f"{rank}.pt"), tmp_path / "said")
    assert running.wait() == [0] * count
    expected = sums()
    for rank in range(count):
        together, alone = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert all(map(torch.equal, together, expected))
        assert (alone is None) == (rank > 0)
        assert rank > 0 or all(map(torch.equal, alone, expected))


def test_sums_are_those_of_all_rows():
    wide = POINTS.double()
    mean, covariance, directions, rows, blocks, *_ = sums()
    exact = [math.fsum(column) / 700 for column in wide.T.tolist()]
    assert mean.tolist() == pytest.approx(exact, rel=1e-14, abs=0)
    torch.testing.assert_close(covariance, wide.T.cov(correction=0), rtol=1e-12, atol=0)
    for number, direction in enumerate(directions):
        own = wide[number == OF].mean(0)
        torch.testing.assert_close(direction, own / own.norm(), rtol=1e-13, atol=0)
    torch.testing.assert_close(rows, wide.sum(1), rtol=0, atol=0)
    torch.testing.assert_close(blocks, wide.view(-1, 2, 3), rtol=0, atol=0)


@pytest.mark.parametrize(("most", "runs"), [(6, 1), (20, 3), (1 << 20, 44)])
def test_runs_stay_within_their_memory(monkeypatch, most, runs):
    monkeypatch.setattr(ranks, "_RUN_ENTRIES", most)
    blocks, begun = [], []

    def add(total, block, rows):
        blocks.append(rows)
        begun.append(not total.any())  # entries are positive
        total += block.double().sum(0)

    found = row_sums.sum_over_rows(POINTS, (6,), add)
    torch.testing.assert_close(found, POINTS.double().sum(0), rtol=1e-14, atol=0)
    assert sum(begun) == runs
    assert [rows.start for rows in blocks] == list(range(0, 700, 16))
    assert blocks[-1].stop == 700


def test_a_sum_without_entries_is_empty():
    found = row_sums.sum_over_rows(POINTS, (0, 6), lambda *_: None)
    assert found.shape == (0, 6)
