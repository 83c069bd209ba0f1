"""Seeds of k-means that several processes choose together are those of one."""

import os

import pytest
import torch

from nemd_toolkit import processes, ranks, seeding
from tests import worlds
from tests.distributed.running import Started

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts copies of this process")
K = 320  # five seeds at a time


def seeds(points, shared):
    generator = torch.Generator().manual_seed(2)
    return seeding.plus_plus(points, K, generator, ahead=True, shared=shared)


@pytest.mark.parametrize(("count", "rows"), [(2, 512), (3, 512), (4, 1_024)])
def test_seeds_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch, count, rows):
    monkeypatch.setattr(seeding, "_ROWS", rows)  # 6 blocks or 3, the last one not full
    monkeypatch.setattr(seeding, "_WORTH_SHARING", 0)
    points = worlds.clusters(2_900, 12, 400, 0.4)[0]

    def choose(rank):
        torch.set_num_threads(1)
        with processes.joined():
            assert ranks.workers() == count
            torch.save(seeds(points, shared=True), tmp_path / f"{rank}.pt")

    assert Started(count, choose, tmp_path / "said").wait() == [0] * count
    alone = seeds(points, shared=False)
    assert len(alone.unique(dim=0)) == K
    for rank in range(count):
        assert torch.equal(torch.load(tmp_path / f"{rank}.pt", weights_only=True), alone)
