"""The path through a torch device, run on the processor: the same numbers as the host's kernels."""

import numpy as np
import pytest
import torch

from nemd_toolkit.transport import pairwise_wasserstein1
from nemd_toolkit.transport.clouds import pack
from nemd_toolkit.transport.device import solve_on_device
from nemd_toolkit.transport.host import solve_on_host

CPU = torch.device("cpu")


def rows(rng, n, d, spread):
    x = rng.normal(size=d) + spread * rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def packed(clouds):
    return pack([torch.from_numpy(c) for c in clouds], [f"cloud {i}" for i in range(len(clouds))])


def pairs_of(count):
    return np.stack(np.triu_indices(count, 1), axis=1).astype(np.int64)


def families(rng):
    base = rows(rng, 12, 8, 1.0)
    return {
        "ragged": [rows(rng, int(n), 32, 1.0) for n in rng.integers(1, 120, 9)],
        "equal": [rows(rng, 40, 16, 0.7) for _ in range(6)],
        "repeated points": [base[rng.integers(0, 12, n)] for n in (30, 31, 60, 1)],
        "identical": [base[rng.permutation(12)] for _ in range(3)],
        "tight and far apart": [rows(rng, n, 24, 1e-6) for n in (20, 33, 41)],
        "lattice": [rng.integers(0, 3, size=(n, 4)).astype(float) for n in (50, 70, 81)],
        "one line": [np.outer(rng.normal(size=n), [1.0, 2.0]) for n in (40, 55)],
        "one point": [np.ones((3, 5)), np.ones((4, 5))],
        "wide scales": [10.0 ** rng.uniform(-4, 0) * rows(rng, n, 9, 1.0) for n in (20, 30, 40)],
    }


@pytest.mark.parametrize("family", sorted(families(np.random.default_rng(0))))
def test_exact_costs_equal_the_hosts(family):
    clouds = packed(families(np.random.default_rng(1))[family])
    pairs = pairs_of(len(clouds.names))
    lower, upper = solve_on_device(CPU, clouds, pairs, 0.0, lambda _: None)
    want, _ = solve_on_host(clouds, pairs, 0.0, lambda _: None)
    assert (lower == upper).all()
    assert lower == pytest.approx(want, abs=1e-10)


@pytest.mark.parametrize("family", sorted(families(np.random.default_rng(0))))
@pytest.mark.parametrize("rtol", [0.5, 0.01, 1e-4])
def test_intervals_hold_the_optimum_and_are_as_narrow_as_asked(family, rtol):
    clouds = packed(families(np.random.default_rng(2))[family])
    pairs = pairs_of(len(clouds.names))
    lower, upper = solve_on_device(CPU, clouds, pairs, rtol, lambda _: None)
    want, _ = solve_on_host(clouds, pairs, 0.0, lambda _: None)
    assert (lower <= want + 1e-12).all()
    assert (upper >= want - 1e-12).all()
    assert (upper - lower <= rtol * lower).all()


@pytest.mark.parametrize("family", ["ragged", "equal", "wide scales"])
@pytest.mark.parametrize("rtol", [0.0, 0.01])
def test_usual_clouds_leave_nothing_to_the_host(family, rtol, monkeypatch):
    def host(packed, pairs, rtol, advance):
        assert len(pairs) == 0
        return np.empty(0), np.empty(0)

    monkeypatch.setattr("nemd_toolkit.transport.device.solve_on_host", host)
    clouds = packed(families(np.random.default_rng(4))[family])
    solve_on_device(CPU, clouds, pairs_of(len(clouds.names)), rtol, lambda _: None)


def test_small_batches_give_what_one_batch_gives(monkeypatch):
    rng = np.random.default_rng(3)
    clouds = packed([rows(rng, int(n), 16, 1.0) for n in rng.integers(5, 60, 8)])
    want = solve_on_device(CPU, clouds, pairs_of(8), 0.01, lambda _: None)
    monkeypatch.setattr("nemd_toolkit.transport.device._CELLS_HOST", 1)
    done = []
    got = solve_on_device(CPU, clouds, pairs_of(8), 0.01, done.append)
    assert sum(done) == 28
    for a, b in zip(got, want, strict=True):
        assert a == pytest.approx(b, rel=1e-5)


def test_reduced_precision_products_are_switched_off_and_restored():
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    seen = []
    clouds = packed([rows(np.random.default_rng(i), 9, 4, 1.0) for i in range(3)])
    try:
        solve_on_device(
            CPU,
            clouds,
            pairs_of(3),
            0.0,
            lambda _: seen.append(torch.get_float32_matmul_precision()),
        )
        assert set(seen) == {"highest"}
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision(before)


def test_clouds_on_a_gpu_go_through_it_and_come_to_the_same():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    rng = np.random.default_rng(5)
    clouds = [torch.from_numpy(rows(rng, int(n), 32, 1.0)) for n in rng.integers(1, 200, 20)]
    want = pairwise_wasserstein1(clouds)
    got = pairwise_wasserstein1([c.cuda() for c in clouds])
    assert got.cost == pytest.approx(want.cost, abs=1e-10)
    near = pairwise_wasserstein1([c.cuda() for c in clouds], rtol=0.01)
    assert (near.lower <= want.cost + 1e-12).all()
    assert (near.upper >= want.cost - 1e-12).all()


def test_the_callers_choice_of_device_is_followed(monkeypatch):
    asked = []

    def on_device(device, packed, pairs, rtol, advance):
        asked.append(device)
        return solve_on_host(packed, pairs, rtol, advance)

    monkeypatch.setattr("nemd_toolkit.transport.many.solve_on_device", on_device)
    clouds = [torch.from_numpy(rows(np.random.default_rng(i), 9, 4, 1.0)) for i in range(3)]
    pairwise_wasserstein1(clouds)
    assert asked == []
    monkeypatch.setattr("nemd_toolkit.transport.many._gpu", lambda clouds: torch.device("cuda", 0))
    pairwise_wasserstein1(clouds)
    assert asked == [torch.device("cuda", 0)]
