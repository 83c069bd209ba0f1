"""Prototypes beside one another: blocks give what whole matrices give, in little memory."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemd_toolkit.embeddings import Embeddings
from nemd_toolkit.formulas import concentration, rescale_concentration
from nemd_toolkit.measures import spread as module
from nemd_toolkit.measures.duplicates import EPSILONS
from nemd_toolkit.measures.spread import duplicate_curve, measure_spread
from nemd_toolkit.prototypes import Prototypes, prototypes_from_labels
from tests import worlds


def greedy_curve(directions):
    """The definition: keep a prototype if it is farther than ε from all kept before it."""
    shares = []
    for epsilon in EPSILONS:
        kept = []
        for p in directions:
            if all(1 - float(p @ q) > epsilon for q in kept):
                kept.append(p)
        shares.append((epsilon, 1 - len(kept) / len(directions)))
    return shares


def crowded(count, d, crowd, seed):
    """Directions of which many lie within the curve's distances of others."""
    g = torch.Generator().manual_seed(seed)
    centres = torch.randn(max(1, count // crowd), d, generator=g, dtype=torch.float64)
    x = centres[torch.randint(0, len(centres), (count,), generator=g)]
    x = x + 0.2 * torch.rand(count, 1, generator=g) * torch.randn(count, d, generator=g)
    return torch.nn.functional.normalize(x, dim=1)


@pytest.mark.parametrize("block", [1, 40, 333, 10_000])
@pytest.mark.parametrize("crowd", [1, 3, 20])
def test_duplicate_curve_is_the_greedy_count(block, crowd, monkeypatch):
    directions = crowded(61, 4, crowd, seed=crowd)
    monkeypatch.setattr(module, "_BLOCK", block)
    monkeypatch.setattr(module, "_ROWS", max(1, block // 60))
    monkeypatch.setattr(module, "_COLUMNS", max(1, block // 30))
    want = greedy_curve(directions)
    np.testing.assert_allclose(duplicate_curve(directions), want, rtol=1e-12)
    assert want[-1][1] > 0  # there is something to count


@given(seed=st.integers(0, 2**31), count=st.integers(1, 40), crowd=st.integers(1, 9))
def test_duplicate_curve_on_random_directions(seed, count, crowd):
    directions = crowded(count, 3, crowd, seed)
    np.testing.assert_allclose(duplicate_curve(directions), greedy_curve(directions), rtol=1e-12)


@pytest.mark.parametrize("block", [1, 8, 10_000])
def test_nearest_in_blocks_is_that_of_the_whole_matrix(block, monkeypatch):
    monkeypatch.setattr(module, "_ROWS", block)
    monkeypatch.setattr(module, "_COLUMNS", 1 + 3 * block // 4)
    monkeypatch.setattr("nemd_toolkit.scratch._ROWS", 64)
    x, group = worlds.clusters(900, 10, 30, 0.4)
    prototypes = prototypes_from_labels(Embeddings(x, labels=group.tolist()))
    found = measure_spread(prototypes)
    directions = prototypes.mean_directions()
    cosines = (directions @ directions.T).fill_diagonal_(-2)
    np.testing.assert_array_equal(found.nearest, cosines.argmax(1))
    np.testing.assert_allclose(found.nearest_distance, 1 - cosines.max(1).values, rtol=1e-9)
    p, q, distance = found.nearest_pair
    assert p < q
    assert distance == pytest.approx(1 - float(cosines.max()), rel=1e-9)
    assert float(cosines[p, q]) == float(cosines.max())


@pytest.mark.parametrize("apart", [1e-2, 1e-6, 0.0])
def test_the_distance_of_near_duplicates_keeps_its_digits(apart):
    turn = torch.tensor([0.0, apart, 1.5], dtype=torch.float64)
    rows = torch.stack([turn.cos(), turn.sin()], dim=1)
    e = Embeddings(rows.repeat(4, 1), labels=np.arange(12) % 3)
    found = measure_spread(prototypes_from_labels(e))
    x, y = e.vectors[:2].double() / e.vectors[:2].double().norm(dim=1, keepdim=True)
    want = float((x - y).square().sum()) / 2  # not 1 − x·y, which is 0 or 2.2e-16
    assert found.nearest_pair == (0, 1, pytest.approx(want, rel=1e-6, abs=0))


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells peak memory")
def test_no_matrix_of_all_prototypes_is_held():
    def memory(name):
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024

    directions = worlds.noise(8000, 8).double()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # peak = now
    before = memory("VmRSS")
    duplicate_curve(directions)
    assert memory("VmHWM") - before < 200  # MB; the matrix alone has 488


def test_phi_is_the_rescaled_concentration():
    x, group = worlds.clusters(300, 12, 5, 0.5)
    found = measure_spread(prototypes_from_labels(Embeddings(x, labels=group)))
    means = torch.stack([x[group == c].double().mean(0) for c in range(5)])
    density = concentration((x.double() - means[group]).square().sum(1), group, 5)
    np.testing.assert_allclose(found.phi, rescale_concentration(density), rtol=1e-6)
    assert found.phi_missing is None


def test_one_prototype_has_no_nearest_pair():
    x = worlds.noise(20, 4)
    alone = Prototypes(
        embeddings=Embeddings(x),
        assignment=torch.zeros(20, dtype=torch.long),
        vectors=x[:1],
        names=("0",),
        source="own",
    )
    found = measure_spread(alone)
    assert found.nearest_pair is None
    assert (found.nearest.tolist(), found.nearest_distance.tolist()) == ([0], [0.0])


def test_unused_prototypes_keep_their_numbers():
    x, group = worlds.clusters(200, 6, 4, 0.3)
    vectors = worlds.noise(9, 6)
    prototypes = Prototypes(
        embeddings=Embeddings(x),
        assignment=2 * group + 1,
        vectors=vectors,
        names=tuple("abcdefghi"),
        source="own",
    )
    found = measure_spread(prototypes)
    assert set(found.which) == {1, 3, 5, 7}
    assert set(found.nearest) <= {1, 3, 5, 7}
    assert {*found.nearest_pair[:2]} <= {1, 3, 5, 7}
