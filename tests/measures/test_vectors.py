"""Prototype vectors without data: known arrangements give known numbers."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures import vector_pairs as module
from nemd_toolkit.measures.duplicates import EPSILONS
from nemd_toolkit.measures.instance import all_pairs_p_uniform, koleo
from nemd_toolkit.measures.spread import duplicate_curve
from nemd_toolkit.measures.vector_pairs import compare_all, uniform_repeats
from nemd_toolkit.measures.vectors import measure_vectors
from tests import worlds


def test_two_poles_three_copies_and_a_zero():
    found = measure_vectors(torch.tensor([[2.0, 0.0], [-3.0, 0.0], [0.0, 0.0]]))
    assert (found.k, found.counted, found.dim, found.zero) == (3, 2, 2, 1)
    assert found.koleo == pytest.approx(-math.log(2), abs=1e-7)
    assert found.uniform == pytest.approx(math.exp(-8), rel=1e-7)  # ‖p−q‖² = 4, t = 2
    assert (found.share_repeated(), found.distinct()) == (0, 2)
    assert found.mean_cosine == pytest.approx(-1)
    copies = measure_vectors(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]))
    assert (copies.share_repeated(), copies.distinct()) == (0.5, 2)
    assert copies.mean_cosine == pytest.approx(0.5)  # of six pairs three are 1


@pytest.mark.parametrize("block", [1, 700, 10**6])
@pytest.mark.parametrize("crowd", [0.0, 0.2])
def test_one_pass_gives_what_each_measure_gives_alone(block, crowd, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    x = worlds.noise(150, 6, seed=3).double()
    x = torch.cat([x, x[:50] + crowd * worlds.noise(50, 6, seed=4)])  # copies, or near ones
    unit = torch.nn.functional.normalize(x, dim=1)
    found = compare_all(unit)
    assert found.duplicates == duplicate_curve(unit)
    assert found.duplicates[-1][1] > 0.1
    assert found.koleo == pytest.approx(koleo(unit), abs=1e-6)
    assert found.uniform == pytest.approx(all_pairs_p_uniform(unit), rel=1e-7)
    want = torch.exp(-2 * torch.pdist(unit).square()).mean()
    assert found.uniform == pytest.approx(float(want), rel=1e-7)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells peak memory")
def test_no_matrix_of_all_pairs_is_held():
    def memory(name):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

    directions = worlds.noise(12_000, 8).double()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # peak = now
    before = memory("VmRSS")
    compare_all(directions)
    assert memory("VmHWM") - before < 400  # MB; the matrix alone has 1,100


@pytest.mark.parametrize(("k", "d"), [(3_000, 2), (400, 3), (2_000, 4)])
def test_crowded_uniform_directions_are_drawn(k, d):
    found = dict(uniform_repeats(k, d, seed=5))
    drawn = dict(compare_all(worlds.noise(k, d, seed=7)).duplicates)
    for epsilon in EPSILONS:
        assert found[epsilon] == pytest.approx(drawn[epsilon], abs=0.05)
    assert found == dict(uniform_repeats(k, d, seed=5))
    assert found[0.1] > 0.3


def test_the_expected_share_is_that_of_many_draws(monkeypatch):
    """Where repeats are rare, the formula is the mean of what drawing gives."""
    shares = dict(uniform_repeats(60, 24, seed=0))
    assert 0 < shares[0.1] < 1e-4
    monkeypatch.setattr(module, "_RARE", 1.0)  # the formula, where draws see something
    expected = dict(uniform_repeats(20, 6, seed=0))[0.1]
    drawn = [dict(compare_all(worlds.noise(20, 6, seed=s)).duplicates)[0.1] for s in range(3_000)]
    error = np.std(drawn) / math.sqrt(len(drawn))
    assert expected > 10 * error
    assert np.mean(drawn) == pytest.approx(expected, abs=4 * error)


def test_one_dimension_has_two_directions():
    assert dict(uniform_repeats(100, 1, seed=0))[0.001] == pytest.approx(0.98)


@pytest.mark.parametrize("vectors", [torch.zeros(3, 4), torch.ones(1, 4)])
def test_fewer_than_two_directions_say_nothing(vectors):
    assert measure_vectors(vectors) is None


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="finite"):
        measure_vectors(torch.tensor([[1.0, np.nan], [1.0, 0.0]]))
