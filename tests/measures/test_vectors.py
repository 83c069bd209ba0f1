"""Prototype vectors without data: known arrangements give known numbers."""

import math

import numpy as np
import pytest
import torch

from nemd_toolkit.errors import InputError
from nemd_toolkit.measures.vectors import measure_vectors
from tests import worlds


def test_two_poles_three_copies_and_a_zero():
    found = measure_vectors(torch.tensor([[2.0, 0.0], [-3.0, 0.0], [0.0, 0.0]]))
    assert (found.k, found.dim, found.zero) == (3, 2, 1)
    assert found.koleo == pytest.approx(-math.log(2), abs=1e-7)
    assert found.uniform == pytest.approx(math.exp(-8), rel=1e-9)  # ‖p−q‖² = 4, t = 2
    assert found.share_repeated() == 0
    copies = measure_vectors(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 2.0], [0.0, 3.0]]))
    assert copies.share_repeated() == 0.5


def test_uniformity_is_the_mean_over_all_pairs():
    x = worlds.noise(200, 16, seed=3)
    unit = torch.nn.functional.normalize(x.double(), dim=1)
    want = torch.exp(-2 * torch.pdist(unit).square()).mean()
    assert measure_vectors(x).uniform == pytest.approx(float(want), rel=1e-9)


@pytest.mark.parametrize("vectors", [torch.zeros(3, 4), torch.ones(1, 4)])
def test_fewer_than_two_directions_say_nothing(vectors):
    found = measure_vectors(vectors)
    assert (found.koleo, found.uniform, found.spectrum, found.duplicates) == (None, None, None, ())


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(InputError, match="finite"):
        measure_vectors(torch.tensor([[1.0, np.nan], [1.0, 0.0]]))
