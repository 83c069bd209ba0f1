"""What is measured of pairs of clouds by several processes has every bit of one's."""

import os
from dataclasses import fields

import numpy as np
import pytest
import torch

from nemd_toolkit import processes
from nemd_toolkit.measures import pair_table
from nemd_toolkit.measures.clouds import draw_clouds
from nemd_toolkit.measures.held_out import Members
from tests import worlds
from tests.distributed.running import Started

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts copies of this process")


def table():
    """Of 210 pairs among 21 clouds, six shares of four with one left over."""
    points, groups = worlds.clusters(630, 12, 21, 0.6)
    members = Members(points=points, rows=tuple((groups == g).nonzero()[:, 0] for g in range(21)))
    found = pair_table.measure_pairs(draw_clouds(members, 7, seed=1), 500, 0)
    return {field.name: getattr(found, field.name) for field in fields(found)}


@pytest.mark.parametrize("count", [2, 3])
def test_pairs_do_not_depend_on_the_number_of_processes(tmp_path, monkeypatch, count):
    monkeypatch.setattr(pair_table, "_WITHIN", 4)
    monkeypatch.setattr(pair_table, "_PAIRS", 16)

    def measure(rank):
        torch.set_num_threads(1)
        with processes.joined():
            np.savez(tmp_path / f"{rank}.npz", **table())

    assert Started(count, measure, tmp_path / "said").wait() == [0] * count
    expected = table()
    assert expected["clumping"].shape == (21,)
    assert len(np.unique(expected["excess"])) == 210
    for rank in range(count):
        found = np.load(tmp_path / f"{rank}.npz")
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name], values, err_msg=name)
