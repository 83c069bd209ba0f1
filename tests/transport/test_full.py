"""The simplex over all edges."""

import numpy as np
import ot
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from nemd_toolkit.transport.kernels import full
from nemd_toolkit.transport.kernels.pair import Scratch
from nemd_toolkit.transport.kernels.settings import CERTIFIED, GAVE_UP

seeds = st.integers(0, 10**6)


def points(rng, n, d, kind):
    x = rng.standard_normal((n, d))
    if kind == "repeats":
        return x[rng.integers(0, n, n)]
    if kind == "near":
        return x[:1] + 1e-9 * x
    return np.round(x) if kind == "lattice" else x


@given(seed=seeds, kind=st.sampled_from(["usual", "repeats", "near", "lattice"]))
def test_all_costs_are_the_distances(seed, kind):
    rng = np.random.default_rng(seed)
    x, y = points(rng, 9, 5, kind), points(rng, 14, 5, kind)
    y[:3] = x[:3]  # duplicates, where a Gram formula errs by 1e-8
    centre = x.mean(axis=0)
    found = np.empty((len(x), len(y)))
    full.all_costs(x, y, x - centre, y - centre, found)
    assert found == pytest.approx(cdist(x, y), rel=1e-9, abs=1e-13)
    assert (np.diag(found)[:3] == 0).all()


def scratch_for(n, m, d):
    return Scratch(np.empty(2 * n * m, np.float32), np.empty(n * m), np.empty((n + m) * d))


@settings(max_examples=60)
@given(
    seed=seeds,
    n=st.integers(2, 24),
    m=st.integers(2, 24),
    kind=st.sampled_from(["usual", "repeats", "near", "lattice"]),
    rtol=st.sampled_from([0.0, 0.01, 0.3]),
)
def test_it_comes_to_the_optimum_from_its_own_plan(seed, n, m, kind, rtol):
    rng = np.random.default_rng(seed)
    x, y = points(rng, n, 4, kind), points(rng, m, 4, kind)
    true = cdist(x, y)
    scale = float(true.max()) or 1.0
    want = scale * ot.emd2([], [], true / scale)
    known = float(rng.choice([0.0, 0.9, 1.0])) * want * (1 - 1e-12)
    lower, upper, state = full.solve_fully(x, y, known, scale, rtol, scratch_for(n, m, 4))
    assert state == CERTIFIED
    assert lower <= want * (1 + 1e-9) + 1e-14
    assert upper >= want * (1 - 1e-9) - 1e-14
    assert upper - lower <= rtol * lower
    if rtol == 0:
        assert lower == upper == pytest.approx(want, rel=1e-9, abs=1e-14)


def test_it_gives_up_rather_than_go_on_for_ever(monkeypatch):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((30, 3)), rng.standard_normal((40, 3))
    monkeypatch.setattr(full, "PIVOTS_OVER_ALL", -1)
    run = full.solve_fully.py_func
    lower, _, state = run(x, y, 0.125, 4.0, 0.0, scratch_for(30, 40, 3))
    assert (lower, state) == (0.125, GAVE_UP)
