"""The window keeps the last rows; its numbers are those of the whole analysis."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nemd_toolkit import Embeddings, InputError
from nemd_toolkit.measures.instance import measure_instance
from nemd_toolkit.measures.spectrum import measure_spectrum
from nemd_toolkit.monitor.losses import Losses
from nemd_toolkit.monitor.numbers import measure_window
from nemd_toolkit.monitor.window import Window
from tests import worlds


@given(st.lists(st.integers(1, 12), min_size=1, max_size=12), st.integers(1, 9))
def test_the_window_keeps_exactly_the_last_rows_in_order(batches, size):
    window, seen = Window(size), []
    for batch in batches:
        rows = torch.arange(len(seen), len(seen) + batch, dtype=torch.float32)
        seen += rows.tolist()
        window.add(rows[:, None])
        assert window.rows()[:, 0].tolist() == seen[-size:]
        assert len(window) == min(size, len(seen))


def test_memory_is_that_of_the_window_and_no_gradient_is_kept():
    window = Window(300)
    for _ in range(5):
        window.add(torch.randn(128, 8, dtype=torch.bfloat16, requires_grad=True))
    rows = window.rows()
    assert (rows.dtype, rows.requires_grad, rows.shape) == (torch.float32, False, (300, 8))
    assert window._ring.untyped_storage().nbytes() == 300 * 8 * 4


def test_another_dimension_is_refused():
    window = Window(10)
    window.add(torch.zeros(2, 3))
    with pytest.raises(InputError, match="3 dimensions as before, got 4"):
        window.add(torch.zeros(2, 4))


@pytest.mark.parametrize("dim", [24, 600])
def test_numbers_are_those_of_an_analysis(dim):
    x = worlds.clusters(500, dim, 9, 0.8)[0]
    found, invalid = measure_window(3 * x, k=16, window=500)
    spectrum, instance = measure_spectrum(x), measure_instance(Embeddings(x))
    assert (found.rows, found.dim, found.window, invalid) == (500, dim, 500, 0)
    assert found.rank == pytest.approx(spectrum.effective_rank_centred, rel=1e-4)
    assert found.rank_null == pytest.approx(spectrum.null_effective_rank, rel=0.02)
    assert found.variance == pytest.approx(spectrum.variance, rel=1e-5)
    assert found.mean_cosine == pytest.approx(instance.mean_cosine, abs=1e-5)
    assert found.uniformity == pytest.approx(instance.uniform, abs=1e-4)


def test_own_prototypes_are_counted_as_in_an_analysis():
    world = worlds.make("duplicated", 0.5, variant="exact")
    numbers, _ = measure_window(world.rows, k=16, window=2000, prototypes=world.own)
    own = numbers.own
    assert own.usage.sizes.sum() == 2000
    assert dict(own.duplicates)[0.025] == pytest.approx(8 / 20)
    assert own.usage.dead >= 6  # one of equal vectors takes the rows, but for rounding
    some = measure_window(world.rows, k=16, window=2000, prototypes=torch.randn(3000, 64))[0].own
    assert (some.compared, len(some.usage.sizes)) == (1024, 3000)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_unusable_rows_are_counted_and_left_out(bad):
    x = worlds.noise(400, 16)
    spoilt = torch.cat([x, torch.full((7, 16), bad)])
    found, invalid = measure_window(spoilt, k=8, window=500)
    assert (found.rows, invalid) == (400, 7)
    assert found.rank == pytest.approx(measure_window(x, k=8, window=500)[0].rank, rel=1e-6)
    assert measure_window(torch.full((9, 4), bad), k=8, window=500) == (None, 9)


def test_huge_and_tiny_rows_neither_overflow_nor_vanish():
    x = worlds.noise(400, 16)
    scales = torch.tensor([1e-30, 1.0, 1e30]).repeat(134)[:400, None]
    found, invalid = measure_window(x * scales, k=8, window=400)
    assert invalid == 0
    assert found.rank == pytest.approx(measure_window(x, k=8, window=400)[0].rank, rel=1e-4)


def test_losses_are_means_of_what_is_finite():
    losses = Losses()
    for value in (1.0, torch.tensor(2.0, requires_grad=True), float("inf"), torch.tensor([6.0])):
        losses.add(value, classes=8)
    found = losses.read()
    assert (found.steps, found.not_finite) == (4, 1)
    assert (found.mean, found.chance) == pytest.approx((3.0, np.log(8)))
    losses.add(torch.tensor(float("nan")), classes=None)
    found = losses.read()
    assert (found.mean, found.chance, found.gap, found.not_finite) == (None, None, None, 1)


@pytest.mark.parametrize(("loss", "classes"), [(torch.zeros(2), 8), (1.0, 1)])
def test_a_loss_of_another_kind_is_refused(loss, classes):
    with pytest.raises(InputError, match="expected"):
        Losses().add(loss, classes)
