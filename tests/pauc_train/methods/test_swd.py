"""SWD: alignment, the sliced distance, and the samples and axes that it is taken with."""

import copy

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment

from pauc_train.method import total
from pauc_train.methods import swd
from pauc_train.methods.simclr import Pair
from pauc_train.methods.swd import SwdConfig, alignment, directions, sample, sliced, terms
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8}


def slow_sliced(x, y, axes):
    """Squared distances under the cheapest assignment on each axis, found without sorting."""
    costs = []
    for axis in axes.T.double().numpy():
        a, b = x.double().numpy() @ axis, y.double().numpy() @ axis
        cost = (a[:, None] - b[None]) ** 2
        rows, columns = linear_sum_assignment(cost)
        costs.append(cost[rows, columns].mean())
    return sum(costs) / len(costs)


def slow_alignment(first, second):
    gaps = [(a - b) ** 2 for p, q in zip(first, second, strict=True) for a, b in zip(p, q)]  # noqa: B905
    return sum(gaps) / len(gaps) / 2


def test_sliced_distance_is_that_of_the_best_assignment_on_each_axis():
    x, y = wave(20, 5, 0.0), wave(20, 5, 0.9)
    axes = directions(5, torch.Generator().manual_seed(0))
    assert sliced(x, y, axes).item() == pytest.approx(slow_sliced(x, y, axes), rel=1e-5)


@pytest.mark.parametrize(("prior", "theirs"), [("hypersphere", 0.22561005), ("normal", 0.75509232)])
def test_loss_is_that_of_the_authors(prior, theirs, monkeypatch):
    """Numbers: generalized_contrastive_loss.ipynb of google-research/simclr (383d414), λ = 5.

    Run on the same input, with its draws of axes and prior replaced by these.
    """
    drawn = wave(24, 6, 2.2)
    drawn = drawn / drawn.norm(dim=1, keepdim=True) if prior == "hypersphere" else drawn
    axes, _ = torch.linalg.qr(wave(6, 6, 1.0).double())
    monkeypatch.setattr(swd, "directions", lambda *_: axes.float())
    monkeypatch.setattr(swd, "sample", lambda *_: drawn)
    pair = Pair(
        first=wave(12, 6, 0.0),
        second=wave(12, 6, 0.4),
        config=SwdConfig(prior=prior, distribution_weight=5.0),
        generator=torch.Generator(),
    )
    assert total(terms(pair)).item() == pytest.approx(theirs, rel=1e-5)


def test_distances_by_hand():
    x = torch.tensor([[0.0, 1.0], [2.0, 3.0]])
    assert sliced(x, x.flip(0), torch.eye(2)).item() == 0
    assert sliced(x, x + 3, torch.eye(2)).item() == pytest.approx(9)
    assert alignment(x, x + 3).item() == pytest.approx(4.5)


def test_axes_are_orthogonal_and_of_any_sign():
    drawn = [directions(6, torch.Generator().manual_seed(seed)) for seed in range(200)]
    for axes in drawn[:5]:
        torch.testing.assert_close(axes.T @ axes, torch.eye(6), atol=1e-5, rtol=0)
    corner = np.array([axes[0, 0].item() for axes in drawn])
    assert abs(corner.mean()) < 0.1  # QR alone would always give one sign
    assert np.mean(corner**2) == pytest.approx(1 / 6, abs=0.05)


@pytest.mark.parametrize(("prior", "variance"), [("hypersphere", 1 / 4), ("hypercube", 1 / 3)])
def test_priors_are_what_they_are_called(prior, variance):
    drawn = sample(prior, 20_000, 4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn.var(0), torch.full((4,), variance), atol=0.01, rtol=0)
    torch.testing.assert_close(drawn.mean(0), torch.zeros(4), atol=0.02, rtol=0)
    largest = drawn.norm(dim=1) if prior == "hypersphere" else drawn.abs()
    assert float(largest.max()) == pytest.approx(1.0, abs=1e-3)
    normal = sample("normal", 20_000, 4, torch.Generator().manual_seed(0))
    assert float(normal.var()) == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("prior", ["hypersphere", "hypercube", "normal"])
def test_loss_is_alignment_and_distance_of_both_views(prior):
    first, second = wave(12, 6, 0.0), wave(12, 6, 0.4)
    config = SwdConfig(prior=prior, distribution_weight=5.0)
    pair = Pair(
        first=first, second=second, config=config, generator=torch.Generator().manual_seed(4)
    )
    found = terms(pair)
    draws = torch.Generator().manual_seed(4)
    axes = directions(6, draws)
    drawn = sample(prior, 24, 6, draws)
    if prior == "hypersphere":
        first, second = (x / x.norm(dim=1, keepdim=True) for x in (first, second))
    expected = slow_alignment(first.tolist(), second.tolist())
    assert found["alignment"].value.item() == pytest.approx(expected, rel=1e-5)
    expected = slow_sliced(torch.cat([first, second]), drawn, axes)
    assert found["distribution"].value.item() == pytest.approx(expected, rel=1e-4)
    assert found["distribution"].weight == 5.0


def test_a_step_moves_encoder_and_projector_of_three_layers():
    training = started("swd", **SMALL)
    assert sum(isinstance(m, torch.nn.Linear) for m in training.projector) == 3
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8))
    assert moved(before, training) == {"encoder", "projector"}


@pytest.mark.parametrize("term", ["alignment", "distribution"])
def test_each_term_reaches_the_encoder(term):
    training = started("swd", **SMALL)
    training(batch_of(8, 8), torch.Generator().manual_seed(0))[term].value.backward()
    assert float(training.encoder.conv1.weight.grad.abs().max()) > 1e-8
