import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from nemd_toolkit.errors import InputError
from nemd_toolkit.sphere import chord, mean_direction, resultant, to_sphere


@given(seed=st.integers(0, 10**6), n=st.integers(1, 20), d=st.integers(2, 40))
def test_chord_agrees_with_scipy_also_for_near_duplicates(seed, n, d):
    g = torch.Generator().manual_seed(seed)
    x = to_sphere(torch.randn(n, d, generator=g, dtype=torch.float64))
    scale = 10.0 ** float(torch.randint(-12, 1, (1,), generator=g))
    y = torch.cat([x, x + scale * torch.randn(n, d, generator=g, dtype=torch.float64)])
    np.testing.assert_allclose(chord(x, y), cdist(x, y), rtol=1e-9, atol=1e-15)


def test_chord_of_equal_float32_rows_is_exactly_zero():
    x = to_sphere(torch.randn(50, 128, generator=torch.Generator().manual_seed(0)))
    assert chord(x, x).diagonal().eq(0).all()


@pytest.mark.parametrize("scale", [1e200, 1e-200])
def test_to_sphere_survives_lengths_whose_squares_leave_float64(scale):
    x = to_sphere(scale * torch.tensor([[3.0, 4.0]], dtype=torch.float64))
    assert x.tolist() == [[pytest.approx(0.6), pytest.approx(0.8)]]


def test_to_sphere_survives_lengths_whose_squares_overflow_float32():
    assert to_sphere(torch.tensor([[3e30, 4e30]])).tolist() == [
        [pytest.approx(0.6), pytest.approx(0.8)]
    ]


@pytest.mark.parametrize(("bad", "words"), [(float("nan"), "NaN"), (float("inf"), "infinity")])
def test_non_finite_rows_are_named(bad, words):
    x = torch.ones(4, 3)
    x[2, 1] = bad
    with pytest.raises(InputError, match=f"{words}.*1 of 4 rows.*row 2"):
        to_sphere(x)


def test_zero_rows_are_named():
    x = torch.ones(4, 3)
    x[1] = 0
    with pytest.raises(InputError, match="norm 0.*row 1"):
        to_sphere(x)


def test_resultant_and_mean_direction_of_opposite_points_stay_on_the_sphere():
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    assert resultant(x) == 0.0
    assert mean_direction(x).norm().item() == 1.0


def test_many_rows_are_scaled_in_blocks_as_all_at_once(monkeypatch):
    x = torch.randn(50, 7, generator=torch.Generator().manual_seed(0)) * 1e20
    whole = to_sphere(x)
    monkeypatch.setattr("nemd_toolkit.scratch._ROWS", 16)
    assert torch.equal(to_sphere(x), whole)
    wide = x.double() / x.double().norm(dim=1, keepdim=True)
    torch.testing.assert_close(whole, wide.float())
