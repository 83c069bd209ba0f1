"""BYOL: its loss, where gradients go, and how the slow copies follow."""

import copy
import math

import pytest
import torch

from pauc_train.methods.byol import regression_loss
from pauc_train.momentum import rising_momentum
from tests.pauc_train.methods.small import batch_of, moved, started, stepped, wave

SMALL = {"embedding_dim": 8, "projector_widths": (12,), "predictor_width": 10}


def slow_loss(predicted, target):
    """Distances of unit vectors, one row after another."""
    losses = []
    for p, t in zip(predicted.tolist(), target.tolist(), strict=True):
        units = [[x / math.hypot(*row) for x in row] for row in (p, t)]
        losses.append(math.dist(*units) ** 2)
    return sum(losses) / len(losses)


def test_loss_is_the_squared_distance_of_unit_vectors():
    a, b, c, d = (wave(12, 6, phase) for phase in (0.0, 0.4, 0.9, 1.7))
    assert regression_loss(a, d).item() == pytest.approx(slow_loss(a, d), rel=1e-5)
    # the formula of deepmind-research/byol utils/helpers.py regression_loss, both views
    both = regression_loss(a, d) + regression_loss(b, c)
    assert both.item() == pytest.approx(2.3527577, rel=1e-5)


def test_loss_of_a_batch_pairs_each_view_with_the_others_target():
    training = started("byol", **SMALL)
    batch = batch_of(8, 8)
    fixed = copy.deepcopy(training)
    first, second = batch.views
    value = training(batch, torch.Generator())["regression"].value
    predict = lambda x: fixed.predictor(fixed.projector(fixed.encoder(x)))  # noqa: E731
    target = lambda x: fixed.target_projector(fixed.target_encoder(x))  # noqa: E731
    expected = slow_loss(predict(first), target(second)) + slow_loss(predict(second), target(first))
    assert value.item() == pytest.approx(expected, rel=1e-4)


def test_gradients_reach_the_online_side_only():
    training = started("byol", **SMALL)
    training(batch_of(8, 8), torch.Generator())["regression"].value.backward()
    reached = {n.split(".")[0] for n, p in training.named_parameters() if p.grad is not None}
    assert reached == {"encoder", "projector", "predictor"}
    assert float(training.encoder.conv1.weight.grad.abs().max()) > 1e-7


def test_targets_follow_after_the_step():
    training = started("byol", target_momentum=0.9, **SMALL)
    before = copy.deepcopy(training.state_dict())
    stepped(training, batch_of(8, 8, progress=0.5))
    assert moved(before, training) == {
        "encoder", "projector", "predictor", "target_encoder", "target_projector",
    }  # fmt: skip
    name, momentum = "conv1.weight", 0.95  # halfway between 0.9 and 1
    expected = before[f"target_encoder.{name}"] * momentum
    expected += training.state_dict()[f"encoder.{name}"] * (1 - momentum)
    torch.testing.assert_close(training.state_dict()[f"target_encoder.{name}"], expected)


def test_momentum_rises_as_a_cosine():
    assert rising_momentum(0.9, 1 / 3) == pytest.approx(1 - 0.1 * 0.75)


def test_without_predictor_the_projection_predicts():
    training = started("byol", predictor="none", **SMALL)
    assert not [name for name in training.state_dict() if name.startswith("predictor")]
    batch = batch_of(8, 8)
    fixed = copy.deepcopy(training)
    value = training(batch, torch.Generator())["regression"].value
    first, second = (fixed.projector(fixed.encoder(view)) for view in batch.views)
    assert value.item() == pytest.approx(2 * slow_loss(first, second), rel=1e-4)
